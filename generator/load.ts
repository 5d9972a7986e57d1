/** Reads the YAML files of spec folders and checks their shape. Every problem is collected; nothing is thrown for what a file says. */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join, relative, sep } from 'node:path'
import type { z } from 'zod'
import type { FileAst } from './ast.ts'
import { type Diagnostic, didYouMean } from './diagnostic.ts'
import { fileSchema } from './schema.ts'
import { type Path, SourceFile } from './source.ts'

/** A folder of the description. */
export interface SpecFolder {
  folder: string
  /** True for virtgen's own `spec/`. */
  builtin: boolean
}

/** A file whose shape is right. */
export interface LoadedFile {
  source: SourceFile
  ast: FileAst
}

export interface Loaded {
  files: LoadedFile[]
  /** Every file, also those whose shape is wrong. */
  sources: SourceFile[]
  problems: Diagnostic[]
}

/** Loads every `*.yaml` below the folders. */
export function loadFolders(folders: readonly SpecFolder[], workingFolder: string = process.cwd()): Loaded {
  const sources: SourceFile[] = []
  const problems: Diagnostic[] = []
  for (const { folder, builtin } of folders) {
    const files = listYaml(folder)
    if (files === undefined || files.length === 0) {
      problems.push({
        code: 'no-spec',
        file: shorter(folder, workingFolder),
        line: 1,
        column: 1,
        message: files === undefined ? 'not a folder that can be read' : 'no *.yaml file in this folder',
        hint: 'a description is a folder of YAML files, one per chapter',
        excerpt: '',
        length: 1,
      })
    }
    for (const file of files ?? []) {
      sources.push(new SourceFile(shorter(file, workingFolder), relative(folder, file).split(sep).join('/'), readFileSync(file, 'utf8'), builtin))
    }
  }
  return { ...checkShapes(sources), problems }
}

/** Checks the shape of files that are already in memory. */
export function checkShapes(sources: SourceFile[]): Loaded {
  const files: LoadedFile[] = []
  for (const source of sources) {
    if (source.problems.length > 0) continue
    const result = fileSchema.safeParse(source.value)
    if (result.success) files.push({ source, ast: result.data as FileAst })
    else for (const issue of result.error.issues) reportIssue(source, issue, [])
  }
  return { files, sources, problems: [] }
}

/** YAML files below a folder in a stable order; undefined when it cannot be read. */
function listYaml(folder: string): string[] | undefined {
  try {
    if (!statSync(folder).isDirectory()) return undefined
    return readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((name) => /\.ya?ml$/.test(name) && !name.split(sep).includes('node_modules'))
      .sort()
      .map((name) => join(folder, name))
  } catch {
    return undefined
  }
}

function shorter(file: string, workingFolder: string): string {
  const near = relative(workingFolder, file)
  return near === '' ? '.' : near.startsWith('..') ? file : near
}

type Issue = z.core.$ZodIssue

/** Turns an issue of zod into a diagnostic at the place it is about. */
function reportIssue(source: SourceFile, issue: Issue, parent: Path): void {
  const path = [...parent, ...(issue.path as (string | number)[])]
  switch (issue.code) {
    case 'unrecognized_keys':
      for (const key of issue.keys) {
        // A comma inside { } ends the text before it; what follows looks like a key.
        const hint = key.includes(' ') ? 'a text with a comma needs quotes inside { }' : didYouMean(key, knownKeys)
        source.report('unknown-key', [...path, key], `unknown key "${key}"`, hint, 'key')
      }
      return
    case 'invalid_union': {
      const branch = bestBranch(issue.errors)
      if (branch === undefined) source.report('wrong-type', path, `a value of this kind does not stand here`)
      else for (const inner of branch) reportIssue(source, inner, path)
      return
    }
    case 'invalid_key':
      source.report('wrong-type', path, `"${String(path.at(-1))}" is not a name`, 'letters, digits, "_" and "-", not starting with a digit', 'key')
      return
    case 'invalid_type':
    case 'invalid_value':
      if (isMissing(source, path)) {
        const key = String(path.at(-1))
        source.report('missing-key', path.slice(0, -1), `the key "${key}" is missing`, expectation(issue), 'key')
      } else {
        source.report('wrong-type', path, `expected ${expectation(issue)}`)
      }
      return
    default:
      source.report('wrong-type', path, issue.message)
  }
}

/** Of the branches of a union the one that came farthest is the one that was meant. */
function bestBranch(branches: Issue[][]): Issue[] | undefined {
  const depth = (issue: Issue): number =>
    issue.code === 'invalid_union' ? Math.max(issue.path.length, ...issue.errors.flat().map((inner) => issue.path.length + depth(inner))) : issue.path.length
  const kind = (branch: Issue[]): number => (branch.some((issue) => issue.path.length === 0 && issue.code === 'invalid_type') ? 0 : 1)
  const score = (branch: Issue[]): number => kind(branch) * 1000 + Math.min(...branch.map(depth), 99) * 10 - Math.min(branch.length, 9)
  return [...branches].filter((branch) => branch.length > 0).sort((a, b) => score(b) - score(a))[0]
}

function expectation(issue: Issue): string {
  if (issue.code === 'invalid_value') return issue.values.map((value) => `"${String(value)}"`).join(' or ')
  if (issue.code !== 'invalid_type') return issue.message
  const words: Record<string, string> = {
    object: 'a mapping',
    record: 'a mapping',
    array: 'a list',
    string: 'text',
    int: 'an integer',
    number: 'a number',
    bigint: 'a number',
    boolean: 'true or false',
    null: 'nothing',
  }
  return words[issue.expected] ?? issue.expected
}

function isMissing(source: SourceFile, path: Path): boolean {
  let value = source.value
  for (const step of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, step)) return true
    value = (value as Record<string | number, unknown>)[step]
  }
  return false
}

/** Every key the language has, for "did you mean". */
const knownKeys = (
  'kind name title id section source since doc uses legacy header let devices features rules constants structs config registers queues messages ' +
  'shared_memory errata vectors type struct union bits enum flags set mask when by is size stride until framed with range count multiple const reset unit ' +
  'access clears bank at pair was linux spec fields readable writable given values extends value holds marker alias bit requires suggests assumed shares_bit ' +
  'index each carries head status requests events field ok failed unknown error spans fds text truth why of part bytes queue_size width low'
).split(' ')
