/**
 * A stock Linux in v86 with virtgen's four devices, booted once: each proof leaves the guest as the next one needs it. Half-way it moves to another emulator, and in the end
 * it is rebooted.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Guest } from './guest.ts'
import { ping } from './proofs/cards.ts'
import { proveIdentities } from './proofs/identities.ts'
import { proveLives } from './proofs/lives.ts'
import { bytesOf } from './proofs/proof.ts'
import { Setting } from './proofs/setting.ts'
import { proveSnapshots } from './proofs/snapshots.ts'

describe('Linux in v86', () => {
  const folder = mkdtempSync(join(tmpdir(), 'virtgen-guest-'))
  const first = new Setting(folder)
  let now = first
  const guest = (): Guest => now.guest
  beforeAll(async () => {
    first.guest = await Guest.boot(first)
  }, 250_000)
  afterAll(async () => {
    await guest()?.stop()
    first.cards.end()
    rmSync(folder, { recursive: true })
  })

  for (const [name, { prove }] of Object.entries(first.proofs)) describe(name, () => prove(guest))

  describe('all of them', () => {
    proveIdentities(guest, folder)

    it('change no byte of memory but those that v86 was told of', async () => {
      const { oracle, terminals } = now
      // The disks whose backends answer at once: of the fifth one, memory changes while the guest runs.
      const slots = guest().machine.slots.filter((slot) => slot !== 20)
      await oracle.watch(guest(), slots, async () => {
        await guest().run('dd if=/dev/vda of=/dev/null bs=64k count=4 iflag=direct; dd if=/squash/random of=/dev/vdc bs=4k count=3 oflag=direct')
        await guest().run('dd if=/dev/hwrng of=/dev/null bs=64 count=2; echo out > /dev/hvc0; blockdev --flushbufs /dev/vdb')
        await ping(guest())
        oracle.around(() => terminals.console.port(1)?.write(bytesOf('in\n')))
        expect(await guest().run('head -c 3 /dev/vport*p1')).toBe('in')
      })
      expect(oracle.untold).toEqual([])
      expect(oracle.calls).toBeGreaterThan(10)
      expect(oracle.changed).toBeGreaterThan(3 * 65_536)
    })
  })

  proveSnapshots(
    () => first,
    () => new Setting(folder, first),
    (there) => {
      expect(first.guest.errors).toEqual([])
      now = there
    },
  )

  proveLives(guest, () => now.disks)

  it('no rule was broken', () => {
    expect(guest().errors).toEqual([])
  })
})
