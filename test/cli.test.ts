import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { parseHex } from '../cli/bytes-input.ts'
import { Options } from '../cli/command.ts'
import { describe as describeAll, describePart } from '../cli/description.ts'
import { editorSchema } from '../cli/editor-schema.ts'
import { parseBits } from '../cli/feature-bits.ts'
import { withUnit } from '../cli/units.ts'
import { plain } from '../generator/index.ts'
import { runCommand, type World } from './support/command.ts'

const root = resolve(import.meta.dirname, '..')
let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'virtgen-cli-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Runs the command in this process. */
const run = (words: string[], world?: World) => runCommand(folder, words, world)

/** The JSON of a call that succeeds. */
async function json(...words: string[]) {
  const { code, out, error } = await run([...words, '--json'])
  expect({ code, error }).toEqual({ code: 0, error: '' })
  return JSON.parse(out)
}

function put(path: string, text: string): string {
  const file = join(folder, path)
  mkdirSync(join(file, '..'), { recursive: true })
  writeFileSync(file, text)
  return file
}

const commands = ['generate', 'verify', 'model', 'facts', 'errata', 'features', 'decode']

describe('help', () => {
  it.each([[[]], [['--help']], [['-h']], [['help']]])('of the whole is printed by virtgen %j', async (words) => {
    const { code, out, error } = await run(words)
    expect({ code, error }).toEqual({ code: 0, error: '' })
    for (const command of commands) expect(out).toContain(`  ${command}  `)
  })

  it.each(commands)('of %s has its options and examples, by either way', async (command) => {
    const byOption = await run([command, '--help'])
    expect(byOption).toEqual(await run(['help', command]))
    expect(byOption.code).toBe(0)
    expect(byOption.out).toContain('--spec DIR')
    expect(byOption.out).toMatch(new RegExp(`Examples\n.*\n.*virtgen ${command}`))
  })

  it('names the version', async () => {
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
    expect(await run(['--version'])).toEqual({ code: 0, out: `${version}\n`, error: '' })
  })
})

describe('errata', () => {
  it('quotes the text, says what is followed and why, and counts', async () => {
    const { code, out } = await run(['errata', 'console'])
    expect(code).toBe(0)
    expect(out).toMatch(/VIRTIO_CONSOLE_PORT_READY · .*\n {4}says {2}"Sent by the driver .*"\n {4}true {2}VIRTIO_CONSOLE_DEVICE_ADD\n {4}why {3}/)
    expect(out).toMatch(/\n\d+ errata of the text, \d+ differences? from Linux\n$/)
  })

  it('lists the same for programs', async () => {
    const all: { kind: string; scope: string }[] = await json('errata')
    const some: { kind: string; scope: string }[] = await json('errata', 'blk')
    expect(some.length).toBeGreaterThan(5)
    expect(some).toEqual(all.filter(({ scope }) => scope === 'blk'))
  })
})

describe('wrong usage exits with 2, says what is wrong on the standard error, and what was meant:', () => {
  it.each([
    [['genrate'], 'no command "genrate"', 'did you mean generate?'],
    [['help', 'fact'], 'no command "fact"', 'did you mean facts?'],
    [['generate', '--chek'], 'virtgen generate has no option --chek', 'did you mean --check?'],
    [['model', '--strict'], 'has no option --strict', 'it belongs to features'],
    [['-x'], 'no option -x', 'virtgen --help'],
    [['features', 'blk'], 'needs <bits>', 'usage: virtgen features <device> <bits>'],
    [['features', 'blk', '1', '2'], 'does not know what to do with "2"', 'usage'],
    [['generate', '--out'], '--out needs a value', ''],
    [['generate', '--out', 'a', '--out', 'b'], '--out is given 2 times', ''],
    [['features', 'blck', '1'], 'no chapter "blck"', 'did you mean blk?'],
    [['features', 'blk', 'zz'], '"zz" is not a set of feature bits', 'decimal is not accepted'],
    [['features', 'blk', `0x1${'0'.repeat(32)}`], 'bit 128', ''],
    [['facts', 'consol'], 'no chapter "consol"', 'did you mean console?'],
    [['decode', 'virtio_blk_confg', '00'], 'no struct or request is named', 'did you mean virtio_blk_config?'],
    [['decode', 'virtio_blk_req', '00'], 'has two parts', '--part'],
    [['decode', 'virtio_blk_config', '--part', 'readable', '00'], 'has no parts', ''],
    [['decode', 'virtio_blk_req', '--part', 'both', '00'], 'readable or writable, not "both"', ''],
    [['decode', 'virtio_blk_config', '0g'], '"g" is not a hexadecimal digit', ''],
    [['decode', 'virtio_blk_config', '123'], 'odd number of digits', ''],
    [['decode', 'virtio_blk_config', '@none.bin'], 'cannot read', ''],
    [['decode', 'virtio_blk_config', '00', '--features', 'VIRTIO_BLK_F_R0'], 'no feature is named', 'VIRTIO_BLK_F_RO'],
    [['decode', 'virtio_blk_config', '00', '--config', '{'], '--config is not JSON', ''],
    [['decode', 'virtio_blk_config', '00', '--queue-size', '-1'], '', ''],
    [['decode', 'virtio_blk_config', '00', '--queue-size', 'many'], 'a whole number, not "many"', ''],
    [['verify', '--seed', '0x100000000'], '--seed takes a number up to', ''],
  ])('virtgen %j', async (words, message, hint) => {
    const { code, out, error } = await run(words)
    expect({ code, out }).toEqual({ code: 2, out: '' })
    expect(error).toContain(message)
    expect(error).toContain(hint)
  })
})

