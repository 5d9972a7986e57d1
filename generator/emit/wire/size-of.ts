/** `sizeOf`: how many bytes a plain value takes. */

import { nodes } from '../../evaluate.ts'
import type { Expression, Member } from '../../model.ts'
import { identifier } from '../../names.ts'
import { isBytes } from '../../values.ts'
import { quote } from '../code.ts'
import { condition, type ExpressionScope, lengthCode, numeric, parenthesise } from './expression.ts'
import { dependence } from './needs.ts'
import { partSuffix } from './subject.ts'
import { Unions } from './unions.ts'

export class SizeOf extends Unions {
  protected sizeOfContext(): string {
    return this.hasLayout ? ', struct.$layout' : ''
  }

  /** The length of a value: the fixed part, and what each variable member brings. */
  protected sizeOfCode(): string {
    const { length } = this.struct
    if (length && isOfValue(length)) return lengthCode(length, { ...this.scope('layout.$context'), own: 'value', plain: true })
    const certain = this.certainSlots()
    const least = this.leastOfVariable()
    const terms: string[] = [this.hasLayout ? `layout.$minimum${least === 0 ? '' : ` - ${least}`}` : String(this.certainSize())]
    for (const slot of this.slots) {
      if (certain.has(slot)) continue
      const isVariable = slot.length === 'open' || slot.length === 'content'
      const term = isVariable
        ? this.sizeOfMember(slot.member, slot.id === '' ? 'value' : `value.${slot.id}`, slot.id)
        : this.memberSize(slot.member, slot.id, this.scope('layout.$context'))
      const plain: ExpressionScope = { ...this.scope('layout.$context'), own: 'value', plain: true }
      const guard = slot.whens
        .filter(isOfValue)
        .map((part) => parenthesise(condition(part, plain)))
        .join(' && ')
      // What else decides is not known here: a member that is not given is taken to be absent.
      const isGiven = slot.id !== '' && !slot.member.reserved && !slot.whens.every(isOfValue) ? `value.${slot.id} !== undefined` : ''
      const present = [guard, isGiven].filter((text) => text !== '').join(' && ')
      terms.push(present === '' ? term : `(${present} ? ${term} : 0)`)
    }
    return terms.filter((term) => term !== '0').join(' + ') || '0'
  }

  protected sizeOfMember(member: Member, value: string, id: string): string {
    const { type } = member
    const scope: ExpressionScope = { ...this.scope('layout.$context'), own: 'this' }
    const whole = { ...scope, own: 'value', plain: true }
    if (member.area && !(member.area.tree.op === 'if' && !member.area.tree.otherwise)) return parenthesise(lengthCode(member.area, whole))
    if (member.reserved) return this.memberSize(member, id, whole)
    if (isBytes(member) && (type.kind !== 'integer' || member.dims.length === 1)) return `(${value}?.length ?? 0)`
    if (type.kind === 'union') return this.sizeOfUnion(member, value, id)
    const struct = type.kind === 'struct' ? this.needs.struct(type) : undefined
    const part = type.kind === 'struct' ? this.needs.partOf(type, member.part) : undefined
    if (member.dims.length === 0) {
      if (struct && struct.role !== 'foreign' && this.needs.isVariable(struct, part)) {
        const class_ = this.imports.class(type as never, partSuffix(part))
        const layout = this.needs.hasContext(struct, part) ? `, layout.$layout_${id}` : ''
        return `${class_}.sizeOf(${value} ?? {}${layout})`
      }
      return member.when !== undefined && !isOfValue(member.when)
        ? `(${value} === undefined ? 0 : ${this.elementSize(member, id, scope)})`
        : this.elementSize(member, id, scope)
    }
    if (struct?.head)
      return `(${value} ?? []).reduce((sum, element) => sum + ${this.imports.class(type as never, '')}.encodeElement(element).length, 0)`
    if (struct && this.needs.isVariable(struct, part) && !member.stride) {
      const layout = this.needs.hasContext(struct, part) ? `, layout.$layout_${id}` : ''
      return `(${value} ?? []).reduce((sum, element) => sum + ${this.imports.class(type as never, partSuffix(part))}.sizeOf(element${layout}), 0)`
    }
    const inner = member.dims.slice(1).map((dim, position) => (dim.count === null ? '0' : this.dim(member, position + 1, dim.length, scope)))
    if (inner.includes('0')) {
      const flat = `(${value} ?? []).flat(${member.dims.length - (isBytes(member) ? 2 : 1)})`
      return isBytes(member)
        ? `${flat}.reduce((sum, row) => sum + row.length, 0)`
        : this.product([`${flat}.length`, this.elementSize(member, id, scope)])
    }
    const stride =
      member.stride && dependence([member.stride]) === 'content'
        ? isOfValue(member.stride)
          ? `(value.${fieldOf(member.stride)} ?? 0)`
          : parenthesise(numeric(member.stride, { ...scope, given: 'given' }))
        : this.elementSize(member, id, scope)
    return `(${value}?.length ?? 0) * ${this.product([...inner, stride])}`
  }

  protected sizeOfUnion(member: Member, value: string, id: string): string {
    const { arms, by } = member.type as Extract<Member['type'], { kind: 'union' }>
    const size = (arm: Member): string => {
      const name = identifier(arm.name)
      const armValue = id === '' ? `value.${name}` : `${value}.${name}`
      return this.needs.isVariableMember(arm)
        ? this.sizeOfMember({ ...arm }, armValue, id === '' ? name : `${id}_${name}`)
        : this.armSize(arm, id, this.scope('layout.$context'))
    }
    if (id !== '' && by) {
      const cases = arms.map((arm) => `${value}?.arm === ${quote(identifier(arm.name))} ? ${size(arm)} : `)
      return `(${cases.join('')}(${value}?.bytes.length ?? 0))`
    }
    const given = (arm: Member): string => (id === '' ? `value.${identifier(arm.name)}` : `${value}?.${identifier(arm.name)}`)
    return `Math.max(0, ${arms
      .filter((arm) => arm.name !== '' && !arm.reserved)
      .map((arm) => `${given(arm)} === undefined ? 0 : ${size(arm)}`)
      .join(', ')})`
  }
}

function fieldOf(expression: Expression): string {
  return expression.tree.op === 'field' ? expression.tree.path.map(identifier).join('.') : expression.text
}

/** True for an expression whose fields all stand in the value itself, or in the context. */
function isOfValue(expression: Expression): boolean {
  return [...nodes(expression.tree)].every((node) => node.op !== 'field' || node.from === 'own' || node.from === 'config')
}
