/** The driver side of the legacy registers of MMIO (version 1), against a register file that does what a test tells it, and against the device side. */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import {
  DRIVER_OK,
  FAILED,
  FEATURES_OK,
  VIRTIO_F_ANY_LAYOUT,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_VERSION_1,
} from 'virtgen/wire/content'
import { virtio_mmio_legacy } from 'virtgen/wire/transport-mmio'
import { describe, expect, it } from 'vitest'
import { createDeviceQueue } from '../runtime/device-queue.ts'
import type { DriverError, DriverHost } from '../runtime/driver/host.ts'
import { DriverMemory } from '../runtime/driver/memory.ts'
import { GuestMemory } from '../runtime/memory.ts'
import { MmioDevice } from '../runtime/mmio/device.ts'
import { connectMmio, type MmioDriverOptions } from '../runtime/mmio/driver.ts'
import { LegacyMmioDevice } from '../runtime/mmio/legacy-device.ts'
import { DummyDevice } from './support/dummy-device.ts'

const names = new Map(Object.entries(virtio_mmio_legacy).map(([name, { offset }]) => [offset as number, name]))
const page = 4096

interface Script {
  version?: number
  features?: number
  sizes?: number[]
  pageBefore?: number
  resetLooks?: number
  onConfigRead?: () => void
}

/** Legacy registers: records every access, checks widths and directions. */
class Registers {
  readonly log: string[] = []
  readonly config = Uint8Array.from([1, 2, 3, 4, 5, 6, 7, 8])
  readonly queues: Record<string, number>[] = []
  readonly script: Script
  readonly notified: number[] = []
  status = 0
  interruptStatus = 0
  accepted = 0
  #queue = -1
  #looks = 0

  constructor(script: Script = {}) {
    this.script = script
  }

