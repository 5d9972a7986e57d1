/** The specification's text against its description: doctored text always, the real one where its LaTeX lies beside (VIRTIO_SPEC_TEXT, or ../shared/virtio-spec/1.4). */
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve as resolvePath } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { differencesOf } from '../generator/drift/compare.ts'
import type { Difference } from '../generator/drift/findings.ts'
import { countsOf } from '../generator/drift/report.ts'
import { chapterSnippet } from '../generator/drift/snippet.ts'
import { readStored, storedText } from '../generator/drift/stored.ts'
import { checkShapes, factsOf, loadFolders, resolve, SourceFile } from '../generator/index.ts'
import { factsOfTex } from '../generator/tex/index.ts'
import { runCommand } from './support/command.ts'
import { type Doctor, driftFrom, inFolder, replaced, said, smallTex } from './support/small-tex.ts'

const root = resolvePath(import.meta.dirname, '..')
const lamp = 'device-types/lamp/description.tex'
const lampText = smallTex[lamp] as string
/** Number of the line that a text stands on. */
const lineOf = (text: string): number => lampText.slice(0, lampText.indexOf(text)).split('\n').length

describe('a text that was doctored', () => {
  test('not at all has not drifted', () => expect(said(driftFrom([]))).toEqual([]))

  const cases: [string, Doctor[], string[]][] = [
    [
      'a new bit',
      [replaced('lamp', '\\item[VIRTIO_LAMP_F_SENSOR(1)]', '\\item[VIRTIO_LAMP_F_TIMER (7)] It has a timer.\n\\item[VIRTIO_LAMP_F_SENSOR(1)]')],
      ['+ feature VIRTIO_LAMP_F_TIMER: bit 7'],
    ],
    ['a bit that moved', [replaced('lamp', 'COLOUR (0)', 'COLOUR (3)')], ['~ feature VIRTIO_LAMP_F_COLOUR: value bit 0 → bit 3']],
    [
      'another requirement',
      [replaced('lamp', ' Requires VIRTIO_LAMP_F_COLOUR.', ' Requires VIRTIO_F_VERSION_1.')],
      ['~ feature VIRTIO_LAMP_F_SENSOR: requires VIRTIO_LAMP_F_COLOUR → VIRTIO_F_VERSION_1'],
    ],
    [
      'a field inserted in the middle of a struct',
      [replaced('lamp', '        le64 deadline;', '        be16 flicker;\n        le64 deadline;')],
      ['+ field virtio_lamp_request.flicker: be16 at 4'],
    ],
    ['a field that is gone', [replaced('lamp', '        le64 deadline;\n', '')], ['- field virtio_lamp_request.deadline: le64 at 4']],
    [
      'a renamed field',
      [replaced('lamp', 'le64 deadline', 'le64 due')],
      ['~ field virtio_lamp_request.deadline: name virtio_lamp_request.deadline → virtio_lamp_request.due'],
    ],
    ['another byte order', [replaced('lamp', 'le64 deadline', 'be64 deadline')], ['~ field virtio_lamp_request.deadline: type le64 → be64']],
    [
      'fields that changed places',
      [
        replaced('lamp', '        le32 lamps;      /* read-only for driver */\n', ''),
        replaced('lamp', '        u8 mode;', '        u8 mode;\n        le32 lamps;'),
      ],
      ['~ field virtio_lamp_config.colours: offset 4 → 0'],
    ],
    ['a longer array', [replaced('lamp', 'colours[4]', 'colours[8]')], ['~ field virtio_lamp_config.colours: length [4] → [8]']],
    [
      'a field inserted in a struct that another one holds',
      [replaced('lamp', 'le16 y;', 'le16 y;\n        le16 z;')],
      ['+ field virtio_lamp_point.z: le16 at 4'],
    ],
    [
      'a renamed container of bits',
      [replaced('lamp', '} light;', '} glow;')],
      ['~ field virtio_lamp_request.light: name virtio_lamp_request.light → virtio_lamp_request.glow'],
    ],
    [
      'another struct in a field',
      [replaced('lamp', 'virtio_lamp_point to', 'virtio_lamp_name to')],
      ['~ field virtio_lamp_line.to: type virtio_lamp_point → virtio_lamp_name'],
    ],
    [
      'an array with another length',
      [replaced('lamp', 'name[length]', 'name[length - 2]')],
      ['~ field virtio_lamp_name.name: length [length] → [length - 2]'],
    ],
    [
      'a condition of two features',
      [replaced('lamp', 'Only if VIRTIO_LAMP_F_COLOUR negotiated', 'Only if VIRTIO_LAMP_F_COLOUR or VIRTIO_LAMP_F_SENSOR negotiated')],
      ['~ field virtio_lamp_config.colours: condition VIRTIO_LAMP_F_COLOUR → VIRTIO_LAMP_F_COLOUR or VIRTIO_LAMP_F_SENSOR'],
    ],
    [
      'a sentence about a field',
      [replaced('lamp', 'The field \\field{mode} takes', 'The field \\field{mode} only exists if VIRTIO_LAMP_F_SENSOR is set.\nIt takes')],
      ['~ field virtio_lamp_config.mode: condition none → VIRTIO_LAMP_F_SENSOR'],
    ],
    [
      'a feature that is about a field',
      [replaced('lamp', 'The colour can be set.', 'The colour can be set. Configuration field \\field{mode} is valid.')],
      ['~ field virtio_lamp_config.mode: condition none → VIRTIO_LAMP_F_COLOUR'],
    ],
    ['an array that became open', [replaced('lamp', 'colours[4]', 'colours[]')], ['~ field virtio_lamp_config.colours: length [4] → []']],
    [
      'other bits',
      [replaced('lamp', 'level : 12;', 'level : 10;'), replaced('lamp', 'channel : 4;', 'channel : 6;')],
      [
        '~ field virtio_lamp_request.light.level: bits bits 0–11 → bits 0–9',
        '~ field virtio_lamp_request.light.channel: bits bits 12–15 → bits 10–15',
      ],
    ],
    [
      'another condition',
      [replaced('lamp', '/* Only if VIRTIO_LAMP_F_COLOUR', '/* Only if VIRTIO_LAMP_F_SENSOR')],
      ['~ field virtio_lamp_config.colours: condition VIRTIO_LAMP_F_COLOUR → VIRTIO_LAMP_F_SENSOR'],
    ],
    [
      'a new condition',
      [replaced('lamp', 'u8 mode;', 'u8 mode; (Only if VIRTIO_LAMP_F_SENSOR negotiated)')],
      ['~ field virtio_lamp_config.mode: condition none → VIRTIO_LAMP_F_SENSOR'],
    ],
    [
      'another direction',
      [
        replaced('lamp', '        /* Device-writable part */\n', ''),
        replaced('lamp', '        le64 deadline;', '        /* Device-writable part */\n        le64 deadline;'),
      ],
      ['~ field virtio_lamp_request.deadline: direction readable → writable'],
    ],
    [
      'a renamed enumerator',
      [replaced('lamp', 'VIRTIO_LAMP_CMD_OFF', 'VIRTIO_LAMP_CMD_DARK')],
      ['~ constant VIRTIO_LAMP_CMD_OFF: name VIRTIO_LAMP_CMD_OFF → VIRTIO_LAMP_CMD_DARK'],
    ],
    [
      'an enumerator inserted in the middle',
      [replaced('lamp', 'VIRTIO_LAMP_CMD_DIM', 'VIRTIO_LAMP_CMD_FADE,\n        VIRTIO_LAMP_CMD_DIM')],
      ['~ constant VIRTIO_LAMP_CMD_DIM: value 258 (0x102) → 259 (0x103)', '+ constant VIRTIO_LAMP_CMD_FADE: = 258 (0x102)'],
    ],
    ['another value in a table', [replaced('lamp', '0x01 &', '0x02 &')], ['~ constant VIRTIO_LAMP_S_BROKEN: value 1 → 2']],
    ['a mask that is gone', [replaced('lamp', '#define VIRTIO_LAMP_MODE_BLINK (1 << 1)\n', '')], ['- constant VIRTIO_LAMP_MODE_BLINK: = 2']],
    [
      'another queue',
      [replaced('lamp', '\\item[1] sensorq', '\\item[1] controlq\n\\item[2] sensorq')],
      ['~ queue sensorq: value index 1 → index 2', '+ queue controlq: index 1'],
    ],
    [
      'a queue with another condition',
      [replaced('lamp', 'if VIRTIO_LAMP_F_SENSOR is', 'if VIRTIO_LAMP_F_COLOUR is')],
      ['~ queue sensorq: condition VIRTIO_LAMP_F_SENSOR → VIRTIO_LAMP_F_COLOUR'],
    ],
    ['a new device id', [replaced('content.tex', '\\end{longtable}', '57 & Heater \\\\\n\\hline\n\\end{longtable}')], ['+ device Heater: id 57']],
    [
      'CRLF at the ends of its lines',
      [(files) => Object.assign(files, Object.fromEntries(Object.entries(files).map(([path, text]) => [path, text.replaceAll('\n', '\r\n')])))],
      [],
    ],
    [
      'a listing that never ends',
      [replaced('lamp', '#define VIRTIO_LAMP_MODE_BLINK (1 << 1)\n\\end{lstlisting}', '#define VIRTIO_LAMP_MODE_BLINK (1 << 1)')],
      [`? line ${lineOf('#define VIRTIO_LAMP_MODE_ON') - 1}: the listing does not end`],
    ],
    [
      'a struct that never ends',
      [replaced('lamp', '        u8 mode;\n};', '        u8 mode;\n')],
      [`? line ${lineOf('        u8 mode;') + 1}: struct virtio_lamp_config does not end`],
    ],
    [
      'a table that never ends',
      [replaced('lamp', '\\hline\n\\end{tabularx}', '')],
      [`? line ${lineOf('\\begin{tabularx}')}: the table does not end`],
    ],
    [
      'a missing comma and semicolons',
      [
        replaced('lamp', 'VIRTIO_LAMP_CMD_OFF,', 'VIRTIO_LAMP_CMD_OFF'),
        replaced('lamp', 'le64 deadline;', 'le64 deadline'),
        replaced('lamp', 'u8 mode;\n};', 'u8 mode\n}'),
      ],
      [],
    ],
    [
      'words where a field should be',
      [replaced('lamp', '        u8 mode;', '        u8 mode;\n        !! to be decided')],
      [`? line ${lineOf('        u8 mode;') + 1}: no declaration of a field`],
    ],
    [
      'a value that is none',
      [replaced('lamp', '#define VIRTIO_LAMP_MODE_ON', "#define VIRTIO_LAMP_MODE_ODD 'x'\n#define VIRTIO_LAMP_MODE_ON")],
      [`? line ${lineOf('#define VIRTIO_LAMP_MODE_ON')}: the value is no number`],
    ],
    [
      'a file that is not there',
      [replaced('content.tex', '\\input{device', '\\input{device-types/gone.tex}\n\\input{device')],
      ['? line 15: the file is not there'],
    ],
  ]
  test.each(cases)('by %s', (_, doctors, expected) => expect(said(driftFrom(doctors))).toEqual(expected))

  test('tells file and line of both sides', () => {
    const [type] = driftFrom([replaced('lamp', 'le64 deadline', 'be64 deadline')]).differences
    expect(type).toMatchObject({ ours: { file: 'device/lamp.yaml', line: 30 }, theirs: { file: lamp, line: lineOf('le64 deadline') } })
    const [field] = driftFrom([replaced('lamp', 'le64 deadline;', 'be16 flicker;\n        le64 deadline;')]).differences
    // What is missing belongs into this struct.
    expect(field).toMatchObject({ ours: { file: 'device/lamp.yaml', line: 26 }, theirs: { file: lamp, line: lineOf('le64 deadline') } })
  })

  test('has YAML to paste for what is missing', () => {
    const snippet = (...doctors: Doctor[]): string | undefined => driftFrom(doctors).differences.find(({ kind }) => kind === 'missing')?.snippet
    expect(snippet(replaced('lamp', '\\item[VIRTIO_LAMP_F_SENSOR(1)]', '\\item[VIRTIO_LAMP_F_TIMER (7)]\n\\item[VIRTIO_LAMP_F_SENSOR(1)]'))).toBe(
      'VIRTIO_LAMP_F_TIMER: 7',
    )
    expect(
      snippet(
        replaced(
          'lamp',
          'le64 deadline;',
          'struct {\n u8 reserved[3];\n char name[];\n } tag; /* Only if VIRTIO_LAMP_F_COLOUR negotiated */\nle64 deadline;',
        ),
      ),
    ).toBe(['- tag:', '    when: VIRTIO_LAMP_F_COLOUR', '    struct:', '      - reserved[3]: reserved u8', '      - name[]: char'].join('\n'))
    const struct =
      'struct virtio_lamp_event {\n  le32 { kind : 4; reserved : 28; };\n  union {\n    le16 heat;\n    u8 raw[2];\n  };\n  u8 rest[];\n};\n\nenum virtio_lamp_command'
    expect(snippet(replaced('lamp', 'enum virtio_lamp_command', struct))).toBe(
      [
        'virtio_lamp_event:',
        '  fields:',
        '    - _: {type: le32, bits: [kind: 4, reserved: reserved 28]}',
        '    - _:',
        '        union:',
        '          - heat: le16',
        '          - raw[2]: u8',
        '    - rest: bytes',
      ].join('\n'),
    )
  })

  test('by a new chapter: one line, and a file that loads', () => {
    const fan = lampText.replaceAll('LAMP', 'FAN').replaceAll('lamp', 'fan').replaceAll('55', '56')
    const report = driftFrom([
      (files) => Object.assign(files, { 'device-types/fan/description.tex': fan }),
      replaced('content.tex', '\\input{device-types/lamp', '\\input{device-types/fan/description}\n\\input{device-types/lamp'),
    ])
    expect(report.chapters).toMatchObject({ missing: [{ scope: 'fan' }], extra: [] })
    expect(new Set(report.differences.map(({ kind, scope }) => `${kind} ${scope}`))).toEqual(new Set(['missing fan']))
    expect(Object.fromEntries(countsOf(report.differences))).toEqual({
      'missing feature': 2,
      'missing constant': 7,
      'missing struct': 5,
      'missing queue': 2,
    })
    const text = report.chapters.missing[0]?.snippet as string
    const { model, problems } = resolve(checkShapes([new SourceFile('fan.yaml', 'device/fan.yaml', text, false)]))
    expect(problems).toEqual([])
    const [chapter] = model.chapters
    expect(chapter).toMatchObject({ name: 'fan', id: 56, config: 'virtio_fan_config' })
    expect(chapter?.structs.find(({ name }) => name === 'virtio_fan_request')?.twoPart).toBe(true)
  })

  describe('explained by an erratum', () => {
    const swap = [replaced('lamp', 'le64 deadline', 'be64 deadline')]
    const erratum = (departs: string, text = 'The sensorq only exists if VIRTIO_LAMP_F_SENSOR is negotiated.', at = 'virtio_lamp_request.deadline') =>
      `errata:\n  - {at: ${at}, ${departs}text: '${text}', truth: le64, why: Everything is.}\n`

    test('that names the item and what departs', () => {
      const report = driftFrom(swap, erratum('departs: type, '))
      expect(report).toMatchObject({ differences: [], errata: 1, gone: [], excused: [{ name: 'virtio_lamp_request.deadline', aspect: 'type' }] })
    })
    test.each([
      ['that says nothing of departing', erratum('')],
      ['about something else of the item', erratum('departs: [condition, length], ')],
      ['about another item', erratum('departs: type, ', undefined, 'virtio_lamp_request.command')],
      ['whose sentence is gone from the text', erratum('departs: type, ', 'The lamp MUST be on.')],
    ])('not by one %s', (_, yaml) => expect(said(driftFrom(swap, yaml))).toEqual(['~ field virtio_lamp_request.deadline: type le64 → be64']))

    test('of several items', () => {
      const at = '[virtio_lamp_request.deadline, virtio_lamp_request.command]'
      const report = driftFrom([...swap, replaced('lamp', 'le16 command', 'be16 command')], erratum('departs: type, ', undefined, at))
      expect(report.differences).toEqual([])
      expect(report.excused).toHaveLength(2)
    })
  })

  describe('to be endless', () => {
    const many = 100_000
    const listing = (text: string): string => `\\begin{lstlisting}\n${text}\n\\end{lstlisting}\n`
    const doubled = Array.from({ length: 60 }, (_, index) => `#define VIRTIO_D${index} VIRTIO_D${index + 1} + VIRTIO_D${index + 1}`).join('\n')
    const macros = Array.from({ length: 60 }, (_, index) => `#define VIRTIO_M${index}(x) VIRTIO_M${index + 1}(x) + VIRTIO_M${index + 1}(x)`).join(
      '\n',
    )
    const texts: [string, string][] = [
      ['braces', '{'.repeat(many)],
      ['braces of a listing', listing('{'.repeat(many))],
      ['parentheses of a listing', listing(`struct a { le32 a; ${'('.repeat(many)}`)],
      ['brackets of a listing', listing(`struct a { le32 a; ${'le16 b['.repeat(many)}`)],
      ['structs in structs', listing('struct a {\n'.repeat(many))],
      ['anonymous structs in structs', listing(`struct a {\n${'struct {\n'.repeat(many)}`)],
      ['unions of bits', listing(`struct a {\nle16 {\n${'union {\n'.repeat(many)}`)],
      ['enumerators', listing(`enum a {\n${'A,\n'.repeat(many)}`)],
      ['definitions of definitions', listing(doubled)],
      ['macros of macros', listing(`${macros}\n#define VIRTIO_M60(x) (x)\n#define VIRTIO_N VIRTIO_M0(1)`)],
      ['comments', listing('/*\n'.repeat(many))],
      ['listings', '\\begin{lstlisting}\n'.repeat(many)],
      ['verbatim text', '\\begin{verbatim}\n'.repeat(many)],
      ['tables', '\\begin{tabular}{l}\n'.repeat(many)],
      ['cells', `\\begin{tabular}{l}\n${'0x1 & \\hyperref[x'.repeat(many)}`],
      ['items', '\\item[\\field{a}'.repeat(many)],
      ['conditions', 'The \\field{mode} only exists if VIRTIO_LAMP_F_SENSOR or '.repeat(many / 10)],
      ['registers', '\\mmioreg{A}{B}'.repeat(many)],
    ]
    test.each(texts)('by %s is read all the same', { timeout: 60_000 }, (_, text) => {
      const started = performance.now()
      const { facts, unread } = inFolder({ ...smallTex, [lamp]: `${lampText}\n${text}` }, factsOfTex)
      expect(performance.now() - started).toBeLessThan(15_000)
      expect(facts.structs.find(({ name }) => name === 'virtio_lamp_request')?.fields).toHaveLength(6)
      expect(unread.length).toBeLessThan(60)
    })

    test('by a file that includes itself', () =>
      expect(said(driftFrom([replaced('content.tex', '\\input{device', '\\input{content.tex}\n\\input{device')]))).toEqual([]))
  })

  test('at random never stops the reader', { timeout: 60_000 }, () => {
    const noise = [
      '{',
      '}',
      '\\begin{lstlisting}',
      '\\end{lstlisting}',
      '/*',
      '*/',
      '\\item[',
      '#define X \\',
      '(',
      '[',
      ';',
      'struct a {',
      '\\begin{tabular}{',
      '&',
      '\\mmioreg{',
      '<<<',
      '\u0000',
      'union {',
    ]
    const edit = fc.record({ at: fc.nat(lampText.length), cut: fc.nat(40), put: fc.constantFrom(...noise, '') })
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 12 }), (edits) => {
        const text = edits.reduce((all, { at, cut, put }) => all.slice(0, at) + put + all.slice(at + cut), lampText)
        const started = performance.now()
        inFolder({ ...smallTex, [lamp]: text }, factsOfTex)
        expect(performance.now() - started).toBeLessThan(5000)
      }),
      { numRuns: Number(process.env.FUZZ_RUNS ?? 200) },
    )
  })
})

