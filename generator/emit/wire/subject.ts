/** The struct that a class is emitted for: its names, slots, and what other emitters say of it. */

import { findStruct } from '../../facts.ts'
import type { FieldPath, Member, Model, Part, Struct } from '../../model.ts'
import { className, identifier } from '../../names.ts'
import { docs, numberCode, quote } from '../code.ts'
import { exportedConstants } from './constants.ts'
import { type ExpressionScope, numeric, parenthesise } from './expression.ts'
import type { Imports } from './imports.ts'
import { memberDoc } from './member-doc.ts'
import { type Needs, usesReadable } from './needs.ts'
import { Output } from './output.ts'
import { type Slot, slotsOf } from './slots.ts'

/** Names of a class that does not have that of its struct. */
export interface ClassNames {
  name: string
  /** Class of the device-readable part that goes with it. */
  readable?: string
}

export class Subject {
  protected readonly model: Model
  protected readonly imports: Imports
  protected readonly needs: Needs
  protected readonly struct: Struct
  protected readonly part: Part | undefined
  protected readonly name: string
  protected readonly slots: Slot[]
  protected readonly hasLayout: boolean
  protected readonly variable: boolean
  protected readonly given: { name: string; type: string }[]
  protected readonly out = new Output()
  readonly #names: ClassNames | undefined

  constructor(model: Model, imports: Imports, needs: Needs, struct: Struct, part: Part | undefined, names?: ClassNames) {
    this.model = model
    this.imports = imports
    this.needs = needs
    this.struct = struct
    this.part = part
    this.#names = names
    this.name = names?.name ?? className(struct.name) + partSuffix(part)
    this.slots = slotsOf(needs, struct, part)
    this.hasLayout = needs.hasContext(struct, part) && struct.role !== 'config'
    this.variable = needs.isVariable(struct, part)
    this.given = this.givenNames()
  }

  protected givenNames(): { name: string; type: string }[] {
    const given = this.struct.given.map(({ name, struct }) => ({
      name: identifier(name),
      type: struct ? this.imports.class(struct, this.partOf(struct), true) : 'number',
    }))
    if (this.part === 'writable' && usesReadable(this.struct))
      given.push({ name: 'readable', type: this.#names?.readable ?? `${className(this.struct.name)}Readable` })
    return given
  }

  /** In configuration space and registers a condition says only whether a member means something: it is there all the same. */
  protected get isFixedLayout(): boolean {
    return this.struct.role === 'config' || this.struct.role === 'registers'
  }

  protected partOf(reference: { chapter: string; name: string }): string {
    return findStruct(this.model, reference)?.twoPart ? partSuffix(this.part ?? 'readable') : ''
  }

  protected scope(context = 'this.$layout.$context'): ExpressionScope {
    return {
      needs: this.needs,
      imports: this.imports,
      struct: this.struct,
      members: this.needs.members(this.struct, this.part),
      context,
      own: 'this',
    }
  }

  protected qualified(slot: Slot | string): string {
    return quote(`${this.name}.${typeof slot === 'string' ? slot : slot.id || slot.key}`)
  }

  protected doc(member: Member): ReturnType<typeof docs> {
    return docs(...memberDoc(this.model, this.struct, member))
  }

  /** The conditions of a member, those of the groups around it included, in the words of the description. */
  protected conditionText(member: Member): string {
    const slot = this.slots.find((candidate) => candidate.member === member)
    return (slot?.whens ?? (member.when ? [member.when] : [])).map((when) => when.text).join(' and ') || 'another arm'
  }

  /** Code that says whether an arm is selected. */
  protected choice(by: FieldPath): (arm: Member) => string | undefined {
    const field = numeric({ text: '', tree: { op: 'field', ...by } }, this.scope())
    const mask = this.enumMask(by)
    const value = mask === undefined ? field : `(${field} & ${mask}) >>> 0`
    const wide = /^Number\((.*)\)$/.exec(value)?.[1]
    const test = (name: string, constant: number | bigint): string =>
      wide === undefined ? `${parenthesise(value)} === ${this.constantCode(name, constant)}` : `${wide} === ${constant}n`
    return (arm) => arm.is?.map(({ name, value: constant }) => test(name, constant)).join(' || ')
  }

  /** The bits of the deciding field that hold its enum, where it has flags beside it. */
  protected enumMask(by: FieldPath): string | undefined {
    const member = by.from === 'own' ? this.needs.memberAt(this.needs.members(this.struct, this.part), by.path) : undefined
    if (member === undefined || by.path.length > 1 || member.enum === undefined) return undefined
    if (member.mask !== undefined) return numberCode(Number(member.mask))
    if (member.flags === undefined) return undefined
    const flags = member.flags.flatMap(
      ({ chapter, name }) =>
        this.model.chapters.find((candidate) => candidate.name === chapter)?.groups.find((group) => group.name === name)?.constants ?? [],
    )
    const all = 2 ** ((member.size ?? 4) * 8) - 1
    return numberCode(Number(BigInt(all) & ~flags.reduce((bits, { value }) => bits | BigInt(value), 0n)))
  }

  protected constantCode(name: string, value: number | bigint): string {
    const chapter = this.model.chapters.find((candidate) => candidate.name === this.struct.chapter)
    const isExported = chapter !== undefined && typeof value === 'number' && exportedConstants(chapter).get(name)?.value === value
    return isExported ? this.imports.from('wire', chapter.name, name) : numberCode(Number(value))
  }
}

export function partSuffix(part: Part | undefined): string {
  return part === undefined ? '' : part === 'readable' ? 'Readable' : 'Writable'
}
