/** A device and the driver client of its type in one process, with the registers of Virtio Over MMIO between them. */
import type { VirtioDevice } from '../device.ts'
import type { DeviceControlSettings } from '../device-control.ts'
import { createDeviceQueue } from '../device-queue.ts'
import type { DriverType } from '../driver/host.ts'
import { DriverMemory } from '../driver/memory.ts'
import { MmioDevice } from '../mmio/device.ts'
import { connectMmio, type MmioDriverOptions } from '../mmio/driver.ts'
import type { RingFeatures } from '../queue.ts'
import { defaultRegions, TestMemory } from './memory.ts'
import { Recorder } from './recorder.ts'
import { ringFeatureSet } from './ring-features.ts'

/** The rings have VIRTIO_F_INDIRECT_DESC by default and nothing else. */
export interface TestMachineOptions
  extends RingFeatures,
    Pick<DeviceControlSettings, 'maxChainLength' | 'defer'>,
    Pick<MmioDriverOptions, 'features' | 'required' | 'queueSize'> {
  /** Bytes that the driver has for its queues and buffers, 256 KiB by default. */
  readonly driverBytes?: number
}

export interface TestMachine<Device extends VirtioDevice, Driver> {
  readonly device: Device
  readonly driver: Driver
  readonly memory: TestMemory
  /** Hears of interrupts (as notifications), writes, violations, and what the device throws. */
  readonly recorder: Recorder
  /** The registers. */
  readonly registers: MmioDevice
}

/**
 * Puts a device into a machine, where the driver client of its type finds it and negotiates features.
 *
 * @example
 * const { driver } = await testMachine(new Disk(), BlkDriver)
 * await driver.read({ sector: 1 }, 512)
 * @throws DriverError (as a rejection) as `connectMmio`, RangeError as `DeviceControl`
 */
export async function testMachine<Device extends VirtioDevice, Driver>(
  device: Device,
  type: DriverType<Driver>,
  options: TestMachineOptions = {},
): Promise<TestMachine<Device, Driver>> {
  const { maxChainLength, defer, features, required, queueSize, driverBytes = 0x4_0000 } = options
  const [first, second, ...others] = defaultRegions
  const memory = new TestMemory({ regions: [first!, { ...second!, size: driverBytes }, ...others] })
  const recorder = new Recorder()
  recorder.watch(memory)
  let serve: (() => unknown) | undefined
  const registers = new MmioDevice(device, {
    memory,
    ringFeatures: ringFeatureSet(options),
    createQueue: createDeviceQueue,
    interrupt: (level) => {
      if (!level) return
      recorder.notify()
      serve?.()
    },
    onViolation: recorder.fail,
    onError: recorder.error,
    ...(maxChainLength !== undefined && { maxChainLength }),
    ...(defer !== undefined && { defer }),
  })
  const { driver, interrupt } = await connectMmio(registers, type, {
    memory: new DriverMemory(memory, second!.guestAddress, driverBytes),
    ...(features !== undefined && { features }),
    ...(required !== undefined && { required }),
    ...(queueSize !== undefined && { queueSize }),
  })
  serve = interrupt
  // One that came before there was a driver to hear it: the line would stay high.
  interrupt()
  return { device, driver, memory, recorder, registers }
}
