/** Whether the constants of a field's groups fit into the field. */
import type { BitAttributes } from '../ast.ts'
import type { Path } from '../source.ts'
import type { Layouts } from './layouts.ts'
import { type ChapterScope, type GroupDeclaration, list } from './workspace.ts'

export interface Room {
  /** Bits of one value. */
  bits: number
  /** Bits that a `set` may use, those of all elements of an array; undefined for as many as there are. */
  setBits: number | undefined
}

/** True for a value of so many bits. */
export function fits(value: number | bigint, bits: number): boolean {
  return value >= 0 && BigInt(value) < 1n << BigInt(bits)
}

/** Reports the first constant of each group that is too large. */
export function checkGroupsFit(
  attributes: Pick<BitAttributes, 'enum' | 'flags' | 'set'>,
  room: Room,
  path: Path,
  chapter: ChapterScope,
  layouts: Layouts,
): void {
  for (const [key, names] of [
    ['enum', list(attributes.enum)],
    ['flags', list(attributes.flags)],
  ] as const) {
    for (const [index, name] of names.entries()) {
      const large = constants(name, chapter, layouts).find(({ value }) => !fits(value, room.bits))
      const at = Array.isArray(attributes[key]) ? [...path, key, index] : [...path, key]
      if (large) chapter.report('value-range', at, `"${large.name}" of "${name}", ${large.value}, does not fit into ${room.bits} bits`)
    }
  }
  const { set } = attributes
  const high =
    set === undefined || room.setBits === undefined
      ? undefined
      : constants(set, chapter, layouts).find(({ value }) => value >= (room.setBits as number))
  if (high) chapter.report('value-range', [...path, 'set'], `"${high.name}" of "${set}" would be bit ${high.value} of ${room.setBits}`)
}

/** The constants of a group in reach, end markers left out: they are no values. */
export function constants(name: string, chapter: ChapterScope, { workspace, expressions }: Layouts): { name: string; value: number | bigint }[] {
  const group: GroupDeclaration | undefined = workspace.findGroup(chapter, name)
  return Object.entries(group?.attributes.values ?? {}).flatMap(([constant, ast]) => {
    if (constant.includes('..') || (typeof ast === 'object' && ast.marker)) return []
    const value = expressions.constantValue(group as GroupDeclaration, constant)
    return value === undefined ? [] : [{ name: constant, value }]
  })
}
