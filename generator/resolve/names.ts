/** Looks up the names of expressions and turns syntax into trees of the model. */
import type { Value } from '../ast.ts'
import { didYouMean } from '../diagnostic.ts'
import { evaluate } from '../evaluate.ts'
import { ExpressionError, parseExpression, parseRange, type Syntax, toNumber } from '../expression.ts'
import type { BinaryOperator, ConstantValue, Expression, FieldPath, Tree } from '../model.ts'
import type { Path } from '../source.ts'
import { type FieldInfo, fieldAt, type Shape, shapeOfStruct } from './shape.ts'
import type { ChapterScope, GroupDeclaration, StructDeclaration, Workspace } from './workspace.ts'

/** What the names of an expression may mean. */
export interface NameScope {
  chapter: ChapterScope
  /** Fields of the struct itself. */
  own?: Shape | undefined
  /** Fields of the structs around it, innermost first; using one makes it a `given` name. */
  outer?: readonly Shape[] | undefined
  onOuter?: ((name: string) => void) | undefined
  /** The readable part, from the writable one. */
  readable?: Shape | undefined
  given?: ReadonlyMap<string, Shape | undefined> | undefined
  /** `i` of a repeated queue. */
  index?: boolean | undefined
}

/** What the resolver of expressions needs of the rest. */
export interface Sizes {
  /** Size of a struct without variable members; reports and gives undefined otherwise. */
  fixedSize(declaration: StructDeclaration): number | undefined
}

const reservedFieldNames = new Set(['config', 'queue', 'readable'])

export class Names {
  readonly #workspace: Workspace
  readonly #values = new Map<string, number | bigint | undefined>()
  readonly #evaluating = new Set<string>()
  readonly #lets = new Map<string, Tree | undefined>()
  readonly #resolvingLets = new Set<string>()
  sizes: Sizes = { fixedSize: () => undefined }

  constructor(workspace: Workspace) {
    this.#workspace = workspace
  }

