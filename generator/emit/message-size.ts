/** How long a message can be: the least and the most bytes under every negotiation and every content. */
import { type Environment, evaluate, nodes } from '../evaluate.ts'
import type { Expression, Member, Tree } from '../model.ts'
import type { Needs } from './wire/needs.ts'

export interface Bounds {
  least: number
  most: number
}

/** A reply is measured as it is where nobody asks for one: what a request says of that is 0. */
const unasked: Environment = { field: ({ from }) => (from === 'readable' ? 0n : undefined) }

/** So many conditions are told apart, and no more: any further one may hold or not. */
const mostChoices = 8

/** Bytes of these members. */
export function sizeBounds(needs: Needs, members: readonly Member[], chosen: ReadonlyMap<string, boolean> = new Map()): Bounds {
  const measure = new Measure(needs, chosen)
  const bounds = measure.members(members)
  const choice = measure.undecided
  if (choice === undefined || chosen.size === mostChoices) return bounds
  const [one, other] = [true, false].map((holds) => sizeBounds(needs, members, new Map(chosen).set(choice, holds))) as [Bounds, Bounds]
  return { least: Math.min(one.least, other.least), most: Math.max(one.most, other.most) }
}

/** One look at all members, some conditions being settled: the same condition holds everywhere or nowhere. */
class Measure {
  /** A condition on what is negotiated that is not settled yet. */
  undecided: string | undefined
  readonly #needs: Needs
  readonly #chosen: ReadonlyMap<string, boolean>

  constructor(needs: Needs, chosen: ReadonlyMap<string, boolean>) {
    this.#needs = needs
    this.#chosen = chosen
  }

  members(members: readonly Member[]): Bounds {
    const each = members.map((member) => this.#member(member, members))
    return { least: each.reduce((sum, { least }) => sum + least, 0), most: each.reduce((sum, { most }) => sum + most, 0) }
  }

  #member(member: Member, beside: readonly Member[]): Bounds {
    const isThere = member.when === undefined || this.#holds(member.when.tree)
    if (isThere === false) return { least: 0, most: 0 }
    const { type, size } = member
    // What is inside may depend on what is negotiated, of which a size says nothing.
    const isComposed = type.kind === 'struct' || type.kind === 'group'
    const { least, most } = size === null || isComposed ? this.#array(member, beside) : { least: size, most: size }
    return { least: isThere ? least : 0, most }
  }

  #array({ type, dims }: Member, beside: readonly Member[]): Bounds {
    let { least, most } = this.#element(type)
    for (const { count, length } of dims) {
      const [fewest, greatest] = count === null ? this.#count(length, beside) : [count, count]
      least *= fewest
      most *= greatest
    }
    return { least, most }
  }

  #element(type: Member['type']): Bounds {
    if (type.kind === 'integer') return { least: type.bytes, most: type.bytes }
    if (type.kind === 'bits') return { least: type.container.bytes, most: type.container.bytes }
    if (type.kind === 'struct') return this.members(this.#needs.struct(type).members)
    if (type.kind === 'group') return this.members(type.members)
    return { least: 0, most: Number.POSITIVE_INFINITY }
  }

  /** How many elements an array has that a field counts. */
  #count(length: Expression | undefined, beside: readonly Member[]): [number, number] {
    const tree = length?.tree
    const field = tree?.op === 'field' && tree.from === 'own' ? this.#needs.memberAt(beside, tree.path) : undefined
    const [from, to] = (field?.range ?? []).map(({ tree: bound }) => evaluate(bound))
    return [Number(from ?? 0), to === undefined ? Number.POSITIVE_INFINITY : Number(to)]
  }

  /** Undefined where it depends on the content, or is not settled. */
  #holds(tree: Tree): boolean | undefined {
    const known = evaluate(tree, unasked)
    if (known !== undefined) return known !== 0n
    if (tree.op === 'not') {
      const holds = this.#holds(tree.arg)
      return holds === undefined ? undefined : !holds
    }
    if (tree.op === 'binary' && (tree.operator === 'and' || tree.operator === 'or')) {
      const decisive = tree.operator === 'or'
      const sides = [this.#holds(tree.left), this.#holds(tree.right)]
      if (sides.includes(decisive)) return decisive
      return sides.includes(undefined) ? undefined : !decisive
    }
    if ([...nodes(tree)].some((node) => node.op === 'field')) return undefined
    const key = JSON.stringify(tree, (_, value) => (typeof value === 'bigint' ? String(value) : value))
    if (!this.#chosen.has(key)) this.undecided ??= key
    return this.#chosen.get(key)
  }
}
