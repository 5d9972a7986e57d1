/** Bytes as people have them at hand: hexadecimal digits, dumps, files. */
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { UsageError } from './command.ts'
import type { Host } from './host.ts'

/**
 * The bytes that words of the command line stand for: `-` is the standard input, `@FILE` a file, anything else hexadecimal digits.
 *
 * @throws UsageError for what cannot be read
 */
export function readBytes(words: readonly string[], host: Host): Uint8Array {
  const [word] = words
  if (words.length > 1 || word === undefined || (word !== '-' && !word.startsWith('@'))) return parseHex(words.join(' '))
  return parseContent(word === '-' ? host.readInput() : readFile(resolve(host.folder, word.slice(1))))
}

function readFile(file: string): Uint8Array {
  try {
    return readFileSync(file)
  } catch (error) {
    throw new UsageError(`cannot read ${file}: ${(error as NodeJS.ErrnoException).code}`)
  }
}

/** A file with anything in it that is not text is taken as it is. */
function parseContent(content: Uint8Array): Uint8Array {
  const isText = content.every((byte) => (byte >= 0x20 && byte < 0x7f) || byte === 0x09 || byte === 0x0a || byte === 0x0d)
  return isText ? parseHex(Buffer.from(content).toString('latin1')) : Uint8Array.from(content)
}

/** `00000010: 0001 0203 …  ....`, as xxd prints it; the text on the right begins after two spaces. */
const xxdLine = /^([0-9a-f]{7,16}): ?((?:[0-9a-f]{2,} )*[0-9a-f]{2,})(?: .*)?$/i
/** `00000010  00 01 02 …  |...|`, as `hexdump -C` prints it. */
const canonicalLine = /^([0-9a-f]{7,16}) {2}((?:[0-9a-f]{2} {1,2})+) *\|.*$/i
const endLine = /^[0-9a-f]{7,16}:?$/i
/** `0000010 0100 0302 …`: `hexdump` without -C prints words in the byte order of the machine. */
const wordLine = /^[0-9a-f]{7} ([0-9a-f]{4} *)+$/i

/** Hexadecimal digits with or without `0x`, spaces, colons and commas between them, or a dump by xxd or `hexdump -C`. */
export function parseHex(text: string): Uint8Array {
  const lines = text
    .split(/\r?\n/)
    .map((line) => line.trimEnd())
    .filter((line) => line !== '')
  const first = lines[0] ?? ''
  if (wordLine.test(first)) throw new UsageError('this dump has words in the byte order of some machine', 'use `hexdump -C` or `xxd`')
  if (xxdLine.test(first) || canonicalLine.test(first)) return parseDump(lines)
  const bad = /[^0-9a-fx\s:,_-]/i.exec(text)
  if (bad)
    throw new UsageError(
      `"${bad[0]}" is not a hexadecimal digit`,
      'bytes are written 01 00 2a, 01002a or 01:00:2a; a dump by xxd or hexdump -C comes by - or @FILE',
    )
  const groups = text.split(/[\s:,_-]+/).filter((group) => group !== '')
  return bytesOf(groups.map((group) => evenDigits(group.replace(/^0x/i, ''), group)).join(''))
}

/** `0x1` alone is a byte; `123` could be two things. */
function evenDigits(digits: string, group: string): string {
  if (!/^[0-9a-f]+$/i.test(digits)) throw new UsageError(`"${group}" is not hexadecimal`)
  if (digits.length === 1) return `0${digits}`
  if (digits.length % 2 === 1) throw new UsageError(`"${shortened(group)}" has an odd number of digits`, 'a byte has two')
  return digits
}

function shortened(text: string): string {
  return text.length > 40 ? `${text.slice(0, 40)}…` : text
}

function bytesOf(digits: string): Uint8Array {
  return Uint8Array.from(Buffer.from(digits, 'hex'))
}

/** Bytes of a dump that may be repeated by a `*` in it; more is a mistake in an address. */
const longestDump = 0x100_0000

/** A line with `*` stands for repetitions of the line before it, up to the address of the next line. */
function parseDump(lines: readonly string[]): Uint8Array {
  const bytes: number[] = []
  let start: number | undefined
  let line: Uint8Array = new Uint8Array()
  let repeats = false
  for (const text of lines) {
    if (text === '*') {
      repeats = true
      continue
    }
    const match = xxdLine.exec(text) ?? canonicalLine.exec(text)
    const address = Number.parseInt(match?.[1] ?? text, 16)
    if (match === null && !endLine.test(text)) throw new UsageError(`"${shortened(text)}" is not a line of the dump`)
    start ??= address
    const length = address - start
    if (length > longestDump) throw new UsageError(`the address ${text.slice(0, 16)} is more than ${longestDump} bytes behind the first`)
    while (repeats && bytes.length < length) bytes.push(...line)
    if (bytes.length !== length)
      throw new UsageError(
        `the dump has ${bytes.length} bytes before the address ${text.slice(0, 8)}`,
        'a line is missing, or the addresses are of something else',
      )
    repeats = false
    if (match === null) break
    line = dumpDigits(text, match[2] as string)
    bytes.push(...line)
  }
  return Uint8Array.from(bytes)
}

function dumpDigits(line: string, digits: string): Uint8Array {
  const compact = digits.replaceAll(' ', '')
  if (compact.length % 2 === 1) throw new UsageError(`"${shortened(line)}" has an odd number of digits`)
  return bytesOf(compact)
}
