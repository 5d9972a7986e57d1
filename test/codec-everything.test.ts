import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Session } from '../generator/codec/session.ts'
import {
  type CodecContext,
  type DecodedStruct,
  decodeStruct,
  encodeStruct,
  type Part,
  type Reference,
  requestStruct,
  type Struct,
} from '../generator/index.ts'
import { loadEverything } from './support/description.ts'
import { differences, fromHex, fromPlain, toHex } from './support/plain.ts'
import { arbitraryContext, arbitrarySample, hasViews } from './support/values.ts'

const model = loadEverything()
const session = new Session(model, {})

interface Target {
  title: string
  struct: Struct
  reference: Reference
  part: Part | undefined
}

/** Every struct, block of registers and request of a chapter, part by part. */
function targetsOf(chapter: (typeof model.chapters)[number]): Target[] {
  const requests = chapter.messages.flatMap((message) => message.requests.map((request) => requestStruct(model, message, request)))
  return [...chapter.structs, ...chapter.registers, ...requests].flatMap((struct) =>
    (struct.twoPart ? (['readable', 'writable'] as const) : [undefined]).map((part) => ({
      title: `${struct.name}${part ? ` ${part}` : ''}`,
      struct,
      reference: { chapter: chapter.name, name: struct.name },
      part,
    })),
  )
}

/** True where a view reads 2^53 or more as the nearest number. */
function isInexact(value: unknown): boolean {
  if (typeof value === 'number') return !Number.isSafeInteger(value)
  return typeof value === 'object' && value !== null && !(value instanceof Uint8Array) && Object.values(value).some(isInexact)
}

const chapters = model.chapters.map((chapter) => ({ name: chapter.name, targets: targetsOf(chapter) })).filter(({ targets }) => targets.length > 0)

describe.each(chapters)('$name', ({ targets }) => {
  test.each(targets)('$title: what is written is read again', ({ struct, reference, part }) => {
    const extras = hasViews(session, struct.members) ? 'any' : 'blank'
    fc.assert(
      fc.property(arbitrarySample(model, struct, part), ({ context, value }) => {
        const bytes = encodeStruct(model, reference, value, context, part)
        const decoded = decodeStruct(model, reference, bytes, context, part)
        expect(differences(decoded.value, value, extras)).toEqual([])
        expect(decoded.size).toBe(bytes.length)
        if (extras === 'any' && isInexact(decoded.value)) return
        expect(toHex(encodeStruct(model, reference, decoded.value, context, part))).toBe(toHex(bytes))
      }),
      { numRuns: 20 },
    )
  })

  test.each(targets)('$title: no bytes make it throw anything but a RangeError', ({ struct, reference, part }) => {
    fc.assert(
      fc.property(arbitraryContext(model, struct, part), fc.uint8Array({ maxLength: 160, size: 'max' }), (context, bytes) =>
        readHostile(reference, bytes, context, part),
      ),
      { numRuns: 15 },
    )
  })

  test.each(targets)('$title: nor do bytes that are nearly right', ({ struct, reference, part }) => {
    const change = fc.record({ at: fc.nat(), to: fc.constantFrom(0, 1, 0x7f, 0x80, 0xff) })
    fc.assert(
      fc.property(arbitrarySample(model, struct, part), fc.array(change, { maxLength: 4 }), fc.nat(), ({ context, value }, changes, cut) => {
        const bytes = encodeStruct(model, reference, value, context, part)
        for (const { at, to } of changes) if (bytes.length > 0) bytes[at % bytes.length] = to
        readHostile(reference, bytes.subarray(0, bytes.length - (cut % 4 === 0 ? cut % (bytes.length + 1) : 0)), context, part)
      }),
      { numRuns: 15 },
    )
  })
})

/** Reads what may be nonsense; whatever comes out lies within the bytes and is not much more than they are. */
function readHostile(reference: Reference, bytes: Uint8Array, context: CodecContext, part: Part | undefined): void {
  const decoded = decodeOrRefuse(reference, bytes, context, part)
  if (decoded === undefined) return
  expect(decoded.size).toBeLessThanOrEqual(bytes.length)
  for (const field of decoded.fields) if (!field.missing) expect(field.offset + field.size).toBeLessThanOrEqual(bytes.length)
  expect(decoded.fields.length).toBeLessThanOrEqual(1200 + 40 * bytes.length)
}

function decodeOrRefuse(reference: Reference, bytes: Uint8Array, context: CodecContext, part: Part | undefined): DecodedStruct | undefined {
  try {
    return decodeStruct(model, reference, bytes, context, part)
  } catch (error) {
    expect(error).toBeInstanceOf(RangeError)
    expect((error as Error).message).toMatch(/needs at least \d+ bytes, there are \d+$/)
    return undefined
  }
}

const vectors = model.chapters.flatMap((chapter) =>
  chapter.vectors.map((vector, index) => ({
    ...vector,
    title: `${chapter.name} ${index}: ${vector.of.name}${vector.part ? ` ${vector.part}` : ''}`,
  })),
)

describe('vectors of the description', () => {
  const contextOf = ({ context: { features, ...rest } }: (typeof vectors)[number]): CodecContext => ({
    ...(fromPlain(rest) as CodecContext),
    features: new Set(features),
  })

  test.each(vectors)('$title: the bytes mean the value', (vector) => {
    const { value } = decodeStruct(model, vector.of, fromHex(vector.bytes), contextOf(vector), vector.part)
    expect(differences(value, fromPlain(vector.value))).toEqual([])
  })

  test.each(vectors)('$title: the value is written as the bytes', (vector) => {
    const bytes = encodeStruct(model, vector.of, fromPlain(vector.value) as Record<string, unknown>, contextOf(vector), vector.part)
    expect(toHex(bytes)).toBe(vector.bytes)
  })
})

describe('sizes of the model', () => {
  const fixed = model.chapters.flatMap((chapter) =>
    chapter.structs
      .filter((struct) => struct.size !== null && !struct.twoPart && struct.given.length === 0)
      .map((struct) => ({ chapter: chapter.name, struct, title: `${chapter.name} ${struct.name}` })),
  )

  test.each(fixed)('$title takes as many bytes as the model says when all its conditions hold', ({ chapter, struct }) => {
    const features = new Set(model.chapters.flatMap((each) => each.features.map(({ name }) => name)))
    const known = model.chapters.flatMap(({ lets }) => lets.filter((name) => name.default === undefined))
    const caller = Object.fromEntries(known.map(({ name }) => [name, 0x7fffffff]))
    if (struct.members.some(({ when }) => when?.text.includes('not '))) return
    expect(encodeStruct(model, { chapter, name: struct.name }, {}, { features, caller }).length).toBe(struct.size)
  })
})
