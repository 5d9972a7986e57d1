/** Accessors of arrays. */

import type { IntegerType, Member, Part, Struct } from '../../model.ts'
import { integers } from '../../resolve/layouts.ts'
import { isBigint, isBytes } from '../../values.ts'
import { docs } from '../code.ts'
import { condition, parenthesise } from './expression.ts'
import type { ValueCode } from './output.ts'
import { Scalars } from './scalars.ts'
import type { Slot } from './slots.ts'
import { partSuffix } from './subject.ts'

export class Arrays extends Scalars {
  /** Accessors of a member at a place, and the code of its value. */
  protected value(slot: Slot, member: Member, id: string, at: string, present: string | undefined): ValueCode {
    const foreign = member.type.kind === 'struct' && member.dims.length > 0 && this.needs.struct(member.type).role === 'foreign'
    if (foreign) return this.value(slot, asBytes(member), id, at, present)
    if (isBytes(member) && (member.type.kind !== 'integer' || member.dims.length === 1)) return this.bytes(slot, member, id, at, present)
    if (member.dims.length === 0)
      return member.type.kind === 'struct' ? this.nested(slot, member, id, at, present) : this.integer(slot, member, id, at, present)
    if (member.type.kind === 'struct') return this.structs(slot, member, id, at, present)
    return isBytes(member) && member.dims.length === 2 ? this.rows(slot, member, id, at, present) : this.integers(slot, member, id, at, present)
  }

  /** Elements of the outermost dimension that the struct claims to have. */
  protected claimed(slot: Slot, member: Member, id: string, stride: string): string {
    const [first] = member.dims
    if (first?.length !== undefined || member.framed)
      return member.area && first?.length === undefined
        ? `Math.floor(${this.memberSize(member, id, this.scope())} / ${stride})`
        : this.dim(member, 0, first?.length, this.scope())
    const size = member.area ? this.memberSize(member, id, this.scope()) : this.size(slot)
    return stride === '1' ? size : `Math.floor(${size} / ${stride})`
  }

  protected lengthAccessor(slot: Slot, member: Member, id: string, at: string, stride: string, present: string | undefined): string {
    const claimed = this.claimed(slot, member, id, stride)
    const count = `${this.imports.runtime('elementCount')}(this, ${at}, ${claimed}, ${stride})`
    this.out.accessors.push({
      name: `${id}_length`,
      type: 'number',
      get: [present === undefined ? `return ${count}` : `return ${present} ? ${count} : 0`],
      doc: docs(`Elements of \`${id}\` that are there.`),
    })
    return claimed
  }

  protected rows(slot: Slot, member: Member, id: string, at: string, present: string | undefined): ValueCode {
    const row = this.dim(member, 1, member.dims[1]?.length, this.scope())
    const claimed = this.lengthAccessor(slot, member, id, at, row, present)
    const place = this.elementPlace(id, at, claimed, row, present)
    const bytesAt = this.imports.runtime('bytesAt')
    const putBytes = this.imports.runtime('putBytes')
    this.out.methods.push({
      name: id,
      parameters: [index],
      type: 'Uint8Array',
      statements: [`return ${bytesAt}(this, ${place}, ${row})`],
      doc: this.doc(member),
    })
    this.out.methods.push({
      name: `set_${id}`,
      parameters: [index, { name: 'value', type: 'Uint8Array' }],
      type: 'void',
      statements: [`${putBytes}(this, ${place}, ${row}, value, ${this.qualified(id)})`],
      doc: {},
    })
    return this.arrayCode('Uint8Array[]', id, claimed, `this.${id}(i).slice()`, `this.set_${id}(i, element)`)
  }

  /** Where element `i` starts; an index that the struct does not claim to have is a wrong call. */
  protected elementPlace(id: string, at: string, claimed: string, stride: string, present: string | undefined): string {
    const count = present === undefined ? claimed : `${parenthesise(present)} ? ${claimed} : 0`
    return `${at} + ${this.imports.runtime('checkIndex')}(i, ${count}, ${this.qualified(id)}) * ${parenthesise(stride)}`
  }

  /** What `encode` of an element needs besides the value. */
  protected encodeContext(struct: Struct, part: Part | undefined, given: string | undefined): string {
    const parts = [...(this.needs.hasContext(struct, part) ? ['...this.$layout.$context'] : []), ...(given ? [`given: ${given}`] : [])]
    return parts.length === 0 ? '' : `, { ${parts.join(', ')} }`
  }

