/** The constants that select a request: one per deciding field, in alternatives. */
import type { RequestAst, Value } from '../ast.ts'
import type { ConstantValue } from '../model.ts'
import type { Path } from '../source.ts'
import type { Expressions } from './expressions.ts'
import type { FieldInfo } from './shape.ts'
import type { ChapterScope } from './workspace.ts'

interface Placed {
  value: Value
  path: Path
}

/** The alternatives of `is`: with one deciding field a list of constants, with more a list of lists. */
export function selectorsOf(
  is: RequestAst['is'],
  requestPath: Path,
  chapter: ChapterScope,
  deciding: readonly (FieldInfo | undefined)[],
  expressions: Expressions,
): ConstantValue[][] {
  if (is === undefined) return []
  const path: Path = [...requestPath, 'is']
  if (deciding.length === 0) {
    chapter.report('misplaced-attribute', path, '`is` selects by the field that `by` names, and the message has no `by`', undefined, 'key')
    return []
  }
  return alternatives(is, path, deciding.length).flatMap((constants) => {
    if (constants.length !== deciding.length) {
      chapter.report('wrong-type', path, `\`by\` names ${count(deciding.length, 'field')}, this has ${count(constants.length, 'constant')}`)
      return []
    }
    const values = constants.map(({ value, path: at }, index) => expressions.selector(value, at, chapter, deciding[index]))
    return values.every((value) => value !== undefined) ? [values as ConstantValue[]] : []
  })
}

function alternatives(is: NonNullable<RequestAst['is']>, path: Path, levels: number): Placed[][] {
  if (!Array.isArray(is)) return [[{ value: is, path }]]
  const isFlat = is.every((item) => !Array.isArray(item))
  const placed = is.map((item, index): Placed[] =>
    Array.isArray(item) ? item.map((value, inner) => ({ value, path: [...path, index, inner] })) : [{ value: item, path: [...path, index] }],
  )
  return isFlat && levels > 1 ? [placed.flat()] : placed
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`
}
