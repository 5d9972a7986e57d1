/** `virtgen new device`: what is asked, what is written, and that it works. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { PassThrough } from 'node:stream'
import { stripVTControlCharacters } from 'node:util'
import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { main } from '../cli/main.ts'
import { type Chapter, loadFolders, resolve } from '../generator/index.ts'

import { installPacked, strictest } from './support/packed.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'virtgen-new-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

interface Result {
  code: number
  out: string
  error: string
}

/** Runs `virtgen new` in this process, on a terminal if there are keys to type: all of them before the first question. */
async function run(words: readonly string[], keys?: string): Promise<Result & { screen: string }> {
  const written = { out: '', error: '', screen: '' }
  const output = (name: 'out' | 'error', isTTY: boolean) => ({
    write: (text: string) => {
      written[name] += text
    },
    isTTY,
  })
  const input = new PassThrough()
  const screen = new PassThrough()
  screen.on('data', (chunk: Buffer) => {
    written.screen += chunk.toString()
  })
  if (keys !== undefined) input.end(keys)
  const code = await main(['new', ...words], {
    stdout: output('out', keys !== undefined),
    stderr: output('error', false),
    readInput: () => new Uint8Array(),
    environment: { NO_COLOR: '1' },
    folder,
    ...(keys === undefined ? {} : { terminal: { input, output: screen } }),
  })
  return { code, ...written, screen: stripVTControlCharacters(written.screen) }
}

/** Paths of all files, below the folder. */
function written(): string[] {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true })
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort()
}

const filesOf = (name: string): string[] => [`${name}.test.ts`, `${name}.ts`, `spec/device/${name}.yaml`].sort()
const read = (path: string): string => readFileSync(join(folder, path), 'utf8')

function put(path: string, text: string): void {
  mkdirSync(dirname(join(folder, path)), { recursive: true })
  writeFileSync(join(folder, path), text)
}

/** The chapter as the generator reads it; fails on any diagnostic. */
function chapter(name: string): Chapter {
  const folders = [
    { folder: 'spec', builtin: true },
    { folder: join(folder, 'spec'), builtin: false },
  ]
  const { model, problems } = resolve(loadFolders(folders, folder))
  expect(problems).toEqual([])
  return model.chapters.find((candidate) => candidate.name === name) as Chapter
}

describe('without a terminal', () => {
  it('writes description, device and test by defaults, and prints what to do next', async () => {
    const { code, out, error } = await run(['device', 'thermometer'])
    expect({ code, error }).toEqual({ code: 0, error: '' })
    expect(written()).toEqual(filesOf('thermometer'))
    for (const path of filesOf('thermometer')) expect(out).toContain(path)
    expect(out).toContain('npx virtgen generate --spec spec --out generated')
    expect(out).toContain('npx tsc --noEmit --strict --target es2022 --module nodenext')
    expect(out).toContain('npx vitest run')
    const { id, title, messages, queues } = chapter('thermometer')
    expect({ id, title }).toEqual({ id: 65535, title: 'Thermometer Device' })
    expect(messages.flatMap(({ requests }) => requests.map(({ name }) => name))).toEqual(['echo'])
    expect(queues.map(({ name }) => name)).toEqual(['requestq'])
  })

  it('takes everything from the options', async () => {
    const words = [
      'device',
      'lamp',
      '--id',
      '0xfff0',
      '--title',
      'Lamp: "the" #1',
      '--request',
      'on',
      '--request',
      'off_now',
      '--event',
      'burnt',
      '--config',
    ]
    const { code } = await run(words)
    expect(code).toBe(0)
    const { id, title, messages, queues, structs, features } = chapter('lamp')
    expect({ id, title }).toEqual({ id: 0xfff0, title: 'Lamp: "the" #1' })
    expect(messages.map(({ kind, requests }) => [kind, requests.map(({ name }) => name)])).toEqual([
      ['requests', ['on', 'off_now']],
      ['events', ['burnt']],
    ])
    expect(messages[0]?.status?.ok[0]?.name).toBe('VIRTIO_LAMP_S_OK')
    expect(queues.map(({ name, index }) => [name, index.text])).toEqual([
      ['requestq', '0'],
      ['eventq', '1'],
    ])
    expect(structs.filter(({ role }) => role === 'config').map(({ name }) => name)).toEqual(['virtio_lamp_config'])
    expect(features.map(({ name }) => name)).toEqual(['VIRTIO_LAMP_F_EVENTS', 'VIRTIO_LAMP_F_MODE'])
  })

  it('writes below --out, and says so in the commands', async () => {
    const { code, out } = await run(['device', 'lamp', '--out', 'my devices'])
    expect(code).toBe(0)
    expect(written()).toEqual(filesOf('lamp').map((path) => `my devices/${path}`))
    expect(out).toContain("npx virtgen generate --spec 'my devices/spec' --out 'my devices/generated'")
    expect(out).toContain("'my devices/lamp.test.ts'")
    expect(out).toContain("npx vitest run --dir 'my devices'")
  })

  it('prints JSON for programs', async () => {
    const { code, out, error } = await run(['device', 'lamp', '--event', 'burnt', '--json'])
    expect({ code, error }).toEqual({ code: 0, error: '' })
    const { device, written: paths, next } = JSON.parse(out)
    expect(device).toEqual({ name: 'lamp', id: 65535, title: 'Lamp Device', hasConfig: false, requests: ['echo'], events: ['burnt'] })
    expect([...paths].sort()).toEqual(filesOf('lamp'))
    expect(next).toContain('npx virtgen generate --spec spec --out generated')
  })

  it('says only what is missing', async () => {
    put('package.json', '{"type": "module"}')
    put('tsconfig.json', '{}')
    for (const name of ['virtgen', 'typescript', 'vitest']) put(`node_modules/${name}/package.json`, '{}')
    const { next } = JSON.parse((await run(['device', 'lamp', '--out', 'devices', '--json'])).out)
    expect(next).toEqual(['npx virtgen generate --spec devices/spec --out devices/generated', 'npx tsc --noEmit', 'npx vitest run --dir devices'])
    expect(read('devices/spec/device/lamp.yaml').split('\n')[0]).toBe(
      '# yaml-language-server: $schema=../../../node_modules/virtgen/spec/schema.json',
    )
  })

  it('counts device ids down from 65535, past those beside it', async () => {
    put('spec/old.yaml', 'kind: device\nname: old\ntitle: Old\nfeatures: {}\nid: 65535\n')
    await run(['device', 'lamp'])
    expect(chapter('lamp').id).toBe(65534)
    await run(['device', 'clock'])
    expect(chapter('clock').id).toBe(65533)
  })
})

