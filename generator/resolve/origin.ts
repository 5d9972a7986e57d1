/** The `linux` attribute: what Linux's headers have in place of an item. */
import type { LinuxAst } from '../ast.ts'
import { ExpressionError, parseExpression } from '../expression.ts'
import type { Linux } from '../model.ts'
import type { Path } from '../source.ts'
import type { ChapterScope } from './workspace.ts'

/** Resolves a `linux` attribute; without one the header has the item under its own name. */
export function linuxOf(chapter: ChapterScope, name: string, path: Path, linux: LinuxAst | undefined): Linux {
  if (linux === undefined) return { name }
  if (typeof linux === 'string') return { name: linux === 'none' ? null : linux }
  const result: Linux = { name: linux.name === 'none' ? null : (linux.name ?? name) }
  if (linux.value !== undefined) {
    const value = literal(linux.value)
    if (value === undefined) chapter.report('wrong-type', [...path, 'linux', 'value'], 'expected a number')
    else result.value = value
  }
  if (linux.size !== undefined) result.size = linux.size
  if (linux.why !== undefined) result.why = linux.why
  if ((linux.value !== undefined || linux.size !== undefined) && linux.why === undefined) {
    chapter.report('linux-reason', [...path, 'linux'], `the difference from Linux's "${result.name}" needs a reason`, 'add `why`', 'key')
  }
  return result
}

function literal(value: number | bigint | string): number | bigint | undefined {
  if (typeof value !== 'string') return value
  try {
    const syntax = parseExpression(value)
    return syntax.op === 'number' ? syntax.value : undefined
  } catch (error) {
    if (error instanceof ExpressionError) return undefined
    throw error
  }
}
