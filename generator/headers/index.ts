/** What Linux's headers about virtio, vhost and VDUSE declare, through the C compiler: every constant and struct, with its file and line. */
import { readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { emptyFacts, type Facts, type FieldFact } from '../facts.ts'
import { Compiler } from '../linux/compiler.ts'
import { type CField, type CStruct, parseDwarf } from './dwarf.ts'

export interface HeaderFacts {
  facts: Facts
  /** The include folder. */
  path: string
  /** Names of the headers read, `linux/virtio_blk.h`. */
  headers: string[]
  /** What could not be read, and why. */
  unread: { file: string; line: number; text: string; why: string }[]
}

export interface HeaderOptions {
  /** Include folder with linux/; the system's if not given. */
  headers?: string | undefined
  /** The compiler. */
  cc?: string | undefined
  onProgress?: (step: string) => void
}

const wanted = /^(virtio_\w+|vhost\w*|vduse)\.h$/

/** @throws CannotCompare where the compiler or the headers are missing, with what to install */
export async function factsOfHeaders({ headers, cc, onProgress }: HeaderOptions): Promise<HeaderFacts> {
  const compiler = new Compiler(cc ?? 'gcc', headers)
  try {
    const { path, version } = await compiler.findHeaders()
    const names = readdirSync(join(path, 'linux'))
      .filter((name) => wanted.test(name))
      .sort()
    const facts = emptyFacts('linux', version ?? '')
    const result: HeaderFacts = { facts, path, headers: names.map((name) => `linux/${name}`), unread: [] }
    for (const name of names) {
      onProgress?.(`linux/${name}`)
      await readHeader(compiler, join(path, 'linux', name), result)
    }
    return result
  } finally {
    compiler.dispose()
  }
}

async function readHeader(compiler: Compiler, path: string, { facts, unread }: HeaderFacts): Promise<void> {
  const scope = `linux/${basename(path)}`
  const text = readFileSync(path, 'utf8')
  // virtio_gpu.h and others use types that their users include first.
  const source = `#include <stdint.h>\n#include <linux/types.h>\n#include <linux/ioctl.h>\n#include <${scope}>\n`
  const debug = await compiler.debugInformation('header.c', source)
  if (debug === undefined) {
    unread.push({ file: scope, line: 1, text: `#include <${scope}>`, why: 'it does not compile alone' })
    return
  }
  const { structs, enumerators } = parseDwarf(debug)
  for (const struct of structs)
    if (basename(struct.file) === basename(path) && struct.size !== undefined) facts.structs.push(structFact(scope, struct))
  const enumerated = new Set<string>()
  for (const { name, value, group, file, line } of enumerators) {
    if (basename(file) !== basename(path)) continue
    enumerated.add(name)
    facts.constants.push({ scope, name, value, group, file: scope, line: lineOf(text, new RegExp(`\\b${name}\\b`), line) })
  }
  const macros = await macrosOf(compiler, source, text)
  const names = [...macros.keys()].filter((name) => !enumerated.has(name))
  const values = await compiler.constants('values.c', source, names)
  for (const name of names) {
    const value = values.get(name)
    const line = macros.get(name) as number
    if (value === undefined) unread.push({ file: scope, line, text: name, why: 'it is no number' })
    else
      facts.constants.push({
        scope,
        name,
        value: Number.isSafeInteger(Number(value)) ? Number(value) : value.toString(),
        group: '',
        file: scope,
        line,
      })
  }
}

/** The macros that the header itself defines as something, with their lines; those that take arguments stand for no number. */
async function macrosOf(compiler: Compiler, source: string, text: string): Promise<Map<string, number>> {
  const defined = new Set((await compiler.macros('macros.c', source)).flatMap((line) => /^#define (\w+) +\S/.exec(line)?.[1] ?? []))
  const lines = text.split('\n')
  const macros = new Map<string, number>()
  for (const [index, line] of lines.entries()) {
    const name = /^\s*#\s*define\s+(\w+)(?!\w|\()/.exec(line)?.[1]
    if (name !== undefined && defined.has(name) && !macros.has(name)) macros.set(name, index + 1)
  }
  return macros
}

/** The first line from a given one on that has a word. */
function lineOf(text: string, word: RegExp, from: number): number {
  const lines = text.split('\n')
  const found = lines.findIndex((line, index) => index + 1 >= from && word.test(line))
  return found < 0 ? from : found + 1
}

function structFact(scope: string, { name, size, line, fields }: CStruct): Facts['structs'][number] {
  return { scope, name, size: size ?? null, file: scope, line, fields: fields.map((field) => fieldFact(scope, field)) }
}

function fieldFact(file: string, { name, type, offset, size, count, bit, bits, line }: CField): FieldFact {
  return {
    name,
    type,
    offset,
    size: size ?? null,
    ...(count.length === 0 ? {} : { count: count.length === 1 ? openOr(count[0] as number) : count.map(openOr) }),
    ...(bit === undefined || bits === undefined ? {} : { bit, bits }),
    file,
    line,
  }
}

function openOr(count: number): number | string {
  return count === 0 ? '' : count
}