it('gives a description without mistakes for any number of requests and events, with a configuration space or without', async () => {
  const word = fc.stringMatching(/^[a-z][a-z0-9]{0,8}$/).map((text) => `x${text}`)
  const words = fc.uniqueArray(word, { maxLength: 4 })
  await fc.assert(
    fc.asyncProperty(words, words, fc.boolean(), fc.boolean(), async (requests, events, hasConfig, hasDash) => {
      rmSync(folder, { recursive: true, force: true })
      mkdirSync(folder)
      const name = hasDash ? 'my-2nd_device-4u' : 'lamp'
      const options = [
        ...(requests.length > 0 ? requests : ['none']).flatMap((one) => ['--request', one]),
        ...events.flatMap((one) => ['--event', one]),
      ]
      const { code, error } = await run(['device', name, ...options, ...(hasConfig ? ['--config'] : [])])
      expect({ code, error }).toEqual({ code: 0, error: '' })
      const { messages } = chapter(name)
      const names = (kind: string): string[] =>
        messages.filter((one) => one.kind === kind).flatMap((one) => one.requests.map((request) => request.name))
      expect([names('requests'), names('events')]).toEqual([requests, events])
    }),
    { numRuns: 30 },
  )
})

describe('on a terminal', () => {
  const questions = ['Device id [65535]', 'Title [Lamp Device]', 'configuration space? [no]', '"none" [echo]', 'Events of the device [none]']

  it('asks everything, and Enter takes the default', async () => {
    const { code, screen } = await run(['device', 'lamp'], '\r\r\r\r\r')
    expect(code).toBe(0)
    for (const question of questions) expect(screen).toContain(question)
    expect(written()).toEqual(filesOf('lamp'))
    const byDefault = filesOf('lamp').map(read)
    rmSync(folder, { recursive: true })
    mkdirSync(folder)
    await run(['device', 'lamp'])
    expect(filesOf('lamp').map(read)).toEqual(byDefault)
  })

  it('takes what is typed', async () => {
    const { code } = await run(['device', 'lamp'], '0xff00\rA Lamp\rYes\ron, off\rburnt broken\r')
    expect(code).toBe(0)
    const { id, title, messages, structs } = chapter('lamp')
    expect({ id, title }).toEqual({ id: 0xff00, title: 'A Lamp' })
    expect(messages.map(({ requests }) => requests.map(({ name }) => name))).toEqual([
      ['on', 'off'],
      ['burnt', 'broken'],
    ])
    expect(structs.some(({ role }) => role === 'config')).toBe(true)
  })

  it('does not ask what the options say', async () => {
    const { code, screen } = await run(['device', 'lamp', '--id', '65000', '--request', 'on', '--config'], '\r\r')
    expect(code).toBe(0)
    expect(screen).not.toMatch(/Device id|Requests|configuration/)
    expect(screen).toMatch(/Title .*Events/s)
    expect(chapter('lamp').id).toBe(65000)
  })

  it.each(['--yes', '--json'])('asks nothing with %s', async (option) => {
    const { code, screen } = await run(['device', 'lamp', option], '')
    expect({ code, screen }).toEqual({ code: 0, screen: '' })
  })

  it('says what is wrong with an answer, and asks again', async () => {
    const { code, screen } = await run(['device', 'lamp'], 'two\r2\r\r\rperhaps\r\r1st\rsizeof none\rOn\ron on\ron\r\r')
    expect(code).toBe(0)
    expect(screen).toContain('not "two"')
    expect(screen).toContain('the id 2 belongs to')
    expect(screen).toContain('yes or no, not "perhaps"')
    expect(screen).toContain('"1st" cannot name a request; how about st?')
    expect(screen).toContain('"none" stands for no request at all')
    expect(screen).toContain('"On" cannot name a request; how about on?')
    expect(screen).toContain('"on" is given twice')
    expect(chapter('lamp').messages[0]?.requests.map(({ name }) => name)).toEqual(['on'])
  })

  it.each([
    ['Ctrl-C ends it with 130', '\r\x03\r\r\r\r', 130],
    ['the end of the input ends it with 1', '\r\r\r\r', 1],
    ['Ctrl-D ends it with 1', '\r\x04', 1],
  ])('%s, and nothing is written', async (_, keys, expected) => {
    const { code, error } = await run(['device', 'lamp'], keys)
    expect(code).toBe(expected)
    expect(error).toContain('nothing is written')
    expect(written()).toEqual([])
  })
})

