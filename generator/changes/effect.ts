/** What a change means for those who use the bindings. */
import type { Change, PropertyChange } from './index.ts'
import type { Item } from './surface.ts'

/** `breaking`: code that compiles or works today may not; `additive`: there is more; `documentation`: nothing but words. The order is that of weight. */
export const effects = ['breaking', 'additive', 'documentation'] as const
export type Effect = (typeof effects)[number]

interface Judgement {
  effect: Effect
  why?: string
}

const additive: Judgement = { effect: 'additive' }
const documentation: Judgement = { effect: 'documentation' }

/** @param formerSize - of the struct that a field is added to */
export function effectOf(item: Item, change: Omit<Change, 'effect'>, formerSize?: number): Judgement {
  if (item.kind === 'erratum' || change.change === 'documented') return documentation
  if (change.change === 'removed' || change.change === 'renamed') return { effect: 'breaking' }
  return change.change === 'added' ? effectOfAddition(item, formerSize) : effectOfProperties(item, change.properties ?? [])
}

function effectOfAddition({ kind, properties, isConfig }: Item, formerSize = Number.NaN): Judgement {
  if (kind === 'request' && properties['must be implemented']) return { effect: 'breaking', why: 'every device must implement it' }
  // A conditional field is not there for those who do not negotiate its feature; what it moves is told by the fields that move.
  if (kind !== 'field' || properties.when !== undefined || properties.bits !== undefined) return additive
  if (isConfig && Number(properties.offset) >= formerSize) return additive
  return { effect: 'breaking', why: 'the layout is another one' }
}

/** Properties whose change is a matter of words. */
const words: ReadonlySet<string> = new Set(['title', 'group'])

function effectOfProperties({ kind, isConfig }: Item, changed: readonly PropertyChange[]): Judgement {
  const judgements = changed.map(({ name, before, after }): Judgement => {
    if (words.has(name)) return documentation
    // The fields tell what it is that grew.
    if (kind === 'struct' && name === 'size')
      return isConfig || after === 'varies' || Number(after) > Number(before) ? additive : { effect: 'breaking' }
    if (name === 'offset' && after === 'varies') return { effect: 'additive', why: 'it moves only where a feature says so' }
    if (name === 'must be implemented' && after === undefined) return additive
    return { effect: 'breaking' }
  })
  return judgements.find(({ effect }) => effect === 'breaking') ?? judgements.find(({ effect }) => effect === 'additive') ?? documentation
}
