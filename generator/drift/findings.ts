/** What a comparison found, item by item. */
import type { FactOrigin } from '../facts.ts'
import type { Aspect } from '../model.ts'

/** `missing`: we do not have it; `extra`: only we have it. */
export type Kind = 'missing' | 'changed' | 'extra'
export type ItemKind = 'device' | 'feature' | 'constant' | 'struct' | 'field' | 'queue' | 'register'

export interface Place {
  file: string
  line?: number
}

export interface Difference {
  kind: Kind
  item: ItemKind
  /** Chapter. */
  scope: string
  /** Name in the YAML, of a missing item that in the other source; of a field `struct.field`. */
  name: string
  /** In what it differs; `missing` and `extra` stand for the whole. */
  aspect: Aspect
  /** What the YAML says, and what the other source says. */
  yaml?: string
  there?: string
  ours?: Place
  theirs?: Place
  /** YAML that says what is missing. */
  snippet?: string
}

type Named = FactOrigin & { scope: string; name: string }

/** Collects differences of one kind of items. */
export class Findings {
  readonly list: Difference[] = []
  readonly #item: ItemKind

  constructor(item: ItemKind) {
    this.#item = item
  }

  /** Nothing if both say the same. */
  compare(own: Named, other: FactOrigin, aspect: Aspect, yaml: string | number, there: string | number): void {
    if (yaml !== there) this.changed(own, other, aspect, yaml, there)
  }

  changed({ scope, name }: Named, other: FactOrigin, aspect: Aspect, yaml: string | number, there: string | number): void {
    this.list.push({ kind: 'changed', item: this.#item, scope, name, aspect, yaml: String(yaml), there: String(there), ...placeOf(other) })
  }

  renamed(own: Named, other: Named): void {
    this.changed(own, other, 'name', own.name, other.name)
  }

  missing(other: Named, shown: string): void {
    const { scope, name } = other
    this.list.push({ kind: 'missing', item: this.#item, scope, name, aspect: 'missing', there: shown, ...placeOf(other) })
  }

  extra({ scope, name }: Named, shown: string): void {
    this.list.push({ kind: 'extra', item: this.#item, scope, name, aspect: 'extra', yaml: shown })
  }
}

function placeOf({ file, line }: FactOrigin): { theirs?: Place } {
  return file === undefined ? {} : { theirs: { file, ...(line === undefined ? {} : { line }) } }
}

/** Only what the specification names is to be found there: things of other sources have a `source`, names of ours are in lower case. */
export function isExpected(fact: FactOrigin & { name: string }): boolean {
  return fact.source === undefined && !/^[a-z]/.test(fact.name)
}

/** Whether two conditions name other features, one of them denies what the other says, or one says `and` where the other says `or`. */
export function isOtherCondition(own: string | undefined, there: string | undefined): boolean {
  const [one, other] = [withoutOurs(own), withoutOurs(there)]
  const names = (text: string | undefined): string => [...new Set(featuresOf(text))].sort().join(' ')
  const words = (text: string | undefined): string => [...new Set(text?.match(/\b(?:and|or)\b/g) ?? [])].join(' ')
  const denies = (text: string | undefined): boolean => /\bnot\b/.test(text ?? '')
  // Which of several words binds what is more than a sentence says.
  const areSimple = [one, other].every((text) => !words(text).includes(' '))
  return names(one) !== names(other) || denies(one) !== denies(other) || (areSimple && words(one) !== words(other))
}

/** Without what a program says of itself: `and not linux_pi` is about a layout that the text does not know. */
function withoutOurs(condition: string | undefined): string | undefined {
  const ours = '(?:not\\s+)?[a-z]\\w*'
  return condition
    ?.replaceAll(new RegExp(`\\s+(?:and|or)\\s+${ours}(?=$|\\s+(?:and|or)\\b)`, 'g'), '')
    .replace(new RegExp(`^${ours}\\s+(?:and|or)\\s+`), '')
}

export function featuresOf(condition: string | undefined): string[] {
  return condition?.match(/\bVIRTIO_(?:[A-Z0-9]+_)?F_\w+/g) ?? []
}
