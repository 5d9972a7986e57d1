/**
 * The description a command works on: virtgen's own `spec/` and the folders of `--spec`, resolved. A command that is about one chapter reads
 * only what that chapter can depend on: parsing all of the specification takes longer than anything such a command does with it.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join, relative, resolve as resolvePath, sep } from 'node:path'
import { checkShapes, joinLoaded, type Loaded, loadFolders, type Model, resolve, SourceFile } from '../generator/index.ts'
import { type Call, DescriptionError } from './command.ts'
import { packageRoot } from './package-root.ts'

/** What a command is about. */
export interface Wanted {
  /** Names or ids of chapters. */
  chapters?: readonly string[]
  /** A struct: every chapter that has its name in it is read. */
  struct?: string
}

export interface Description {
  model: Model
  /** Number of YAML files read. */
  files: number
}

const specFolder = join(packageRoot, 'spec')

/** @throws DescriptionError where the files have mistakes. */
export function describe(call: Call): Description {
  return resolved(loadFolders([{ folder: specFolder, builtin: true }], call.host.folder), extensions(call))
}

/** As `describe`, but only with the chapters that are wanted and what they depend on; their part of the model is the same. */
export function describePart(call: Call, wanted: Wanted): Description {
  const texts = builtinTexts()
  const extension = extensions(call)
  const sources = new Map<string, SourceFile>()
  const add = (isNeeded: (text: BuiltinText) => boolean): void => {
    for (const { path, text } of texts.filter(isNeeded)) {
      if (sources.has(path)) continue
      const source = new SourceFile(shown(path, call), path, text, true)
      sources.set(path, source)
      addUsed(source.value)
    }
  }
  const addUsed = (file: unknown): void => {
    const uses = (file as { uses?: unknown } | undefined)?.uses
    if (Array.isArray(uses)) add(({ text }) => uses.includes(nameOf(text)))
  }
  // Names of common chapters are in reach of all, a group that `extends` another adds arms to unions of chapters that do not name it, and
  // features of rings and transports are those of every device.
  add(
    ({ text }) =>
      headerOf(text, 'kind') === 'common' ||
      /\bextends:/.test(text) ||
      (/^features:/m.test(text) && ['ring', 'transport'].includes(headerOf(text, 'kind'))),
  )
  const { chapters = [], struct } = wanted
  add(({ text }) => chapters.includes(nameOf(text)) || chapters.includes(String(Number(headerOf(text, 'id')))))
  if (struct !== undefined) add(({ text }) => text.includes(struct))
  for (const { ast } of extension.files) addUsed(ast)
  const inOrder = [...sources.keys()].sort().map((path) => sources.get(path) as SourceFile)
  return resolved(checkShapes(inOrder), extension)
}

/** Every chapter's name, without resolving anything. */
export function chapterNames(call: Call): string[] {
  return [...builtinTexts().map(({ text }) => nameOf(text)), ...extensions(call).files.map(({ ast }) => ast.name)]
}

function extensions(call: Call): Loaded {
  const folders = call.options.texts('spec').map((folder) => ({ folder: resolvePath(call.host.folder, folder), builtin: false }))
  return loadFolders(folders, call.host.folder)
}

function resolved(own: Loaded, extension: Loaded): Description {
  const loaded = joinLoaded(own, extension)
  const { model, problems } = resolve(loaded)
  if (problems.length > 0) throw new DescriptionError(problems)
  return { model, files: loaded.sources.length }
}

interface BuiltinText {
  /** Below `spec/`, with forward slashes. */
  path: string
  text: string
}

function builtinTexts(): BuiltinText[] {
  const names = readdirSync(specFolder, { recursive: true, encoding: 'utf8' }).filter((name) => /\.ya?ml$/.test(name))
  return names.map((name) => ({ path: name.split(sep).join('/'), text: readFileSync(join(specFolder, name), 'utf8') }))
}

/** A key at the top of a file: `kind`, `name` or `id`. */
function headerOf(text: string, key: string): string {
  return new RegExp(`^${key}: *["']?([^"'#\\s]+)`, 'm').exec(text)?.[1] ?? ''
}

function nameOf(text: string): string {
  return headerOf(text, 'name')
}

function shown(path: string, call: Call): string {
  const file = join(specFolder, path)
  const near = relative(call.host.folder, file)
  return near.startsWith('..') ? file : near
}
