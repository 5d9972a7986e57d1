/** Changes as text for a terminal and as Markdown for a pull request. */
import type { Paint } from '../diagnostic.ts'
import { oneLine } from '../one-line.ts'
import { type Change, type Effect, effects } from './index.ts'

const titles: Readonly<Record<Effect, string>> = {
  breaking: 'Breaking',
  additive: 'Additive',
  documentation: 'Documentation',
}
const nothing = 'Nothing that users of the bindings see has changed.'

export function formatChanges(changes: readonly Change[], paint: Paint): string {
  if (changes.length === 0) return nothing
  const colours = { breaking: paint.red, additive: paint.green, documentation: paint.cyan }
  const parts = effects.flatMap((effect) => {
    const lines = groups(changes, effect).flatMap(([scope, found]) => [`  ${paint.bold(scope)}`, ...found.map((change) => `    ${line(change)}`)])
    return lines.length === 0 ? [] : [[colours[effect](`${titles[effect]} (${count(changes, effect)})`), ...lines].join('\n')]
  })
  return parts.join('\n\n')
}

/** With a heading per effect, those without changes left out. */
export function formatMarkdown(changes: readonly Change[]): string {
  if (changes.length === 0) return nothing
  const parts = effects.flatMap((effect) => {
    const lines = groups(changes, effect).flatMap(([scope, found]) => [`- **${scope}**`, ...found.map((change) => `  - ${line(change, '`')}`)])
    return lines.length === 0 ? [] : [[`### ${titles[effect]} (${count(changes, effect)})`, '', ...lines].join('\n')]
  })
  return parts.join('\n\n')
}

export function count(changes: readonly Change[], effect: Effect): number {
  return changes.filter((change) => change.effect === effect).length
}

function groups(changes: readonly Change[], effect: Effect): [string, Change[]][] {
  const found = new Map<string, Change[]>()
  for (const change of changes) if (change.effect === effect) found.set(change.scope, [...(found.get(change.scope) ?? []), change])
  return [...found]
}

/** `changed field virtio_blk_config.num_queues: type u16 → le16`. */
function line({ change, kind, name, was, properties, holds, why }: Change, quote = ''): string {
  const code = (text: string): string => (quote === '' ? text : `${quote}${text.replaceAll('`', "'")}${quote}`)
  const named = was === undefined ? code(name) : `${code(was)} → ${code(name)}`
  const details = properties?.map(({ name: property, before, after }) => propertyText(property, before, after, code)).join(', ')
  const rest = [details, holds, why && `(${why})`].filter((text) => text !== undefined && text !== '').join(' ')
  return `${change} ${kind} ${named}${rest === '' ? '' : `: ${rest}`}`
}

function propertyText(name: string, before: string | undefined, after: string | undefined, code: (text: string) => string): string {
  const shown = (text: string): string => code(oneLine(text))
  if (before === undefined) return `now ${name} ${shown(after as string)}`
  if (after === undefined) return `no longer ${name} ${shown(before)}`
  return `${name} ${shown(before)} → ${shown(after)}`
}
