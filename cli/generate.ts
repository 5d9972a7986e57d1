/** `virtgen generate`: the description to TypeScript. */
import { existsSync, realpathSync } from 'node:fs'
import { basename, dirname, join, relative, resolve, sep } from 'node:path'
import { unifiedDiff } from '../generator/diff.ts'
import type { Member, Model } from '../generator/model.ts'
import { applyPlan, type Change, type Plan, planWrite } from '../generator/write.ts'
import { type Call, type Command, Failure, jsonOption, specOption, UsageError } from './command.ts'
import { GeneratedBefore } from './generated-before.ts'
import { quoted } from './new-shell.ts'
import { packageRoot } from './package-root.ts'
import { columns, counted } from './table.ts'

export const generate: Command = {
  name: 'generate',
  arguments: '',
  summary: 'writes TypeScript from the YAML description',
  description: [
    'Without --spec it writes everything to the generated/ folder of virtgen itself, and the schema for editors to spec/schema.json. ' +
      "With --spec it writes the chapters of those folders only; they may use what virtgen's own chapters declare.",
    'Only files that differ are written. Files in the output folder that virtgen generated earlier and no longer does are removed; they ' +
      'are known by their first line. Other files are never touched. Folders of --spec that share an output folder have to be given in one ' +
      'call, or each call removes what another one wrote.',
  ],
  options: [
    { name: 'check', summary: 'writes nothing; prints what differs and exits with 1 if anything does' },
    specOption,
    { name: 'out', value: 'DIR', summary: 'where to write: by default generated/, of the working folder with --spec, else of virtgen' },
    jsonOption,
  ],
  examples: [
    { line: 'virtgen generate', meaning: 'regenerate after an edit in spec/' },
    { line: 'virtgen generate --check', meaning: 'in CI: fail if generated/ is not what spec/ says' },
    { line: 'virtgen generate --spec vendor/spec --out src/virtio', meaning: 'generate the devices of your own description' },
  ],
  run,
}

/** A folder and what is to be done in it. */
interface Target {
  folder: string
  plan: Plan
}

async function run(call: Call): Promise<number> {
  const started = performance.now()
  const out = outputFolder(call)
  const before = call.options.has('check') ? undefined : new GeneratedBefore<Read>(call, out)
  const same = before?.upToDate()
  if (same) {
    report(call, [], same.read, out, performance.now() - started, same.files)
    return 0
  }
  const { describe } = await import('./description.ts')
  call.progress('reading the description …')
  const { model, files } = describe(call)
  call.progress('generating …')
  const targets = await planTargets(call, model, out)
  call.progress('')
  const foreign = targets.flatMap(({ folder, plan }) => plan.foreign.map((path) => shown(call, folder, path)))
  if (foreign.length > 0) {
    throw new Failure(`files that virtgen did not generate are in the way: ${foreign.join(', ')}`, 'move them, or choose another folder with --out')
  }
  const read = { files, ...countsOf(model) }
  if (call.options.has('check')) return check(call, targets, read)
  for (const { folder, plan } of targets) applyPlan(folder, plan)
  before?.remember(
    targets.flatMap(({ folder, plan }) => plan.files.map((path) => join(folder, path))),
    read,
  )
  report(call, targets, read, out, performance.now() - started)
  return 0
}

function outputFolder(call: Call): string {
  const own = join(packageRoot, 'generated')
  const isExtension = call.options.has('spec')
  const given = call.options.text('out')
  const out = resolve(call.host.folder, given ?? (isExtension ? 'generated' : own))
  if (isExtension && (isWithin(out, own) || isWithin(own, out))) {
    throw new UsageError(
      `${out} holds virtgen's own generated files`,
      "choose another folder with --out; without --spec, virtgen's own are generated",
    )
  }
  return out
}

function isWithin(inner: string, outer: string): boolean {
  const way = relative(realPath(outer), realPath(inner))
  return way === '' || !(way === '..' || way.startsWith(`..${sep}`) || resolve(way) === way)
}

/** The path without links; of a path that does not exist yet, as far as it does. */
function realPath(path: string): string {
  if (existsSync(path) || dirname(path) === path) return realpathSync(path)
  return join(realPath(dirname(path)), basename(path))
}

async function planTargets(call: Call, model: Model, out: string): Promise<Target[]> {
  const isExtension = call.options.has('spec')
  const { emitAll } = await import('../generator/emit/index.ts')
  const targets = [{ folder: out, plan: planWrite(out, emitAll(model, { chapters: isExtension ? 'extension' : 'all' })) }]
  if (isExtension || call.options.has('out')) return targets
  const { editorSchema } = await import('./editor-schema.ts')
  const folder = join(packageRoot, 'spec')
  const schema = { path: 'schema.json', text: editorSchema() }
  return [...targets, { folder, plan: planWrite(folder, [schema], true) }]
}