describe('colours', () => {
  const isColoured = async (world: World, ...more: string[]): Promise<boolean> =>
    (await run(['features', 'blk', '0x200', ...more], world)).out.includes('\x1b[')

  it.each<[string, World, boolean]>([
    ['not in a pipe', {}, false],
    ['on a terminal', { terminal: true }, true],
    ['not with NO_COLOR', { terminal: true, environment: { NO_COLOR: '1' } }, false],
    ['with an empty NO_COLOR', { terminal: true, environment: { NO_COLOR: '' } }, true],
    ['not on a dumb terminal', { terminal: true, environment: { TERM: 'dumb' } }, false],
    ['with FORCE_COLOR in a pipe', { environment: { FORCE_COLOR: '1' } }, true],
    ['not with FORCE_COLOR=0', { terminal: true, environment: { FORCE_COLOR: '0' } }, false],
  ])('are used %s', async (_, world, expected) => expect(await isColoured(world)).toBe(expected))

  it('are off with --no-color, whatever the environment says', async () => {
    expect(await isColoured({ terminal: true, environment: { FORCE_COLOR: '1' } }, '--no-color')).toBe(false)
  })

  it('do not move the columns', async () => {
    const painted = await run(['features', 'blk', '0x200000204'], { terminal: true })
    const bare = await run(['features', 'blk', '0x200000204'])
    expect(stripVTControlCharacters(painted.out)).toBe(bare.out)
  })
})

