/** Generated code and codec are two readings of one model: on every struct, part by part, they must agree, also on bytes that a hostile side has made up. */
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decodeStruct, encodeStruct, type Part, type Reference, type Struct } from '../generator/index.ts'
import { loadWithShapes } from './support/description.ts'
import { withParts } from './support/parts.ts'
import { differences, toHex } from './support/plain.ts'
import { arbitrarySample } from './support/values.ts'
import { loadWire } from './support/wire-modules.ts'

const described = loadWithShapes()
const parts = withParts(described)
const { model } = parts
const wire = (await loadWire(described)).withParts(parts)

interface Target {
  title: string
  struct: Struct
  reference: Reference
  part: Part | undefined
}

/** Every part of every struct that has a class. Those of requests, payload left out, have one each. */
function targetsOf(chapter: (typeof model.chapters)[number]): Target[] {
  return chapter.structs
    .filter((struct) => struct.role !== 'foreign')
    .flatMap((struct) =>
      partsOf(chapter.name, struct).map((part) => ({
        title: `${struct.name}${part ? ` ${part}` : ''}`,
        struct,
        reference: { chapter: chapter.name, name: struct.name },
        part,
      })),
    )
}

function partsOf(chapter: string, struct: Struct): (Part | undefined)[] {
  if (!struct.twoPart) return [undefined]
  const own = parts.classes.find((each) => each.chapter === chapter && each.name === struct.name)
  if (own) return [own.part]
  return (['readable', 'writable'] as const).filter((part) => struct.members.some((member) => member.part === part))
}

// Deeper: FUZZ_RUNS=1000 npx vitest run test/generated-everything.test.ts
const runs = Number(process.env.FUZZ_RUNS ?? 20)
const change = fc.record({ at: fc.nat(), to: fc.constantFrom(0, 1, 0x7f, 0x80, 0xff) })

describe.each(model.chapters.map((chapter) => ({ name: chapter.name, targets: targetsOf(chapter) })).filter(({ targets }) => targets.length > 0))(
  '$name',
  ({ targets }) => {
    test.each(targets)('$title: both write the same bytes and read the same value', ({ struct, reference, part }) => {
      const type = wire.class(reference, part)
      fc.assert(
        fc.property(arbitrarySample(model, struct, part), ({ context, value }) => {
          const bytes = encodeStruct(model, reference, value, context, part)
          const decoded = decodeStruct(model, reference, bytes, context, part).value
          const wireContext = wire.context(reference, context, part)
          fc.pre(!hasUnsafeNumber(decoded))
          expect(toHex(type.encode(decoded, wireContext))).toBe(toHex(bytes))
          expect(differences(type.decode(bytes, wireContext), decoded, 'none')).toEqual([])
        }),
        { numRuns: runs },
      )
    })

    test.each(targets)('$title: both read the same from bytes that lie', ({ struct, reference, part }) => {
      const type = wire.class(reference, part)
      fc.assert(
        fc.property(arbitrarySample(model, struct, part), fc.array(change, { maxLength: 4 }), fc.nat(), ({ context, value }, changes, cut) => {
          const whole = encodeStruct(model, reference, value, context, part)
          for (const { at, to } of changes) if (whole.length > 0) whole[at % whole.length] = to
          const bytes = whole.slice(0, whole.length - (cut % 4 === 0 ? cut % (whole.length + 1) : 0))
          const wireContext = wire.context(reference, context, part)
          const ours = attempt(() => type.decode(bytes, wireContext))
          const theirs = attempt(() => decodeStruct(model, reference, bytes, context, part).value)
          // The codec knows which fields of a configuration space must be there, the class takes one of any length.
          if (struct.role === 'config')
            expect(ours instanceof Error || (!(theirs instanceof Error) && differences(ours, theirs, 'any').length > 0)).toBe(false)
          else if (ours instanceof Error || theirs instanceof Error)
            expect([ours instanceof RangeError, theirs instanceof RangeError]).toEqual([true, true])
          else expect(differences(ours, theirs, 'none')).toEqual([])
        }),
        { numRuns: runs },
      )
    })
  },
)

function attempt(read: () => Record<string, unknown>): Record<string, unknown> | Error {
  try {
    return read()
  } catch (error) {
    return error as Error
  }
}

/** True for a size or address of 2^53 or more, which reads as the nearest number and cannot be written. */
function hasUnsafeNumber(value: unknown): boolean {
  if (typeof value === 'number') return value > Number.MAX_SAFE_INTEGER
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return false
  return Object.values(value).some(hasUnsafeNumber)
}
