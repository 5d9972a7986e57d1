/** Accessors of single members: integers, bits, bytes and nested structs. */

import type { BitField, Expression, IntegerType, Member, Part, Struct } from '../../model.ts'
import { identifier } from '../../names.ts'
import { isBigint } from '../../values.ts'
import { docs, numberCode, propertyName, quote } from '../code.ts'
import { conditionWords } from '../wording.ts'
import { condition, fieldCode, numeric, parenthesise } from './expression.ts'
import { usesReadable } from './needs.ts'
import { type Accessor, guarded, type ValueCode } from './output.ts'
import { Places } from './places.ts'
import type { Slot } from './slots.ts'
import { partSuffix } from './subject.ts'

export class Scalars extends Places {
  protected accessor(name: string, type: string, get: string[], set: string[] | undefined, member: Member, present: string | undefined): void {
    const missing = present === undefined ? [] : [`if (!(${present})) return undefined`]
    const refuse =
      present === undefined
        ? []
        : [`if (!(${present})) ${this.imports.runtime('absent')}(${this.qualified(name)}, ${quote(this.conditionText(member))})`]
    const accessor: Accessor = { name, type: present === undefined ? type : `${type} | undefined`, get: [...missing, ...get], doc: this.doc(member) }
    if (set) accessor.set = [...refuse, ...set]
    this.out.accessors.push(accessor)
  }

  protected read(integer: IntegerType, at: string, big: boolean, checked: boolean): string {
    const little = integer.endian !== 'be'
    if (checked) {
      const name = integer.bytes === 8 ? (big ? 'getBig64' : 'get64') : `get${integer.bytes * 8}`
      return `${this.imports.runtime(name)}(this, ${at}${integer.bytes === 1 ? '' : `, ${little}`})`
    }
    if (integer.bytes === 1) return `this.$view.getUint8(${at})`
    if (integer.bytes === 8)
      return big ? `this.$view.getBigUint64(${at}, ${little})` : `${this.imports.runtime('getNumber64')}(this.$view, ${at}, ${little})`
    return `this.$view.getUint${integer.bytes * 8}(${at}, ${little})`
  }

  protected write(integer: IntegerType, at: string, value: string, big: boolean, checked: boolean, name: string): string {
    const place = checked ? `${this.imports.runtime('room')}(this, ${at}, ${integer.bytes}, ${name})` : at
    const setter = this.imports.runtime(integer.bytes === 8 && big ? 'setBig64' : `set${integer.bytes * 8}`)
    // The setter knows the class, and puts its name in front when it must.
    const member = name.replace(`${this.name}.`, '')
    return `${setter}(this, ${place}, ${value}${integer.bytes === 1 ? '' : `, ${integer.endian !== 'be'}`}, ${member})`
  }

  protected integer(slot: Slot, member: Member, id: string, at: string, present: string | undefined): ValueCode {
    const type = isBigint(member) ? 'bigint' : 'number'
    const integer = member.type as IntegerType
    const read = this.read(integer, at, type === 'bigint', this.isChecked(slot))
    const write = this.write(integer, at, 'value', type === 'bigint', this.isChecked(slot), this.qualified(id))
    this.accessor(id, type, [`return ${read}`], [write], member, present)
    return { type, get: `this.${id}`, set: (value) => [`this.${id} = ${value}`] }
  }

