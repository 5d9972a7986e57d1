/** Shared memory regions and their ids. */
import type { OriginAst, Value } from '../ast.ts'
import { evaluate } from '../evaluate.ts'
import type { SharedMemory } from '../model.ts'
import { identifier } from '../names.ts'
import type { Path } from '../source.ts'
import type { Expressions } from './expressions.ts'
import { originOf } from './origin.ts'
import type { ChapterScope } from './workspace.ts'

const maximumId = 255

export function resolveSharedMemory(scope: ChapterScope, expressions: Expressions): SharedMemory[] {
  const regions: SharedMemory[] = []
  const names = new Map<string, string>()
  for (const [name, ast] of Object.entries(scope.ast.shared_memory ?? {})) {
    const path: Path = ['shared_memory', name]
    const isLong = typeof ast === 'object'
    const attributes: { id: Value; when?: Value | boolean } & OriginAst = isLong ? ast : { id: ast }
    const other = names.get(identifier(name))
    if (other !== undefined) scope.report('name-collision', path, `"${other}" and "${name}" both become "${identifier(name)}"`, undefined, 'key')
    names.set(identifier(name), name)
    const when = expressions.condition(attributes.when, [...path, 'when'], { chapter: scope })
    const ids = idsOf(attributes.id, isLong ? [...path, 'id'] : path, scope, expressions)
    if (ids === undefined) continue
    const [id, to] = ids
    const taken = regions.find((region) => region.id <= to && id <= (region.to ?? region.id))
    if (taken) scope.report('overlap', path, `the id of "${name}" belongs to "${taken.name}"`, undefined, 'key')
    const region: SharedMemory = { ...originOf(scope.origin, attributes), name, id }
    if (to !== id) region.to = to
    if (when) region.when = when
    regions.push(region)
  }
  return regions
}

/** First and last id: a number, or `A .. B`. */
function idsOf(value: Value, path: Path, scope: ChapterScope, expressions: Expressions): [number, number] | undefined {
  const isRange = typeof value === 'string' && value.includes('..')
  const range = isRange ? expressions.range(value, path, { chapter: scope }) : undefined
  const single = isRange ? undefined : expressions.constant(value, path, scope)
  const ends = range ? range.map(({ tree }) => evaluate(tree)) : [single, single]
  if (isRange && range === undefined) return undefined
  if (range && ends.includes(undefined)) scope.report('not-constant', path, `"${value}" is not a range of constant numbers`)
  const [from, to] = ends.map((end) => (end === undefined ? undefined : Number(end)))
  if (from === undefined || to === undefined) return undefined
  if (from >= 0 && from <= to && to <= maximumId) return [from, to]
  scope.report('value-range', path, `the shared memory id ${value} is not between 0 and ${maximumId}`)
  return undefined
}