function shown(call: Call, folder: string, path: string): string {
  const file = join(folder, path)
  const near = relative(call.host.folder, file)
  return (near.startsWith('..') ? file : near).split(sep).join('/')
}

/** What was read, and how many files it was in. */
type Read = Counts & { files: number }
type Counts = Record<'chapters' | 'devices' | 'features' | 'structs' | 'fields' | 'constants', number>

function countsOf({ chapters }: Model): Counts {
  const sum = (count: (chapter: Model['chapters'][number]) => number): number => chapters.reduce((total, chapter) => total + count(chapter), 0)
  return {
    chapters: chapters.length,
    devices: chapters.filter(({ kind }) => kind === 'device').length,
    features: sum(({ features }) => features.length),
    structs: sum(({ structs, registers }) => structs.length + registers.length),
    fields: sum(({ structs, registers }) => [...structs, ...registers].reduce((total, { members }) => total + fieldCount(members), 0)),
    constants: sum(({ groups }) => groups.reduce((total, { constants }) => total + constants.length, 0)),
  }
}

function fieldCount(members: readonly Member[]): number {
  return members.reduce((total, { name, type }) => {
    const own = name === '' ? 0 : 1
    if (type.kind === 'group') return total + own + (type.struct ? 0 : fieldCount(type.members))
    if (type.kind === 'union') return total + own + fieldCount(type.arms)
    if (type.kind === 'bits') return total + own + type.fields.filter((field) => field.name !== '').length
    return total + own
  }, 0)
}

function readLine({ files, ...counts }: Read): string {
  const nouns = Object.entries(counts).map(([name, count]) => counted(count, name.slice(0, -1)))
  return `${counted(files, 'file')}: ${nouns.join(', ')}`
}

function report(call: Call, targets: readonly Target[], read: Read, out: string, milliseconds: number, skipped = 0): void {
  const changes = targets.flatMap(({ folder, plan }) => plan.changes.map((change) => ({ ...change, path: shown(call, folder, change.path) })))
  const unchanged = targets.reduce((total, { plan }) => total + plan.unchanged, skipped)
  const written = changes.filter(({ after }) => after !== undefined)
  const removed = changes.filter(({ after }) => after === undefined)
  if (call.options.has('json')) {
    const paths = (list: readonly Change[]): string[] => list.map(({ path }) => path)
    call.printJson({ read, out, written: paths(written), removed: paths(removed), unchanged, milliseconds: Math.round(milliseconds) })
    return
  }
  const { paint } = call
  const rows = [
    ['read', readLine(read)],
    ...written.map(({ path, before }) => [paint.green('wrote'), before === undefined ? `${path} (new)` : path]),
    ...removed.map(({ path }) => [paint.yellow('removed'), path]),
    ...(unchanged > 0 ? [['left', `${counted(unchanged, 'file')} as ${unchanged === 1 ? 'it is' : 'they are'}`]] : []),
    ['time', `${(milliseconds / 1000).toFixed(2)} s`],
  ]
  for (const line of columns(rows)) call.print(line)
}

type Difference = { path: string; kind: 'different' | 'missing' | 'stale'; diff?: string }

/** The diff goes to the standard output, what to make of it to the standard error. */
function check(call: Call, targets: readonly Target[], read: Read): number {
  const differences = targets.flatMap(({ folder, plan }) => plan.changes.map((change) => difference(change, shown(call, folder, change.path))))
  const command = commandToRun(call)
  if (call.options.has('json')) call.printJson({ read, differences, ...(differences.length > 0 ? { command } : {}) })
  else {
    for (const { diff } of differences) if (diff !== undefined) call.host.stdout.write(painted(call, diff))
    const words = { different: 'differs', missing: 'missing', stale: 'stale' }
    for (const line of columns(differences.map(({ kind, path }) => [words[kind], path]))) call.complain(line)
    if (differences.length > 0) call.complain(`${counted(differences.length, 'file')} to change; run: ${command}`)
    else call.print(`up to date: ${readLine(read)}`)
  }
  return differences.length > 0 ? 1 : 0
}

function difference({ before, after }: Change, path: string): Difference {
  if (before === undefined) return { path, kind: 'missing' }
  if (after === undefined) return { path, kind: 'stale' }
  return { path, kind: 'different', diff: unifiedDiff(path, before, after) }
}

function painted({ paint }: Call, diff: string): string {
  const colours: Record<string, (line: string) => string> = { '+': paint.green, '-': paint.red, '@': paint.cyan }
  return diff.replaceAll(/^(\+\+\+|---|.).*$/gm, (line, start: string) => (start.length === 3 ? paint.bold(line) : (colours[start]?.(line) ?? line)))
}

function commandToRun(call: Call): string {
  const specs = call.options.texts('spec').map((folder) => ` --spec ${quoted(folder)}`)
  const out = call.options.text('out')
  return `virtgen generate${specs.join('')}${out === undefined ? '' : ` --out ${quoted(out)}`}`
}