  protected bitAccessors(slot: Slot, member: Member, id: string, at: string, present: string | undefined) {
    const { container, fields } = member.type as Extract<Member['type'], { kind: 'bits' }>
    const big = container.bytes === 8
    const checked = this.isChecked(slot)
    const read = this.read(container, at, big, checked)
    const numberName = big ? 'bigint' : 'number'
    if (id !== '')
      this.accessor(id, numberName, [`return ${read}`], [this.write(container, at, 'value', big, checked, this.qualified(id))], member, present)
    const take = this.imports.runtime(big ? 'bigintBits' : 'numberBits')
    const put = this.imports.runtime(big ? 'putBigintBits' : 'putNumberBits')
    const named = fields
      .filter((field) => !field.reserved && (field.name !== '' || field.const !== undefined))
      .map((field) => {
        const name = identifier(field.name)
        const accessor = id === '' ? name : `${id}_${name}`
        const label = this.qualified(accessor)
        const when = this.bitCondition(field.when, present)
        const doc = docs(field.doc, field.when && `Only ${conditionWords(field.when)}.`)
        const replaced = (value: string): string => `${put}(${read}, ${field.bit}, ${field.bits}, ${value}, ${label})`
        if (name !== '')
          this.accessor(
            accessor,
            'number',
            [`return ${take}(${read}, ${field.bit}, ${field.bits})`],
            [`const bits = ${replaced('value')}`, this.write(container, at, 'bits', big, checked, label)],
            bitMember(member, field),
            when,
          )
        const assign = field.const === undefined ? '' : this.write(container, at, replaced(numberCode(Number(field.const))), big, checked, label)
        return { name, accessor, doc, when, bit: field.bit, bits: field.bits, constant: field.const, assign }
      })
    const visible = named.filter((field) => field.name !== '')
    return {
      fields: visible,
      type: `{ ${visible.map((field) => `${propertyName(field.name)}${field.when === present ? '' : '?'}: number`).join('; ')} }`,
      get: `{ ${visible.map((field) => bitValue(field, present)).join(', ')} }`,
      matches: named
        .filter((field) => field.constant !== undefined)
        .map((field) => `${take}(${read}, ${field.bit}, ${field.bits}) === ${numberCode(Number(field.constant))}`)
        .join(' && '),
      constants: named.flatMap((field) => (field.constant === undefined ? [] : guarded(present, [field.assign]))),
      set: (value: string) =>
        visible.flatMap((field) =>
          field.constant === undefined ? [`if (${value}.${field.name} !== undefined) this.${field.accessor} = ${value}.${field.name}`] : [],
        ),
    }
  }

  /** The condition of a bit-field, that of its container included; in config space and registers it says only what the bits mean. */
  protected bitCondition(when: Expression | undefined, present: string | undefined): string | undefined {
    if (when === undefined || this.isFixedLayout) return present
    const own = condition(when, this.scope())
    return present === undefined ? own : `${parenthesise(present)} && ${parenthesise(own)}`
  }

  protected bytes(slot: Slot, member: Member, id: string, at: string, present: string | undefined): ValueCode {
    const length = slot.length === 'open' && slot.member === member ? this.size(slot) : this.lengthOfArm(slot, member, id)
    const bytesAt = this.imports.runtime('bytesAt')
    const putBytes = this.imports.runtime('putBytes')
    const get = [`return ${bytesAt}(this, ${at}, ${length})`]
    const set = [`${putBytes}(this, ${at}, ${length}, value, ${this.qualified(id)})`]
    this.accessor(id, 'Uint8Array', get, set, member, present)
    return { type: 'Uint8Array', get: `this.${id}${present === undefined ? '' : '!'}.slice()`, set: (value) => [`this.${id} = ${value}`] }
  }

  /** Length of a slot's member, or of an arm inside it: an open arm takes the whole area. */
  protected lengthOfArm(slot: Slot, member: Member, id: string): string {
    if (slot.member !== member && this.needs.isOpenMember(member)) return this.size(slot)
    return this.memberSize(member, id, this.scope())
  }

  protected nested(slot: Slot, member: Member, id: string, at: string, present: string | undefined): ValueCode {
    const reference = member.type as { chapter: string; name: string }
    const struct = this.needs.struct(reference)
    const part = this.needs.partOf(reference, member.part)
    const suffix = partSuffix(part)
    if (struct.role === 'foreign') return this.bytes(slot, member, id, at, present)
    const type = this.imports.class(reference, suffix)
    const valueType = this.imports.class(reference, `${suffix}Value`, true)
    const given = this.givenFor(member, struct, part)
    this.out.properties.push({ name: `#${id}`, type: `${type} | undefined` })
    const create = `(this.#${id} ??= new ${type}(${this.constructorArguments(struct, part, id, given)}))`
    const length = this.nestedLength(slot, member, struct, part, id, at)
    const get = given
      ? [`const nested = ${create}`, `nested.$given = ${given}`, `return nested.$inside(this, ${at}, ${length})`]
      : [`return ${create}.$inside(this, ${at}, ${length})`]
    this.accessor(id, type, get, undefined, member, present)
    const mark = present === undefined ? '' : '!'
    return { type: valueType, get: `this.${id}${mark}.$get()`, set: (value) => this.setNested(id, value, present, member) }
  }

