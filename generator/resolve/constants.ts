/** Groups of constants, with their values. */
import type { ConstantAst, ConstantAttributes } from '../ast.ts'
import { ExpressionError, parseRange } from '../expression.ts'
import type { Constant, Group } from '../model.ts'
import { identifier } from '../names.ts'
import { ownValue } from '../own.ts'
import type { Path } from '../source.ts'
import type { Expressions } from './expressions.ts'
import { originOf } from './origin.ts'
import { type ChapterScope, type GroupDeclaration, list, type Workspace } from './workspace.ts'

export function resolveGroups(workspace: Workspace, expressions: Expressions, chapter: ChapterScope): Group[] {
  return [...chapter.groups.values()].map((declaration) => resolveGroup(workspace, expressions, declaration))
}

function resolveGroup(workspace: Workspace, expressions: Expressions, declaration: GroupDeclaration): Group {
  const { chapter, name, path, attributes } = declaration
  const parent = workspace.requireGroup(chapter, attributes.extends, [...path, 'extends'])
  const group: Group = {
    ...originOf(chapter.origin, attributes),
    name,
    chapter: chapter.name,
    constants: [],
    ranges: [],
    linux: chapter.linux(name, path, attributes.linux),
  }
  if (parent) group.extends = { chapter: parent.chapter, group: parent.name }
  for (const [key, ast] of Object.entries(attributes.values)) {
    const at = [...declaration.valuesPath, key]
    if (key.includes('..')) addRange(group, key, ast, at, chapter)
    else addConstant(group, key, ast, at, declaration, workspace, expressions)
  }
  checkNames(group, declaration)
  checkValues(group, declaration)
  checkParent(group, declaration, workspace, expressions)
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
    chapter.report('expression-syntax', path, `in the range "${key}": ${error.message}`, undefined, {
      offset: error.offset,
      length: error.length,
      in: 'key',
    })
  }
}

function addConstant(
  group: Group,
  name: string,
  ast: ConstantAst,
  path: Path,
  declaration: GroupDeclaration,
  workspace: Workspace,
  expressions: Expressions,
): void {
  const { chapter } = declaration
  const attributes: ConstantAttributes = typeof ast === 'object' ? ast : { value: ast }
  if (!/^[A-Za-z_][A-Za-z0-9_-]*$/.test(name)) {
    chapter.report('wrong-type', path, `"${name}" is not a name`, 'letters, digits, "_" and "-", not starting with a digit', 'key')
    return
  }
  const value = expressions.constantValue(declaration, name)
  const when = expressions.condition(attributes.when, [...path, 'when'], { chapter })
  const holds = held(attributes.holds, [...path, 'holds'], chapter, workspace)
  if (value === undefined) return
  if (value < 0 || BigInt(value) >= 1n << 64n)
    chapter.report('value-range', typeof ast === 'object' ? [...path, 'value'] : path, `${value} is not between 0 and 2^64 - 1`)
  group.constants.push({
    ...originOf(group, attributes),
    name,
    value,
    ...(when ? { when } : {}),
    ...(holds ? { holds } : {}),
    marker: attributes.marker ?? false,
    was: list(attributes.was),
    linux: chapter.linux(name, path, attributes.linux),
  })
}

/** The struct that a constant stands for. */
function held(name: string | undefined, path: Path, chapter: ChapterScope, workspace: Workspace): Constant['holds'] {
  const declaration = name === undefined ? undefined : workspace.requireStruct(chapter, name, path)
  if (declaration === undefined) return undefined
  const needs = Object.keys(declaration.attributes.given ?? {})
  if (needs.length > 0)
    chapter.report('missing-given', path, `"${declaration.name}" needs ${needs.join(', ')} from outside, which a constant cannot bind`)
  return { chapter: declaration.chapter.name, name: declaration.name }
}

/** A group is an object in TypeScript. */
function checkNames(group: Group, { chapter, valuesPath }: GroupDeclaration): void {
  const seen = new Map<string, string>()
  for (const { name } of group.constants) {
    const other = seen.get(identifier(name))
    if (other !== undefined)
      chapter.report('name-collision', [...valuesPath, name], `"${other}" and "${name}" both become "${identifier(name)}"`, undefined, 'key')
    seen.set(identifier(name), name)
  }
}

/** One value, one constant, unless one of them says it is an alias; and none where the text has reserved the values. */
function checkValues(group: Group, { chapter, attributes, valuesPath }: GroupDeclaration): void {
  const seen = new Map<string, string>()
  for (const { name, value } of group.constants) {
    const reserved = group.ranges.find(({ from, to, owner }) => owner === 'reserved' && value >= from && value <= to)
    if (reserved)
      chapter.report(
        'overlap',
        [...valuesPath, name],
        `"${name}", ${value}, lies in ${reserved.from} .. ${reserved.to}, which is reserved`,
        undefined,
        'key',
      )
    if (isAlias(ownValue(attributes.values, name))) continue
    const other = seen.get(String(value))
    if (other !== undefined) {
      chapter.report(
        'duplicate-value',
        [...valuesPath, name],
        `"${name}" has the value of "${other}", ${value}`,
        'if the text says so, mark one of them `alias: true`',
        'key',
      )
    }
    seen.set(String(value), name)
  }
}

function isAlias(ast: ConstantAst | undefined): boolean {
  return typeof ast === 'object' && (ast.alias === true || ast.marker === true)
}

/** The values of a group that extends another are values of that one too. */
function checkParent(group: Group, declaration: GroupDeclaration, workspace: Workspace, expressions: Expressions): void {
  const parent = workspace.parent(declaration)
  if (parent === undefined) return
  const taken = new Map(
    Object.entries(parent.attributes.values)
      .filter(([name, ast]) => !name.includes('..') && !isAlias(ast))
      .map(([name]) => [String(expressions.constantValue(parent, name)), name]),
  )
  for (const { name, value } of group.constants) {
    const other = taken.get(String(value))
    if (other === undefined || isAlias(ownValue(declaration.attributes.values, name))) continue
    declaration.chapter.report(
      'duplicate-value',
      [...declaration.valuesPath, name],
      `"${name}" has the value of "${other}" in "${parent.name}", ${value}`,
      undefined,
      'key',
    )
  }
}
