import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { Session } from '../generator/codec/session.ts'
import { evaluate } from '../generator/evaluate.ts'
import {
  type CodecContext,
  type DecodedField,
  decodeStruct,
  encodeStruct,
  type Member,
  type Message,
  type Part,
  type Reference,
  type Struct,
} from '../generator/index.ts'
import { loadEverything } from './support/description.ts'
import { fromHex, fromPlain, toHex, toPlain } from './support/plain.ts'

interface Case {
  file: string
  struct?: string
  request?: string
  context: { features?: string[]; readable?: string } & Omit<CodecContext, 'features'>
  part?: Part
  size: number | null
  offsets?: Record<string, number | null>
  bytes?: string
  value?: Record<string, unknown>
  access?: Record<string, string>
  joined?: Record<string, number | string>
  selects?: string
  why: string
}

const { cases } = JSON.parse(readFileSync(new URL('fixtures/hard/expected.json', import.meta.url), 'utf8')) as { cases: Case[] }
const model = loadEverything()

function referenceOf({ file, struct, request }: Case): Reference {
  return { chapter: file.replace('.yaml', ''), name: (struct ?? request) as string }
}

function structOf(each: Case): Struct {
  return new Session(model, {}).struct(referenceOf(each))
}

function contextOf(each: Case): CodecContext {
  const { features, readable, given, ...rest } = each.context
  const context: CodecContext = { ...rest, features: new Set(features), given: fromPlain(given ?? {}) as Record<string, unknown> }
  if (readable === undefined) return context
  return { ...context, given: { ...context.given, readable: decodeStruct(model, referenceOf(each), fromHex(readable), context, 'readable').value } }
}

/** The bytes of the case; where it has none, zeros as far as it says something. */
function bytesOf({ bytes, size, offsets }: Case): Uint8Array {
  if (bytes !== undefined) return fromHex(bytes)
  return new Uint8Array(size ?? Math.max(...Object.values(offsets ?? {}).map((offset) => offset ?? 0)))
}

/** Where the fields at a path begin: null where they are not there, undefined where nothing was looked for. */
function decodedOffset(fields: readonly DecodedField[], path: string): number | null | undefined {
  const found = fields.filter((field) => field.path === path || field.path.startsWith(`${path}.`) || field.path.startsWith(`${path}[`))
  if (found.length === 0) return undefined
  const there = found.filter(({ missing }) => !missing)
  return there.length === 0 ? null : Math.min(...there.map(({ offset }) => offset))
}

interface Declared {
  /** From the start of the part, with every conditional member present. */
  offset: number | null
  /** True when neither a condition nor a choice comes before it. */
  certain: boolean
  member: Member
}

/** Where the model places the member at a path, elements of arrays not included. */
function declaredAt(
  members: readonly Member[],
  path: readonly string[],
  base: Omit<Declared, 'member'> = { offset: 0, certain: true },
): Declared | undefined {
  let { certain } = base
  for (const member of members) {
    const at = (offset: number | null): number | null => (base.offset === null || offset === null ? null : base.offset + offset)
    const found = { offset: at(member.offset), certain, member }
    if (member.name === '') {
      const inner = member.type.kind === 'group' ? member.type.members : member.type.kind === 'union' ? member.type.arms : []
      const inside = declaredAt(inner, path, { offset: base.offset, certain: certain && member.when === undefined })
      if (inside) return inside
      if (member.type.kind === 'bits' && member.type.fields.some(({ name }) => name === path[0])) return found
    } else if (member.name === path[0]) {
      return path.length === 1 ? found : declaredInside(member, path.slice(1), found, base)
    }
    certain &&= member.when === undefined && !(member.area?.tree.op === 'if')
  }
  return undefined
}

function declaredInside(member: Member, path: readonly string[], found: Declared, base: Omit<Declared, 'member'>): Declared | undefined {
  const { type } = member
  if (member.dims.length > 0) return undefined
  if (type.kind === 'union') return declaredAt(type.arms, path, base)
  if (type.kind === 'bits') return found
  return type.kind === 'struct' ? declaredAt(new Session(model, {}).struct(type).members, path, found) : undefined
}

function partMembers(each: Case): Member[] {
  return structOf(each).members.filter((member) => each.part === undefined || member.part === each.part)
}

const titled = cases.map((each, index) => ({
  ...each,
  title: `${index} ${each.struct ?? each.request}${each.part ? ` ${each.part}` : ''}: ${each.why}`,
}))

/** The cases that say something, one test each. */
function eachThat(says: keyof Case, check: (each: Case, context: CodecContext) => void): void {
  test.each(titled.filter((each) => each[says] !== undefined && each[says] !== null))('$title', (each) => check(each, contextOf(each)))
}

