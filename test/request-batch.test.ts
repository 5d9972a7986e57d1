/** When a driver hears of requests that a device has done while it serves more of them (`batch` of the options of a queue). */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { Rng } from 'virtgen/devices/rng'
import { createDeviceQueue, DeviceControl, openQueue } from 'virtgen/runtime'
import { PackedFakeDriver, SplitFakeDriver, TestMemory } from 'virtgen/testing'
import { ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, VIRTIO_F_RING_PACKED, VIRTIO_F_VERSION_1 } from 'virtgen/wire/content'
import { describe, expect, it } from 'vitest'
import { offerHeads } from './support/offers.ts'

const size = 256

/** After how many requests done the driver is notified, each time, where so many are available at once. */
function notifications(packed: boolean, count: number, batch: number): number[] {
  const memory = new TestMemory({ regions: [{ guestAddress: 0, size: 0x10_000, source: new Uint8Array(0x10_000) }] })
  const driver = new (packed ? PackedFakeDriver : SplitFakeDriver)(memory, { size })
  const device = new Rng({ queueSize: size })
  let done = 0
  const seen: number[] = []
  const features = FeatureSet.of(VIRTIO_F_VERSION_1, ...(packed ? [VIRTIO_F_RING_PACKED] : []))
  const control = new DeviceControl(device, {
    memory,
    ringFeatures: features,
    createQueue: (memory, setup, options) => createDeviceQueue(memory, setup, { ...options, batch }),
    notify: () => {
      done += driver.drain().length
      seen.push(done)
    },
    configChanged: () => {},
  })
  control.writeStatus(ACKNOWLEDGE | DRIVER)
  for (const word of [0, 1]) control.setDriverFeatures(word, features.word(word))
  control.writeStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK)
  openQueue(control, driver.setup)
  control.writeStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK)
  offerHeads(driver, ...Array.from({ length: count }, (_, head) => head))
  control.notifyAvailable(0)
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
