/** `virtgen diff`: what is told of a change, and how it is judged. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runCommand } from './support/command.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'virtgen-diff-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const run = (...words: string[]) => runCommand(folder, words)

const common = `kind: common
name: content
devices: {lamp: {id: 900, title: a lamp}}
features: {VIRTIO_F_VERSION_1: 32}
`
const lamp = `kind: device
name: lamp
id: 900
section: Lamp
features:
  LAMP_F_COLOR: 0
  LAMP_F_DIM: {bit: 1, doc: It can be dimmed.}
constants:
  lamp_command: {LAMP_ON: 1, LAMP_OFF: 2}
config:
  lamp_config: [bulbs: le32, spare: le16]
structs:
  lamp_color: [red: u8, green: u8, blue: u8]
queues:
  - q: {index: 0, carries: lamp_req}
messages:
  lamp_req:
    by: command
    readable: [command: {type: u8, enum: lamp_command}, arg: body]
    requests:
      - on: {is: LAMP_ON}
      - off: {is: LAMP_OFF}
`

function put(name: string, text: string): void {
  mkdirSync(join(folder, name), { recursive: true })
  writeFileSync(join(folder, name, 'content.yaml'), common)
  writeFileSync(join(folder, name, 'lamp.yaml'), text)
}

interface Told {
  effect: string
  change: string
  kind: string
  name: string
  was?: string
  properties?: { name: string; before?: string; after?: string }[]
}

/** The changes after one text of the lamp is put for another. */
async function changesAfter(...edits: [from: string, to: string][]): Promise<string[]> {
  put('old', lamp)
  let text = lamp
  for (const [from, to] of edits) {
    expect(text).toContain(from)
    text = text.replace(from, to)
  }
  put('new', text)
  const { code, out, error } = await run('diff', 'old', 'new', '--json')
  expect({ code, error }).toEqual({ code: 0, error: '' })
  return (JSON.parse(out) as Told[]).map(({ effect, change, kind, name, was, properties }) => {
    const details = properties?.map((property) => ` ${property.name} ${property.before ?? '-'}>${property.after ?? '-'}`).join('') ?? ''
    return `${effect}: ${change} ${kind} ${was === undefined ? '' : `${was}>`}${name}${details}`
  })
}

describe('the changes for users of the bindings', () => {
  it('are none where nothing changed', async () => {
    expect(await changesAfter()).toEqual([])
    expect((await run('diff', 'old', 'new')).out).toBe('Nothing that users of the bindings see has changed.\n')
  })

  it('are additive where there is a new bit, number, struct or event', async () => {
    const changes = await changesAfter(
      ['LAMP_F_COLOR: 0', 'LAMP_F_COLOR: 0\n  LAMP_F_BLINK: 2'],
      ['LAMP_OFF: 2', 'LAMP_OFF: 2, LAMP_BLINK: 3'],
      ['queues:', '  lamp_blink: [times: le32]\nqueues:'],
    )
    expect(changes).toEqual(['additive: added feature LAMP_F_BLINK', 'additive: added constant LAMP_BLINK', 'additive: added struct lamp_blink'])
  })

  it('break code where a number is another one or a name is gone', async () => {
    expect(await changesAfter(['LAMP_F_COLOR: 0', 'LAMP_F_COLOR: 3'])).toEqual(['breaking: changed feature LAMP_F_COLOR bit 0>3'])
    expect(await changesAfter(['  LAMP_F_COLOR: 0\n', ''])).toEqual(['breaking: removed feature LAMP_F_COLOR'])
  })

  it('call a thing renamed that has another name in the same place', async () => {
    expect(await changesAfter(['LAMP_F_COLOR: 0', 'LAMP_F_COLOUR: 0'])).toEqual(['breaking: renamed feature LAMP_F_COLOR>LAMP_F_COLOUR'])
    expect(await changesAfter(['green: u8', 'gruen: u8'])).toEqual(['breaking: renamed field lamp_color.green>lamp_color.gruen'])
  })

  it('break layouts where a field is inserted, and say what moved', async () => {
    expect(await changesAfter(['green: u8', 'amber: u8, green: u8'])).toEqual([
      'additive: changed struct lamp_color size 3>4',
      'breaking: added field lamp_color.amber',
      'breaking: changed field lamp_color.green offset 1>2',
      'breaking: changed field lamp_color.blue offset 2>3',
    ])
  })

  it('are additive where the configuration space grows at its end, or a conditional member stands behind the others', async () => {
    expect(await changesAfter(['spare: le16', 'spare: le16, hue: le16, tint: u8'])).toEqual([
      'additive: changed struct lamp_config size 6>9',
      'additive: added field lamp_config.hue',
      'additive: added field lamp_config.tint',
    ])
    expect(await changesAfter(['blue: u8', 'blue: u8, white: {type: u8, when: LAMP_F_DIM}'])).toEqual([
      'additive: changed struct lamp_color size 3>4',
      'additive: added field lamp_color.white',
    ])
  })

  it('break devices where there is a request that they must implement, and not where a feature decides', async () => {
    const constant: [string, string] = ['LAMP_OFF: 2', 'LAMP_OFF: 2, LAMP_BLINK: 3']
    const request = (text: string): [string, string] => ['- off: {is: LAMP_OFF}', `- off: {is: LAMP_OFF}\n      - blink: ${text}`]
    expect(await changesAfter(constant, request('{is: LAMP_BLINK}'))).toContain('breaking: added request lamp_req.blink')
    expect(await changesAfter(constant, request('{is: LAMP_BLINK, when: LAMP_F_DIM}'))).toContain('additive: added request lamp_req.blink')
  })

  it('are documentation where only words changed', async () => {
    expect(await changesAfter(['It can be dimmed.', 'Dimming works.'])).toEqual([
      'documentation: documented feature LAMP_F_DIM doc It can be dimmed.>Dimming works.',
    ])
  })

  it('tell a new chapter as a whole', async () => {
    put('old', lamp)
    rmSync(join(folder, 'old', 'lamp.yaml'))
    put('new', lamp)
    const { out } = await run('diff', 'old', 'new')
    expect(out).toContain('added chapter lamp: 2 features, 2 constants, 3 structs')
  })
})