describe('what is there', () => {
  it.each(filesOf('lamp'))('is never overwritten: with %s it writes nothing and prints what it would have written', async (path) => {
    put(path, 'mine')
    const { code, out, error } = await run(['device', 'lamp'])
    expect(code).toBe(1)
    expect(written()).toEqual([path])
    expect(read(path)).toBe('mine')
    expect(error).toContain(`${path} exists already`)
    for (const other of filesOf('lamp')) expect(out).toContain(`==> ${other} <==`)
    expect(out).toContain('name: lamp')
  })

  it('is listed as JSON with --json', async () => {
    await run(['device', 'lamp'])
    const before = filesOf('lamp').map(read)
    const { code, out } = await run(['device', 'lamp', '--json'])
    expect(code).toBe(1)
    const { written: paths, existing, files } = JSON.parse(out)
    expect(paths).toEqual([])
    expect([...existing].sort()).toEqual(filesOf('lamp'))
    expect(files.map(({ text }: { text: string }) => text).sort()).toEqual([...before].sort())
    expect(filesOf('lamp').map(read)).toEqual(before)
  })

  it.each([
    ['the first', 'spec'],
    ['the last', 'lamp.test.ts'],
  ])('is all there is when %s file cannot be written', async (_, path) => {
    symlinkSync('nowhere', join(folder, path))
    const { code, error } = await run(['device', 'lamp'])
    expect(code).toBe(1)
    expect(error).toContain(join(folder, path))
    expect(written()).toEqual([])
  })
})