describe('features', () => {
  const guest = (name: string): { features: string; offeredFeatures: string; deviceId: number } =>
    JSON.parse(readFileSync(join(root, `test/fixtures/linux-guest/${name}.json`), 'utf8'))

  it('reads what sysfs prints as well as a mask', async () => {
    const { features, deviceId } = guest('blk')
    const bySysfs = await json('features', 'blk', features)
    expect(bySysfs.bits).toBe('0x10130007e54')
    expect(await json('features', String(deviceId), '0x10130007e54')).toEqual(bySysfs)
    expect(await json('features', 'blk', '10130007e54')).toEqual(bySysfs)
  })

  it('names each bit, with the chapter it comes from', async () => {
    const { features } = await json('features', 'blk', guest('blk').features)
    expect(features).toHaveLength(13)
    expect(features[0]).toMatchObject({ bit: 2, name: 'VIRTIO_BLK_F_SEG_MAX', chapter: 'blk', source: 'oasis-1.4' })
    expect(features.at(-1)).toMatchObject({ bit: 40, name: 'VIRTIO_F_RING_RESET', chapter: 'content' })
  })

  it('finds nothing wrong with what Linux negotiates and QEMU offers', async () => {
    const chapters = readdirSync(join(root, 'spec/device')).map((file) => file.replace('.yaml', ''))
    const captured = readdirSync(join(root, 'test/fixtures/linux-guest')).filter(
      (file) => file.endsWith('.json') && chapters.includes(file.replace('.json', '')),
    )
    expect(captured).toContain('blk.json')
    for (const file of captured) {
      const { features, offeredFeatures, deviceId } = guest(file.replace('.json', ''))
      for (const bits of [features, offeredFeatures]) {
        const report = await json('features', String(deviceId), bits)
        expect({ file, ...report }).toMatchObject({ interface: 'modern', missing: [], violated: [] })
      }
      expect((await run(['features', String(deviceId), features, '--strict'])).code).toBe(0)
    }
  })

  it('reports requirements that are not met, and exits with 1 only if it is to be strict', async () => {
    const words = ['features', 'blk', '0x20000']
    const { code, out } = await run(words)
    expect(code).toBe(0)
    expect(out).toMatch(/^missing +VIRTIO_BLK_F_ZONED requires VIRTIO_F_VERSION_1$/m)
    expect((await run([...words, '--strict'])).code).toBe(1)
  })

  it('warns of features that a device must not offer so, though a driver may have accepted them', async () => {
    const { code, out } = await run(['features', 'blk', '0x100000800', '--strict'])
    expect(code).toBe(0)
    expect(out).toMatch(/^warning +a device that offers VIRTIO_BLK_F_CONFIG_WCE offers VIRTIO_BLK_F_FLUSH too$/m)
  })

  it('tells reserved bits from those of no feature of the device', async () => {
    const report = await json('features', 'blk', `0x${((1n << 49n) | (1n << 42n) | (1n << 60n) | (1n << 22n)).toString(16)}`)
    expect(report).toMatchObject({ reserved: [42, 49], unknown: [22, 60], features: [], interface: 'legacy' })
    expect((await run(['features', 'blk', '0x400000', '--strict'])).code).toBe(1)
  })

  it('knows the common features of a device that has an id only', async () => {
    const listed = 'rdma'
    const report = await json('features', listed, '0x100000000')
    expect(report).toMatchObject({ device: listed, id: 42, interface: 'modern', features: [{ name: 'VIRTIO_F_VERSION_1' }] })
  })

  it('says that decimal digits are taken as hexadecimal', async () => {
    const { code, error } = await run(['features', 'blk', '512'])
    expect(code).toBe(0)
    expect(error).toContain('512 is read as 0x512')
  })

  it('evaluates assumed features, suggestions and rules of a chapter', async () => {
    const spec = join(folder, 'rules')
    put(
      'rules/toy.yaml',
      [
        'kind: device\nname: toy\nid: 0xff70\nfeatures:',
        '  TOY_F_OLD: {bit: 0, assumed: not VIRTIO_F_VERSION_1}',
        '  TOY_F_NEEDS_OLD: {bit: 1, requires: TOY_F_OLD}',
        '  TOY_F_NICE: {bit: 2, suggests: TOY_F_OLD}',
        'rules: [TOY_F_NICE or not TOY_F_NEEDS_OLD]\n',
      ].join('\n'),
    )
    const legacy = await json('features', 'toy', '0x2', '--spec', spec)
    expect(legacy).toMatchObject({ missing: [], violated: ['TOY_F_NICE or not TOY_F_NEEDS_OLD'] })
    expect(legacy.assumed).toEqual([{ name: 'TOY_F_OLD', bit: 0, condition: 'not VIRTIO_F_VERSION_1' }])
    const modern = await json('features', String(0xff70), '0x100000006', '--spec', spec)
    expect(modern).toMatchObject({
      assumed: [],
      violated: [],
      missing: [{ name: 'TOY_F_NEEDS_OLD' }],
      warnings: [{ name: 'TOY_F_NICE', condition: 'TOY_F_OLD' }],
    })
  })

  it('takes the legacy feature of a bit on the legacy interface only', async () => {
    const spec = join(folder, 'shared')
    put('shared/toy.yaml', 'kind: device\nname: toy-s\nid: 0xff74\nfeatures:\n  OLD: {bit: 5, legacy: true}\n  NEW: {bit: 5, shares_bit: OLD}\n')
    expect((await json('features', 'toy-s', '0x20', '--spec', spec)).features).toMatchObject([{ name: 'OLD', legacy: true, others: ['NEW'] }])
    expect((await json('features', 'toy-s', '0x100000020', '--spec', spec)).features).toMatchObject([{ name: 'NEW', others: ['OLD'] }, {}])
  })
})

describe('a set of feature bits', () => {
  it.each([
    ['0x0', []],
    ['0x8000000000000000000000000000000f', [0, 1, 2, 3, 127]],
    ['F', [0, 1, 2, 3]],
    ['0b1010', [1, 3]],
    ['101', [0, 8]],
    [`01${'0'.repeat(30)}`, [1]],
    [`${'0'.repeat(32)}1${'0'.repeat(31)}\n`, [32]],
  ])('%s', (text, bits) => expect(parseBits(text)).toEqual(bits))
})

describe('bytes', () => {
  it.each([
    ['01002a'],
    ['01 00 2a'],
    ['0x01 0x00 0x2a'],
    ['0x01002a'],
    ['1 0 2a'],
    ['01:00:2A'],
    ['01,00,\n2a'],
    ['00000000: 0100 2a                                  ..*'],
    ['00000000  01 00 2a                                          |..*|\n00000003'],
    ['00000010: 01\n00000011: 00 2a'],
  ])('are read from %j', (text) => expect([...parseHex(text)]).toEqual([1, 0, 42]))

  it('are read from a dump whose text looks like digits', () => {
    expect([...parseHex('00000000: 6162 3132  ab12')]).toEqual([0x61, 0x62, 0x31, 0x32])
    expect([...parseHex('00000000  61 62 31 32 61 62 31 32  61 62 31 32 61 62 31 32  |ab12ab12ab12ab12|')]).toHaveLength(16)
  })

  it('of a dump are repeated by a star', () => {
    const dump = `00000000  ${'00 '.repeat(8)} ${'00 '.repeat(8)} |................|\n*\n00000030  01                                                |.|\n00000031\n`
    expect([...parseHex(dump)]).toEqual([...new Array<number>(48).fill(0), 1])
  })

  it.each([
    ['0000000 0102 0304\n0000004', 'byte order'],
    ['00000000: 01\n00000005: 02', 'a line is missing'],
    ['00000000: 01\nnonsense', 'not a line of the dump'],
    ['xx', 'not hexadecimal'],
  ])('are refused from %j', (text, message) =>
    expect(() => parseHex(text)).toThrow(message.startsWith('a line') ? /1 bytes before the address/ : new RegExp(message)),
  )
})

