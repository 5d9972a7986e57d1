/** The description against Linux's own headers, through gcc. */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { featuresFromWords } from 'virtgen/codegen/v1/wire'
import { afterAll, describe, expect, it } from 'vitest'
import {
  checkShapes,
  compareWithLinux,
  decodeStruct,
  encodeStruct,
  formatLinuxReport,
  type LinuxItem,
  type LinuxReport,
  type Model,
  resolve,
  SourceFile,
  type WireModules,
} from '../generator/index.ts'

const specFiles = readdirSync('spec', { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.yaml'))
const texts = new Map(specFiles.map((name) => [name, readFileSync(join('spec', name), 'utf8')]))

/** The description, with one text put for another in one file. */
function described(file?: string, from?: string | RegExp, to = ''): Model {
  const sources = [...texts].map(([name, text]) => {
    if (name !== file || from === undefined) return new SourceFile(name, name, text, true)
    const changed = text.replace(from, to)
    if (changed === text) throw new Error(`${file} has no ${String(from)}: the test must be adapted to the file`)
    return new SourceFile(name, name, changed, true)
  })
  const { model, problems } = resolve(checkShapes(sources))
  expect(problems.map(({ message }) => message)).toEqual([])
  return file === undefined ? model : few(model, file)
}

/** Some chapters: every comparison takes its time, and most of what is to be seen is seen in any of them. */
function few(model: Model, ...files: string[]): Model {
  const names = new Set(['content', 'split-ring', 'packed-ring', 'transport-mmio', 'blk', 'console', 'entropy'])
  return { ...model, chapters: model.chapters.filter(({ name, file }) => names.has(name) || files.includes(file)) }
}

/** The folder of other headers than the system's, to be compared with these. */
const headers = process.env.VIRTGEN_LINUX_HEADERS
const seed = 20_260_101
const compare = (model: Model, options = {}): Promise<LinuxReport> => compareWithLinux(model, { headers, seed, ...options })

const usual = await compare(described())
if (usual.skipped) console.warn(`Linux's headers are not compared: ${usual.skipped}`)
const describeWithHeaders = describe.skipIf(usual.skipped !== undefined)

/** What a report says of a thing, in one line. */
const said = ({ name, property, ours, theirs }: LinuxItem): string => `${name} ${property}: ${ours} / ${theirs}`

describeWithHeaders('the description and Linux’s headers', () => {
  it('agree', () => {
    expect(usual.mismatches.map(said)).toEqual([])
    expect(usual.appeared).toEqual([])
  })

  it('were really compared, every kind of thing', () => {
    const { rounds, structs, ...others } = usual.compared
    expect(rounds).toBeGreaterThanOrEqual(structs)
    for (const count of [structs, ...Object.values(others)]) expect(count).toBeGreaterThan(0)
  })

  it('differ where the description says so, with the reason', () => {
    const bit = usual.differs.find(({ name }) => name === 'VIRTQ_DESC_F_AVAIL')
    expect(bit).toMatchObject({
      linux: 'VRING_PACKED_DESC_F_AVAIL',
      property: 'value',
      ours: '128',
      theirs: '7',
      why: 'The header has the number of the bit.',
    })
  })

  it('have a part each that the other lacks', () => {
    expect(usual.textOnly.map(({ name }) => name)).toContain('VIRTIO_BLK_F_LIFETIME')
    const older = Number(usual.headers.version?.split('.')[0]) * 100 + Number(usual.headers.version?.split('.')[1]) < 612
    if (older) expect(usual.absent.length).toBeGreaterThan(0)
    else expect(usual.absent).toEqual([])
  })

  it('agree with the generated classes too', async () => {
    const names = readdirSync('generated/wire').flatMap((file) => (file.endsWith('.ts') ? [file.slice(0, -3)] : []))
    const modules = names.map(async (name) => {
      const parts = existsSync(`generated/parts/${name}.ts`) ? await import(`../generated/parts/${name}.ts`) : {}
      return [name, { ...(await import(`../generated/wire/${name}.ts`)), ...parts }] as const
    })
    const wire: WireModules = Object.fromEntries(await Promise.all(modules))
    expect(wire).toHaveProperty('blk')
    const every = featuresFromWords([0xffff_ffff, 0xffff_ffff, 0xffff_ffff, 0xffff_ffff])
    const report = await compare(described(), { wire, features: every })
    expect(report.mismatches.map(said)).toEqual([])
  })
})

/** What is wrong, where, and the line of the report that has to say so. */
const mistakes: [what: string, file: string, from: string | RegExp, to: string, said: RegExp][] = [
  [
    'a constant has another value',
    'device/blk.yaml',
    'VIRTIO_BLK_T_DISCARD: 11',
    'VIRTIO_BLK_T_DISCARD: 12',
    /^VIRTIO_BLK_T_DISCARD value: 12 \/ 11$/,
  ],
  ['a feature has another bit', 'device/blk.yaml', 'VIRTIO_BLK_F_MQ: {bit: 12', 'VIRTIO_BLK_F_MQ: {bit: 18', /^VIRTIO_BLK_F_MQ value: 18 \/ 12$/],
  ['a device has another id', 'common/content.yaml', /(caif: \{id: )12/, '$114', /^caif value: 14 \/ 12$/],
  [
    'a register has another offset',
    'transport/transport-mmio.yaml',
    /(- QueueReady:\s+at: )0x044/,
    '$10x048',
    /^virtio_mmio\.QueueReady value: 72 \/ 68$/,
  ],
  [
    'a register of PCI has another offset',
    'external/pci.yaml',
    '- capability_list: {',
    '- capability_list: {at: 0x38, ',
    /^pci_header\.capability_list value: 56 \/ 52$/,
  ],
  ['a field is wider', 'device/console.yaml', /(- emerg_wr:\s+type: )le32/, '$1le64', /^virtio_console_config\.emerg_wr size: 8 \/ 4$/],
  ['the struct of a wider field is larger', 'device/console.yaml', /(- emerg_wr:\s+type: )le32/, '$1le64', /^virtio_console_config size: 16 \/ 12$/],
  [
    'a field behind a wider one has another offset',
    'device/blk.yaml',
    'size_max: {type: le32',
    'size_max: {type: le64',
    /^virtio_blk_config\.seg_max offset: 16 \/ 12$/,
  ],
  [
    'a field of a struct without a level of its own has another offset',
    'device/blk.yaml',
    /(- alignment_offset: \{type: )u8/,
    '$1le16',
    /^virtio_blk_config\.topology\.min_io_size offset: 27 \/ 26$/,
  ],
  [
    'a frame is longer than what stands before the body in the header',
    'device/crypto.yaml',
    /(virtio_crypto_ctrl_header:\n(?:.*\n){4}.*)- flag: le32/,
    '$1- flag: le64',
    /^virtio_crypto_op_ctrl_req \(readable\)\.op_flf offset: 20 \/ 16$/,
  ],
  [
    'two fields are in another order',
    'device/console.yaml',
    /(- event: .*)\n(\s+)(- value: .*)\n/,
    '$3\n$2$1\n',
    /^virtio_console_control\.event offset: 6 \/ 4$/,
  ],
  [
    'a field is big-endian',
    'device/console.yaml',
    '- id: {type: le32',
    '- id: {type: be32',
    /^virtio_console_control\.id encoded: (..)(..)(..)(..) \/ \4\3\2\1$/,
  ],
  [
    'a big-endian field is read the wrong way round',
    'device/console.yaml',
    '- id: {type: le32',
    '- id: {type: be32',
    /^virtio_console_control\.id decoded: 0x/,
  ],
  [
    'elements of an open array are big-endian',
    'ring/split-ring.yaml',
    '- ring[queue.size]: {type: le16',
    '- ring[queue.size]: {type: be16',
    /^virtq_avail\.ring\[0\] encoded: (..)(..) \/ \2\1$/,
  ],
  [
    'an open array begins elsewhere',
    'ring/split-ring.yaml',
    /(- idx: \{type: )le16(.*\n\s+- ring\[queue.size\]: virtq_used_elem)/,
    '$1le32$2',
    /^virtq_used\.ring offset: 6 \/ 4$/,
  ],
  [
    'the header of a message has a narrower field',
    'device/blk.yaml',
    '- reserved: {type: reserved le32',
    '- reserved: {type: reserved le16',
    /^virtio_blk_req \(readable\)\.sector offset: 6 \/ 8$/,
  ],
  [
    'a declared difference is another one',
    'ring/packed-ring.yaml',
    'VRING_PACKED_DESC_F_AVAIL, value: 7',
    'VRING_PACKED_DESC_F_AVAIL, value: 8',
    /^VIRTQ_DESC_F_AVAIL value: 128 \/ 7$/,
  ],
]

describeWithHeaders('a mistake in the description is reported by name', () => {
  it.each(mistakes)('%s', async (_what, file, from, to, line) => {
    const report = await compare(described(file, from, to))
    expect(report.mismatches.map(said)).toContainEqual(expect.stringMatching(line))
  })

  it('once: where sizes and offsets are wrong the bytes say nothing new', async () => {
    const report = await compare(described('device/console.yaml', /(- emerg_wr:\s+type: )le32/, '$1le64'))
    expect(report.mismatches.map(({ name, property }) => `${name} ${property}`)).toEqual([
      'virtio_console_config.emerg_wr size',
      'virtio_console_config size',
    ])
  })

  it('where the header does not have a name that the description expects', async () => {
    const report = await compare(described('device/blk.yaml', 'linux: wce', 'linux: write_back'))
    const found = [...report.mismatches, ...report.absent].find(({ name }) => name === 'virtio_blk_config.writeback')
    expect(found).toMatchObject({ kind: 'field', linux: 'struct virtio_blk_config.write_back', file: 'device/blk.yaml' })
  })

  it.each([
    ['feature', 'device/blk.yaml', 'VIRTIO_BLK_F_RO: {bit: 5', 'VIRTIO_BLK_F_RO: {linux: none, bit: 5', 'VIRTIO_BLK_F_RO'],
    ['field', 'device/console.yaml', '- cols: {type: le16', '- cols: {linux: none, type: le16', 'virtio_console_config.cols'],
    ['struct', 'device/console.yaml', 'virtio_console_control:\n', 'virtio_console_control:\n    linux: none\n', 'virtio_console_control'],
    ['id', 'common/content.yaml', /(caif: \{.*linux: )VIRTIO_ID_CAIF/, '$1none', 'caif'],
  ])('where the headers have a %s that is marked `linux: none`', async (kind, file, from, to, name) => {
    const report = await compare(described(file, from, to))
    expect(report.appeared).toEqual([expect.objectContaining({ kind, name, file })])
    expect(report.mismatches).toEqual([])
  })

  it('in the generated classes, even if the description is right', async () => {
    const model = described()
    const control = { chapter: 'console', name: 'virtio_console_control' }
    const right = (value: Record<string, unknown>): Uint8Array => encodeStruct(model, control, value)
    const config = { chapter: 'console', name: 'virtio_console_config' }
    const classes = {
      VirtioConsoleControl: {
        encode: (value: Record<string, unknown>) => right({ ...value, event: value.value, value: value.event }),
        decode: (bytes: Uint8Array) => ({ ...decodeStruct(model, control, bytes).value, id: 0 }),
      },
      VirtioConsoleConfig: {
        encode: (value: Record<string, unknown>, context: { features: { has(bit: number): boolean } }) => {
          if (!context.features.has(127)) throw new Error('every feature is negotiated')
          return encodeStruct(model, config, value)
        },
        decode: (bytes: Uint8Array) => decodeStruct(model, config, bytes).value,
      },
    }
    const report = await compare(model, { wire: { console: classes } })
    expect(report.mismatches.map(({ name, property, why }) => [name, property, why?.split(', ').at(-1)])).toEqual([
      ['virtio_console_control.event', 'encoded', 'by the generated VirtioConsoleControl'],
      ['virtio_console_control.id', 'decoded', 'by the generated VirtioConsoleControl'],
    ])
  })

  it('where a generated class is missing', async () => {
    const report = await compare(few(described()), { wire: { console: {} } })
    expect(report.mismatches[0]?.ours).toMatch(/virtgen\/wire\/console exports no class VirtioConsole/)
  })
})

describeWithHeaders('older headers', () => {
  const folder = mkdtempSync(join(tmpdir(), 'virtgen-test-'))
  afterAll(() => rmSync(folder, { recursive: true }))
  mkdirSync(join(folder, 'linux'))
  writeFileSync(join(folder, 'linux/virtio_config.h'), '#define VIRTIO_CONFIG_S_ACKNOWLEDGE 1\n')
  writeFileSync(
    join(folder, 'linux/virtio_console.h'),
    `#include <linux/types.h>
     #include <linux/virtio_types.h>
     #define VIRTIO_CONSOLE_F_SIZE 0
     struct virtio_console_config { __virtio16 cols, rows; __virtio32 max_nr_ports; };`,
  )
  const version = (code: number): void => writeFileSync(join(folder, 'linux/version.h'), `#define LINUX_VERSION_CODE ${code}\n`)

  it('may lack names and the last members of a struct; what they have is compared', async () => {
    version(0x03_00_00)
    const report = await compare(few(described()), { headers: folder })
    const console = (items: LinuxItem[]): string[] => items.filter(({ chapter }) => chapter === 'console').map(({ name }) => name)
    expect(report.headers).toEqual({ path: folder, version: '3.0.0' })
    expect(console(report.absent)).toEqual(
      expect.arrayContaining(['VIRTIO_CONSOLE_F_MULTIPORT', 'virtio_console_control', 'virtio_console_config.emerg_wr']),
    )
    expect(report.mismatches).toEqual([])
    const wrong = await compare(described('device/console.yaml', '- cols: {type: le16', '- cols: {type: be16'), { headers: folder })
    expect(wrong.mismatches.map(({ name, property }) => `${name} ${property}`)).toEqual([
      'virtio_console_config.cols encoded',
      'virtio_console_config.cols decoded',
    ])
  })

  it('may lack members in the middle, also of a struct inside: what stands behind them is elsewhere', async () => {
    writeFileSync(
      join(folder, 'linux/virtio_blk.h'),
      `#include <linux/types.h>
       struct virtio_blk_zone_descriptor { __u64 z_cap; __u64 z_start; __u8 z_type; __u8 z_state; __u8 reserved[38]; };
       struct virtio_blk_zone_report { __u64 nr_zones; __u8 reserved[56]; struct virtio_blk_zone_descriptor zones[]; };`,
    )
    const { mismatches, absent } = await compare(few(described()), { headers: folder })
    expect(mismatches.filter(({ chapter }) => chapter === 'blk')).toEqual([])
    expect(absent.map(({ name }) => name)).toContain('virtio_blk_zone_descriptor.z_wp')
    rmSync(join(folder, 'linux/virtio_blk.h'))
  })

  it('may have other end markers', async () => {
    writeFileSync(join(folder, 'linux/virtio_balloon.h'), '#define VIRTIO_BALLOON_S_SWAP_IN 0\n#define VIRTIO_BALLOON_S_NR 6\n')
    const { mismatches } = await compare(few(described()), { headers: folder })
    expect(mismatches.filter(({ chapter }) => chapter === 'balloon')).toEqual([])
    rmSync(join(folder, 'linux/virtio_balloon.h'))
  })

  it('that do not compile are an error of theirs', async () => {
    const broken = mkdtempSync(join(tmpdir(), 'virtgen-test-'))
    mkdirSync(join(broken, 'linux'))
    writeFileSync(join(broken, 'linux/virtio_config.h'), '#error broken\n')
    await expect(compare(few(described()), { headers: broken })).rejects.toThrow(/does not get through the headers:\n.*virtio_config\.h:1:.*broken/)
    rmSync(broken, { recursive: true })
  })

  it('are wrong without a name that 6.12 has if they are not older', async () => {
    version(0x06_0c_00)
    const report = await compare(few(described()), { headers: folder })
    expect(report.absent).toEqual([])
    expect(report.mismatches).toContainEqual(expect.objectContaining({ name: 'VIRTIO_CONSOLE_F_MULTIPORT', property: 'name' }))
  })
})

/** Every construct that bytes can go wrong with, in our language and in C. */
const sample = `
kind: device
name: sample
id: 0xfff0
header: linux/virtio_sample.h
features: {SAMPLE_F: 0}
constants:
  sample_kind: {SAMPLE_ONE: 1, SAMPLE_TWO: 2}
structs:
  sample_choice:
    - always: le32
    - with_it: {type: le16, when: SAMPLE_F}
    - without_it: {type: be16, when: not SAMPLE_F}
  sample_inner:
    - a: le16
    - b[2]: u8
  sample_table:
    - mask: u8
    - table[mask + 1]: {type: le16, linux: {size: 2, why: One entry.}}
    - behind: be16
    - list[]: {linux: {size: 4, why: One element.}, struct: [a: le16, b: be16]}
  sample_view:
    - number: {union: [odd: {type: le16, linux: _, bits: [_: {width: 1, const: 1}, half: 15]}]}
  sample:
    - big: be32
    - bits: {type: le16, linux: packed_bits, bits: [low: 3, _: {width: 5, const: 9}, high: 7, reserved: reserved 1]}
    - macs[2][6]: u8
    - table[3]: le16
    - inner[2]: sample_inner
    - u: {by: kind, union: [one: {type: sample_inner, is: SAMPLE_ONE}, two: {type: le32, is: SAMPLE_TWO}]}
    - kind: {type: u8, enum: sample_kind}
    - count: u8
    - tail: {type: le32, when: kind == SAMPLE_TWO or kind == SAMPLE_ONE}
    - position: {type: le64, unit: byte}
    - id: le64
    - point: {struct: [x: le16, y: be16]}
    - _: {union: [whole: le32, halves: {struct: [first: le16, second: le16]}]}
    - address: {union: [short: {type: le16, linux: _, bits: [_: {width: 1, const: 1}, number: 15]}, long: {type: le16, linux: _}]}
    - rest[count]: be32
messages:
  sample_frame:
    by: kind
    readable: [kind: {type: u8, enum: sample_kind}, _: body]
    writable: [_: body, answer: u8]
    requests:
      - whole: {is: SAMPLE_ONE, struct: sample_whole, linux: sample_both, readable: [number: be32]}
      - half: {is: SAMPLE_TWO, struct: sample_half, linux: {writable: sample_answer}, readable: [number: be16], writable: [more: le16]}
`
const sampleHeader = `
#include <linux/types.h>
#define SAMPLE_F 0
#define SAMPLE_ONE 1
enum { SAMPLE_TWO = 2 };
struct sample_choice { __le32 always; __le16 with_it; __be16 without_it; };
struct sample_inner { __le16 a; __u8 b[2]; };
struct sample_view { __le16 number; };
struct sample_both { __u8 kind; __be32 number; __u8 answer; } __attribute__((packed));
struct sample_answer { __le16 more; __u8 answer; } __attribute__((packed));
struct sample {
  __be32 big;
  __le16 packed_bits;
  __u8 macs[2][6];
  __le16 table[3];
  struct sample_inner inner[2];
  union { struct sample_inner one; __le32 two; } u;
  __u8 kind;
  __u8 count;
  __u32 tail;
  __le64 position, id;
  struct { __le16 x; __be16 y; } point;
  union { __le32 whole; struct { __le16 first, second; } halves; };
  __le16 address;
  __be32 rest[];
} __attribute__((packed));
struct sample_table { __u8 mask; __le16 table[1]; __be16 behind; struct { __le16 a; __be16 b; } list[1]; } __attribute__((packed));
`

describeWithHeaders('bytes', () => {
  const folder = mkdtempSync(join(tmpdir(), 'virtgen-test-'))
  afterAll(() => rmSync(folder, { recursive: true }))
  mkdirSync(join(folder, 'linux'))
  writeFileSync(join(folder, 'linux/virtio_config.h'), '')
  const { model, problems } = resolve(checkShapes([new SourceFile('sample.yaml', 'sample.yaml', sample, true)]))

  async function compareSample(header: string): Promise<string[]> {
    writeFileSync(join(folder, 'linux/virtio_sample.h'), header)
    const report = await compareWithLinux(model, { headers: folder, seed, rounds: 6 })
    expect(report.compared).toMatchObject({ structs: 7, rounds: 42 })
    return report.mismatches.map(({ name, property }) => `${name} ${property}`)
  }

  it('of every construct are the same as those of the C struct', async () => {
    expect(problems.map(({ message }) => message)).toEqual([])
    expect(await compareSample(sampleHeader)).toEqual([])
  })

  it.each([
    ['a field', '__be32 big', '__le32 big', 'sample.big'],
    ['a field of a nested struct', '__be16 y', '__le16 y', 'sample.point.y'],
    ['an element', '__le16 table', '__be16 table', 'sample.table[0]'],
    ['an element of an open array', '__be32 rest', '__le32 rest', 'sample.rest[0]'],
    ['an arm', '__le32 two', '__be32 two', 'sample.u.two'],
    ['an arm without a level of its own', '__le32 whole', '__be32 whole', 'sample.whole'],
    ['bits', '__le16 packed_bits', '__be16 packed_bits', 'sample.bits'],
    ['arms that are one number in C', '__le16 address', '__be16 address', 'sample.address'],
    ['a request', '__be32 number', '__le32 number', 'sample_whole.number'],
    ['the answer to a request', '__le16 more', '__be16 more', 'sample_half (writable).more'],
    ['rows', 'macs[2][6]', 'macs[6][2]', 'sample.macs'],
    ['a 64-bit number', '__le64 position, id', '__be64 position, id', 'sample.position'],
  ])('show the order of %s', async (_what, from, to, name) => {
    const changed = sampleHeader.replace(from, to)
    const found = await compareSample(changed)
    expect(changed).not.toBe(sampleHeader)
    expect(found.some((line) => line.startsWith(name) && line.endsWith(' encoded'))).toBe(true)
    expect(found.some((line) => line.startsWith(name) && line.endsWith(' decoded'))).toBe(true)
  })
})

describe('without a compiler or headers', () => {
  it('nothing is compared, and the report says what to install', async () => {
    const report = await compareWithLinux(described(), { cc: 'virtgen-no-such-compiler' })
    expect(report.skipped).toBe('the C compiler "virtgen-no-such-compiler" is not there: install gcc (Debian: apt-get install gcc)')
    expect(report.mismatches).toEqual([])
    expect(formatLinuxReport(report)).toBe(`Linux: not compared: ${report.skipped}`)
  })

  it('a folder without headers is not made up for by the system’s', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'virtgen-test-'))
    const cc = join(folder, 'cc')
    writeFileSync(cc, '#!/bin/sh\nexit 1\n')
    chmodSync(cc, 0o755)
    const report = await compareWithLinux(described(), { headers: folder, ...(usual.skipped === undefined ? {} : { cc }) })
    expect(report.skipped).toBe(
      `linux/virtio_config.h is not in ${folder}: install Linux's headers (Debian: apt-get install linux-libc-dev libc6-dev)`,
    )
    expect((await compareWithLinux(described(), { cc })).skipped).toContain('linux/virtio_config.h is not in the include folders of the compiler')
    rmSync(folder, { recursive: true })
  })

  it('a number of rounds that is none is refused', async () => {
    await expect(compareWithLinux(described(), { rounds: 1.5 })).rejects.toThrow(
      new RangeError('rounds must be an integer from 0 to 4294967295, not 1.5'),
    )
    await expect(compareWithLinux(described(), { seed: -1 })).rejects.toThrow(RangeError)
  })
})

describeWithHeaders('a comparison', () => {
  it('is repeated by its seed', async () => {
    const wrong = described('device/console.yaml', '- id: {type: le32', '- id: {type: be32')
    const [first, again, other] = await Promise.all([compare(wrong), compare(wrong), compare(wrong, { seed: 2 })])
    expect(again).toEqual(first)
    expect(other.mismatches).not.toEqual(first.mismatches)
    expect((await compareWithLinux(wrong, { headers })).seed).not.toBe(seed)
  })

  it('compares as many values of each struct as are asked for', async () => {
    const model = described()
    const rounds = async (count: number): Promise<number> => (await compare(model, { rounds: count })).compared.rounds
    expect(await rounds(0)).toBe(0)
    expect(await rounds(2)).toBe(2 * (await rounds(1)))
  })

  it('leaves no file behind', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'virtgen-test-'))
    const before = process.env.TMPDIR
    process.env.TMPDIR = folder
    let during: string[] = []
    await compare(few(described()), { onProgress: () => (during = readdirSync(folder)) })
    if (before === undefined) delete process.env.TMPDIR
    else process.env.TMPDIR = before
    expect(during).toHaveLength(1)
    expect(readdirSync(folder)).toEqual([])
    rmSync(folder, { recursive: true })
  })

  it('is told in readable lines', async () => {
    const text = formatLinuxReport(await compare(described('device/blk.yaml', 'VIRTIO_BLK_T_DISCARD: 11', 'VIRTIO_BLK_T_DISCARD: 12')))
    expect(text).toMatch(
      /^Linux \d+\.\d+\.\d+ \(.*\)\n {2}compared: \d+ constants, \d+ features, \d+ ids, \d+ registers, \d+ structs, \d+ fields, \d+ rounds \(seed \d+\)\n/,
    )
    expect(text).toContain('VIRTQ_DESC_F_AVAIL: value 128, in Linux 7 (VRING_PACKED_DESC_F_AVAIL). The header has the number of the bit.')
    expect(text).toMatch(
      /1 mismatch:\n {4}VIRTIO_BLK_T_DISCARD value: ours 12, Linux 11\n {6}device\/blk\.yaml, Device Types \/ Block Device \/ Device Operation$/,
    )
    expect(Math.max(...text.split('\n').map((line) => line.length))).toBeLessThanOrEqual(140)
  })
})