describe('the command', () => {
  const run = (...words: string[]) => runCommand(root, words)

  test('compares with the facts that it carries', async () => {
    const { out } = await run('drift', '--against', '1.3')
    expect(out).toMatch(/^- rtc {2}a chapter that only the YAML has: 1 feature, 28 constants, 20 structs, 2 queues$/m)
    expect(out).toMatch(/^drift from VIRTIO 1\.3: /m)
  })
  test('takes chapters', async () => {
    expect(await run('drift', 'entropy')).toMatchObject({ code: 0, out: expect.stringMatching(/^no drift from VIRTIO 1\.4 /) })
    expect(await run('drift', 'toaster')).toMatchObject({ code: 2, error: expect.stringContaining('neither side has a chapter "toaster"') })
  })
  test.each([
    [['drift', '--tex', 'docs'], 1, 'there is no LaTeX of the specification in docs'],
    [['drift', '--against', '0.9'], 2, 'there are no facts of "0.9"'],
    [['drift', '--against', '1.3', '--tex', 'docs'], 2, 'exclude each other'],
    [['facts', '--from', 'tea'], 2, '--from takes'],
    [['facts', '--from', 'tex'], 2, 'needs a folder'],
  ])('%j is refused', async (words, code, message) => expect(await run(...words)).toMatchObject({ code, error: expect.stringContaining(message) }))

  test('prints the facts of a text, one per line', async () => {
    const { code, out } = await inFolder(smallTex, (folder) => run('facts', '--from', 'tex', folder, 'lamp'))
    expect(code).toBe(0)
    expect(out).toMatch(/^field\s+lamp\s+virtio_lamp_request\.light\.channel\s+offset 2\s+bits 12–15, le16, readable$/m)
  })
})

