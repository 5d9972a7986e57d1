/** What an item says of its origin, given that of the items around it; and what Linux's headers have in its place. */
import type { FileAst, LinuxAst, OriginAst } from '../ast.ts'
import { evaluate } from '../evaluate.ts'
import { ExpressionError, parseExpression, type Syntax, toNumber } from '../expression.ts'
import type { Linux, Origin, Tree } from '../model.ts'
import type { Path } from '../source.ts'
import type { ChapterScope } from './workspace.ts'

/** What every item of a file inherits. */
export function fileOrigin(ast: FileAst): Origin {
  return originOf({ source: 'oasis-1.4' }, { ...ast, doc: undefined } as OriginAst)
}

/** The origin of an item inside another one. Source and version are inherited, sections are joined, `doc` is the item's own. */
export function originOf(around: Origin, item: OriginAst | undefined): Origin {
  const origin: Origin = { source: item?.source ?? around.source }
  const section = joinSections(around.section, item?.section)
  if (section !== undefined) origin.section = section
  const since = item?.since ?? around.since
  if (since !== undefined) origin.since = since
  if (item?.doc !== undefined) origin.doc = item.doc
  return origin
}

/** A section that the one around it already ends in is not said twice; one that begins with "/" stands elsewhere in the text. */
function joinSections(around: string | undefined, inner: string | undefined): string | undefined {
  if (inner?.startsWith('/')) return inner.slice(1).trim()
  if (around === undefined || inner === undefined) return around ?? inner
  return ` / ${around}`.endsWith(` / ${inner}`) ? around : `${around} / ${inner}`
}

/** Resolves a `linux` attribute; without one the header has the item under its own name. */
export function linuxOf(chapter: ChapterScope, name: string, path: Path, linux: LinuxAst | undefined): Linux {
  if (linux === undefined) return { name }
  if (typeof linux === 'string') return { name: linux === 'none' ? null : linux }
  const result: Linux = { name: linux.name === 'none' ? null : (linux.name ?? name) }
  if (linux.value !== undefined) {
    const value = literal(linux.value)
    if (value === undefined) chapter.report('not-constant', [...path, 'linux', 'value'], `"${linux.value}" is not a number`)
    else result.value = value
  }
  if (linux.size !== undefined) result.size = linux.size
  if (linux.why !== undefined) result.why = linux.why
  if ((linux.value !== undefined || linux.size !== undefined) && linux.why === undefined) {
    chapter.report('linux-reason', [...path, 'linux'], `the difference from Linux's "${result.name}" needs a reason`, 'add `why`', 'key')
  }
  return result
}

/** A number, or an expression of numbers alone: the header's value owes nothing to the specification's names. */
function literal(value: number | bigint | string): number | bigint | undefined {
  if (typeof value !== 'string') return value
  try {
    const tree = numbersOnly(parseExpression(value))
    const result = tree && evaluate(tree)
    return result === undefined ? undefined : toNumber(result)
  } catch (error) {
    if (error instanceof ExpressionError) return undefined
    throw error
  }
}

function numbersOnly(syntax: Syntax): Tree | undefined {
  if (syntax.op === 'number') return { op: 'number', value: syntax.value }
  if (syntax.op !== 'binary') return undefined
  const left = numbersOnly(syntax.left)
  const right = numbersOnly(syntax.right)
  return left && right && ({ op: 'binary', operator: syntax.operator, left, right } as Tree)
}
