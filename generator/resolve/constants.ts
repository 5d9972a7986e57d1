/** Groups of constants, with their values. */
import type { ConstantAst } from '../ast.ts'
import { ExpressionError, parseRange } from '../expression.ts'
import type { Constant, Group } from '../model.ts'
import { reservedWords } from '../names.ts'
import type { Path } from '../source.ts'
import { type Names, valuesKey } from './names.ts'
import { type ChapterScope, type GroupDeclaration, list, type Workspace } from './workspace.ts'

export function resolveGroups(workspace: Workspace, names: Names, chapter: ChapterScope): Group[] {
  return [...chapter.groups.values()].map((declaration) => resolveGroup(workspace, names, declaration))
}

function resolveGroup(workspace: Workspace, names: Names, declaration: GroupDeclaration): Group {
  const { chapter, name, path, attributes } = declaration
  if (reservedWords.has(name)) chapter.report('reserved-word', path, `"${name}" cannot name a group`, 'TypeScript needs the word for itself', 'key')
  const parent = workspace.requireGroup(chapter, attributes.extends, [...path, 'extends'])
  const group: Group = {
    ...chapter.origin(attributes),
    name,
    chapter: chapter.name,
    constants: [],
    ranges: [],
    linux: chapter.linux(name, path, attributes),
  }
  if (parent) group.extends = { chapter: parent.chapter, group: parent.name }
  const valuesPath = [...path, ...valuesKey(declaration)]
  for (const [key, ast] of Object.entries(attributes.values)) {
    const at = [...valuesPath, key]
    if (key.includes('..')) addRange(group, key, ast, at, chapter)
    else addConstant(group, key, ast, at, declaration, workspace, names)
  }
  checkValues(group, declaration, valuesPath)
  return group
}

function addRange(group: Group, key: string, owner: ConstantAst, path: Path, chapter: ChapterScope): void {
  try {
    const [from, to] = parseRange(key)
    if (from.op !== 'number' || to.op !== 'number' || typeof owner !== 'string') {
      chapter.report('wrong-type', path, 'a range is written `A .. B: owner`', undefined, 'key')
      return
    }
    if (from.value > to.value) chapter.report('value-range', path, `the range ${key} is empty`, undefined, 'key')
    const other = group.ranges.find((range) => range.from <= to.value && from.value <= range.to)
    if (other) chapter.report('overlap', path, `the range ${key} covers part of ${other.from} .. ${other.to}`, undefined, 'key')
    group.ranges.push({ from: from.value, to: to.value, owner })
  } catch (error) {
    if (!(error instanceof ExpressionError)) throw error
    chapter.report('expression-syntax', path, `in the range "${key}": ${error.message}`, undefined, 'key')
  }
}

function addConstant(group: Group, name: string, ast: ConstantAst, path: Path, declaration: GroupDeclaration, workspace: Workspace, names: Names): void {
  const { chapter } = declaration
  const attributes = typeof ast === 'object' ? ast : { value: ast }
  if (!/^[A-Za-z_][A-Za-z0-9_-]*$/.test(name)) {
    chapter.report('wrong-type', path, `"${name}" is not a name`, 'letters, digits, "_" and "-", not starting with a digit', 'key')
    return
  }
  const value = names.constantValue(declaration, name)
  if (value === undefined) return
  if (value < 0 || BigInt(value) >= 1n << 64n) chapter.report('value-range', path, `${value} is not between 0 and 2^64 - 1`)
  const constant: Constant = {
    ...chapter.origin(declaration.attributes, attributes),
    name,
    value,
    marker: attributes.marker ?? false,
    was: list(attributes.was),
    linux: chapter.linux(name, path, attributes),
  }
  if (attributes.doc === undefined) delete constant.doc
  const when = names.expression(attributes.when, [...path, 'when'], { chapter })
  if (when) constant.when = when
  if (attributes.holds !== undefined) {
    const held = workspace.findStruct(chapter, attributes.holds)
    if (held) constant.holds = { chapter: held.chapter.name, name: attributes.holds }
    else chapter.report('unknown-struct', [...path, 'holds'], `no struct is named "${attributes.holds}"`)
  }
  group.constants.push(constant)
}

/** One value, one constant, unless one of them says it is an alias. */
function checkValues(group: Group, declaration: GroupDeclaration, path: Path): void {
  const seen = new Map<string, string>()
  for (const { name, value } of group.constants) {
    const ast = declaration.attributes.values[name]
    if (typeof ast === 'object' && (ast.alias || ast.marker)) continue
    const other = seen.get(String(value))
    if (other !== undefined) {
      declaration.chapter.report('duplicate-value', [...path, name], `"${name}" has the value of "${other}", ${value}`, 'if the text says so, mark one of them `alias: true`', 'key')
    }
    seen.set(String(value), name)
  }
}