  #check(offset: number, width: number, direction: string): string {
    if (offset >= virtio_mmio_legacy.Config.offset) return `Config+${offset - virtio_mmio_legacy.Config.offset}/${width}`
    const name = names.get(offset)
    if (name === undefined || width !== 4) throw new Error(`access of ${width} bytes at ${offset}`)
    const { access } = virtio_mmio_legacy[name as keyof typeof virtio_mmio_legacy]
    if (!access.includes(direction)) throw new Error(`${name} is ${access}`)
    return name
  }

  read(offset: number, width: 1 | 2 | 4): number {
    const name = this.#check(offset, width, 'r')
    const value = this.#read(name, offset, width)
    this.log.push(`${name} -> ${value}`)
    return value
  }

  #read(name: string, offset: number, width: number): number {
    const { script } = this
    if (name === 'MagicValue') return 0x74726976
    if (name === 'Version') return script.version ?? 1
    if (name === 'DeviceID') return 42
    if (name === 'Status') return this.#looks > 0 && --this.#looks > 0 ? 0x80 : this.status
    if (name === 'HostFeatures')
      return script.features ?? FeatureSet.of(0, 24, VIRTIO_F_ANY_LAYOUT, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX, 30).word(0)
    if (name === 'QueuePFN') return this.queues[this.#queue]?.QueuePFN ?? script.pageBefore ?? 0
    if (name === 'QueueSizeMax') return (script.sizes ?? [64, 1000])[this.#queue] ?? 0
    if (name === 'InterruptStatus') return this.interruptStatus
    if (!name.startsWith('Config+')) throw new Error(`unexpected read of ${name}`)
    script.onConfigRead?.()
    const at = offset - virtio_mmio_legacy.Config.offset
    return this.config.slice(at, at + width).reduceRight((value, byte) => value * 256 + byte, 0)
  }

  write(offset: number, width: 1 | 2 | 4, value: number): void {
    const name = this.#check(offset, width, 'w')
    this.log.push(`${name} <- ${value}`)
    if (value < 0 || !Number.isInteger(value)) throw new Error(`${name} <- ${value}`)
    if (name === 'Status') this.#writeStatus(value)
    else if (name === 'GuestFeatures') this.accepted = value
    else if (name === 'QueueSel') this.#queue = value
    else if (name === 'QueueNotify') this.notified.push(value)
    else if (name === 'InterruptACK') this.interruptStatus &= ~value
    else if (name.startsWith('Queue')) {
      this.queues[this.#queue] ??= {}
      this.queues[this.#queue]![name] = value
    }
  }

  #writeStatus(value: number): void {
    if ((value & FEATURES_OK) !== 0) throw new Error('there is no FEATURES_OK')
    if (value === 0) {
      this.queues.length = 0
      this.#looks = this.script.resetLooks ?? 0
    }
    this.status = value
  }
}

class Client {
  static readonly deviceId = 42
  static readonly features: FeatureSet = FeatureSet.of(0, 1)
  static readonly configLength: number = 8
  static queues(_features: FeatureSet, _config: Uint8Array) {
    return [
      { index: 0, name: 'first', message: undefined },
      { index: 1, name: 'second', message: undefined },
    ]
  }
  readonly host: DriverHost
  constructor(host: DriverHost) {
    this.host = host
  }
}

const legacy = { interface: 'legacy' } as const

function setting(script: Script = {}, options: Partial<MmioDriverOptions> = {}) {
  const registers = new Registers(script)
  const guest = GuestMemory.of(new Uint8Array(0x2_0000))
  const memory = options.memory ?? new DriverMemory(guest, 0x1000, 0x1_f000)
  return { registers, memory, guest, connect: () => connectMmio(registers, Client, { ...legacy, ...options, memory }) }
}

const failure = async (promise: Promise<unknown>): Promise<DriverError> =>
  promise.then(
    () => expect.fail('connected'),
    (error) => error,
  )

describe('the initialisation through the legacy registers', () => {
  it('is that of a legacy driver: 32 feature bits, no FEATURES_OK, queues by their pages', async () => {
    const { registers, connect } = setting({}, { queueSize: 100 })
    const { driver, legacy: used } = await connect()
    const accepted = FeatureSet.of(0, VIRTIO_F_ANY_LAYOUT, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX)
    expect([used, driver.host.features.bits, registers.accepted]).toEqual([true, accepted.bits, accepted.word(0)])
    const setup = (index: number) => [
      `QueueSel <- ${index}`,
      'QueuePFN -> 0',
      `QueueSizeMax -> ${[64, 1000][index]}`,
      `QueueSel <- ${index}`,
      'QueueSize <- 64',
      `QueueAlign <- ${page}`,
      `QueuePFN <- ${registers.queues[index]!.QueuePFN}`,
    ]
    expect(registers.log).toEqual([
      `MagicValue -> ${0x74726976}`,
      'Version -> 1',
      'DeviceID -> 42',
      'Status <- 0',
      'Status -> 0',
      'Status -> 0',
      'Status <- 1',
      'Status -> 1',
      'Status <- 3',
      'HostFeaturesSel <- 0',
      registers.log.find((line) => line.startsWith('HostFeatures ')),
      'GuestFeaturesSel <- 0',
      `GuestFeatures <- ${accepted.word(0)}`,
      ...registers.log.filter((line) => line.startsWith('Config+')),
      `GuestPageSize <- ${page}`,
      ...setup(0),
      ...setup(1),
      'Status -> 3',
      'Status <- 7',
      'Status -> 7',
    ])
    const pages = registers.queues.map((queue) => queue.QueuePFN!)
    expect(pages.every((each) => each > 0 && each * page < 0x2_0000)).toBe(true)
    expect(Math.abs(pages[0]! - pages[1]!)).toBeGreaterThanOrEqual(2)
  })

  it('reads the configuration until two reads are the same', async () => {
    let reads = 0
    const { registers, connect } = setting()
    registers.script.onConfigRead = () => {
      if (reads++ < 10) registers.config.fill(reads)
    }
    expect([...(await connect()).driver.host.config.read()]).toEqual(new Array(8).fill(10))
  })

  it('gives the device up where it cannot go on', async () => {
    const cases: [string, string, Script, Partial<MmioDriverOptions>?][] = [
      ['a queue is missing', 'queue', { sizes: [64] }],
      ['a queue is in use', 'queue', { pageBefore: 5 }],
      ['a feature is not offered', 'feature', {}, { required: FeatureSet.of(1) }],
      ['a feature is required that no legacy device has', 'feature', {}, { required: FeatureSet.of(VIRTIO_F_VERSION_1) }],
      ['there is not enough memory', 'memory', { sizes: [0x8000, 64] }, { queueSize: 0x8000 }],
    ]
    for (const [name, kind, script, options] of cases) {
      const { registers, connect, memory } = setting(script, options)
      const error = await failure(connect())
      expect([error.name, error.kind, registers.status & FAILED, memory.available], name).toEqual(['DriverError', kind, FAILED, 0x1_f000])
    }
    const { registers, connect } = setting({ resetLooks: 1e9 }, { resetPolls: 10 })
    expect(await failure(connect())).toMatchObject({ kind: 'reset' })
    expect(registers.log.some((line) => line.startsWith('GuestFeatures'))).toBe(false)
  })

  it('gives up a configuration that never settles', async () => {
    let reads = 0
    const { registers, connect } = setting()
    registers.script.onConfigRead = () => {
      registers.config.fill(reads++)
    }
    expect(await failure(connect())).toMatchObject({ kind: 'config' })
    expect(registers.status & FAILED).toBe(FAILED)
  })

  it('is chosen by the version', async () => {
    for (const [version, wanted, kind] of [
      [1, 'modern', 'version'],
      [2, 'legacy', 'version'],
      [3, 'any', 'version'],
    ] as const) {
      const { registers, connect } = setting({ version }, { interface: wanted })
      expect(await failure(connect())).toMatchObject({ kind })
      expect(registers.log).toHaveLength(2)
    }
    expect((await setting({}, { interface: 'any' }).connect()).legacy).toBe(true)
  })
})

describe('a connected legacy device', () => {
  it('acknowledges its interrupts, and tells of changes of the configuration once', async () => {
    const { registers, connect } = setting()
    const { driver, interrupt } = await connect()
    const calls: string[] = []
    driver.host.onUsed(0, () => calls.push('used'))
    driver.host.onConfigChange(() => calls.push('config'))
    registers.interruptStatus = 3
    expect([interrupt(), registers.interruptStatus, interrupt()]).toEqual([true, 0, false])
    expect(calls).toEqual(['used', 'config', 'used'])
  })

  it('is notified by the index, and resets no single queue', async () => {
    const { registers, connect } = setting()
    const { host } = (await connect()).driver
    host.queue(1).add([{ address: 0x8000, length: 4 }], [], 'a')
    host.queue(1).publish()
    expect(registers.notified).toEqual([1])
    expect(await failure(host.resetQueue(1))).toMatchObject({ kind: 'feature' })
    expect(host.sharedMemory(0)).toBeUndefined()
    expect(registers.status & DRIVER_OK).toBe(DRIVER_OK)
  })

  it('carries requests with the device side of this package', async () => {
    const guest = GuestMemory.of(new Uint8Array(0x2_0000))
    const memory = new DriverMemory(guest, 0x1000, 0x1_f000)
    const device = new DummyDevice([8, 4])
    let serve: (() => unknown) | undefined
    const mmio = new LegacyMmioDevice(device, { memory: guest, interrupt: (level) => level && serve?.(), createQueue: createDeviceQueue })
    const connection = await connectMmio(mmio, Client, { memory, interface: 'any' })
    serve = connection.interrupt
    const { host } = connection.driver
    expect(host.features.has(VIRTIO_F_VERSION_1)).toBe(false)
    device.onQueue = (index, { queue }) => {
      for (let chain = queue(index)!.next(); chain !== undefined; chain = queue(index)!.next()) {
        chain.writable.fill(0x5a)
        chain.complete()
      }
    }
    const buffer = memory.allocate(16)
    const written: number[] = []
    host.onUsed(0, () => {
      while (host.queue(0).completed() !== undefined) written.push(buffer.bytes[8]!)
    })
    for (let i = 0; i < 100; i++) {
      buffer.bytes[8] = 0
      host.queue(0).add([{ address: buffer.address, length: 1 }], [{ address: buffer.address + 8, length: 1 }], i)
      host.queue(0).publish()
    }
    expect(written).toEqual(new Array(100).fill(0x5a))
    await host.reset()
    memory.free(buffer)
    expect(memory.available).toBe(0x1_f000)
  })
})

describe('shared memory behind version 2 of the registers', () => {
  it('is found by its id; others and those of a device without the registers are not there', async () => {
    const guest = GuestMemory.of(new Uint8Array(0x2_0000))
    class Sharing extends DummyDevice {
      override readonly sharedMemory = [
        { id: 0, length: 0x1000 },
        { id: 200, length: 2 ** 33 },
      ]
    }
    const mmio = new MmioDevice(new Sharing([8, 4]), {
      memory: guest,
      interrupt: () => {},
      sharedMemory: ({ id }) => 2 ** 40 + id * 2 ** 34,
    })
    const { driver } = await connectMmio(mmio, Client, { memory: new DriverMemory(guest, 0x1000, 0x1_f000) })
    const { host } = driver
    expect(host.sharedMemory(0)).toEqual({ id: 0, length: 0x1000, address: 2 ** 40 })
    expect(host.sharedMemory(200)).toEqual({ id: 200, length: 2 ** 33, address: 2 ** 40 + 200 * 2 ** 34 })
    expect(host.sharedMemory(1)).toBeUndefined()
    expect(() => host.sharedMemory(256)).toThrow(RangeError)
    await host.reset()
    expect(() => host.sharedMemory(0)).toThrow(expect.objectContaining({ kind: 'closed' }))
  })

  it('is refused where it cannot be addressed', async () => {
    const guest = GuestMemory.of(new Uint8Array(0x2_0000))
    const mmio = new MmioDevice(new DummyDevice([8, 4]), { memory: guest, interrupt: () => {} })
    const answers = [0, 0x20_0000, 0, 0]
    const bus = {
      read: (offset: number, width: 1 | 2 | 4) => (offset >= 0xb0 && offset < 0xc0 ? answers[(offset - 0xb0) / 4]! : mmio.read(offset, width)),
      write: (offset: number, width: 1 | 2 | 4, value: number) => mmio.write(offset, width, value),
    }
    const { driver } = await connectMmio(bus, Client, { memory: new DriverMemory(guest, 0x1000, 0x1_f000) })
    expect(() => driver.host.sharedMemory(0)).toThrow(expect.objectContaining({ kind: 'layout' }))
    answers.fill(0)
    expect(driver.host.sharedMemory(0)).toBeUndefined()
  })
})