describe('decode', () => {
  const { config, features } = JSON.parse(readFileSync(join(root, 'test/fixtures/linux-guest/blk.json'), 'utf8')) as {
    config: string
    features: string
  }
  const field = (report: { fields: { path: string }[] }, path: string) => report.fields.find((one) => one.path === path)

  it('shows the configuration space that Linux saw', async () => {
    const report = await json('decode', 'virtio_blk_config', config, '--features', features)
    expect(report).toMatchObject({ chapter: 'blk', struct: 'virtio_blk_config', bytes: 256, size: 96, missing: [] })
    expect(report.leftOver).toBe('ff'.repeat(160))
    expect(field(report, 'capacity')).toEqual({ path: 'capacity', offset: 0, size: 8, raw: '0000020000000000', value: 131072, unit: 'sector' })
    expect(field(report, 'geometry.heads')).toMatchObject({ offset: 18, value: 16, when: ['VIRTIO_BLK_F_GEOMETRY'] })
    expect(field(report, 'writeback')).toMatchObject({ value: 1, constant: 'writeback' })
    expect(field(report, 'num_queues')).toMatchObject({ value: 4 })
    expect(field(report, 'unused1')).toMatchObject({ reserved: true, notZero: true, raw: 'ffffff' })
    expect(field(report, 'zoned.model')).toMatchObject({ unnamed: 255, meaningless: true, when: ['VIRTIO_BLK_F_ZONED'] })
    expect(field(report, 'seg_max')).not.toHaveProperty('meaningless')
  })

  it('shows it to people with units', async () => {
    const { code, out } = await run(['decode', 'virtio_blk_config', config, '--features', features])
    expect(code).toBe(0)
    expect(out).toMatch(/^0x00 +capacity +0000020000000000 +131072 sectors \(64 MiB\)$/m)
    expect(out).toMatch(/^0x39 +unused1 +ffffff +reserved, but not zero$/m)
    expect(out).toMatch(/^0x48 .*meaningless without VIRTIO_BLK_F_ZONED$/m)
    expect(out).toMatch(/^left over: 160 bytes from 0x60 on: ff/m)
  })

  it('takes a configuration space that is shorter than its struct', async () => {
    const { code, out } = await run(['decode', 'virtio_blk_config', config.slice(0, 57 * 2)])
    expect(code).toBe(0)
    expect(out).toMatch(/: 57 bytes of 96$/m)
    expect(out).toMatch(/^0x38 +write_zeroes_may_unmap +01 +1 /m)
    expect(out).toMatch(/^0x39 +unused1 +not in the bytes$/m)
    const report = await json('decode', 'virtio_blk_config', config.slice(0, 57 * 2))
    expect(report.missing.map(({ path }: { path: string }) => path)).toContain('zoned.model')
  })

  it('names constants and flags in one integer, and the request that a header begins', async () => {
    const words = ['decode', 'virtio_blk_req', '--part', 'readable', '01000080', '07000000', '0800000000000000']
    const report = await json(...words)
    expect(field(report, 'type')).toMatchObject({ constant: 'VIRTIO_BLK_T_OUT', flags: ['VIRTIO_BLK_T_BARRIER'] })
    expect(field(report, 'reserved')).toMatchObject({ notZero: true })
    expect(report).toMatchObject({ part: 'readable', request: 'virtio_blk_req.write', value: { type: 0x80000001, sector: 8 } })
    expect((await run(words)).out).toContain('VIRTIO_BLK_T_OUT | VIRTIO_BLK_T_BARRIER (0x80000001)')
  })

  it('decodes a request with its own members', async () => {
    const id = Buffer.from('virtgen-0001'.padEnd(20, '\0')).toString('hex')
    const { code, out } = await run(['decode', 'virtio_blk_req.get_id', '--part', 'writable', id, '00'])
    expect(code).toBe(0)
    expect(out).toMatch(/^0x00 +id .*"virtgen-0001"$/m)
    expect(out).toMatch(/^0x14 +status +00 +VIRTIO_BLK_S_OK \(0\)$/m)
  })

  it('shows bit-fields with their bits, and flags reserved ones that are set', async () => {
    const report = await json('decode', 'virtio_blk_discard_write_zeroes', '0800000000000000 10000000 03000000')
    expect(field(report, 'flags.unmap')).toMatchObject({ offset: 12, bit: 0, bits: 1, value: 1 })
    expect(field(report, 'flags.reserved')).toMatchObject({ bit: 1, bits: 31, value: 1, notZero: true })
  })

  it('shows what fits and what is missing, and exits with 1, where bytes are missing', async () => {
    const { code, out, error } = await run(['decode', 'virtio_blk_discard_write_zeroes', '0800000000000000', '1000'])
    expect(code).toBe(1)
    expect(out).toMatch(/^0x00 +sector .*8 sectors/m)
    expect(out).not.toContain('num_sectors')
    expect(error).toContain('needs 16 bytes, there are 10; missing: num_sectors, flags.unmap, flags.reserved')
    const report = JSON.parse((await run(['decode', 'virtio_blk_discard_write_zeroes', '08', '--json'])).out)
    expect(report).not.toHaveProperty('value')
    expect(report.missing[0]).toEqual({ path: 'sector', offset: 0, size: 8 })
  })

  it('reads the standard input and files, as dumps or as bytes', async () => {
    const status = ['decode', 'virtio_blk_lifetime']
    const bytes = Uint8Array.of(2, 0, 4, 0, 11, 0)
    put('lifetime.bin', Buffer.from(bytes).toString('latin1'))
    const expected = (await run([...status, '020004000b00'])).out
    expect(expected).toContain('VIRTIO_BLK_PRE_EOL_INFO_WARNING (2)')
    expect((await run([...status, '-'], { input: bytes })).out).toBe(expected)
    expect((await run([...status, '-'], { input: '00000000: 0200 0400 0b00  ......\n' })).out).toBe(expected)
    expect((await run([...status, '@lifetime.bin'])).out).toBe(expected)
  })

  it('wants the chapter where a name is in several, and what the layout depends on', async () => {
    const spec = join(folder, 'ambiguous')
    put(
      'ambiguous/a.yaml',
      'kind: device\nname: toy-a\nid: 0xff71\nstructs:\n  pair:\n    - n: u8\n  sized:\n    - data[config.n]: u8\nconfig:\n  a_config:\n    - n: u8\n',
    )
    put('ambiguous/b.yaml', 'kind: device\nname: toy-b\nid: 0xff72\nstructs:\n  pair:\n    - n: le16\n')
    const ambiguous = await run(['decode', 'pair', '0100', '--spec', spec])
    expect(ambiguous.code).toBe(2)
    expect(ambiguous.error).toContain('toy-a/pair, toy-b/pair')
    expect(await json('decode', 'toy-b/pair', '0100', '--spec', spec)).toMatchObject({ value: { n: 1 } })
    const unknown = await run(['decode', 'sized', '0102', '--spec', spec])
    expect(unknown.code).toBe(2)
    expect(unknown.error).toContain(`--config '{"n": …}'`)
    expect(await json('decode', 'sized', '0102', '--spec', spec, '--config', '{"n": 2}')).toMatchObject({ value: { data: '0102' } })
  })

  it('names enum bits, flags, members of a set and owners of ranges, and shows what has no name', async () => {
    const spec = join(folder, 'names')
    const yaml = [
      'kind: device\nname: toy-v\nid: 0xff75\nconstants:',
      '  kinds: {A: 1, B: 2, 8 .. 15: vendor}\n  bits: {X: 0x10, Y: 0x20}\n  caps: {CAP0: 0, CAP3: 3}',
      'structs:\n  named:\n    - both: {type: u8, enum: kinds, flags: bits, mask: 0x0f}\n    - caps: {type: u8, set: caps}\n    - kind: {type: u8, enum: kinds}\n',
    ]
    put('names/toy.yaml', yaml.join('\n'))
    const report = await json('decode', 'named', 'b20a09', '--spec', spec)
    expect(report.fields).toMatchObject([
      { constant: 'B', flags: ['X', 'Y'], unnamed: 0x80 },
      { flags: ['CAP3'], unnamed: 2 },
      { constant: 'vendor' },
    ])
    expect((await run(['decode', 'named', '930107', '--spec', spec])).out).toMatch(/no such constant \(7\)$/m)
  })

  it('finds a struct that has no name of its own', async () => {
    const spec = join(folder, 'nested')
    put('nested/a.yaml', 'kind: device\nname: toy-n\nid: 0xff73\nstructs:\n  outer:\n    - inner: {struct: [a: u8, b: be16]}\n')
    expect(await json('decode', 'outer_inner', '010203', '--spec', spec)).toMatchObject({ value: { a: 1, b: 0x203 } })
  })
})