// The real text.

const folder = process.env.VIRTIO_SPEC_TEXT ?? resolvePath(root, '../shared/virtio-spec/1.4')
const older = resolvePath(folder, '../1.3')
const present = existsSync(join(folder, 'content.tex'))
const bothPresent = present && existsSync(join(older, 'content.tex'))
if (!present) console.log(`The text of the specification is not in ${folder}: the comparison with it is skipped.`)

describe.skipIf(!present)('the text of 1.4', () => {
  const tex = present ? factsOfTex(folder) : undefined
  const { model } = resolve(loadFolders([{ folder: join(root, 'spec'), builtin: true }]))

  test('has as many things as were counted by hand', () => {
    const { devices, features, constants, structs, queues, registers } = tex?.facts ?? factsOf(model)
    const fields = structs.reduce((sum, struct) => sum + struct.fields.length, 0)
    expect([devices, features, constants, structs, queues, registers].map(({ length }) => length)).toEqual([46, 127, 836, 318, 57, 49])
    expect(fields).toBe(1255)
    expect(structs.filter(({ size }) => size === null)).toHaveLength(82)
  })

  test('is what the facts in the package say', () =>
    expect(readFileSync(join(root, 'facts/virtio-1.4.json'), 'utf8')).toBe(storedText({ ...(tex as NonNullable<typeof tex>).facts, version: '1.4' })))

  test('is read to the last listing', () => expect(tex?.unread).toEqual([]))

  test('becomes YAML that loads, chapter by chapter', () => {
    const { facts } = tex as NonNullable<typeof tex>
    for (const scope of ['rtc', 'can', 'vsock', 'input', 'gpio', 'pmem', 'balloon', 'console', 'gpu', 'iommu']) {
      const source = new SourceFile(`${scope}.yaml`, `device/${scope}.yaml`, chapterSnippet(scope, facts), false)
      expect(resolve(checkShapes([source])).problems.map(({ message, line }) => `${scope}:${line} ${message}`)).toEqual([])
    }
  })

  test('agrees with the description, but for errata', async () => {
    const { driftOf } = await import('../generator/drift/report.ts')
    const report = driftOf(factsOf(model), { name: '1.4', facts: (tex as NonNullable<typeof tex>).facts, tex })
    expect(report.differences.map(({ kind, scope, name, aspect, yaml, there }) => `${kind} ${scope} ${name} ${aspect} ${yaml} ${there}`)).toEqual([])
    expect(report.gone.map(({ scope, name, quote }) => `${scope} ${name}: ${quote}`)).toEqual([])
  })

  test('is read in seconds, also broken anywhere', { timeout: 60_000 }, () => {
    const copy = mkdtempSync(join(tmpdir(), 'virtgen-text-'))
    cpSync(folder, copy, { recursive: true })
    try {
      const path = join(copy, 'device-types/net/description.tex')
      const text = readFileSync(path, 'utf8')
      for (let cut = 1; cut < 12; cut++) {
        const at = Math.floor((text.length * cut) / 12)
        writeFileSync(path, `${text.slice(0, at)}{[(/*\\begin{lstlisting}${text.slice(at + 500)}`)
        const started = performance.now()
        factsOfTex(copy)
        expect(performance.now() - started).toBeLessThan(5000)
      }
    } finally {
      rmSync(copy, { recursive: true, force: true })
    }
  })
})

