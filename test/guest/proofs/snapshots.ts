/** A guest that is stopped in the middle of things, and goes on in another emulator. */
import { expect, it } from 'vitest'
import { Guest, type Snapshot } from '../guest.ts'
import { sha256 } from './disks.ts'
import { bytesOf } from './proof.ts'
import type { Setting } from './setting.ts'

const input = bytesOf(Array.from({ length: 20_000 }, (_, line) => `line ${line}\n`).join(''))
const half = 3 * 2 ** 20

/**
 * @param setting - where the guest is
 * @param next - where it goes on
 */
export function proveSnapshots(setting: () => Setting, next: () => Setting, moved: (there: Setting) => void): void {
  it('a guest whose disk is at work, which pings, and which has input to read, goes on in another emulator', async () => {
    const { guest, disks, terminals } = setting()
    // A disk that answers nothing from now on: chains are out in its hands.
    disks.parked.isHeld = true
    for (let part = 0; part < 3; part++) guest.send(`(dd if=/dev/vde bs=1M skip=${part} count=1 iflag=direct > /tmp/read${part}) 2>/dev/null &`)
    guest.send(`(dd if=/squash/random of=/dev/vde bs=64k seek=${half / 65_536} oflag=direct; echo > /tmp/written) 2>/dev/null &`)
    guest.send('ping -c 20 -i 0.2 10.0.2.2 > /tmp/ping &')
    terminals.console.port(1)?.write(input)
    await guest.run('sleep 1')
    await guest.until(() => disks.parked.waiting > 2)
    expect(terminals.console.port(1)?.waiting).toBeGreaterThan(100_000)
    expect(await guest.run('ls /tmp/written; true')).toContain('/tmp/written: No such file')
    const snapshot: Snapshot = await guest.snapshot()
    const inFlight = JSON.parse(snapshot.devices).devices[20].control.queues[0].queue.inFlight
    expect(inFlight.length).toBeGreaterThan(2)
    await guest.stop()

    const there = next()
    const restored = await Guest.restore(there, snapshot)
    there.guest = restored
    moved(there)
    await restored.run('while ! [ -e /tmp/written ]; do sleep 1; done; sync')
    expect(await restored.run('sleep 1; cat /tmp/read0 /tmp/read1 /tmp/read2 | sha256sum')).toContain(sha256(disks.content))
    expect(sha256(there.disks.slow.bytes.subarray(half))).toBe(sha256(disks.content))
    // Nothing was written where it was before.
    expect(disks.slow.bytes.subarray(half).every((byte) => byte === 0)).toBe(true)
    expect(await restored.run('while pidof ping > /dev/null; do sleep 1; done; cat /tmp/ping')).toMatch(
      /20 packets transmitted, (19|20) packets received/,
    )
    expect(await restored.run(`head -c ${input.length} /dev/vport*p1 | sha256sum`)).toContain(sha256(input))
    expect(there.terminals.console.port(1)?.waiting).toBe(0)
  })
}