describe('means the value', () => {
  eachThat('value', (each, context) => {
    const { value } = decodeStruct(model, referenceOf(each), bytesOf(each), context, each.part)
    expect(toPlain(value)).toEqual(each.value)
  })
})

describe('is written as the bytes', () => {
  eachThat('bytes', (each, context) => {
    const value = fromPlain(each.value) as Record<string, unknown>
    expect(toHex(encodeStruct(model, referenceOf(each), value, context, each.part))).toBe(each.bytes)
  })
})

describe('has the size', () => {
  eachThat('size', (each, context) => {
    const { value, size, fields } = decodeStruct(model, referenceOf(each), bytesOf(each), context, each.part)
    expect(size).toBe(each.size)
    // Zeros are not what a constant must be.
    if (each.bytes === undefined && fields.some(({ member }) => member.const !== undefined)) return
    expect(encodeStruct(model, referenceOf(each), value, context, each.part).length).toBe(each.size)
  })
})

describe('has its members at the offsets', () => {
  eachThat('offsets', (each, context) => {
    const { fields } = decodeStruct(model, referenceOf(each), bytesOf(each), context, each.part)
    const offsets = Object.fromEntries(
      Object.keys(each.offsets ?? {}).map((path) => {
        const offset = decodedOffset(fields, path)
        // An arm that is not selected is not read; the model knows where it would be.
        return [path, offset === undefined ? declaredAt(partMembers(each), path.split('.'))?.offset : offset]
      }),
    )
    expect(offsets).toEqual(each.offsets)
  })
})

describe('has them there in the model, where the context makes no difference', () => {
  eachThat('offsets', (each) => {
    for (const [path, offset] of Object.entries(each.offsets ?? {})) {
      const declared = declaredAt(partMembers(each), path.split('.'))
      if (offset === null || declared?.offset == null || !declared.certain) continue
      expect([path, declared.offset]).toEqual([path, offset])
    }
  })
})

describe('may be accessed so by the driver', () => {
  eachThat('access', (each, context) => {
    const access = Object.fromEntries(
      Object.keys(each.access ?? {}).map((path) => {
        const { mode, when } = declaredAt(partMembers(each), path.split('.'))?.member.access ?? { mode: 'r' }
        const holds = when === undefined || evaluate(when.tree, { feature: (name) => context.features?.has(name) }) === 1n
        return [path, holds ? mode : 'r']
      }),
    )
    expect(access).toEqual(each.access)
  })
})

describe('joins its halves', () => {
  eachThat('joined', (each, context) => {
    const { fields } = decodeStruct(model, referenceOf(each), bytesOf(each), context, each.part)
    const half = (path: string): DecodedField => fields.find((field) => field.path === path) as DecodedField
    const joined = structOf(each).members.flatMap(({ name, pair }) => {
      if (pair === undefined) return []
      const low = half(pair.low)
      return [[pair.name, (BigInt(half(name).value as number) << BigInt(low.size * 8)) | BigInt(low.value as number)]]
    })
    expect(toPlain(Object.fromEntries(joined))).toEqual(each.joined)
  })
})

describe('is the request', () => {
  eachThat('selects', (each, context) => {
    const { chapter, name } = referenceOf(each)
    const [messageName] = name.split('.')
    const message = model.chapters
      .find((candidate) => candidate.name === chapter)
      ?.messages.find((candidate) => candidate.name === messageName) as Message
    const { value } = decodeStruct(model, referenceOf(each), bytesOf(each), context, each.part)
    expect(selected(message, value, context)).toEqual([each.selects])
  })
})

/** Requests whose constants and conditions fit the value of a request's readable part. */
function selected(message: Message, value: Record<string, unknown>, { features }: CodecContext): string[] {
  const at = (path: readonly string[]): unknown =>
    path.reduce<unknown>((level, step) => (level as Record<string, unknown> | undefined)?.[step], value)
  const numberAt = (path: readonly string[]): bigint => BigInt((at(path) ?? 0) as number)
  const by = message.by.map((path) => numberAt(at(path) === undefined ? [headName(message, value), ...path] : path))
  return message.requests
    .filter(({ is }) => is.length === 0 || is.some((constants) => constants.every((constant, level) => BigInt(constant.value) === by[level])))
    .filter(
      ({ when }) =>
        when === undefined || evaluate(when.tree, { feature: (name) => features?.has(name) ?? false, field: ({ path }) => numberAt(path) }) === 1n,
    )
    .map(({ name }) => name)
}

/** The member that holds the head of a message whose requests all begin with one, at whatever depth. */
function headName(message: Message, value: Record<string, unknown>): string {
  return message.head ? (Object.keys(value)[0] as string) : ''
}
