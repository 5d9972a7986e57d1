/** A stock Linux in v86 and virtgen's entropy device. */
import { Rng } from 'virtgen/devices/rng'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Guest } from './guest.ts'

describe('the entropy device', () => {
  let guest: Guest
  let given = 0
  const rng = new Rng({
    source: (bytes) => {
      given += bytes.length
      crypto.getRandomValues(bytes)
    },
  })
  beforeAll(async () => {
    guest = await Guest.boot({ devices: [rng] })
  }, 200_000)
  afterAll(() => guest?.stop())

  it('is /dev/hwrng of Linux, and all its bytes come from the source', async () => {
    expect(await guest.run('cat /sys/class/misc/hw_random/rng_current')).toBe('virtio_rng.0')
    const before = given
    await guest.run('dd if=/dev/hwrng of=/dev/null bs=4096 count=64')
    expect(given - before).toBeGreaterThanOrEqual(64 * 4096)
    expect(guest.errors).toEqual([])
  })
})
