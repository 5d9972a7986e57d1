/** Reads the YAML files of spec folders and checks their shape. Every problem is collected; nothing is thrown for what a file says. */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join, relative, sep } from 'node:path'
import type { FileAst } from './ast.ts'
import type { Diagnostic } from './diagnostic.ts'
import { reportIssues } from './issues.ts'
import { type Lost, nothingLost, withoutLost } from './lost.ts'
import { fileSchema } from './schema.ts'
import { SourceFile } from './source.ts'

/** A folder of the description. */
export interface SpecFolder {
  folder: string
  /** True for virtgen's own `spec/`. */
  builtin: boolean
}

/** A file whose shape is right, or right but for what was taken out of it. */
export interface LoadedFile {
  source: SourceFile
  ast: FileAst
  lost: Lost
}

export interface Loaded {
  files: LoadedFile[]
  /** Every file, also those that cannot be used at all. */
  sources: SourceFile[]
  problems: Diagnostic[]
}

/** Loads every `*.yaml` below the folders. */
export function loadFolders(folders: readonly SpecFolder[], workingFolder: string = process.cwd()): Loaded {
  const sources: SourceFile[] = []
  const problems: Diagnostic[] = []
  for (const { folder, builtin } of folders) {
    const files = listYaml(folder)
    if (files === undefined) problems.push(noSpec(shorter(folder, workingFolder), 'not a folder that can be read'))
    else if (files.length === 0) problems.push(noSpec(shorter(folder, workingFolder), 'no *.yaml file in this folder'))
    for (const file of files ?? []) {
      const shown = shorter(file, workingFolder)
      const text = readText(file)
      if (text === undefined) problems.push(noSpec(shown, 'not a file that can be read'))
      else sources.push(new SourceFile(shown, relative(folder, file).split(sep).join('/'), text, builtin))
    }
  }
  return { ...checkShapes(sources), problems }
}

/** Two descriptions as one: virtgen's own and what extends it. */
export function joinLoaded(own: Loaded, extension: Loaded): Loaded {
  return {
    files: [...own.files, ...extension.files],
    sources: [...own.sources, ...extension.sources],
    problems: [...own.problems, ...extension.problems],
  }
}

/** Checks the shape of files that are already in memory. */
export function checkShapes(sources: SourceFile[]): Loaded {
  const files: LoadedFile[] = []
  for (const source of sources) {
    if (source.value === undefined) continue
    const result = fileSchema.safeParse(source.value)
    // The value itself, not zod's copy of it, which has the order of the schema: that of the parts matters.
    if (result.success) files.push({ source, ast: source.value as FileAst, lost: nothingLost })
    else {
      const rest = withoutLost(source.value, reportIssues(source, result.error.issues))
      if (rest !== undefined) files.push({ source, ...rest })
    }
  }
  return { files, sources, problems: [] }
}

function noSpec(file: string, message: string): Diagnostic {
  return {
    code: 'no-spec',
    file,
    line: 1,
    column: 1,
    message,
    hint: 'a description is a folder of YAML files, one per chapter',
    excerpt: '',
    length: 1,
  }
}

function readText(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
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