describe('quantities', () => {
  it.each([
    [131072, 'sector', '131072 sectors (64 MiB)'],
    [1, 'sector', '1 sector (512 bytes)'],
    [0, 'sector', '0 sectors'],
    [512, 'byte', '512 bytes'],
    [1536, 'byte', '1536 bytes (1.5 KiB)'],
    [0xffff_ffff, 'byte', '4294967295 bytes (≈ 4 GiB)'],
    [2n, 'page', '2 pages (8 KiB)'],
    [9, 'log2', '9 (2^9 = 512)'],
    [0xfee0_0000, 'address', '0xfee00000'],
    [5, 'us', '5 us'],
    [1, 'zone', '1 zone'],
  ])('%s %s', (value, unit, text) => expect(withUnit(value, unit)).toBe(text))
})

describe('model and facts', () => {
  it('show one chapter, by name or id, or all', async () => {
    const all = await json('model')
    expect(all.chapters.map(({ name }: { name: string }) => name)).toContain('split-ring')
    const one = await json('model', '2')
    expect(one.chapters).toEqual(all.chapters.filter(({ name }: { name: string }) => name === 'blk'))
    expect(one.devices).toEqual(all.devices)
  })

  it('show a chapter to people', async () => {
    const { code, out } = await run(['model', 'blk'])
    expect(code).toBe(0)
    expect(out).toMatch(/^blk: Block Device \(device, id 2\)$/m)
    expect(out).toMatch(/^ +11 +VIRTIO_BLK_F_CONFIG_WCE +offered with VIRTIO_BLK_F_FLUSH; /m)
    expect(out).toMatch(/^ +0x22 +2 +le16 +num_queues +only with VIRTIO_BLK_F_MQ$/m)
    expect(out).toMatch(/^ +0x0c +bit 0 +unmap +Writing zeroes/m)
    expect(out).toMatch(/^ +get_id = VIRTIO_BLK_T_GET_ID$/m)
  })

  it('have one fact per line, to search in', async () => {
    const { out } = await run(['facts', 'blk'])
    const lines = out.trimEnd().split('\n')
    expect(lines.every((line) => /^(device|feature|constant|struct|field|register|queue|request|event|erratum) +blk /.test(line))).toBe(true)
    expect(out).toMatch(/^field +blk +virtio_blk_config\.capacity +offset 0 +size 8, le64$/m)
    expect(out).toMatch(/^constant +blk +VIRTIO_BLK_T_OUT += 1 +virtio_blk_type$/m)
    const facts = await json('facts', 'blk')
    expect(facts.structs.every(({ scope }: { scope: string }) => scope === 'blk')).toBe(true)
    expect(facts.version).toBe('1.4')
  })

  it('read only what a chapter depends on, and get the same', () => {
    const call = (spec: string[]) => ({ host: { folder: root }, options: new Options(new Map([['spec', spec]])), paint: plain }) as never
    const whole = describeAll(call([])).model
    const names = ['content', 'split-ring', 'transport-pci', 'admin', 'blk', 'net', 'fs', 'fuse', 'media', 'vhost-user']
    for (const chapter of whole.chapters.filter(({ name }) => names.includes(name))) {
      const { model } = describePart(call([]), { chapters: [chapter.name] })
      expect(model.chapters.find(({ name }) => name === chapter.name)).toEqual(chapter)
      expect(model.devices).toEqual(whole.devices)
    }
  })
})

