/** When a driver hears of requests that a device has done while it serves more of them (`batch` of the options of a queue). */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { Net } from 'virtgen/devices/net'
import { Rng } from 'virtgen/devices/rng'
import { createDeviceQueue, DeviceControl, openQueue, type VirtioDevice } from 'virtgen/runtime'
import { chain, PackedFakeDriver, SplitFakeDriver, TestMemory } from 'virtgen/testing'
import { ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, VIRTIO_F_RING_PACKED, VIRTIO_F_VERSION_1 } from 'virtgen/wire/content'
import { describe, expect, it } from 'vitest'
import { plainFrame, Sink } from './support/net.ts'
import { offerHeads } from './support/offers.ts'

const size = 256
const [receiveq, transmitq] = [0, 1]
/** Of the header in front of a frame. */
const headerBytes = 12

interface Device {
  readonly device: VirtioDevice
  readonly packed: boolean
  readonly batch: number
  notify(queue: number): void
}

/** The device at work with so many queues, and their drivers. */
function setUp({ device, packed, batch, notify }: Device, queues: number) {
  const memory = new TestMemory({ regions: [{ guestAddress: 0, size: 0x40_000, source: new Uint8Array(0x40_000) }] })
  const drivers = Array.from({ length: queues }, () => new (packed ? PackedFakeDriver : SplitFakeDriver)(memory, { size }))
  const features = FeatureSet.of(VIRTIO_F_VERSION_1, ...(packed ? [VIRTIO_F_RING_PACKED] : []))
  const control = new DeviceControl(device, {
    memory,
    ringFeatures: features,
    createQueue: (memory, setup, options) => createDeviceQueue(memory, setup, { ...options, batch }),
    notify,
    configChanged: () => {},
  })
  control.writeStatus(ACKNOWLEDGE | DRIVER)
  for (const word of [0, 1]) control.setDriverFeatures(word, features.word(word))
  control.writeStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK)
  for (const [index, { setup }] of drivers.entries()) openQueue(control, { ...setup, index })
  control.writeStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK)
  return { control, drivers }
}

/** After how many requests done the driver is notified, each time, where so many are available at once. */
function notifications(packed: boolean, count: number, batch: number): number[] {
  let done = 0
  const seen: number[] = []
  const notify = (): void => {
    done += driver!.drain().length
    seen.push(done)
  }
  const { control, drivers } = setUp({ device: new Rng({ queueSize: size }), packed, batch, notify }, 1)
  const [driver] = drivers
  offerHeads(driver!, ...Array.from({ length: count }, (_, head) => head))
  control.notifyAvailable(0)
  return seen
}

/** After how many frames that came back the driver is notified of them, where it has sent so many at once. */
function answers(packed: boolean, count: number, batch: number): number[] {
  const network = new Sink()
  network.result = () => void network.card.receive(network.frames.at(-1)!)
  let received = 0
  const seen: number[] = []
  const notify = (queue: number): void => {
    if (queue !== receiveq) return
    received += receiver!.drain().length
    seen.push(received)
  }
  const { control, drivers } = setUp({ device: new Net(network, { queueSize: size }), packed, batch, notify }, 2)
  const [receiver, sender] = drivers
  for (let i = 0; i < count; i++) {
    receiver!.put(chain().writable(200))
    sender!.put(
      chain()
        .readable(new Uint8Array(headerBytes))
        .readable(plainFrame(60, { seed: i })),
    )
  }
  receiver!.publish()
  sender!.publish()
  control.notifyAvailable(transmitq)
  return seen
}

describe('a driver is told of requests', () => {
  it.each([false, true])('in the end, without a batch (packed: %s)', (packed) => {
    expect(notifications(packed, 100, 0)).toEqual([100])
  })

  it.each([false, true])('after each batch, and in the end (packed: %s)', (packed) => {
    expect(notifications(packed, 7, 4)).toEqual([4, 7])
    expect(notifications(packed, 3, 4)).toEqual([3])
  })

  it('when half are done, where many are available in a split ring', () => {
    expect(notifications(false, 32, 16)).toEqual([16, 32])
    expect(notifications(false, 64, 16)).toEqual([32, 48, 64])
    expect(notifications(false, 128, 16)[0]).toBe(64)
  })

  it('after four batches at the latest', () => {
    expect(notifications(false, 250, 16)[0]).toBe(64)
  })
})

describe.each([false, true])('a driver is told of frames that come back while it sends (packed: %s)', (packed) => {
  it('in the end, without a batch', () => {
    expect(answers(packed, 100, 0)).toEqual([100])
  })

  it('after each batch, and in the end', () => {
    expect(answers(packed, 7, 3)).toEqual([3, 6, 7])
    expect(answers(packed, 3, 3)).toEqual([3])
  })
})