  protected arrayCode(type: string, id: string, claimed: string, read: string, write: string): ValueCode {
    const readArray = this.imports.runtime('readArray')
    const putArray = this.imports.runtime('putArray')
    return {
      type,
      get: `${readArray}(this.${id}_length, (i) => ${read})`,
      set: (value) => [`${putArray}(${value}, ${claimed}, (element, i) => ${write}, ${this.qualified(id)})`],
    }
  }

  protected integers(slot: Slot, member: Member, id: string, at: string, present: string | undefined): ValueCode {
    const integer = (member.type.kind === 'bits' ? member.type.container : member.type) as IntegerType
    const big = isBigint(member)
    const type = big ? 'bigint' : 'number'
    const name = this.qualified(id)
    if (member.dims.length > 1) return this.manyDimensions(slot, member, id, at, integer, big, present)
    const stride = this.elementSize(member, id, this.scope())
    const claimed = this.lengthAccessor(slot, member, id, at, stride, present)
    const place = this.elementPlace(id, at, claimed, stride, present)
    this.out.methods.push({
      name: id,
      parameters: [index],
      type,
      statements: [`return ${this.read(integer, place, big, true)}`],
      doc: this.doc(member),
    })
    this.out.methods.push({
      name: `set_${id}`,
      parameters: [index, { name: 'value', type }],
      type: 'void',
      statements: [this.write(integer, place, 'value', big, true, name)],
      doc: {},
    })
    return this.arrayCode(`${type}[]`, id, claimed, `this.${id}(i)`, `this.set_${id}(i, element)`)
  }

  protected manyDimensions(
    slot: Slot,
    member: Member,
    id: string,
    at: string,
    integer: IntegerType,
    big: boolean,
    present: string | undefined,
  ): ValueCode {
    const type = `${big ? 'bigint' : 'number'}${'[]'.repeat(member.dims.length)}`
    const inner = member.dims.slice(1).map((dim, position) => this.dim(member, position + 1, dim.length, this.scope()))
    const stride = this.product([...inner, String(integer.bytes)])
    const dims = [this.claimed(slot, member, id, parenthesise(stride)), ...inner]
    const place = `${at} + i * ${integer.bytes}`
    const get = `${this.imports.runtime('readRows')}(this, ${at}, [${dims.join(', ')}], ${integer.bytes}, (i) => ${this.read(integer, place, big, true)}) as ${type}`
    const write = this.write(integer, place, `element as ${big ? 'bigint' : 'number'}`, big, true, this.qualified(id))
    const set = [`${this.imports.runtime('padArray')}(value, [${dims.join(', ')}], ${this.qualified(id)}).forEach((element, i) => ${write})`]
    this.accessor(id, type, [`return ${get}`], set, member, present)
    return { type, get: `this.${id}${present === undefined ? '' : '!'}`, set: (value) => [`this.${id} = ${value}`] }
  }

  protected structs(slot: Slot, member: Member, id: string, at: string, present: string | undefined): ValueCode {
    const reference = member.type as { chapter: string; name: string }
    const struct = this.needs.struct(reference)
    const part = this.needs.partOf(reference, member.part)
    const type = this.imports.class(reference, partSuffix(part))
    if (member.dims.length > 1) throw new Error(`${this.struct.name}.${member.name}: arrays of arrays of structs are not supported`)
    if (struct.head) return this.heads(slot, member, id, at, type, struct, present)
    const valueType = `${this.imports.class(reference, `${partSuffix(part)}Value`, true)}[]`
    const given = this.givenFor(member, struct, part)
    const make = `new ${type}(${this.constructorArguments(struct, part, id, given)})`
    if (this.needs.isVariable(struct, part) && !member.stride)
      return this.variableStructs(slot, member, id, at, type, valueType, make, struct, part, present)
    const stride = this.elementSize(member, id, this.scope())
    const claimed = this.lengthAccessor(slot, member, id, at, stride, present)
    this.out.properties.push({ name: `#${id}`, type: `${type} | undefined` })
    const cursor = `(this.#${id} ??= ${make})`
    const place = this.elementPlace(id, at, claimed, stride, present)
    const move = `$inside(this, ${place}, ${stride})`
    const statements = given ? [`const nested = ${cursor}`, `nested.$given = ${given}`, `return nested.${move}`] : [`return ${cursor}.${move}`]
    this.out.methods.push({ name: id, parameters: [index], type, statements, doc: this.doc(member) })
    if (member.stride) this.stridedSetter(id, type, place, stride, this.encodeContext(struct, part, given))
    return this.arrayCode(
      valueType,
      id,
      claimed,
      `this.${id}(i).$get()`,
      member.stride ? `this.set_${id}(i, element)` : `${this.imports.runtime('attached')}(this, this.${id}(i), ${this.qualified(id)}).$set(element)`,
    )
  }

