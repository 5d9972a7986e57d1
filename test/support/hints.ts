/** What the rest of a description asks of a field's value: a length had better be small, a selector had better select something. */

import { typeExtent } from '../../generator/codec/extent.ts'
import { declarationAt, findField, type Scope } from '../../generator/codec/scope.ts'
import { Session } from '../../generator/codec/session.ts'
import { nodes } from '../../generator/evaluate.ts'
import type { Expression, FieldPath, Member, Model, Struct, Tree, Type } from '../../generator/index.ts'
import { requestStruct } from '../../generator/index.ts'
import { identifier } from '../../generator/names.ts'

export interface Hint {
  /** Range in which a length makes sense. */
  length?: { min: number; max: number }
  /** Values that decide something. */
  choices: bigint[]
}

/** Hints by the member or bit-field they are about. */
export type Hints = ReadonlyMap<object, Hint>

const known = new WeakMap<Model, Hints>()

export function hintsOf(model: Model): Hints {
  let hints = known.get(model)
  if (hints === undefined) {
    hints = new Collector(model).collect()
    known.set(model, hints)
  }
  return hints
}

/** The bytes that a length stands for: a few elements of anything. */
const smallLength = { min: 0, max: 24 }

class Collector {
  readonly #session: Session
  readonly #hints = new Map<object, Hint>()

  constructor(model: Model) {
    // Every feature counts as negotiated, and everything as asked for that need not be: an element has its full size.
    const features = new Set(model.chapters.flatMap((chapter) => chapter.features.map(({ name }) => name)))
    const options = model.chapters.flatMap(({ lets }) => lets.filter((name) => name.default !== undefined).map(({ name }) => identifier(name)))
    this.#session = new Session(model, { features, caller: Object.fromEntries(options.map((name) => [name, 1])) })
  }

  collect(): Hints {
    const { model } = this.#session
    for (const chapter of model.chapters) {
      const requests = chapter.messages.flatMap((message) => message.requests.map((request) => requestStruct(model, message, request)))
      for (const struct of [...chapter.structs, ...chapter.registers, ...requests]) this.#struct(struct)
    }
    return this.#hints
  }

  #struct(struct: Struct): void {
    const value = {}
    for (const part of struct.twoPart ? (['readable', 'writable'] as const) : [undefined]) {
      const members = struct.members.filter((member) => part === undefined || member.part === part)
      const scope: Scope = {
        session: this.#session,
        struct,
        part,
        members,
        value,
        here: value,
        bindings: undefined,
        readable: undefined,
        absent: () => undefined,
      }
      for (const member of members) this.#member(member, scope)
      this.#length(struct.length, scope)
    }
  }

  #member(member: Member, scope: Scope): void {
    for (const { length } of member.dims) this.#length(length, scope)
    this.#length(member.area, scope)
    if (member.stride) {
      const size = typeExtent(member, scope).size ?? 0
      this.#length(member.stride, scope, { min: size, max: size + 8 })
    }
    if (typeof member.with === 'object') for (const binding of Object.values(member.with)) if (binding !== 'caller') this.#length(binding, scope)
    this.#condition(member.when, scope)
    this.#type(member.type, scope)
  }

  #type(type: Type, scope: Scope): void {
    if (type.kind === 'group') for (const inner of type.members) this.#member(inner, scope)
    if (type.kind === 'bits') for (const field of type.fields) this.#condition(field.when, scope)
    if (type.kind !== 'union') return
    for (const arm of type.arms) this.#member(arm, scope)
    const constants = type.arms.flatMap(({ is }) => is ?? []).map(({ value }) => BigInt(value))
    if (type.by) this.#hint(type.by, scope)?.choices.push(...constants)
  }

  #length(expression: Expression | undefined, scope: Scope, range = smallLength): void {
    for (const node of expression ? nodes(expression.tree) : []) {
      const hint = node.op === 'field' ? this.#hint(node, scope) : undefined
      if (hint) hint.length = hint.length ? { min: Math.max(hint.length.min, range.min), max: Math.max(hint.length.max, range.max) } : range
    }
    this.#condition(expression, scope)
  }

  /** A field that is held against a constant had better have its value now and then. */
  #condition(expression: Expression | undefined, scope: Scope): void {
    for (const node of expression ? nodes(expression.tree) : []) {
      if (node.op !== 'binary') continue
      const sides: readonly [Tree, Tree] = [node.left, node.right]
      for (const [field, constant] of [sides, sides.toReversed()] as [Tree, Tree][]) {
        if (field.op === 'field' && constant.op === 'constant') this.#hint(field, scope)?.choices.push(BigInt(constant.value))
      }
    }
  }

  #hint(path: FieldPath, scope: Scope): Hint | undefined {
    const found = declarationAt(path, scope) ?? findField(this.#session, scope.members, path.path)
    if (found === undefined) return undefined
    const key = found.field ?? found.member
    let hint = this.#hints.get(key)
    if (hint === undefined) {
      hint = { choices: [] }
      this.#hints.set(key, hint)
    }
    return hint
  }
}