/** What 1.4 added to 1.3, as a reader of both texts notes it down. */
const newFeatures = {
  content: { VIRTIO_F_SUSPEND: 43 },
  net: {
    VIRTIO_NET_F_DEVICE_STATS: 50,
    VIRTIO_NET_F_RSS_CONTEXT: 64,
    VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO: 65,
    VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO_CSUM: 66,
    VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO: 67,
    VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO_CSUM: 68,
    VIRTIO_NET_F_OUT_NET_HEADER: 69,
    VIRTIO_NET_F_IPSEC: 70,
  },
  gpu: { VIRTIO_GPU_F_BLOB_ALIGNMENT: 5 },
  mem: { VIRTIO_MEM_F_PERSISTENT_SUSPEND: 2 },
  can: { VIRTIO_CAN_F_CAN_CLASSIC: 0, VIRTIO_CAN_F_CAN_FD: 1, VIRTIO_CAN_F_RTR_FRAMES: 2, VIRTIO_CAN_F_LATE_TX_ACK: 3 },
  rtc: { VIRTIO_RTC_F_ALARM: 0 },
}
/** Chapters that 1.4 has and 1.3 has not. */
const newChapters = [
  'rtc',
  'can',
  'spi',
  'media',
  'device-parts',
  'admin-cmds-capabilities',
  'admin-cmds-device-parts',
  'admin-cmds-resource-objects',
]
/** What changed in structs that both have: of `virtio_net_hdr`, `virtio_net_ctrl`, `virtio_gpu_config`, `virtio_pci_cap64` and `virtio_blk_config`. */
const changedFields = [
  'extra net virtio_net_hdr.outer_th_offset',
  'extra net virtio_net_hdr.inner_nh_offset',
  'extra net virtio_net_hdr.outer_nh_offset',
  'extra net virtio_net_hdr.padding_reserved_2',
  'extra net virtio_net_hdr.ipsec_resource_hdr',
  'extra net virtio_net_ctrl.command-specific-result',
  'extra gpu virtio_gpu_config.blob_alignment',
  'changed transport-pci virtio_pci_cap64.offset_hi type le32 u32',
  'changed transport-pci virtio_pci_cap64.length_hi type le32 u32',
  'changed blk virtio_blk_config.num_queues type le16 u16',
]
const changedDevices = [
  'changed RTC (Real Time Clock) device name Timer/Clock device',
  'changed SPI controller name SPI master',
  'extra TEE device',
  'extra CPU balloon device',
  'extra Media device',
  'extra USB controller',
]

