/** A stock Linux in v86 finds the devices of virtgen and uses them. */
import { EntropyDevice, type EntropyReadRequest } from 'virtgen/skeleton/entropy'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Guest } from './guest.ts'

class Rng extends EntropyDevice {
  served = 0
  protected override read({ writable }: EntropyReadRequest): void {
    const bytes = new Uint8Array(writable.length)
    crypto.getRandomValues(bytes)
    writable.copyFrom(bytes)
    this.served++
  }
}
describe('x', () => {
  let guest: Guest
  const rng = new Rng({})
  beforeAll(async () => {
    guest = await Guest.boot({ devices: [rng] })
  }, 200_000)
  afterAll(() => guest?.stop())
  it('rng', async () => {
    expect(await guest.run('cat /sys/class/misc/hw_random/rng_current')).toBe('virtio_rng.0')
    const before = rng.served
    await guest.run('dd if=/dev/hwrng of=/dev/null bs=4096 count=64')
    expect(rng.served - before).toBeGreaterThan(4000)
    expect(guest.errors).toEqual([])
  })
})
