/** What `virtgen serve` takes, what it refuses and what it says then. No device is made here. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseArguments } from '../cli/arguments.ts'
import type { Call } from '../cli/command.ts'
import { serve } from '../cli/serve.ts'
import { serveSettings } from '../cli/serve-settings.ts'
import { runCommand } from './support/command.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'virtgen-serve-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** What a server would be asked for. */
function settings(line: string) {
  const parsed = parseArguments(['serve', ...line.split(' ')], [serve])
  return serveSettings({ arguments: parsed.arguments, options: parsed.options, host: { folder: '/work dir' } } as unknown as Call)
}

describe('settings', () => {
  it('are those of a disk with everything else by default', () => {
    expect(settings('blk --socket disk.sock --file disk.img')).toEqual({
      device: {
        type: 'blk',
        storage: { kind: 'file', path: '/work dir/disk.img', asynchronous: false },
        readOnly: false,
        queues: 16,
        discard: true,
      },
      sockets: ['/work dir/disk.sock'],
      connect: false,
      worker: false,
      json: false,
    })
  })

  it('have all that a disk can be told', () => {
    const line =
      'blk --socket /s --overlay /base --size 2G --async --readonly --queues 4 --serial root --block-size 4k --spin 20 --worker --metrics 9100 --json --connect'
    expect(settings(line)).toEqual({
      device: {
        type: 'blk',
        storage: { kind: 'overlay', path: '/base', size: 2 ** 31, asynchronous: true },
        readOnly: true,
        queues: 4,
        serial: 'root',
        blockSize: 4096,
        discard: true,
      },
      sockets: ['/s'],
      connect: true,
      spin: 20,
      worker: true,
      metrics: 9100,
      json: true,
    })
  })

  it.each([
    ['512', 512],
    ['64K', 65_536],
    ['64k', 65_536],
    ['64M', 2 ** 26],
    ['64MiB', 2 ** 26],
    ['1g', 2 ** 30],
    ['2T', 2 ** 41],
  ])('take --null %s for %d bytes', (text, bytes) => {
    expect(settings(`blk --socket s --null ${text}`).device).toMatchObject({ storage: { kind: 'null', size: bytes } })
  })

  it.each([
    ['--sink', { kind: 'sink' }],
    ['--echo', { kind: 'echo' }],
    ['--gateway', { kind: 'gateway' }],
    ['--tap vm0', { kind: 'tap', name: 'vm0' }],
    ['--passt p.sock', { kind: 'passt', path: '/work dir/p.sock' }],
    ['--stream /q.sock', { kind: 'stream', path: '/q.sock' }],
  ])('are those of a network: %s', (option, network) => {
    expect(settings(`net --socket s ${option} --queues 2 --mac 52:54:00:12:34:56 --mtu 9000`).device).toEqual({
      type: 'net',
      network,
      pairs: 2,
      mac: '52:54:00:12:34:56',
      mtu: 9000,
    })
  })

  it('join the guests of several sockets', () => {
    expect(settings('net --link --socket /a --socket /b')).toMatchObject({ sockets: ['/a', '/b'], device: { network: { kind: 'link' } } })
  })

  it('let several guests read one disk, and write to none that keeps anything', () => {
    expect(settings('blk --socket /a --socket /b --file f --readonly').sockets).toEqual(['/a', '/b'])
    expect(settings('blk --socket /a --socket /b --null 1M').sockets).toEqual(['/a', '/b'])
  })

  it('limit entropy', () => {
    expect(settings('rng --socket s --rate 1M').device).toEqual({ type: 'rng', rate: 2 ** 20 })
  })
})