function expectWhatIsNew(found: readonly Difference[]): void {
  const of = (item: Difference['item']): Difference[] => found.filter((difference) => difference.item === item)
  const bits = Object.entries(newFeatures).flatMap(([scope, features]) =>
    Object.entries(features).map(([name, bit]) => `extra ${scope} ${name} bit ${bit}`),
  )
  expect(
    of('feature')
      .map(({ kind, scope, name, yaml }) => `${kind} ${scope} ${name} ${yaml}`)
      .sort(),
  ).toEqual(bits.sort())
  expect(
    of('device')
      .map(({ kind, name, aspect, there }) => `${kind} ${name}${kind === 'changed' ? ` ${aspect} ${there}` : ''}`)
      .sort(),
  ).toEqual(changedDevices.toSorted())
  const fields = of('field').map(
    ({ kind, scope, name, aspect, yaml, there }) => `${kind} ${scope} ${name}${kind === 'changed' ? ` ${aspect} ${yaml} ${there}` : ''}`,
  )
  expect(fields.sort()).toEqual(changedFields.toSorted())
  expect(of('constant').filter(({ kind }) => kind !== 'extra')).toMatchObject([{ kind: 'changed', name: 'VIRTIO_CRYPTO_MAX', yaml: '8', there: '7' }])
  expect(of('constant').filter(({ kind }) => kind === 'extra')).toHaveLength(165)
  expect(of('struct').map(({ kind }) => kind)).toEqual(Array(103).fill('extra'))
  // Two of rtc, three of can, one of spi, two of media.
  expect(
    of('queue')
      .map(({ kind, scope }) => `${kind} ${scope}`)
      .sort(),
  ).toEqual(['can', 'can', 'can', 'media', 'media', 'rtc', 'rtc', 'spi'].map((scope) => `extra ${scope}`))
  expect(of('register')).toEqual([])
}

