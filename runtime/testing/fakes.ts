/** The two sides of a ring, by hand, in either format. */
import type { QueueSetup } from '../queue.ts'
import type { FakeDevice, FakeDeviceOptions } from './fake-device.ts'
import type { FakeDriver, FakeDriverOptions } from './fake-driver.ts'
import type { TestMemory } from './memory.ts'
import { PackedFakeDevice } from './packed-fake-device.ts'
import { PackedFakeDriver } from './packed-fake-driver.ts'
import { SplitFakeDevice } from './split-fake-device.ts'
import { SplitFakeDriver } from './split-fake-driver.ts'

/** VIRTIO_F_RING_PACKED. By default the ring is split. */
interface Format {
  readonly packed?: boolean
}

/** The driver's side, which finds places for the ring in memory. */
export function fakeDriver(memory: TestMemory, options: FakeDriverOptions & Format = {}): FakeDriver {
  return options.packed ? new PackedFakeDriver(memory, options) : new SplitFakeDriver(memory, options)
}

/** The device's side of a ring that a driver has set up. */
export function fakeDevice(memory: TestMemory, setup: QueueSetup, options: FakeDeviceOptions & Format = {}): FakeDevice {
  return options.packed ? new PackedFakeDevice(memory, setup, options) : new SplitFakeDevice(memory, setup, options)
}
