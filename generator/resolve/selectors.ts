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

interface Alternative {
  constants: Placed[]
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
  return alternatives(is, path, deciding.length).flatMap(({ constants, path: at }) => {
    if (constants.length !== deciding.length) {
      chapter.report('wrong-type', at, `\`by\` names ${count(deciding.length, 'field')}, this has ${count(constants.length, 'constant')}`)
      return []
    }
    const values = constants.map(({ value, path: place }, index) => expressions.selector(value, place, chapter, deciding[index]))
    return values.every((value) => value !== undefined) ? [values as ConstantValue[]] : []
  })
}

function alternatives(is: NonNullable<RequestAst['is']>, path: Path, levels: number): Alternative[] {
  if (!Array.isArray(is)) return [{ constants: [{ value: is, path }], path }]
  const all = is.map((item, index): Alternative => {
    const at = [...path, index]
    return { constants: Array.isArray(item) ? item.map((value, inner) => ({ value, path: [...at, inner] })) : [{ value: item, path: at }], path: at }
  })
  const isFlat = is.every((item) => !Array.isArray(item))
  return isFlat && levels > 1 ? [{ constants: all.flatMap(({ constants }) => constants), path }] : all
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`
}