describe('the sides', () => {
  it('may be a file of facts, which has no words', async () => {
    put('new', lamp.replace('It can be dimmed.', 'Dimming works.').replace('LAMP_ON: 1', 'LAMP_ON: 4'))
    writeFileSync(join(folder, 'facts.json'), await facts('old'))
    const { code, out } = await run('diff', 'facts.json', 'new', '--fail-on', 'additive')
    expect(code).toBe(1)
    expect(out).toContain('changed constant LAMP_ON: value 1 → 4')
    expect(out).not.toContain('Documentation')
  })

  it('may be git revisions', async () => {
    const repository = join(folder, 'repository')
    put('repository/spec', lamp)
    const git = (...words: string[]): void => {
      const { status, stderr } = spawnSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@t', ...words], { cwd: repository, encoding: 'utf8' })
      expect(stderr).toBe('')
      expect(status).toBe(0)
    }
    git('init', '-q')
    git('add', '-A')
    git('commit', '-qm', 'one')
    put('repository/spec', lamp.replace('LAMP_F_DIM', 'LAMP_F_DIMMER'))
    git('commit', '-qam', 'two')
    const words = ['diff', 'HEAD~1', 'HEAD', '--markdown']
    const at = folder
    folder = repository
    const { code, out } = await run(...words)
    folder = at
    expect(code).toBe(0)
    expect(out).toBe('### Breaking (1)\n\n- **lamp**\n  - renamed feature `LAMP_F_DIM` → `LAMP_F_DIMMER`\n')
  })

  it('may extend the description of virtgen', async () => {
    for (const name of ['a', 'b']) mkdirSync(join(folder, name), { recursive: true })
    const vendor = (text: string): string =>
      `kind: device\nname: vendor\nid: 901\nstructs: {v: [zone: virtio_blk_zone_descriptor, x: ${text}]}\nuses: [blk]\n`
    writeFileSync(join(folder, 'a', 'v.yaml'), vendor('le16'))
    writeFileSync(join(folder, 'b', 'v.yaml'), vendor('be16'))
    expect((await run('diff', 'a', 'b')).out).toContain('    changed field v.x: type le16 → be16\n\n1 change: 1 breaking')
  })

  it('are named where they are nothing that can be read', async () => {
    const nothing = await run('diff', 'nowhere')
    expect(nothing.code).toBe(1)
    expect(nothing.error).toMatch(/"nowhere" is no file, no folder and no git revision/)
    writeFileSync(join(folder, 'bad.json'), '{"devices": []}')
    expect((await run('diff', 'bad.json')).error).toContain('bad.json is no file of facts: it has no list "features"')
    expect((await run('diff', 'old', 'new', '--fail-on', 'sometimes')).code).toBe(2)
  })
})

/** Facts of a folder, as another version of virtgen might have kept them. */
async function facts(name: string): Promise<string> {
  const { factsOf, loadFolders, resolve } = await import('../generator/index.ts')
  put(name, lamp)
  return JSON.stringify(factsOf(resolve(loadFolders([{ folder: join(folder, name), builtin: true }])).model))
}
