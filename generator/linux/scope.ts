/** A struct whose value is being made up: its fields are read and set by the expressions that depend on them. */
import { type Environment, evaluate, holds, nodes } from '../evaluate.ts'
import type { Expression, FieldPath, Member, Tree } from '../model.ts'
import { identifier } from '../names.ts'
import { everyFeature } from './structs.ts'

export type Value = Record<string, unknown>

/** What a layout depends on besides the bytes and the features, all of which are negotiated; see docs/generated-code.md. */
export interface SampleContext {
  config: Value
  queueSize: number
  caller: Record<string, number>
  given: Value
}

const queueSize = 2

export function sampleContext(): SampleContext {
  return { config: {}, queueSize, caller: {}, given: { readable: {} } }
}

/** The struct around, and what it binds the `given` names to. */
interface Outer {
  scope: Scope
  bindings: Member['with']
}

export class Scope implements Environment {
  readonly value: Value
  readonly context: SampleContext
  readonly #outer: Outer | undefined
  /** Fields whose value something else already depends on. */
  readonly #pinned = new Set<string>()
  readonly queueSize = BigInt(queueSize)
  readonly feature = everyFeature.feature

  constructor(value: Value, context: SampleContext, outer?: Outer) {
    this.value = value
    this.context = context
    this.#outer = outer
  }

  caller(name: string): bigint {
    const key = identifier(name)
    this.context.caller[key] ??= 1
    return BigInt(this.context.caller[key])
  }

  field(path: FieldPath): bigint | undefined {
    const place = this.#place(path)
    const value = place?.holder[place.key]
    return typeof value === 'number' || typeof value === 'bigint' ? BigInt(value) : undefined
  }

  /** Gives a field the value that something depends on. False when it cannot have it. */
  assign(path: FieldPath, value: bigint): boolean {
    const place = this.#place(path)
    if (place === undefined) return false
    const current = place.holder[place.key]
    if (place.scope.#pinned.has(place.name)) return current !== undefined && BigInt(current as number) === value
    place.scope.#pinned.add(place.name)
    place.holder[place.key] = typeof current === 'bigint' ? value : Number(value)
    return true
  }

  isPinned(path: FieldPath): boolean {
    const place = this.#place(path)
    return place === undefined || place.scope.#pinned.has(place.name)
  }

  /** A length. The fields it depends on become small, so that the array does too. */
  length(expression: Expression, pick: () => number): number | undefined {
    for (const node of nodes(this.#chosen(expression.tree))) if (node.op === 'field' && !this.isPinned(node)) this.assign(node, BigInt(pick()))
    const value = evaluate(expression.tree, this)
    return value === undefined || value < 0n || value > 4096n ? undefined : Number(value)
  }

  /** The branch that counts, where the program decides: the fields of the other one are not there. */
  #chosen(tree: Tree): Tree {
    if (tree.op !== 'if') return tree
    const decides = evaluate(tree.condition, this)
    if (decides === undefined) return tree
    return decides !== 0n ? this.#chosen(tree.value) : tree.otherwise ? this.#chosen(tree.otherwise) : tree
  }

  /** What the fields of a length must be for it to have a certain value. */
  valueFor({ tree }: Expression, wanted: number): number {
    for (let value = 0; value < wanted; value++) if (evaluate(tree, { field: () => BigInt(value) }) === BigInt(wanted)) return value
    return wanted
  }

  /** Tries to make a condition hold by the fields it depends on. False when it does not hold. */
  satisfy(condition: Expression | undefined): boolean {
    if (condition === undefined || holds(condition, this) === true) return true
    const tree = [...nodes(condition.tree)]
    const constants = tree.flatMap((node) => (node.op === 'constant' || node.op === 'number' ? [BigInt(node.value)] : []))
    const candidates = [...constants, constants.reduce((all, one) => all | one, 0n), 0n, 1n]
    for (const node of tree) {
      if (node.op !== 'field' || this.isPinned(node)) continue
      const place = this.#place(node) as Place
      const before = place.holder[place.key]
      for (const candidate of candidates) {
        place.holder[place.key] = typeof before === 'bigint' ? candidate : Number(candidate)
        if (holds(condition, this) === true) {
          place.scope.#pinned.add(place.name)
          return true
        }
      }
      place.holder[place.key] = before
    }
    return false
  }

  /** Where the value of a field is kept: here, in a struct around this one, or in the context. */
  #place({ from, path }: FieldPath): Place | undefined {
    if (from === 'own') return this.#within(this.value, path, `own.${path.join('.')}`)
    if (from === 'config') return this.#within(this.context.config, path, `config.${path.join('.')}`)
    if (from === 'readable') return this.#within(this.context.given, ['readable', ...path], `readable.${path.join('.')}`)
    const binding = typeof this.#outer?.bindings === 'object' ? this.#outer.bindings[path[0] as string] : this.#outer?.bindings
    if (binding === undefined || binding === 'caller' || this.#outer === undefined)
      return this.#within(this.context.given, path, `given.${path.join('.')}`)
    const { tree } = binding
    return tree.op === 'field' ? this.#outer.scope.#place({ from: tree.from, path: [...tree.path, ...path.slice(1)] }) : undefined
  }

  #within(root: Value, path: readonly string[], name: string): Place {
    let holder = root
    for (const step of path.slice(0, -1)) {
      const key = identifier(step)
      holder[key] ??= {}
      holder = holder[key] as Value
    }
    return { scope: this, holder, key: identifier(path.at(-1) as string), name }
  }
}

interface Place {
  scope: Scope
  holder: Value
  key: string
  name: string
}
