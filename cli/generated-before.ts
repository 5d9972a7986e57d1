/**
 * Remembers what was generated from what: a call with nothing to do compares sums instead of parsing and emitting everything. It is kept where tools keep what
 * may be deleted; where it is missing or cannot be written, everything is done as if it had never been there. `generate --check` never asks it.
 */
import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, dirname, join, resolve } from 'node:path'
import { listGenerated } from '../generator/write.ts'
import type { Call } from './command.ts'
import { packageRoot } from './package-root.ts'

const mostRemembered = 32

interface Remembered<Read> {
  /** The sum of everything that decides what is generated. */
  inputs: string
  /** The sum of each file that was written, by its path. */
  outputs: Record<string, string>
  /** What was read then, for the report. */
  read: Read
}

/** What was generated into a folder in an earlier call. */
export class GeneratedBefore<Read> {
  readonly #file: string
  readonly #inputs: string
  readonly #out: string

  constructor(call: Call, out: string) {
    const specs = call.options.texts('spec').map((folder) => resolve(call.host.folder, folder))
    this.#out = out
    this.#file = join(cacheFolder(), `${sumOf([out, ...specs].join('\0')).slice(0, 32)}.json`)
    this.#inputs = sumOfInputs([join(packageRoot, 'spec'), ...specs])
  }

  /** What was read, where all that was generated is still there and would come out the same. */
  upToDate(): { read: Read; files: number } | undefined {
    const remembered = this.#load()
    if (remembered === undefined || remembered.inputs !== this.#inputs) return undefined
    const paths = Object.keys(remembered.outputs)
    const isSame = paths.every((path) => sumOfFile(path) === remembered.outputs[path])
    const hasOthers = listGenerated(this.#out).some((path) => !Object.hasOwn(remembered.outputs, join(this.#out, path)))
    return isSame && !hasOthers ? { read: remembered.read, files: paths.length } : undefined
  }

  remember(paths: readonly string[], read: Read): void {
    const outputs = Object.fromEntries(paths.map((path) => [path, sumOfFile(path) ?? '']))
    try {
      mkdirSync(dirname(this.#file), { recursive: true })
      forgetOldest(dirname(this.#file))
      writeFileSync(this.#file, JSON.stringify({ inputs: this.#inputs, outputs, read } satisfies Remembered<Read>))
    } catch {
      // The package may be installed where nothing can be written: the next call does everything again.
    }
  }

  #load(): Remembered<Read> | undefined {
    try {
      return JSON.parse(readFileSync(this.#file, 'utf8')) as Remembered<Read>
    } catch {
      return undefined
    }
  }
}

/** Beside the packages of a project, where tools keep what may be deleted; in virtgen's own repository, in the repository. */
function cacheFolder(): string {
  const around = dirname(packageRoot)
  return basename(around) === 'node_modules' ? join(around, '.cache', 'virtgen') : join(packageRoot, '.cache', 'generate')
}

/** Output folders come and go; those of the last calls are enough. */
function forgetOldest(folder: string): void {
  const files = readdirSync(folder).map((name) => join(folder, name))
  if (files.length < mostRemembered) return
  const byAge = files.map((file) => ({ file, time: statSync(file).mtimeMs })).sort((a, b) => a.time - b.time)
  for (const { file } of byAge.slice(0, files.length - mostRemembered + 1)) rmSync(file)
}

function sumOf(text: string | Uint8Array): string {
  return createHash('sha256').update(text).digest('hex')
}

function sumOfFile(path: string): string | undefined {
  try {
    return sumOf(readFileSync(path))
  } catch {
    return undefined
  }
}

/** The description, the generator as it is built, its templates, and the packages it writes with. */
function sumOfInputs(specs: readonly string[]): string {
  const folders = [...specs, ...['dist/generator', 'dist/cli', 'templates'].map((folder) => join(packageRoot, folder))]
  const find = createRequire(import.meta.url)
  const packages = ['ts-morph', 'yaml', 'handlebars', 'zod'].map((name) => versionOf(name, find.resolve.paths(name) ?? []))
  return sumOf([...folders.flatMap(sumsBelow), ...packages].join('\n'))
}

function sumsBelow(folder: string): string[] {
  try {
    const names = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => /\.(ya?ml|js|hbs)$/.test(name))
    return [folder, ...names.sort().map((name) => `${name} ${sumOfFile(join(folder, name))}`)]
  } catch {
    return [folder]
  }
}

function versionOf(name: string, folders: readonly string[]): string {
  for (const folder of folders) {
    try {
      const { version } = JSON.parse(readFileSync(join(folder, name, 'package.json'), 'utf8')) as { version: string }
      return `${name} ${version}`
    } catch {
      // The next folder may have it.
    }
  }
  return name
}