  protected setNested(id: string, value: string, present: string | undefined, member: Member): string[] {
    const refuse =
      present === undefined
        ? []
        : [`if (!(${present})) ${this.imports.runtime('absent')}(${this.qualified(id)}, ${quote(this.conditionText(member))})`]
    return [
      ...refuse,
      `${this.imports.runtime('attached')}(this, this.${id}${present === undefined ? '' : '!'}, ${this.qualified(id)}).$set(${value})`,
    ]
  }

  protected nestedLength(slot: Slot, member: Member, struct: Struct, part: Part | undefined, id: string, at: string): string {
    if (member.area) return this.memberSize(member, id, this.scope())
    if (!this.needs.isVariable(struct, part)) return this.elementSize(member, id, this.scope())
    if (slot.length === 'open' || slot.member.area) return this.size(slot)
    if (this.needs.mayBeOpen(slot.member) && slot !== this.slots.at(-1)) return this.left(slot)
    return at === 'this.$offset' ? 'this.$length' : `this.$offset + this.$length - (${at})`
  }

  protected constructorArguments(struct: Struct, part: Part | undefined, id: string, given: string | undefined): string {
    const layout = this.needs.hasContext(struct, part) ? [`this.$layout.$layout_${id}`] : []
    return [...layout, ...(given ? [given] : [])].join(', ')
  }

  /** What a nested struct needs from outside, as an object. */
  protected givenFor(member: Member, struct: Struct, part: Part | undefined): string | undefined {
    const bindings = typeof member.with === 'object' ? member.with : {}
    const own = struct.given.map(({ name, struct: type }) => {
      const binding = bindings[name]
      const text = binding === undefined || binding === 'caller' ? `this.$given.${identifier(name)}` : this.binding(binding, type !== undefined)
      return `${identifier(name)}: ${text}`
    })
    if (part === 'writable' && usesReadable(struct)) own.push('readable: this.$given.readable')
    return own.length === 0 ? undefined : `{ ${own.join(', ')} }`
  }

  protected binding(expression: Expression, isStruct: boolean): string {
    const { tree } = expression
    if (!isStruct || tree.op !== 'field') return numeric(expression, this.scope())
    if (tree.from === 'own') return fieldCode(this.needs, this.needs.members(this.struct, this.part), 'this', tree.path)
    if (tree.from === 'readable') return fieldCode(this.needs, this.needs.members(this.struct, 'readable'), 'this.$given.readable', tree.path)
    const [name, ...path] = tree.path as [string, ...string[]]
    const reference = this.struct.given.find((given) => given.name === name)?.struct
    const base = `this.$given.${identifier(name)}`
    return path.length === 0 || !reference ? base : fieldCode(this.needs, this.needs.struct(reference).members, base, path)
  }
}

/** A bit-field as a member, for its documentation and its errors. */
function bitMember(container: Member, field: BitField): Member {
  const { when: _, doc: __, ...rest } = container
  const when = field.when ?? container.when
  return { ...rest, ...(field.doc ? { doc: field.doc } : {}), ...(when ? { when } : {}) }
}

/** An entry of the value of a container; bits whose condition does not hold are missing. */
function bitValue(field: { name: string; accessor: string; when: string | undefined }, present: string | undefined): string {
  const entry = `${propertyName(field.name)}: this.${field.accessor}${field.when === undefined ? '' : '!'}`
  return field.when === present ? entry : `...(${field.when} ? { ${entry} } : {})`
}
