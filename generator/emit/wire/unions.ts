/** The slots of a struct one by one, unions and bit containers included. */

import type { Member } from '../../model.ts'
import { identifier } from '../../names.ts'
import { isBigint } from '../../values.ts'
import { docs, numberCode, quote } from '../code.ts'
import { Arrays } from './arrays.ts'
import { all, condition, parenthesise, unparenthesise } from './expression.ts'
import { dependence } from './needs.ts'
import { type ArmCode, guarded, type ValueCode } from './output.ts'
import type { Slot } from './slots.ts'

export class Unions extends Arrays {
  protected slot(slot: Slot): void {
    const { member } = slot
    if (member.reserved) {
      // Still a place: what follows may start behind it.
      if (slot.start.kind === 'content') this.at(slot)
      return
    }
    const present = this.present(slot)
    if (member.type.kind === 'union') {
      this.union(slot, present)
      return
    }
    if (member.type.kind === 'bits' && member.dims.length === 0) {
      this.bits(slot, present)
      return
    }
    const code = this.value(slot, member, slot.id, this.at(slot), present)
    const optional = present !== undefined
    this.out.value.push({ name: slot.id, type: code.type, optional, doc: this.doc(member) })
    this.out.get.push({ name: slot.id, code: code.get, when: present })
    this.assign(slot, code)
  }

  protected assign(slot: Slot, code: ValueCode): void {
    const { member } = slot
    const value = `value.${slot.id}`
    if (member.const !== undefined && member.type.kind === 'integer' && member.dims.length === 0) {
      this.imports.runtime('checkConstant')
      const constant = numberCode(isBigint(member) ? BigInt(member.const) : Number(member.const))
      const assign = code.set(`checkConstant(${value} ?? ${constant}, ${constant}, ${this.qualified(slot)})`)
      const present = this.present(slot)
      this.out.set.push(...(present === undefined ? assign : [`if (${present}) ${assign.join('; ')}`]))
      return
    }
    this.out.set.push(...guarded(`${value} !== undefined`, code.set(value)))
  }

  protected bits(slot: Slot, present: string | undefined): void {
    const { member, id } = slot
    const bits = this.bitAccessors(slot, member, id, this.at(slot), present)
    if (id !== '') {
      this.out.value.push({ name: id, type: bits.type, optional: present !== undefined, doc: this.doc(member) })
      this.out.get.push({ name: id, code: bits.get, when: present })
      this.out.set.push(...bits.constants, ...guarded(`value.${id} !== undefined`, bits.set(`value.${id}`)))
      return
    }
    for (const field of bits.fields) {
      this.out.value.push({ name: field.name, type: 'number', optional: field.when !== undefined, doc: field.doc })
      this.out.get.push({ name: field.name, code: `this.${field.accessor}`, when: field.when })
      if (field.constant === undefined) this.out.set.push(`if (value.${field.name} !== undefined) this.${field.accessor} = value.${field.name}`)
    }
    this.out.set.push(...bits.constants)
  }

  protected union(slot: Slot, present: string | undefined): void {
    const { member, id } = slot
    const type = member.type as Extract<Member['type'], { kind: 'union' }>
    const at = this.at(slot)
    const chosen = type.by && this.choice(type.by)
    const arms = type.arms.flatMap((arm) => this.arm(slot, arm, id, at, present, chosen))
    if (id === '') {
      for (const arm of arms) {
        this.out.value.push({ name: arm.name, type: arm.code.type, optional: true, doc: this.doc(arm.member) })
        this.out.get.push({ name: arm.name, code: arm.code.get, when: arm.when ?? 'true' })
        this.out.set.push(...guarded(`value.${arm.name} !== undefined`, arm.code.set(`value.${arm.name}`)))
      }
      return
    }
    this.namedUnion(slot, arms, type.by !== undefined, at, present)
  }

  protected arm(
    slot: Slot,
    arm: Member,
    id: string,
    at: string,
    present: string | undefined,
    chosen: ((arm: Member) => string | undefined) | undefined,
  ): ArmCode[] {
    const ownWhen = arm.when && !this.isFixedLayout ? parenthesise(condition(arm.when, this.scope())) : undefined
    const declared = all(present, ownWhen)
    const own = all(ownWhen, this.room(slot, arm, at))
    const when = all(present, own, chosen?.(arm))
    if (arm.type.kind === 'group') return this.groupArm(slot, arm, id, at, when, declared)
    if (arm.reserved) return []
    const name = identifier(arm.name)
    const armId = id === '' ? name : `${id}_${name}`
    // Reads at the union's start need no check unless the start itself depends on the content.
    if (arm.type.kind === 'bits' && arm.dims.length === 0) {
      const bits = this.bitAccessors(slot, arm, armId, at, declared)
      // A view whose constant bits are others is not what stands there.
      const fits = chosen === undefined && bits.matches !== '' ? bits.matches : undefined
      const code: ValueCode = { type: bits.type, get: bits.get, set: (value) => [...bits.constants, ...bits.set(value)] }
      return [{ name, member: arm, when: all(when, fits), own: all(own, fits), code }]
    }
    return [{ name, member: arm, when, own, code: this.value(slot, arm, armId, at, declared) }]
  }

