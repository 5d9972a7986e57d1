/** `virtgen new device`: the files a new device type begins with. */
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, relative, resolve, sep } from 'node:path'
import { didYouMean } from '../generator/diagnostic.ts'
import type { OutputFile } from '../generator/write.ts'
import { type Call, type Command, jsonOption, UsageError } from './command.ts'
import type { NewDevice } from './new-device.ts'
import type { Place } from './new-files.ts'
import { PromptEnded } from './prompt.ts'
import { columns } from './table.ts'

const makes = ['device']

export const newDevice: Command = {
  name: 'new',
  arguments: 'device <name>',
  summary: 'begins a device type of your own: description, device and test',
  description: [
    'Writes spec/device/NAME.yaml (what device and driver have to agree on), NAME.ts (the device) and NAME.test.ts (a test that drives it ' +
      'in one process). They work as they are: generate the TypeScript that belongs to the description, then compile and test. It prints how.',
    'On a terminal it asks what the options do not say. Nothing is ever overwritten: if one of the files is there, it writes none and prints ' +
      'what it would have written.',
  ],
  options: [
    { name: 'id', value: 'N', summary: 'device id; by default a free one of those for experiments, from 65535 down' },
    { name: 'title', value: 'TEXT', summary: 'heading, by default made of the name' },
    { name: 'request', value: 'NAME', repeatable: true, summary: 'something the driver asks for, by default echo; none: no request queue' },
    { name: 'event', value: 'NAME', repeatable: true, summary: 'something the device tells by itself, by default none' },
    { name: 'config', summary: 'with a configuration space' },
    { name: 'out', value: 'DIR', summary: 'where to write, by default the working folder' },
    { name: 'yes', summary: 'asks nothing: what the options do not say is as by default' },
    jsonOption,
  ],
  examples: [
    { line: 'virtgen new device thermometer', meaning: 'begin a device type, asked step by step' },
    {
      line: 'virtgen new device thermometer --request measure --event alarm --config --yes',
      meaning: 'a request queue, an event queue and a configuration space',
    },
    { line: 'virtgen new device thermometer --out devices --yes --json', meaning: 'below another folder, from a program' },
  ],
  async run(call) {
    try {
      return await run(call)
    } catch (error) {
      if (!(error instanceof PromptEnded)) throw error
      call.complain(`virtgen: ${error.message}; nothing is written`)
      return error.code
    }
  },
}

async function run(call: Call): Promise<number> {
  const name = nameOf(call.arguments)
  const place = placeOf(call)
  const { collectAnswers } = await import('./new-answers.ts')
  const device = await collectAnswers(call, name, place)
  const { filesOf } = await import('./new-files.ts')
  const files = filesOf(device, place)
  const existing = files.filter(({ path }) => existsSync(join(place.folder, path)))
  if (existing.length > 0) return refuse(call, files, existing, place)
  writeAll(place.folder, files)
  const { nextSteps } = await import('./new-steps.ts')
  report(call, device, files, nextSteps(device, place), place)
  return 0
}

function nameOf([what, name]: readonly string[]): string {
  if (what !== 'device') {
    const hint = didYouMean(what ?? '', makes) ?? `virtgen new device ${name === undefined ? what : name}`
    throw new UsageError(`virtgen new makes a device, not "${what}"`, hint)
  }
  if (name === undefined) throw new UsageError('virtgen new device needs a name', 'for example: virtgen new device thermometer')
  return name
}

function placeOf({ host, options }: Call): Place {
  const folder = resolve(host.folder, options.text('out') ?? '.')
  const near = relative(host.folder, folder)
  if (near === '') return { folder, shown: '.' }
  return { folder, shown: near.startsWith('..') ? folder : near.split(sep).join('/') }
}

function pathShown(place: Place, path: string): string {
  return place.shown === '.' ? path : `${place.shown}/${path}`
}

function refuse(call: Call, files: readonly OutputFile[], existing: readonly OutputFile[], place: Place): number {
  const shown = existing.map(({ path }) => pathShown(place, path))
  if (call.options.has('json'))
    call.printJson({ written: [], existing: shown, files: files.map(({ path, text }) => ({ path: pathShown(place, path), text })) })
  else for (const { path, text } of files) call.print(`${call.paint.bold(`==> ${pathShown(place, path)} <==`)}\n${text}`)
  const [verb, them] = shown.length === 1 ? ['exists', 'it'] : ['exist', 'them']
  call.complain(`virtgen: ${shown.join(', ')} ${verb} already; nothing is written`)
  call.complain(`  hint: move ${them} away, or choose another name or --out; the standard output has what would have been written`)
  return 1
}

/** All of them or none. */
function writeAll(folder: string, files: readonly OutputFile[]): void {
  const written: string[] = []
  try {
    for (const { path, text } of files) {
      const file = join(folder, path)
      mkdirSync(dirname(file), { recursive: true })
      // Somebody may have been faster than the check.
      writeFileSync(file, text, { flag: 'wx' })
      written.push(file)
    }
  } catch (error) {
    for (const file of written) rmSync(file)
    throw error
  }
}

const purposes = ['what device and driver agree on: begin here', 'the device', 'a test that drives it']

interface Step {
  command: string
  meaning: string
}

function report(call: Call, device: NewDevice, files: readonly OutputFile[], steps: readonly Step[], place: Place): void {
  const paths = files.map(({ path }) => pathShown(place, path))
  if (call.options.has('json')) {
    call.printJson({ device, written: paths, next: steps.map(({ command }) => command) })
    return
  }
  const { paint } = call
  for (const line of columns(paths.map((path, index) => [paint.green('wrote'), path, paint.dim(purposes[index] as string)]))) call.print(line)
  call.print(`\n${paint.bold('Next')}`)
  for (const { command, meaning } of steps) call.print(`  ${paint.dim(`# ${meaning}`)}\n  ${command}`)
}
