/** A device queue with all that a test of it needs. */
import { createDeviceQueue } from '../device-queue.ts'
import type { DeviceQueueOptions } from '../device-queue-options.ts'
import type { DeviceQueue, QueueSetup } from '../queue.ts'
import type { FakeDriver, FakeDriverOptions } from './fake-driver.ts'
import { fakeDriver } from './fakes.ts'
import { defaultRegions, TestMemory, type TestRegion } from './memory.ts'
import type { PackedFakeDriver } from './packed-fake-driver.ts'
import { Recorder } from './recorder.ts'
import type { SplitFakeDriver } from './split-fake-driver.ts'

export interface TestQueueOptions extends FakeDriverOptions, Pick<DeviceQueueOptions, 'maxChainLength' | 'state' | 'resume'> {
  /** VIRTIO_F_RING_PACKED. By default the ring is split. */
  readonly packed?: boolean
  readonly memory?: TestMemory
  /** A driver that is there already: the queue is another one on its ring. The options of the driver are not read then. */
  readonly driver?: FakeDriver
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
 * const { driver, queue, recorder } = testQueue({ packed: true, eventIndex: true })
 * driver.offer(chain().readable([1, 2, 3]).writable(8))
 * const taken = queue.next()!
 * taken.writable.fill(7)
 * taken.complete()
 * driver.used() // { written: 8, bytes: … }
 */
export function testQueue(options?: TestQueueOptions & { readonly packed?: false }): TestQueue<SplitFakeDriver>
export function testQueue(options: TestQueueOptions & { readonly packed: true }): TestQueue<PackedFakeDriver>
export function testQueue(options?: TestQueueOptions): TestQueue
export function testQueue(options: TestQueueOptions = {}): TestQueue {
  const { setup, maxChainLength, state = options.position && { ...options.position, inFlight: [] }, resume } = options
  const memory = options.driver?.memory ?? options.memory ?? new TestMemory({ regions: regionsFor(options.size ?? 0) })
  const driver = options.driver ?? fakeDriver(memory, options)
  const recorder = new Recorder()
  recorder.watch(memory)
  const queue = createDeviceQueue(
    memory,
    { ...driver.setup, ...setup },
    {
      ...driver.features,
      notify: () => recorder.notify(driver.setup.index),
      fail: recorder.fail,
      ...(maxChainLength !== undefined && { maxChainLength }),
      ...(state !== undefined && { state }),
      ...(resume !== undefined && { resume }),
    },
  )
  return { memory, driver, queue, recorder }
}

/** The default ones, the first of them large enough for a long ring and a buffer for each entry. */
function regionsFor(size: number): TestRegion[] {
  const [first, second, ...others] = defaultRegions as [TestRegion, TestRegion, ...TestRegion[]]
  const bytes = Math.max(first.size, size * 128)
  return [{ ...first, size: bytes }, { ...second, guestAddress: bytes }, ...others]
}