  /** Where the content decides how much room there is: an arm that does not fit is not what stands there. */
  protected room(slot: Slot, arm: Member, at: string): string | undefined {
    // A condition that the negotiation or the program decides is asked beside; one over the content leaves open how much there is.
    const { when, ...there } = arm
    const least = this.needs.least(when !== undefined && dependence([when]) === 'context' ? there : arm)
    if (least === 0 || (!this.isChecked(slot) && slot.length !== 'content' && slot.length !== 'open') || this.struct.role === 'config')
      return undefined
    const size = this.memberHasRoom(slot) ? this.size(slot) : String(least)
    return `${this.imports.runtime('available')}(this, ${at}, ${size}) >= ${least}`
  }

  /** True when the union has an area or takes what is left: a length that does not itself ask which arm there is. */
  protected memberHasRoom(slot: Slot): boolean {
    return slot.length === 'open' || slot.member.area !== undefined
  }

  /** An arm of several members: each has its place behind the one before. */
  protected groupArm(slot: Slot, arm: Member, id: string, at: string, when: string | undefined, declared: string | undefined): ArmCode[] {
    let offset = 0
    return (arm.type as Extract<Member['type'], { kind: 'group' }>).members.flatMap((inner) => {
      const place = offset === 0 ? at : `${at} + ${offset}`
      offset += inner.size ?? 0
      if (inner.reserved) return []
      const name = identifier(inner.name)
      const innerId = id === '' ? name : `${id}_${name}`
      return [{ name, member: inner, when, own: undefined, code: this.value(slot, inner, innerId, place, declared) }]
    })
  }

  protected namedUnion(slot: Slot, arms: ArmCode[], decided: boolean, at: string, present: string | undefined): void {
    const { id, member } = slot
    const out = this.out
    if (!decided) {
      const type = `{ ${arms.map((arm) => `${arm.name}?: ${arm.code.type} | undefined`).join('; ')} }`
      const entries = arms.map((arm) =>
        arm.own === undefined ? `${arm.name}: ${arm.code.get}` : `...(${arm.own} ? { ${arm.name}: ${arm.code.get} } : {})`,
      )
      out.value.push({ name: id, type, optional: present !== undefined, doc: this.doc(member) })
      out.get.push({ name: id, code: `{ ${entries.join(', ')} }`, when: present })
      for (const arm of arms) out.set.push(...guarded(`value.${id}?.${arm.name} !== undefined`, arm.code.set(`value.${id}.${arm.name}`)))
      return
    }
    const variants = arms.map((arm) => `{ arm: ${quote(arm.name)}; ${arm.name}: ${arm.code.type} }`)
    const type = [...variants, '{ arm: undefined; bytes: Uint8Array }'].join(' | ')
    out.value.push({ name: id, type, optional: present !== undefined, doc: this.doc(member) })
    const bytes = `${this.imports.runtime('bytesAt')}(this, ${at}, ${this.size(slot)})`
    out.methods.push({
      name: `$${id}`,
      parameters: [],
      type: `${this.name}Value[${quote(id)}] & {}`,
      statements: [
        ...arms.map((arm) => `if (${unparenthesise(arm.when ?? 'true')}) return { arm: ${quote(arm.name)}, ${arm.name}: ${arm.code.get} }`),
        `return { arm: undefined, bytes: ${bytes}.slice() }`,
      ],
      doc: docs(`The arm of \`${id}\` that is selected, as a plain value.`),
    })
    out.get.push({ name: id, code: `this.$${id}()`, when: present })
    const putBytes = this.imports.runtime('putBytes')
    const lines = arms.flatMap((arm) => guarded(`value.${id}.arm === ${quote(arm.name)}`, arm.code.set(`value.${id}.${arm.name}`)))
    const unknown = `if (value.${id}.arm === undefined) ${putBytes}(this, ${at}, value.${id}.bytes.length, value.${id}.bytes, ${this.qualified(id)})`
    out.set.push(`if (value.${id} !== undefined) {`, ...lines.map((line) => `  ${line}`), `  ${unknown}`, `}`)
    const checkArm = this.imports.runtime('checkArm')
    out.last.push(`if (value.${id} !== undefined) ${checkArm}(value.${id}.arm, this.$${id}().arm, ${this.qualified(id)})`)
  }
}
