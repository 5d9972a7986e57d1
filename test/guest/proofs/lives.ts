/** What happens to devices besides requests: they come and go, are driven by another driver, and find themselves in a machine that is reset. */
import { Blk, RamBackend } from 'virtgen/devices/blk'
import { ACKNOWLEDGE } from 'virtgen/wire/content'
import { expect, it } from 'vitest'
import type { Guest } from '../guest.ts'
import { configure, ping } from './cards.ts'
import { type Disks, sha256 } from './disks.ts'

const version1 = 32
const hotSlot = 27
const hotPlace = `0000:00:${hotSlot.toString(16)}.0`
const rescan = 'echo 1 > /sys/bus/pci/rescan'

/** The name of the disk with that serial number. */
export async function diskOf(guest: Guest, serial: string): Promise<string> {
  return guest.run(`for d in /sys/block/vd*; do if [ "$(cat $d/serial)" = ${serial} ]; then basename $d; fi; done`)
}

/** Digits of the features that were negotiated for the disk with that serial number. */
async function featuresOf(guest: Guest, serial: string): Promise<string> {
  return guest.run(`cat /sys/block/${await diskOf(guest, serial)}/device/features`)
}

export function proveLives(guest: () => Guest, disks: () => Disks): void {
  it('a disk comes while the guest runs, and goes', async () => {
    const bytes = Uint8Array.from(disks().content)
    const slot = guest().add({ device: new Blk(new RamBackend(bytes), { serial: 'hot' }), options: { slot: hotSlot } })
    await guest().run(rescan)
    const disk = await diskOf(guest(), 'hot')
    expect(await guest().run(`sha256sum /dev/${disk}`)).toContain(sha256(disks().content))
    await guest().run(`dd if=/dev/zero of=/dev/${disk} bs=4k count=16 && sync`)
    expect(bytes.subarray(0, 65_536).every((byte) => byte === 0)).toBe(true)
    await guest().run(`echo 1 > /sys/bus/pci/devices/${hotPlace}/remove`)
    // Linux has reset it, and seen that there is a device.
    expect(guest().machine.at(slot)?.control.status).toBe(ACKNOWLEDGE)
    guest().machine.remove(slot)
    await guest().run(rescan)
    expect((await guest().attempt(`ls /sys/bus/pci/devices/${hotPlace} /dev/${disk}`)).text).toMatch(/No such file[\s\S]*No such file/)
  })

  it('transitional devices serve the legacy driver as well, and the modern one after it', async () => {
    const rebind = (option: string): Promise<string> => guest().run(`rmmod virtio_pci && insmod /modules/virtio_pci.ko ${option} && sleep 1`)
    await guest().run('umount /squash; umount /ext4; true')
    await rebind('force_legacy=1')
    expect((await featuresOf(guest(), 'ext4'))[version1]).toBe('0')
    // It has no other interface.
    expect((await featuresOf(guest(), 'squash'))[version1]).toBe('1')
    await guest().run(`mount -t ext4 /dev/${await diskOf(guest(), 'ext4')} /ext4`)
    expect(await guest().run('sha256sum /ext4/copy')).toContain(sha256(disks().content))
    await guest().run('cp /ext4/copy /ext4/legacy; umount /ext4')
    expect((await guest().run('cat /sys/class/net/eth0/device/features'))[version1]).toBe('0')
    await configure(guest())
    await ping(guest())

    await rebind('')
    expect((await featuresOf(guest(), 'ext4'))[version1]).toBe('1')
    await guest().run(`mount -t ext4 /dev/${await diskOf(guest(), 'ext4')} /ext4`)
    expect(await guest().run('sha256sum /ext4/legacy; umount /ext4')).toContain(sha256(disks().content))
  })

  it('all of them are found again after the machine was reset', async () => {
    const { resets, output } = guest()
    guest().send('reboot -f')
    await guest().until(() => guest().resets > resets, 60)
    guest().output = guest().output.slice(output.length)
    await guest().ready()
    expect(await guest().run('ls /sys/bus/virtio/devices | wc -l')).toBe(String(guest().machine.slots.length))
    await guest().run(`mkdir -p /ext4; mount -t ext4 /dev/${await diskOf(guest(), 'ext4')} /ext4`)
    expect(await guest().run('sha256sum /ext4/copy; umount /ext4')).toContain(sha256(disks().content))
    expect(await guest().run('cat /sys/class/misc/hw_random/rng_current')).toMatch(/^virtio_rng\./)
    await configure(guest())
    await ping(guest())
  })
}
