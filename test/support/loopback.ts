/** A device and its driver in one process, joined by registers, an interrupt line and guest memory, with buffers that are cut into descriptors at random. */
import { type FeatureSet, featuresFromWords } from 'virtgen/codegen/v1/wire'
import { connectMmio, MmioDevice } from 'virtgen/mmio'
import {
  createDeviceQueue,
  type DeviceAddress,
  type DeviceDriver,
  type DeviceDriverOptions,
  type DriverHost,
  DriverMemory,
  type DriverQueue,
  type DriverType,
  GuestMemory,
  type RequestDevice,
  type Violation,
} from 'virtgen/runtime'

type Client<T> = new (host: DriverHost, options?: DeviceDriverOptions) => T

export interface LoopbackOptions<T> {
  device: RequestDevice
  type: DriverType<T>
  /** What the driver accepts at most. */
  accepts: FeatureSet
  /** What the device offers of rings and transport; by default what the transport does. The driver accepts all of it, whatever `accepts` says. */
  ringFeatures?: FeatureSet
  /** What the driver believes to be negotiated; by default what is. */
  believes?: FeatureSet
  /** Where to cut a piece of that many bytes: ascending offsets inside it. */
  cuts?: (length: number, isReadable: boolean, index: number) => readonly number[]
  /** Of the driver client. */
  options?: DeviceDriverOptions
  memoryBytes?: number
  queueSize?: number
}

export interface Loopback<T> {
  driver: T
  transport: MmioDevice
  memory: GuestMemory
  violations: Violation[]
  errors: unknown[]
}

/** Connects; the memory lies in two regions without a gap, so that buffers may cross from one into the other. */
export async function loopback<T extends DeviceDriver>(options: LoopbackOptions<T>): Promise<Loopback<T>> {
  const { device, type, accepts, believes, cuts, options: driverOptions, memoryBytes = 1 << 20, queueSize = 128 } = options
  const { ringFeatures } = options
  const memory = GuestMemory.of(new Uint8Array(memoryBytes), 0x4000_0000)
  const violations: Violation[] = []
  const errors: unknown[] = []
  let interrupted = (): unknown => undefined
  const transport = new MmioDevice(device, {
    memory,
    interrupt: (level) => level && interrupted(),
    onViolation: (violation) => violations.push(violation),
    onError: (error) => errors.push(error),
    createQueue: createDeviceQueue,
    ...(ringFeatures ? { ringFeatures } : {}),
  })
  // A class that cuts buffers and believes what it is told; to the transport it is the client.
  const wrapped = new Proxy(type, {
    construct: (target, [host]: [DriverHost]) => new (target as Client<T>)(wrap(host, believes, cuts), driverOptions),
    get: (target, name) => (name === 'features' ? featuresFromWords([~0 >>> 0, ~0 >>> 0, ~0 >>> 0, ~0 >>> 0]) : Reflect.get(target, name)),
  })
  const memoryOfDriver = new DriverMemory(memory, 0x4000_0000, memoryBytes)
  const { driver, interrupt } = await connectMmio(transport, wrapped, {
    memory: memoryOfDriver,
    features: ringFeatures ? accepts.union(ringFeatures) : accepts,
    queueSize,
  })
  interrupted = interrupt
  // One that came before there was a driver to hear it.
  interrupt()
  return { driver, transport, memory, violations, errors }
}

function wrap(host: DriverHost, believes: FeatureSet | undefined, cuts: LoopbackOptions<unknown>['cuts']): DriverHost {
  const replaced: Partial<DriverHost> = {
    ...(believes ? { features: believes } : {}),
    ...(cuts ? { queue: (index) => cutting(host.queue(index), cuts) } : {}),
  }
  return new Proxy(host, {
    get: (target, name) => {
      if (Object.hasOwn(replaced, name)) return Reflect.get(replaced, name)
      const value = Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

function cutting(queue: DriverQueue, cuts: NonNullable<LoopbackOptions<unknown>['cuts']>): DriverQueue {
  const cut = (pieces: readonly DeviceAddress[], isReadable: boolean): DeviceAddress[] =>
    pieces.flatMap(({ address, length }, index) => {
      const ends = [...cuts(length, isReadable, index), length]
      return ends.map((end, i) => ({ address: address + (ends[i - 1] ?? 0), length: end - (ends[i - 1] ?? 0) }))
    })
  return new Proxy(queue, {
    get: (target, name) => {
      if (name === 'add')
        return (readable: DeviceAddress[], writable: DeviceAddress[], token: unknown) => target.add(cut(readable, true), cut(writable, false), token)
      const value = Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}