describe('wrong usage exits with 2 and writes nothing:', () => {
  it.each([
    [[], 'virtgen new needs <name>', 'virtgen new device <name>'],
    [['device'], 'virtgen new device needs a name', 'virtgen new device thermometer'],
    [['thermometer'], 'makes a device, not "thermometer"', 'virtgen new device thermometer'],
    [['devcie', 'lamp'], 'makes a device, not "devcie"', 'did you mean device?'],
    [['driver', 'lamp'], 'makes a device, not "driver"', 'virtgen new device lamp'],
    [['device', 'lamp', 'more'], 'does not know what to do with "more"', 'usage'],
    [['device', 'My Lamp'], '"My Lamp" cannot name a device', 'how about my-lamp?'],
    [['device', '2nd'], '"2nd" cannot name a device', 'how about nd?'],
    [['device', '../lamp'], '"../lamp" cannot name a device', 'how about lamp?'],
    [['device', 'lamp-'], '"lamp-" cannot name a device', 'how about lamp?'],
    [['device', '-'], '"-" cannot name a device', 'a letter comes first'],
    [['device', 'blk'], `"blk" is the specification's block device`, 'virtgen new device my-blk'],
    [['device', 'gpu'], `"gpu" is the specification's GPU device`, 'my-gpu'],
    [['device', 'io_mem'], `"io_mem" is the specification's ioMemory`, 'my-io_mem'],
    [['device', 'split-ring'], 'a chapter of the specification', 'my-split-ring'],
    [['device', 'request'], 'the generated code needs for itself', 'my-request'],
    [['device', 'lamp', '--id', '2'], "the id 2 belongs to the specification's blk", '65535 is free'],
    [['device', 'lamp', '--id', '0'], 'from 1 to 65535, not 0', ''],
    [['device', 'lamp', '--id', '65536'], 'from 1 to 65535, not 65536', ''],
    [['device', 'lamp', '--id', 'two'], 'a whole number, not "two"', ''],
    [['device', 'lamp', '--title', ' '], 'the title is empty', ''],
    [['device', 'lamp', '--title', 'a\nb'], 'one line', ''],
    [['device', 'lamp', '--request', 'getId'], '"getId" cannot name a request', 'how about get_id?'],
    [['device', 'lamp', '--request', 'on', '--request', 'on'], 'the request "on" is given twice', ''],
    [['device', 'lamp', '--request', 'a1', '--request', 'a_1'], 'become the same in TypeScript', ''],
    [['device', 'lamp', '--request', 'on_fire', '--event', 'fire'], 'the event "virtio_lamp_event.fire" both become onFire()', 'choose another name'],
    [['device', 'lamp', '--request', 'constructor'], '"constructor" cannot name a request', ''],
    [['device', 'lamp', '--event', ''], '"" cannot name an event', ''],
    [['device', 'lamp', '--confg'], 'no option --confg', 'did you mean --config?'],
  ])('virtgen new %j', async (words, message, hint) => {
    const { code, out, error } = await run(words)
    expect({ code, out }).toEqual({ code: 2, out: '' })
    expect(error).toContain(message)
    expect(error).toContain(hint)
    expect(existsSync(join(folder, 'spec'))).toBe(false)
  })

  it('a name that a device beside it has', async () => {
    put('spec/others.yaml', 'kind: device\nname: lamp\ntitle: Lamp\nid: 65000\n')
    const { code, error } = await run(['device', 'lamp'])
    expect(code).toBe(2)
    expect(error).toContain('the device in others.yaml')
    expect(written()).toEqual(['spec/others.yaml'])
  })
})

describe('help', () => {
  it('has the options and examples, by either way', async () => {
    const byOption = await run(['--help'])
    expect(byOption.code).toBe(0)
    expect(byOption.out).toContain('virtgen new device <name> [options]')
    for (const option of ['id', 'title', 'request', 'event', 'config', 'out', 'yes', 'json']) expect(byOption.out).toContain(`--${option}`)
    expect(byOption.out).toMatch(/Examples\n.*\n.*virtgen new device/)
  })
})

describe('in an empty project, in a path with a space, on the packed tarball', () => {
  const project = join(mkdtempSync(join(tmpdir(), 'virtgen-new-package-')), 'my project')
  const environment = { ...process.env, npm_config_update_notifier: 'false', NO_COLOR: '1' }

  /** Runs a line of a shell in the project; what it printed belongs to the error when it fails. */
  function shell(line: string): string {
    const { status, stdout, stderr } = spawnSync(line, { cwd: project, encoding: 'utf8', shell: true, env: environment })
    if (status !== 0) throw new Error(`${line}\nexited with ${status}:\n${stdout}${stderr}`)
    return stdout
  }

  beforeAll(() => installPacked(project))
  afterAll(() => rmSync(dirname(project), { recursive: true, force: true }))

  it('every kind of device is generated, compiled and tested by the commands that are printed', () => {
    shell('npx virtgen new device bare --request none')
    shell('npx virtgen new device knob --request none --config')
    shell('npx virtgen new device siren --request none --event fire --event false_alarm')
    // What the base classes have is called otherwise in the generated code, and so here.
    shell('npx virtgen new device my-echo --request echo --request reset --request close --request failure --event config_change')
    const words = '--request measure --request calibrate_now --event alarm --config --title "My thermometer\'s #1: hot"'
    const { next } = JSON.parse(shell(`npx virtgen new device thermometer ${words} --json`)) as { next: string[] }
    expect(next.map((line) => line.split(' ').slice(0, 3).join(' '))).toEqual(['npx virtgen generate', 'npx tsc --noEmit', 'npx vitest run'])
    const [generate, compile, test] = next as [string, string, string]
    expect(shell(generate)).toContain('wrote')
    expect(shell(compile)).toBe('')
    expect(stripVTControlCharacters(shell(test))).toMatch(/Test Files +5 passed/)
    // Whoever has stricter rules gets no complaint either.
    writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions: strictest, include: ['*.ts', 'generated'] }))
    expect(shell('npx tsc --noEmit')).toBe('')
  })
})
