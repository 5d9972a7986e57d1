/** The entropy device is where Linux has its random numbers from. */
import { Rng } from 'virtgen/devices/rng'
import { expect, it } from 'vitest'
import type { Proof } from './proof.ts'

export class Entropy implements Proof {
  given = 0
  readonly devices = [
    {
      device: new Rng({
        source: (bytes) => {
          this.given += bytes.length
          crypto.getRandomValues(bytes)
        },
      }),
      options: { transitional: false },
    },
  ]

  readonly prove: Proof['prove'] = (guest) => {
    it('is /dev/hwrng of Linux, and all its bytes come from the source', async () => {
      expect(await guest().run('cat /sys/class/misc/hw_random/rng_current')).toMatch(/^virtio_rng\./)
      const before = this.given
      await guest().run('dd if=/dev/hwrng of=/dev/null bs=4096 count=64')
      expect(this.given - before).toBeGreaterThanOrEqual(64 * 4096)
    })
  }
}
