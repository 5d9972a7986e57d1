/** What the guest sees of the devices: PCI ids and capabilities, and feature bits, which the command line tool explains. */
import { execFileSync, spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import type { Guest } from '../guest.ts'

const tool = fileURLToPath(new URL('../../../bin/virtgen.js', import.meta.url))
const lspciMissing = spawnSync('lspci', ['--version']).error !== undefined
const skipped = lspciMissing && !process.env.CI
/** Chapters by device id. */
const chapters: Readonly<Record<number, string>> = { 1: 'net', 2: 'blk', 3: 'console', 4: 'entropy' }

interface Seen {
  readonly slot: number
  readonly device: number
  readonly features: string
  readonly status: number
}

/** Of each virtio device: its place on the PCI bus, its id, features that were negotiated, status. */
async function look(guest: Guest): Promise<Seen[]> {
  const lines = await guest.run(
    'for d in /sys/bus/virtio/devices/*; do echo "$(basename $(readlink -f $d/..)) $(cat $d/device $d/features $d/status | tr "\\n" " ")"; done',
  )
  return lines.split('\n').map((line) => {
    const [place = '', device, features = '', status] = line.split(' ')
    return { slot: Number.parseInt(place.slice(8, 10), 16), device: Number(device), features, status: Number(status) }
  })
}

interface Explained {
  readonly features: readonly { readonly bit: number; readonly name: string }[]
}

/** @param folder - for the dump */
export function proveIdentities(guest: () => Guest, folder: string): void {
  it('are those that were plugged in, with features that `virtgen features` explains and has nothing against', async () => {
    const seen = await look(guest())
    expect(seen.length).toBeGreaterThanOrEqual(7)
    for (const { slot, device, features, status } of seen) {
      const control = guest().machine.at(slot)?.control
      expect([slot, control?.device.id, control?.status]).toEqual([slot, device, status])
      const negotiated = [...features].flatMap((digit, bit) => (digit === '1' ? bit : []))
      expect(negotiated.filter((bit) => !control?.features.has(bit))).toEqual([])
      const chapter = chapters[device]
      expect(chapter, `device id ${device}`).toBeDefined()
      const explained = JSON.parse(execFileSync('node', [tool, 'features', chapter as string, features, '--json', '--strict'], { encoding: 'utf8' }))
      expect((explained as Explained).features.map(({ bit }) => bit)).toEqual(negotiated)
      for (const { name } of (explained as Explained).features) expect(name).toMatch(/^VIRTIO_/)
      expect((explained as Explained).features.map(({ name }) => name)).toContain('VIRTIO_F_VERSION_1')
    }
  })

  it.skipIf(skipped)(`are what lspci reads out of what the guest read${skipped ? ' (skipped: lspci is not installed)' : ''}`, async () => {
    const dump = await guest().run(
      `for d in /sys/bus/pci/devices/0000:00:1[0-9]*; do echo "$(basename $d | cut -c6-) virtio"; hexdump -v -e '"%02_ax: " 16/1 "%02x " "\\n"' $d/config; echo; done`,
    )
    const path = join(folder, 'lspci')
    writeFileSync(path, `${dump}\n`)
    const listed = execFileSync('lspci', ['-F', path, '-nn', '-vv'], { encoding: 'utf8' })
    const functions = listed.split(/\n\n/).filter((each) => each.includes('1af4:'))
    expect(functions.length).toBe((await look(guest())).length)
    for (const each of functions) {
      const slot = Number.parseInt(each.slice(3, 5), 16)
      const transport = guest().machine.at(slot)
      const id = transport?.readConfig(2, 2).toString(16).padStart(4, '0')
      expect(each).toContain(`[1af4:${id}]`)
      // The entropy device has no configuration of its own.
      const config = transport?.device.config.length ? ['DeviceCfg'] : []
      for (const structure of ['CommonCfg', 'ISR', 'Notify', ...config]) expect(each).toContain(`VirtIO: ${structure}`)
      expect(each).toMatch(/Control: I\/O\+ Mem. BusMaster\+/)
      expect(each).toContain(`I/O ports at ${transport?.bars[0]?.address?.toString(16)}`)
    }
  })
}
