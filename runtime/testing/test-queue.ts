/** A device queue with all that a test of it needs. */
import type { DeviceQueueOptions } from '../device-queue-options.ts'
import type { DeviceQueue, QueueSetup } from '../queue.ts'
import { SplitDeviceQueue } from '../split/device-queue.ts'
import type { FakeDriver, FakeDriverOptions } from './fake-driver.ts'
import { TestMemory } from './memory.ts'
import { Recorder } from './recorder.ts'
import { SplitFakeDriver } from './split-fake-driver.ts'

export interface TestQueueOptions extends FakeDriverOptions, Pick<DeviceQueueOptions, 'maxChainLength' | 'state' | 'resume'> {
  /** VIRTIO_F_RING_PACKED. */
  readonly packed?: boolean
  readonly memory?: TestMemory
  /** What the device queue is told instead of what the driver has: for wrong sizes and places. */
  readonly setup?: Partial<QueueSetup>
}

/** A device queue, and the driver's side of it by hand. */
export interface TestQueue<Driver extends FakeDriver = FakeDriver> {
  readonly memory: TestMemory
  readonly driver: Driver
  /** What is tested. */
  readonly queue: DeviceQueue
  /** Hears of notifications, writes and violations. */
  readonly recorder: Recorder
}

/**
 * A device queue and a fake driver over the same memory.
 *
 * @example
 * const { driver, queue, recorder } = testQueue({ size: 16, eventIndex: true })
 * driver.offer(chain().readable([1, 2, 3]).writable(8))
 * const taken = queue.next()!
 * taken.writable.fill(7)
 * taken.complete()
 * driver.used() // { written: 8, bytes: … }
 */
export function testQueue(options: TestQueueOptions = {}): TestQueue<SplitFakeDriver> {
  const { memory = new TestMemory(), setup, maxChainLength, state, resume } = options
  const driver = new SplitFakeDriver(memory, options)
  const recorder = new Recorder()
  recorder.watch(memory)
  const { notify, fail } = recorder
  const queue = new SplitDeviceQueue(
    memory,
    { ...driver.setup, ...setup },
    {
      ...driver.features,
      eventIndex: driver.features.eventIndex ?? false,
      indirect: driver.features.indirect ?? false,
      notify: () => notify(driver.setup.index),
      fail,
      ...(maxChainLength !== undefined && { maxChainLength }),
      ...(state !== undefined && { state }),
      ...(resume !== undefined && { resume }),
    },
  ) as unknown as DeviceQueue
  return { memory, driver, queue, recorder }
}