describe('the text of 1.3', () => {
  test.skipIf(!bothPresent)('lacks what 1.4 brought, and nothing else', () =>
    expectWhatIsNew(differencesOf({ ours: factsOfTex(folder).facts, theirs: factsOfTex(older).facts })),
  )

  test('lacks that in the facts of the package, too', () =>
    expectWhatIsNew(differencesOf({ ours: readStored(join(root, 'facts'), '1.4'), theirs: readStored(join(root, 'facts'), '1.3') })))

  test.skipIf(!bothPresent)('is what the facts in the package say', () =>
    expect(readFileSync(join(root, 'facts/virtio-1.3.json'), 'utf8')).toBe(storedText({ ...factsOfTex(older).facts, version: '1.3' })),
  )

  test('lacks that in the description', async () => {
    const { driftOf } = await import('../generator/drift/report.ts')
    const { model } = resolve(loadFolders([{ folder: join(root, 'spec'), builtin: true }]))
    const report = driftOf(factsOf(model), { name: '1.3', facts: readStored(join(root, 'facts'), '1.3') })
    expectWhatIsNew(report.differences)
    expect(report.chapters.extra.map(({ scope }) => scope).sort()).toEqual(newChapters.toSorted())
    expect(report.chapters.missing).toEqual([])
  })
})