  /** Resolves an expression; what is wrong with it is reported and gives undefined. */
  expression(value: Value | boolean | undefined, path: Path, scope: NameScope, field?: FieldInfo): Expression | undefined {
    if (value === undefined) return undefined
    if (typeof value !== 'string') return { text: String(value), tree: { op: 'number', value: typeof value === 'boolean' ? Number(value) : value } }
    return this.#parse(value, path, scope, () => {
      const tree = this.#tree(parseExpression(value), path, scope, field)
      return tree && { text: value, tree }
    })
  }

  /** Resolves an expression inside a key, such as a length in brackets; `at` is its position in the key. */
  keyExpression(text: string, at: number, path: Path, scope: NameScope): Expression | undefined {
    try {
      const tree = this.#tree(parseExpression(text), path, scope, undefined)
      return tree && { text, tree }
    } catch (error) {
      if (!(error instanceof ExpressionError)) throw error
      void at
      scope.chapter.report('expression-syntax', path, `in the length "${text}": ${error.message}`, undefined, 'key')
      return undefined
    }
  }

  /** Resolves `A .. B`. */
  range(value: string | undefined, path: Path, scope: NameScope): [Expression, Expression] | undefined {
    if (value === undefined) return undefined
    return this.#parse(value, path, scope, () => {
      const [from, to] = parseRange(value)
      const first = this.#tree(from, path, scope, undefined)
      const last = this.#tree(to, path, scope, undefined)
      return first && last && [{ text: value.slice(from.at, from.end), tree: first }, { text: value.slice(to.at, to.end), tree: last }]
    })
  }

  #parse<T>(value: string, path: Path, scope: NameScope, parse: () => T): T | undefined {
    try {
      return parse()
    } catch (error) {
      if (!(error instanceof ExpressionError)) throw error
      scope.chapter.report('expression-syntax', path, `in "${value}": ${error.message}`, 'see "Expressions" in docs/language.md', {
        offset: error.offset,
        length: error.length,
      })
      return undefined
    }
  }

  /** The value of a number or of an expression over constants alone. */
  number(value: Value | undefined, path: Path, chapter: ChapterScope, field?: FieldInfo): number | bigint | undefined {
    if (value === undefined || typeof value !== 'string') return value
    const expression = this.expression(value, path, { chapter }, field)
    const result = expression && evaluate(expression.tree)
    if (expression && result === undefined) chapter.report('wrong-type', path, `"${value}" is not a constant number`)
    return result === undefined ? undefined : toNumber(result)
  }

  #tree(syntax: Syntax, path: Path, scope: NameScope, field: FieldInfo | undefined): Tree | undefined {
    switch (syntax.op) {
      case 'number':
        return { op: 'number', value: syntax.value }
      case 'name':
        return this.#name(syntax, path, scope, field)
      case 'sizeof':
        return this.#sizeof(syntax, path, scope)
      case 'not': {
        const arg = this.#tree(syntax.arg, path, scope, undefined)
        return arg && { op: 'not', arg }
      }
      case 'if': {
        const then = this.#tree(syntax.then, path, scope, field)
        const condition = this.#tree(syntax.condition, path, scope, undefined)
        const otherwise = syntax.otherwise && this.#tree(syntax.otherwise, path, scope, field)
        if (!then || !condition || (syntax.otherwise && !otherwise)) return undefined
        return otherwise ? { op: 'if', then, condition, otherwise } : { op: 'if', then, condition }
      }
      case 'binary':
        return this.#binary(syntax, path, scope)
    }
  }

  #binary(syntax: Extract<Syntax, { op: 'binary' }>, path: Path, scope: NameScope): Tree | undefined {
    const held = ['==', '!=', 'has'].includes(syntax.operator)
    const leftField = held ? this.#fieldOf(syntax.left, scope) : undefined
    const rightField = held && !leftField ? this.#fieldOf(syntax.right, scope) : undefined
    const left = this.#tree(syntax.left, path, scope, rightField)
    const operand = this.#tree(syntax.right, path, scope, leftField)
    const right = operand && syntax.operator === 'has' && isBitNumber(operand, leftField) ? bitMask(operand) : operand
    return left && right && { op: 'binary', operator: syntax.operator as BinaryOperator, left, right }
  }

  #fieldOf(syntax: Syntax, scope: NameScope): FieldInfo | undefined {
    return syntax.op === 'name' ? this.#findField(syntax.path, scope)?.info : undefined
  }

  #sizeof(syntax: Extract<Syntax, { op: 'sizeof' }>, path: Path, scope: NameScope): Tree | undefined {
    const declaration = this.#workspace.findStruct(scope.chapter, syntax.name)
    const at = { offset: syntax.at, length: syntax.end - syntax.at }
    if (declaration === undefined) {
      const hint = didYouMean(syntax.name, this.#workspace.structNames(scope.chapter))
      scope.chapter.report('unknown-struct', path, `no struct is named "${syntax.name}"`, hint, at)
      return undefined
    }
    const size = this.sizes.fixedSize(declaration)
    if (size === undefined) {
      scope.chapter.report('wrong-type', path, `"${syntax.name}" has no fixed size`, undefined, at)
      return undefined
    }
    return { op: 'sizeof', struct: { chapter: declaration.chapter.name, name: syntax.name }, value: size }
  }

  #name(syntax: Extract<Syntax, { op: 'name' }>, path: Path, scope: NameScope, field: FieldInfo | undefined): Tree | undefined {
    const [first, ...rest] = syntax.path as [string, ...string[]]
    const at = { offset: syntax.at, length: syntax.end - syntax.at }
    if (first === 'queue' && rest.length === 1 && rest[0] === 'size') return { op: 'queue', property: 'size' }
    // A constant held against a field comes from the field's groups, whatever else has its name.
    if (field !== undefined && rest.length === 0) {
      const constant = this.#constantOfField(first, field)
      if (constant !== undefined) return constant
    }
    if (scope.index && first === 'i' && rest.length === 0) return { op: 'index', name: 'i' }
    const found = this.#findField(syntax.path, scope)
    if (found !== undefined) {
      if (found.info === undefined) {
        scope.chapter.report('unknown-field', path, `there is no field "${syntax.path.join('.')}"`, didYouMean(found.missing as string, found.candidates ?? []), at)
        return undefined
      }
      if (found.info.plural) {
        scope.chapter.report('wrong-type', path, `"${syntax.path.join('.')}" is an array and has no single value`, undefined, at)
        return undefined
      }
      if (found.outer) scope.onOuter?.(first)
      return { op: 'field', from: found.from, path: syntax.path.slice(found.skip) }
    }
    if (rest.length === 0) {
      const other = this.#let(first, scope.chapter) ?? this.#feature(first, scope.chapter) ?? this.#constant(first, path, scope, at)
      if (other === 'reported') return undefined
      if (other !== undefined) return other
    }
    this.#reportUnknown(syntax, path, scope, field, at)
    return undefined
  }

  #reportUnknown(syntax: Extract<Syntax, { op: 'name' }>, path: Path, scope: NameScope, field: FieldInfo | undefined, at: { offset: number; length: number }): void {
    const name = syntax.path.join('.')
    if (field !== undefined && field.groups.length > 0) {
      const candidates = this.#groupsOf(field).flatMap((group) => Object.keys(group.attributes.values))
      scope.chapter.report('unknown-constant', path, `"${name}" is not in ${field.groups.map((group) => `"${group}"`).join(' or ')}`, didYouMean(name, candidates), at)
      return
    }
    const hint = name.includes('-') ? 'put spaces around an operator' : didYouMean(name, this.#candidates(scope))
    scope.chapter.report('unknown-name', path, `nothing in reach is named "${name}"`, hint, at)
  }

  #candidates(scope: NameScope): string[] {
    const shapes = [scope.own, ...(scope.outer ?? []), scope.readable]
    return [
      ...shapes.flatMap((shape) => [...(shape?.keys() ?? [])]),
      ...(scope.given?.keys() ?? []),
      ...scope.chapter.reach.flatMap((chapter) => [
        ...Object.keys(chapter.ast.let ?? {}),
        ...Object.keys(chapter.ast.features ?? {}),
        ...[...chapter.groups.values()].flatMap((group) => Object.keys(group.attributes.values)),
      ]),
    ]
  }

  /** A field by the order of look-up. `info` undefined: the start of the path is a field, the rest is not. */
  #findField(
    path: readonly string[],
    scope: NameScope,
  ): { info: FieldInfo | undefined; from: FieldPath['from']; skip: number; outer?: boolean; missing?: string; candidates?: Iterable<string> } | undefined {
    const [first, ...rest] = path as [string, ...string[]]
    const within = (shape: Shape, from: FieldPath['from'], skip: number, outer = false) => {
      const info = fieldAt(shape, path.slice(skip))
      const parent = skip < path.length - 1 ? fieldAt(shape, path.slice(skip, -1))?.nested?.() : shape
      return { info, from, skip, outer, missing: path.at(-1) as string, candidates: parent?.keys() ?? [] }
    }
    if (reservedFieldNames.has(first) && rest.length > 0) {
      const shape = first === 'config' ? this.#config(scope.chapter) : first === 'readable' ? scope.readable : undefined
      if (shape) return within(shape, first as 'config' | 'readable', 1)
    }
    if (scope.own?.has(first)) return within(scope.own, 'own', 0)
    for (const shape of scope.outer ?? []) if (shape.has(first)) return within(shape, 'given', 0, true)
    if (scope.readable?.has(first)) return within(scope.readable, 'readable', 0)
    if (scope.given?.has(first)) {
      const shape = scope.given.get(first)
      if (shape === undefined) return { info: { name: first, groups: [], chapter: scope.chapter, plural: false }, from: 'given', skip: 0 }
      return { ...within(shape, 'given', 1), skip: 0 }
    }
    return undefined
  }

  /** The configuration space that `config.x` means: the chapter's own, or that of the one device it uses. */
  #config(chapter: ChapterScope): Shape | undefined {
    for (const reach of chapter.reach) {
      const name = Object.keys(reach.ast.config ?? {})[0]
      const declaration = name === undefined ? undefined : reach.structs.get(name)
      if (declaration) return shapeOfStruct(this.#workspace, declaration)
    }
    return undefined
  }

  #feature(name: string, chapter: ChapterScope): Tree | undefined {
    for (const reach of chapter.reach) {
      const feature = reach.ast.features?.[name]
      if (feature === undefined) continue
      return { op: 'feature', chapter: reach.name, name, bit: typeof feature === 'number' ? feature : feature.bit }
    }
    return undefined
  }

  #let(name: string, chapter: ChapterScope): Tree | undefined {
    for (const reach of chapter.reach) {
      const value = reach.ast.let?.[name]
      if (value === undefined) continue
      return value === 'caller' ? { op: 'caller', name } : this.letTree(reach, name)
    }
    return undefined
  }

  /** The tree of a `let` name, resolved once. */
  letTree(chapter: ChapterScope, name: string): Tree | undefined {
    const key = `${chapter.name} ${name}`
    if (this.#resolvingLets.has(key)) {
      chapter.report('let-cycle', ['let', name], `"${name}" is defined by itself`)
      return { op: 'number', value: 0 }
    }
    if (!this.#lets.has(key)) {
      this.#resolvingLets.add(key)
      const value = chapter.ast.let?.[name]
      this.#lets.set(key, value === 'caller' ? { op: 'caller', name } : this.expression(value, ['let', name], { chapter })?.tree)
      this.#resolvingLets.delete(key)
    }
    return this.#lets.get(key)
  }

  /** A constant by name alone: the same value everywhere, or it is ambiguous. */
  #constant(name: string, path: Path, scope: NameScope, at: { offset: number; length: number }): Tree | 'reported' | undefined {
    const found = scope.chapter.reach.flatMap((chapter) => [...chapter.groups.values()].filter((group) => Object.hasOwn(group.attributes.values, name)))
    const trees = found.flatMap((group) => this.#constantTree(group, name) ?? [])
    const values = new Set(trees.map((tree) => String((tree as Extract<Tree, { op: 'constant' }>).value)))
    if (values.size > 1) {
      const where = found.map((group) => `"${group.name}" of ${group.chapter.name}`).join(', ')
      scope.chapter.report('ambiguous-name', path, `"${name}" has different values in ${where}`, 'hold it against a field whose `enum` or `flags` names the group', at)
      return 'reported'
    }
    return trees[0] ?? (found.length > 0 ? 'reported' : undefined)
  }

  #constantOfField(name: string, field: FieldInfo): Tree | undefined {
    for (const group of this.#groupsOf(field)) {
      if (Object.hasOwn(group.attributes.values, name)) return this.#constantTree(group, name)
    }
    return undefined
  }

  /** The groups of a field, and those that extend them or that they extend. */
  #groupsOf(field: FieldInfo): GroupDeclaration[] {
    const named = field.groups.flatMap((name) => this.#workspace.findGroup(field.chapter, name) ?? [])
    const family = [...this.#workspace.chapters.values()].flatMap((chapter) =>
      [...chapter.groups.values()].filter((group) => group.attributes.extends !== undefined && field.groups.includes(group.attributes.extends)),
    )
    const parents = named.flatMap((group) => (group.attributes.extends === undefined ? [] : (this.#workspace.findGroup(group.chapter, group.attributes.extends) ?? [])))
    return [...named, ...family, ...parents]
  }

  #constantTree(group: GroupDeclaration, name: string): Tree | undefined {
    const value = this.constantValue(group, name)
    return value === undefined ? undefined : { op: 'constant', chapter: group.chapter.name, group: group.name, name, value }
  }

  /** The value of a constant of a group, evaluated once. */
  constantValue(group: GroupDeclaration, name: string): number | bigint | undefined {
    const key = `${group.chapter.name} ${group.name} ${name}`
    if (this.#values.has(key)) return this.#values.get(key)
    const ast = group.attributes.values[name]
    const path: Path = [...group.path, ...(Array.isArray(group.attributes.values) ? [] : valuesKey(group)), name]
    if (this.#evaluating.has(key)) {
      group.chapter.report('let-cycle', path, `"${name}" is defined by itself`)
      return undefined
    }
    this.#evaluating.add(key)
    const own: FieldInfo = { name: '', groups: [group.name], chapter: group.chapter, plural: false }
    const value = typeof ast === 'object' ? ast.value : ast
    const valuePath = typeof ast === 'object' ? [...path, 'value'] : path
    const number = this.number(value as Value, valuePath, group.chapter, typeof value === 'string' ? own : undefined)
    this.#evaluating.delete(key)
    this.#values.set(key, number)
    return number
  }

  /** The constants that `is` and `status` name, taken from the field's groups. */
  selector(value: Value, path: Path, chapter: ChapterScope, field: FieldInfo | undefined): ConstantValue | undefined {
    if (typeof value !== 'string') return { name: String(value), value }
    const number = this.number(value, path, chapter, field)
    return number === undefined ? undefined : { name: value, value: number }
  }
}

/** True for a constant that stands for a bit of the field, not for a mask. */
function isBitNumber(tree: Tree, field: FieldInfo | undefined): boolean {
  return tree.op === 'constant' && field?.set !== undefined && !field.groups.some((group) => group !== field.set && group === tree.group)
}

function bitMask(bit: Tree): Tree {
  return { op: 'binary', operator: '<<', left: { op: 'number', value: 1 }, right: bit }
}

/** Where the values of a group stand: below `values` in the long form. */
export function valuesKey(group: GroupDeclaration): string[] {
  const ast = group.chapter.ast.constants?.[group.name]
  return ast !== group.attributes.values ? ['values'] : []
}
