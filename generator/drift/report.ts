/** What a comparison found, with what the errata excuse set apart. */
import type { Erratum } from '../errata.ts'
import type { Facts } from '../facts.ts'
import type { TexFacts, Unread } from '../tex/index.ts'
import { wordsOf } from '../tex/text.ts'
import { differencesOf } from './compare.ts'
import type { Difference } from './findings.ts'
import { withOurPlaces, type YamlText } from './locate.ts'
import { chapterSnippet, snippetFor } from './snippet.ts'

export interface DriftReport {
  /** What the YAML was compared with. */
  with: string
  differences: Difference[]
  excused: (Difference & { erratum: Erratum })[]
  /** Chapters that only one side has; their items are among the differences. */
  chapters: { missing: { scope: string; snippet: string }[]; extra: { scope: string }[] }
  /** Errata about the text, and those whose sentence it no longer has. */
  errata: number
  gone: Erratum[]
  unread: Unread[]
}

export function emptyReport(other: string): DriftReport {
  return { with: other, differences: [], excused: [], chapters: { missing: [], extra: [] }, errata: 0, gone: [], unread: [] }
}

export interface Other {
  /** Shown to the user. */
  name: string
  facts: Facts
  /** What a reader of text knows beyond facts. */
  tex?: Pick<TexFacts, 'together' | 'unread' | 'words'> | undefined
}

export interface DriftOptions {
  /** Chapters; all if absent. */
  chosen?: ReadonlySet<string> | undefined
  /** YAML of a chapter, to say where in it something stands. */
  textOf?: ((scope: string) => YamlText | undefined) | undefined
}

export function driftOf(ours: Facts, other: Other, { chosen, textOf = () => undefined }: DriftOptions = {}): DriftReport {
  const isChosen = ({ scope }: { scope: string }): boolean => chosen?.has(scope) ?? true
  const all = differencesOf({ ours, theirs: other.facts, together: other.tex?.together })
  const errata = ours.errata.filter(({ kind, source }) => kind === 'text' && source === undefined).filter(isChosen)
  const gone = other.tex === undefined ? [] : errata.filter(({ quote }) => !isQuoted(quote, other.tex?.words as string))
  const report: DriftReport = {
    with: other.name,
    differences: [],
    excused: [],
    chapters: {
      missing: lacking(other.facts, ours)
        .filter(isChosen)
        .map(({ scope }) => ({ scope, snippet: chapterSnippet(scope, other.facts) })),
      extra: lacking(ours, other.facts).filter(isChosen),
    },
    errata: errata.length,
    gone,
    unread: (other.tex?.unread ?? []).filter(({ file }) => chosen === undefined || [...chosen].some((scope) => file.split(/[/.]/).includes(scope))),
  }
  for (const difference of withOurPlaces(all.filter(isChosen), textOf)) {
    const erratum = excuseFor(difference, errata, gone)
    const snippet = difference.kind === 'missing' ? snippetFor(difference, other.facts) : undefined
    if (erratum === undefined) report.differences.push({ ...difference, ...(snippet === undefined ? {} : { snippet }) })
    else report.excused.push({ ...difference, erratum })
  }
  return report
}

/** Whether the text has a sentence; `[…]` stands for what is left out. */
function isQuoted(quote: string, words: string): boolean {
  let at = 0
  for (const piece of quote.split(/\[?(?:…|\.\.\.)\]?/).map(wordsOf)) {
    const found = words.indexOf(piece, at)
    if (found < 0) return false
    at = found + piece.length
  }
  return true
}

/**
 * An erratum excuses a difference if its `at` is the very item and its `departs` names what differs, and as long as the sentence that it quotes
 * stands in the text.
 */
function excuseFor({ scope, name, aspect }: Difference, errata: readonly Erratum[], gone: readonly Erratum[]): Erratum | undefined {
  return errata.find(
    (erratum) => erratum.scope === scope && erratum.name === name && erratum.departs?.includes(aspect) === true && !gone.includes(erratum),
  )
}

/** Chapters with facts of their own on one side only. */
function lacking(from: Facts, to: Facts): { scope: string }[] {
  const known = scopesOf(to)
  const scopes = [...scopesOf(from)].filter((scope) => !known.has(scope)).sort()
  return scopes.map((scope) => ({ scope }))
}

export function scopesOf({ features, constants, structs, registers, queues }: Facts): Set<string> {
  const all = [features, constants, structs, registers, queues].flatMap((list) => list as { scope: string; source?: string }[])
  return new Set(all.filter(({ source }) => source === undefined).map(({ scope }) => scope))
}

/** Numbers of items by kind, structs that differ counted once. */
export function countsOf(differences: readonly Difference[]): Map<string, number> {
  const counts = new Map<string, number>()
  const seen = new Set<string>()
  for (const { kind, item, scope, name } of differences) {
    const struct = item === 'field'
    const key = struct ? `changed struct ${scope} ${name.split('.')[0]}` : `${kind} ${item} ${scope} ${name}`
    if (seen.has(key)) continue
    seen.add(key)
    const counted = struct ? 'changed struct' : `${kind} ${item}`
    counts.set(counted, (counts.get(counted) ?? 0) + 1)
  }
  return counts
}