const wrong: readonly (readonly [line: string, message: string, hint?: string])[] = [
  ['', 'virtgen serve needs <blk|net|rng>'],
  ['disk --socket s', 'there is no device "disk" to serve', 'there are blk, net, rng'],
  ['blx --socket s', 'there is no device "blx" to serve', 'did you mean blk?'],
  ['blk --ram 1M', 'virtgen serve needs --socket PATH', 'where the hypervisor connects to: --socket /tmp/virtgen.sock'],
  ['blk --socket s', 'say what the disk is: one of --file, --overlay, --ram, --null', '--file disk.img, or --ram 1G'],
  ['net --socket s', 'say what is at the other end: one of --passt, --stream, --tap, --gateway, --link, --echo, --sink'],
  ['blk --socket s --ram 1M --null 1M', '--ram and --null exclude each other'],
  ['net --socket s --sink --echo', '--echo and --sink exclude each other'],
  ['blk --socket s --ram lots', '--ram takes bytes, such as 67108864, 64M or 1G, not "lots"'],
  ['blk --socket s --ram -1', '--ram takes bytes'],
  ['blk --socket s --ram 1.5G', 'not "1.5G"'],
  ['blk --socket s --ram 9999999T', 'not "9999999T"'],
  ['blk --socket s --ram 1000', '--ram takes a multiple of 512 bytes above 0, not 1000'],
  ['blk --socket s --ram 0', '--ram takes a multiple of 512 bytes above 0, not 0'],
  ['blk --socket s --ram 1M --size 2M', '--size goes with --file or --overlay, not with --ram'],
  ['blk --socket s --ram 1M --async', '--async goes with --file or --overlay, not with --ram'],
  ['blk --socket s --overlay f --no-discard', '--no-discard goes with --file, not with --overlay'],
  ['blk --socket s --file f --size 1G --readonly', '--size makes a file longer, and --readonly lets nothing be written'],
  ['blk --socket s --ram 1M --queues 0', '--queues takes a number from 1 to 256, not 0'],
  ['blk --socket s --ram 1M --queues four', '--queues takes a whole number, not "four"'],
  ['blk --socket s --ram 1M --spin 2000000', '--spin takes a number from 0 to 1000000, not 2000000'],
  ['blk --socket s --ram 1M --metrics 70000', '--metrics takes a number from 0 to 65535, not 70000'],
  ['blk --socket s --ram 1M --block-size 1000', '--block-size takes a power of 2 from 512 to 2147483648, not 1000'],
  ['blk --socket s --ram 1M --serial 123456789012345678901', '--serial takes at most 20 printable characters of ASCII'],
  ['blk --socket s --ram 1M --mac 52:54:00:12:34:56', '--mac is for net, and this is blk'],
  ['net --socket s --sink --ram 1M', '--ram is for blk, and this is net'],
  ['net --socket s --sink --mac 53:54:00:12:34:56', '--mac takes the address of one card', 'the second digit is even'],
  ['net --socket s --sink --mac 00:00:00:00:00:00', '--mac takes the address of one card'],
  ['net --socket s --sink --mtu 60', '--mtu takes a number from 68 to 65535, not 60'],
  ['net --socket s --sink --queues 65', '--queues takes a number from 1 to 64, not 65'],
  ['net --socket s --tap interface-that-is-long', '--tap takes the name of an interface, up to 15 bytes'],
  ['net --socket s --link', '--link joins the guests of several sockets, and there is one', 'give --socket twice or more'],
  ['net --socket a --socket b --tap t', '--tap is the network of one guest, and there are 2 sockets', 'one --socket, or --link'],
  ['net --socket a --socket b --sink --mac 52:54:00:12:34:56', '--mac is the address of one card'],
  ['blk --socket a --socket b --ram 1M', '2 guests would write to one disk', 'one --socket, or --readonly'],
  ['blk --socket a --socket ./a --null 1M', '--socket ./a is given twice'],
  [`blk --ram 1M --socket /tmp/${'x'.repeat(110)}`, '--socket takes a path of at most 107 bytes', 'a shorter folder'],
  ['rng --socket s --queues 2', '--queues is for blk and net: an entropy device has one queue'],
  ['rng --socket s --rate 0', '--rate takes bytes per second above 0, not 0'],
  ['rng --socket s --rates 1', 'virtgen serve has no option --rates', 'did you mean --rate?'],
]

describe('wrong usage exits with 2 and says what is wrong:', () => {
  it.each(wrong)('virtgen serve %s', async (line, message, hint) => {
    const { code, out, error } = await runCommand(folder, ['serve', ...line.split(' ').filter((word) => word !== '')])
    expect({ code, out }).toEqual({ code: 2, out: '' })
    expect(error).toContain(message)
    if (hint !== undefined) expect(error).toContain(`hint: ${hint}`)
  })
})

describe('help', () => {
  it('has the options of each device under a heading', async () => {
    const { code, out } = await runCommand(folder, ['serve', '--help'])
    expect(code).toBe(0)
    for (const heading of ['all devices', 'blk', 'net', 'rng']) expect(out).toContain(`\nOptions of ${heading}\n`)
    expect(out).toMatch(/Options of rng\n {2}--rate BYTES {2}per second, at most\n/)
    expect(out).toMatch(/Examples\n.*\n.*virtgen serve blk --socket/)
  })
})