describe('mistakes in the description', () => {
  const broken = () => {
    put('broken/toy.yaml', 'kind: device\nname: toy\nid: 0xff70\nstructs:\n  a:\n    - x: le33\n    - y: le99\n')
    return join(folder, 'broken')
  }

  it('are all printed with their place, then counted; the exit code is 1', async () => {
    const { code, out, error } = await run(['features', 'blk', '1', '--spec', broken()])
    expect({ code, out }).toEqual({ code: 1, out: '' })
    expect(error).toContain('broken/toy.yaml:6:10: error[unknown-type]: unknown type "le33"')
    expect(error).toMatch(/\n2 problems\n$/)
  })

  it('are a JSON array on the standard output with --json', async () => {
    const { code, out, error } = await run(['generate', '--spec', broken(), '--json'])
    expect({ code, error }).toEqual({ code: 1, error: '' })
    expect(JSON.parse(out)).toMatchObject([
      { code: 'unknown-type', line: 6 },
      { code: 'unknown-type', line: 7 },
    ])
  })
})

describe('generate', () => {
  const vendor = () => {
    put('vendor/toy.yaml', 'kind: device\nname: toy\ntitle: Toy\nid: 0xff70\nsection: Toy\nstructs:\n  toy_req:\n    - n: le32\n')
    return 'vendor'
  }
  const generated = () => readdirSync(join(folder, 'out'), { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'))

  it('writes the chapters of --spec, once, and says what it did', async () => {
    const first = JSON.parse((await run(['generate', '--spec', vendor(), '--out', 'out', '--json'])).out)
    expect(first.written).toContain('out/wire/toy.ts')
    expect(first.written.some((path: string) => path.includes('blk'))).toBe(false)
    expect(first.read.chapters).toBeGreaterThan(5)
    expect(generated().length).toBe(first.written.length)
    const second = await run(['generate', '--spec', vendor(), '--out', 'out'])
    expect(second.code).toBe(0)
    expect(second.out).toMatch(/^read +\d+ files: \d+ chapters, .* constants$/m)
    expect(second.out).toMatch(/^left +\d+ files? as /m)
    expect(second.out).not.toContain('wrote')
  })

  it('remembers that there is nothing to do, and does it again after any change', async () => {
    const again = async () => JSON.parse((await run(['generate', '--spec', 'vendor', '--out', 'out', '--json'])).out)
    vendor()
    await again()
    const idle = await again()
    expect({ written: idle.written, removed: idle.removed }).toEqual({ written: [], removed: [] })
    expect(idle.unchanged).toBe(generated().length)
    const file = join(folder, 'out/wire/toy.ts')
    const right = readFileSync(file, 'utf8')
    writeFileSync(file, `${right}changed\n`)
    expect((await again()).written).toEqual(['out/wire/toy.ts'])
    expect(readFileSync(file, 'utf8')).toBe(right)
    writeFileSync(join(folder, 'out/wire/gone.ts'), right)
    expect((await again()).removed).toEqual(['out/wire/gone.ts'])
    put('vendor/toy.yaml', readFileSync(join(folder, 'vendor/toy.yaml'), 'utf8').replace('n: le32', 'n: le64'))
    expect((await again()).written).toContain('out/wire/toy.ts')
  })

  it('checks: a diff and the command to run, and 1; nothing is written', async () => {
    await run(['generate', '--spec', vendor(), '--out', 'out'])
    expect((await run(['generate', '--spec', vendor(), '--out', 'out', '--check'])).code).toBe(0)
    const file = join(folder, 'out/wire/toy.ts')
    const right = readFileSync(file, 'utf8')
    writeFileSync(file, `${right}wrong\n`)
    put('out/wire/old.ts', right)
    const { code, out, error } = await run(['generate', '--spec', vendor(), '--out', 'out', '--check'])
    expect(code).toBe(1)
    expect(out).toMatch(/^--- a\/out\/wire\/toy\.ts\n\+\+\+ b\/out\/wire\/toy\.ts\n@@ .*\n( .*\n)+-wrong\n$/)
    expect(error).toMatch(/^stale +out\/wire\/old\.ts$/m)
    expect(error).toMatch(/^differs +out\/wire\/toy\.ts$/m)
    expect(error).toContain('run: virtgen generate --spec vendor --out out\n')
    expect(readFileSync(file, 'utf8')).not.toBe(right)
    const report = JSON.parse((await run(['generate', '--spec', vendor(), '--out', 'out', '--check', '--json'])).out)
    expect(report.differences.map(({ kind }: { kind: string }) => kind)).toEqual(['stale', 'different'])
    await run(['generate', '--spec', vendor(), '--out', 'out'])
    expect(readFileSync(file, 'utf8')).toBe(right)
    expect(existsSync(join(folder, 'out/wire/old.ts'))).toBe(false)
  })

  it('stops before files that it did not generate', async () => {
    put('mine/wire/toy.ts', 'export {}\n')
    const { code, error } = await run(['generate', '--spec', vendor(), '--out', 'mine'])
    expect(code).toBe(1)
    expect(error).toContain('mine/wire/toy.ts')
    expect(readdirSync(join(folder, 'mine'), { recursive: true })).toHaveLength(2)
  })

  it.each(['generated', 'generated/below', '.'])("refuses --spec into %s of virtgen's own", async (out) => {
    const { code, error } = await run(['generate', '--spec', vendor(), '--out', join(root, out)])
    expect(code).toBe(2)
    expect(error).toContain("virtgen's own generated files")
  })

  it('says what the system refuses', async () => {
    put('file', '')
    const { code, error } = await run(['generate', '--spec', vendor(), '--out', 'file/below'])
    expect(code).toBe(1)
    expect(error).toMatch(/^virtgen: (ENOTDIR|EEXIST): /)
  })
})

describe('verify', () => {
  it('says why nothing could be compared; that is no failure unless everything is asked for', async () => {
    const words = ['verify', '--headers', 'no-headers']
    const { code, out } = await run(words)
    expect(code).toBe(0)
    expect(out).toContain('not compared')
    expect((await run([...words, '--complete'])).code).toBe(1)
    expect((await json(...words)).skipped).toBeTypeOf('string')
  })
})

describe('what takes its time', () => {
  it('is said on a terminal in one line, which is gone at the end, and not elsewhere', async () => {
    const words = ['generate', '--spec', put('slow/toy.yaml', 'kind: device\nname: toy\nid: 0xff70\n').replace('/toy.yaml', ''), '--out', 'slow-out']
    const { error } = await run(words, { terminal: true })
    expect(error).toMatch(/^\r.*reading the description/)
    expect(error.split('\r').at(-1)?.length).toBeLessThan(5)
    expect(error).not.toContain('\n')
    expect((await run(words)).error).toBe('')
  })
})

describe('the schema for editors', () => {
  const schema = JSON.parse(editorSchema())

  it('accepts every file of the description', () => {
    const files = readdirSync(join(root, 'spec'), { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.yaml'))
    for (const file of files)
      expect(violation(schema, parse(readFileSync(join(root, 'spec', file), 'utf8'), { intAsBigInt: false }), schema)).toBeUndefined()
  })

  it.each([
    ['an unknown key', { kind: 'device', name: 'a', featurs: {} }],
    ['a wrong kind', { kind: 'devise', name: 'a' }],
    ['a missing name', { kind: 'device' }],
    ['a feature without a bit', { kind: 'device', name: 'a', features: { A: {} } }],
    ['an unknown attribute of a member', { kind: 'device', name: 'a', structs: { s: [{ x: { type: 'u8', units: 'byte' } }] } }],
  ])('rejects %s', (_, file) => expect(violation(schema, file, schema)).toBeTypeOf('string'))
})

type Schema = { [key: string]: unknown }

/** Why a value does not follow a schema; only the words of JSON Schema that ours has. */
function violation(schema: unknown, value: unknown, top: Schema, path = ''): string | undefined {
  if (schema === true || schema === undefined) return undefined
  if (schema === false) return `${path}: nothing stands here`
  const {
    $ref,
    type,
    anyOf,
    enum: values,
    pattern,
    minimum,
    maximum,
    minItems,
    minLength,
    required,
    propertyNames,
    items,
    properties,
    additionalProperties,
    ...rest
  } = schema as Schema
  const unknown = Object.keys(rest).filter((key) => !['$schema', '$comment', 'title', 'description', 'definitions', 'const'].includes(key))
  if (unknown.length > 0) return `the test does not know ${unknown.join(', ')}`
  if ($ref !== undefined) return violation((top.definitions as Schema)[String($ref).replace('#/definitions/', '')], value, top, path)
  if (anyOf !== undefined) {
    const found = (anyOf as unknown[]).map((choice) => violation(choice, value, top, path))
    if (found.every((one) => one !== undefined)) return found.sort((a, b) => (b as string).length - (a as string).length)[0]
  }
  const actual = value === null ? 'null' : Array.isArray(value) ? 'array' : Number.isInteger(value) ? 'integer' : typeof value
  if (type !== undefined && ![type].flat().some((one: unknown) => one === actual || (one === 'number' && actual === 'integer')))
    return `${path}: ${type}, not ${actual}`
  if (values !== undefined && !(values as unknown[]).includes(value)) return `${path}: none of ${values}`
  if ('const' in rest && rest.const !== value) return `${path}: not ${rest.const}`
  if (typeof value === 'string' && ((pattern !== undefined && !new RegExp(String(pattern)).test(value)) || value.length < Number(minLength ?? 0)))
    return `${path}: "${value}" does not match`
  if (typeof value === 'number' && (value < Number(minimum ?? -Infinity) || value > Number(maximum ?? Infinity)))
    return `${path}: ${value} is out of range`
  if (Array.isArray(value))
    return value.length < Number(minItems ?? 0)
      ? `${path}: too short`
      : firstOf(value, (item, index) => violation(items, item, top, `${path}/${index}`))
  if (typeof value !== 'object' || value === null) return undefined
  const missing = ((required ?? []) as string[]).find((key) => !Object.hasOwn(value, key))
  if (missing !== undefined) return `${path}: ${missing} is missing`
  return firstOf(Object.entries(value), ([key, item]) => {
    const own = ((properties ?? {}) as Schema)[key]
    return (
      (propertyNames ? violation(propertyNames, key, top, `${path}/${key}`) : undefined) ??
      violation(own ?? additionalProperties, item, top, `${path}/${key}`)
    )
  })
}

function firstOf<T>(list: readonly T[], check: (item: T, index: number) => string | undefined): string | undefined {
  for (const [index, item] of list.entries()) {
    const found = check(item, index)
    if (found !== undefined) return found
  }
  return undefined
}

describe.skipIf(!existsSync(join(root, 'dist/cli/main.js')))('the program', () => {
  const program = (...words: string[]) => spawnSync(process.execPath, [join(root, 'bin/virtgen.js'), ...words], { encoding: 'utf8' })

  it('exits with the code of the command, and prints errors to the standard error', () => {
    const { status, stdout, stderr } = program('fact')
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' })
    expect(stderr).toContain('did you mean facts?')
  })

  it('does not complain about a reader that goes away', () => {
    const { status, stderr, stdout } = spawnSync('sh', ['-c', `"${process.execPath}" "${join(root, 'bin/virtgen.js')}" model | head -n 1`], {
      encoding: 'utf8',
    })
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(stdout.split('\n')).toHaveLength(2)
  })

  it('finds its description from any folder', () => {
    const { status, stdout } = spawnSync(process.execPath, [join(root, 'bin/virtgen.js'), 'decode', 'notification_le', '-'], {
      encoding: 'utf8',
      cwd: tmpdir(),
      input: '05 00 34 92',
    })
    expect(status).toBe(0)
    expect(stdout).toMatch(/next_off +4660$/m)
  })
})