  /** The other side chose the distance between elements; where it is shorter than an element, the rest of the element has no place. */
  protected stridedSetter(id: string, type: string, place: string, stride: string, context: string): void {
    const putBytes = this.imports.runtime('putBytes')
    this.out.methods.push({
      name: `set_${id}`,
      parameters: [index, { name: 'value', type: `${type}Value` }],
      type: 'void',
      statements: [
        `const bytes = ${type}.encode(value${context}).subarray(0, ${stride})`,
        `${putBytes}(this, ${place}, bytes.length, bytes, ${this.qualified(id)})`,
      ],
      doc: {},
    })
  }

  /** Elements of different lengths: a cursor each. */
  protected variableStructs(
    slot: Slot,
    member: Member,
    id: string,
    at: string,
    type: string,
    valueType: string,
    make: string,
    struct: Struct,
    part: Part | undefined,
    present: string | undefined,
  ): ValueCode {
    const count = member.dims[0]?.length === undefined ? 'Infinity' : this.dim(member, 0, member.dims[0].length, this.scope())
    const length =
      slot.length === 'open' ? this.size(slot) : member.area ? this.memberSize(member, id, this.scope()) : `this.$offset + this.$length - (${at})`
    const elements = `${this.imports.runtime('elementsOf')}(this, ${at}, ${length}, ${count}, ${make})`
    this.accessor(id, `${type}[]`, [`return ${elements}.map(({ offset, size }) => ${make}.$inside(this, offset, size))`], undefined, member, present)
    const mark = present === undefined ? '' : '?'
    const putBytes = this.imports.runtime('putBytes')
    const encode = `${type}.encode(element${this.encodeContext(struct, part, this.givenFor(member, struct, part))})`
    return {
      type: valueType,
      get: `this.${id}${mark}.map((element) => element.$get())`,
      set: (value) => [
        `let ${id}_at = ${at}`,
        `${this.imports.runtime('putArray')}(${value}, ${count === 'Infinity' ? `${value}.length` : count}, (element) => {`,
        `  const bytes = ${encode}`,
        `  ${putBytes}(this, ${id}_at, bytes.length, bytes, ${this.qualified(id)})`,
        `  ${id}_at += bytes.length`,
        `}, ${this.qualified(id)})`,
      ],
    }
  }

  protected heads(slot: Slot, member: Member, id: string, at: string, type: string, struct: Struct, present: string | undefined): ValueCode {
    const elementType = this.imports.class({ chapter: struct.chapter, name: struct.name }, 'Element', true)
    const length = slot.length === 'open' ? this.size(slot) : this.memberSize(member, id, this.scope())
    const scope = { ...this.scope(), members: struct.members, own: 'head' }
    const until = member.until ? `, () => ${condition(member.until, scope)}` : ''
    const get = [
      `const head = new ${type}()`,
      `return ${this.imports.runtime('entriesOf')}(this, ${at}, ${length}, head${until}).map(({ offset, size }) => new ${type}().$inside(this, offset, size))`,
    ]
    this.accessor(id, `${type}[]`, get, undefined, member, present)
    const putBytes = this.imports.runtime('putBytes')
    return {
      type: `${elementType}[]`,
      get: `this.${id}${present === undefined ? '' : '!'}.map((element) => element.$element)`,
      set: (value) => [
        `let ${id}_at = ${at}`,
        `for (const element of ${value}) {`,
        `  const bytes = ${type}.encodeElement(element)`,
        `  ${putBytes}(this, ${id}_at, bytes.length, bytes, ${this.qualified(id)})`,
        `  ${id}_at += bytes.length`,
        `}`,
      ],
    }
  }
}

const index = { name: 'i', type: 'number' }

function asBytes(member: Member): Member {
  const size = member.type.kind === 'struct' ? (member.type.size ?? 0) : 0
  const row: Member['dims'][number] = { count: size, length: { text: String(size), tree: { op: 'number', value: size } } }
  return { ...member, type: integers.u8, dims: [...member.dims, row] }
}
