/** When a driver hears of requests that a device has done while it serves more of them (`batch` of the options of a queue). */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { Net } from 'virtgen/devices/net'
import { Rng } from 'virtgen/devices/rng'
import { createDeviceQueue, DeviceControl, type DeviceQueue, openQueue, type VirtioDevice } from 'virtgen/runtime'
import { chain, PackedFakeDriver, SplitFakeDriver, TestMemory, type Wish } from 'virtgen/testing'
import { ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, VIRTIO_F_EVENT_IDX, VIRTIO_F_RING_PACKED, VIRTIO_F_VERSION_1 } from 'virtgen/wire/content'
import { describe, expect, it } from 'vitest'
import { plainFrame, Sink } from './support/net.ts'
import { offerHeads } from './support/offers.ts'

const usualSize = 256
const [receiveq, transmitq] = [0, 1]
/** Of the header in front of a frame. */
const headerBytes = 12

interface Device {
  readonly device: VirtioDevice
  readonly packed: boolean
  readonly batch: number
  /** Of each ring. */
  readonly size?: number
  readonly eventIndex?: boolean
  notify(queue: number): void
}

/** The device at work with so many queues, and their drivers. */
function setUp({ device, packed, batch, size = usualSize, eventIndex = false, notify }: Device, count: number) {
  const memory = new TestMemory({ regions: [{ guestAddress: 0, size: 0x40_000, source: new Uint8Array(0x40_000) }] })
  const drivers = Array.from({ length: count }, () => new (packed ? PackedFakeDriver : SplitFakeDriver)(memory, { size, eventIndex }))
  const bits = [VIRTIO_F_VERSION_1, ...(packed ? [VIRTIO_F_RING_PACKED] : []), ...(eventIndex ? [VIRTIO_F_EVENT_IDX] : [])]
  const features = FeatureSet.of(...bits)
  const queues: DeviceQueue[] = []
  const control = new DeviceControl(device, {
    memory,
    ringFeatures: features,
    createQueue: (memory, setup, options) => {
      queues[setup.index] = createDeviceQueue(memory, setup, { ...options, batch })
      return queues[setup.index]!
    },
    notify,
    configChanged: () => {},
  })
  control.writeStatus(ACKNOWLEDGE | DRIVER)
  for (const word of [0, 1]) control.setDriverFeatures(word, features.word(word))
  control.writeStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK)
  for (const [index, { setup }] of drivers.entries()) openQueue(control, { ...setup, index })
  control.writeStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK)
  return { control, drivers, queues }
}

interface Requests {
  readonly packed: boolean
  /** Available at once; and so many again, when these are done. */
  readonly count: number
  readonly again?: number
  readonly batch: number
  /** Of the ring. */
  readonly size?: number
  /** What the driver wants to hear of; everything by default. */
  readonly wish?: Wish
}

/** After how many requests done the driver is notified, each time, where so many are available at once; and how many it sees done when each of them is at work. */
function served({ packed, count, again = 0, batch, size = usualSize, wish = 'always' }: Requests): { notified: number[]; visible: number[] } {
  const visible: number[] = []
  const notified: number[] = []
  let done = 0
  const look = (): number => {
    done += driver!.drain().length
    return done
  }
  const device = new Rng({
    queueSize: size,
    source: (bytes) => {
      bytes.fill(1)
      visible.push(look())
    },
  })
  const { control, drivers } = setUp({ device, packed, batch, size, eventIndex: typeof wish === 'number', notify: () => notified.push(look()) }, 1)
  const [driver] = drivers
  driver!.ask(wish)
  for (const length of [count, again]) {
    offerHeads(driver!, ...Array.from({ length }, (_, head) => head))
    control.notifyAvailable(0)
  }
  return { notified, visible }
}

/** Each number once. */
const steps = (values: readonly number[]): number[] => [...new Set(values)]

/**
 * After how many frames that came back the driver is notified of them, where it has sent so many at once.
 *
 * @param isHeld - the receive queue is corked meanwhile
 */
function answers(packed: boolean, count: number, batch: number, isHeld: boolean): number[] {
  const network = new Sink()
  network.result = () => void network.card.receive(network.frames.at(-1)!)
  let received = 0
  const notified: number[] = []
  const notify = (queue: number): void => {
    if (queue !== receiveq) return
    received += receiver!.drain().length
    notified.push(received)
  }
  const { control, drivers, queues } = setUp({ device: new Net(network, { queueSize: usualSize }), packed, batch, notify }, 2)
  const [receiver, sender] = drivers
  for (let seed = 0; seed < count; seed++) {
    receiver!.put(chain().writable(200))
    sender!.put(chain().readable(new Uint8Array(headerBytes)).readable(plainFrame(60, { seed })))
  }
  receiver!.publish()
  sender!.publish()
  if (isHeld) queues[receiveq]!.cork()
  control.notifyAvailable(transmitq)
  if (isHeld) queues[receiveq]!.uncork()
  return notified
}

describe.each([false, true])('a driver is told of requests (packed: %s)', (packed) => {
  it('in the end, without a batch', () => {
    const { notified, visible } = served({ packed, count: 100, batch: 0 })
    expect([notified, steps(visible)]).toEqual([[100], [0]])
  })

  it('after each batch, and in the end', () => {
    expect(served({ packed, count: 7, batch: 4 }).notified).toEqual([4, 7])
    expect(served({ packed, count: 3, batch: 4 }).notified).toEqual([3])
    expect(served({ packed, count: 50, batch: 16 }).notified).toEqual([16, 32, 48, 50])
    expect(served({ packed, count: 3, again: 7, batch: 4 }).notified).toEqual([3, 7, 10])
  })

  it('as soon as it waits for one of them, and not before', () => {
    expect(served({ packed, count: 40, batch: 4, wish: 9 }).notified).toEqual([9])
    expect(served({ packed, count: 40, batch: 4, wish: 2 }).notified).toEqual([4])
  })

  it('never, where it waits for none, but sees them after eight batches', () => {
    const { notified, visible } = served({ packed, count: 70, batch: 4, wish: 'never' })
    expect([notified, steps(visible)]).toEqual([[], [0, 32, 64]])
  })

  it('when a quarter of the ring is used at the latest: it could not go on otherwise', () => {
    expect(served({ packed, count: 16, batch: 8, size: 16 }).notified).toEqual([4, 8, 12, 16])
    expect(steps(served({ packed, count: 16, batch: 8, size: 16, wish: 'never' }).visible)).toEqual([0, 4, 8, 12])
    expect(served({ packed, count: 2, batch: 8, size: 2 }).notified).toEqual([1, 2])
  })
})

describe.each([false, true])('a driver is told of events that come while it sends (packed: %s)', (packed) => {
  it('each time', () => {
    expect(answers(packed, 4, 3, false)).toEqual([1, 2, 3, 4])
  })

  it('in the end, where the host holds their queue', () => {
    expect(answers(packed, 100, 0, true)).toEqual([100])
  })

  it('after each batch, and in the end, where the host holds their queue', () => {
    expect(answers(packed, 7, 3, true)).toEqual([3, 6, 7])
    expect(answers(packed, 3, 3, true)).toEqual([3])
  })
})
