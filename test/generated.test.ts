/** The generated classes against numbers computed by hand from the text, and against the codec, which works on the model alone. */
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { findStruct } from '../generator/facts.ts'
import type { CodecContext, Part, Reference } from '../generator/index.ts'
import { decodeStruct } from '../generator/index.ts'
import { loadEverything } from './support/description.ts'
import { fromHex, fromPlain, toHex, toPlain } from './support/plain.ts'
import { loadWire } from './support/wire-modules.ts'

interface Case {
  file: string
  struct?: string
  context: { features?: string[]; readable?: string; guest?: string } & Omit<CodecContext, 'features'>
  part?: Part
  size: number | null
  bytes?: string
  value?: Record<string, unknown>
  why: string
}

const model = loadEverything()
const wire = await loadWire(model)
const { cases } = JSON.parse(readFileSync(new URL('fixtures/hard/expected.json', import.meta.url), 'utf8')) as { cases: Case[] }

function referenceOf(each: Case): Reference {
  return { chapter: each.file.replace('.yaml', ''), name: each.struct as string }
}

/** Cases of structs that have classes: not requests, not register blocks, not a big-endian guest, which generated code does not serve. */
function isGenerated(each: Case): boolean {
  const struct = each.struct === undefined ? undefined : findStruct(model, referenceOf(each))
  return each.context.guest === undefined && struct !== undefined && struct.role !== 'registers' && struct.role !== 'foreign'
}

function contextOf(each: Case): CodecContext {
  const { features, readable, given, ...rest } = each.context
  const context: CodecContext = { ...rest, features: new Set(features), given: fromPlain(given ?? {}) as Record<string, unknown> }
  if (readable === undefined) return context
  return { ...context, given: { ...context.given, readable: decodeStruct(model, referenceOf(each), fromHex(readable), context, 'readable').value } }
}

/** Values of YAML and JSON with bytes as bytes: the value that the codec reads from the same bytes has the right kinds. */
function codecValue(each: Case): Record<string, unknown> {
  return decodeStruct(model, referenceOf(each), fromHex(each.bytes as string), contextOf(each), each.part).value
}

const generated = cases.filter((each) => isGenerated(each) && each.bytes !== undefined && each.value !== undefined)

describe.each(generated.map((each, index) => ({ ...each, title: `${index} ${each.struct}${each.part ? ` ${each.part}` : ''}: ${each.why}` })))(
  '$title',
  (each) => {
    const reference = referenceOf(each)
    const type = wire.class(reference, each.part)
    const context = () => wire.context(reference, contextOf(each), each.part)

    test('decodes to the value', () => {
      expect(toPlain(type.decode(fromHex(each.bytes as string), context()))).toEqual(each.value)
    })

    test('encodes to the bytes', () => {
      expect(toHex(type.encode(codecValue(each), context()))).toBe(each.bytes)
    })
  },
)
