/** A configuration space whose length its first member says. */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { P9Driver } from 'virtgen/driver/p9'
import { P9Device, type P9MessageRequest } from 'virtgen/skeleton/p9'
import { VIRTIO_9P_MOUNT_TAG } from 'virtgen/wire/p9'
import { expect, test } from 'vitest'
import { loopback } from './support/loopback.ts'

class Share extends P9Device {
  protected override message({ writable }: P9MessageRequest): void {
    writable.copyFrom(Uint8Array.of(5, 6))
  }
}

test.each(['home', '', 'a'.repeat(1000)])('the driver reads the tag "%s"', async (tag) => {
  const bytes = new TextEncoder().encode(tag)
  const device = new Share({ features: [VIRTIO_9P_MOUNT_TAG], config: { tag_len: bytes.length, tag: bytes } })
  const { driver, violations } = await loopback<P9Driver>({ device, type: P9Driver, accepts: FeatureSet.of(VIRTIO_9P_MOUNT_TAG, 32) })
  expect(driver.config.tag_len).toBe(bytes.length)
  expect(new TextDecoder().decode(driver.config.tag)).toBe(tag)
  expect(violations).toEqual([])
})

test('a reply says how long it is', async () => {
  const { driver } = await loopback<P9Driver>({ device: new Share(), type: P9Driver, accepts: FeatureSet.of(32) })
  const reply = await driver.message({ size: 7, type: 100, tag: 3 }, new Uint8Array(0), 10)
  expect(reply).toEqual({ size: 9, type: 0, tag: 3, reply: Uint8Array.of(5, 6) })
})
