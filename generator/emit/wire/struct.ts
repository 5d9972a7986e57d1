/** One class per struct: accessors at a movable offset, `decode` and `encode`. */
import type { Expression, IntegerType, Member, Model, Part, Struct } from '../../model.ts'
import { className, identifier } from '../../names.ts'
import { findStruct } from '../../facts.ts'
import { integers } from '../../resolve/layouts.ts'
import { isBigint, isBytes } from '../../values.ts'
import { docs, exportType, numberCode, propertyName, quote, type Statement, StructureKind } from '../code.ts'
import { citation, exportedConstants } from './constants.ts'
import { condition, type ExpressionScope, fieldCode, numeric, parenthesise, unparenthesise } from './expression.ts'
import type { Imports } from './imports.ts'
import { memberDoc } from './member-doc.ts'
import { dependence, type Needs } from './needs.ts'
import { hasContextLength, type Slot, slotsOf } from './slots.ts'

interface ValueMember {
  name: string
  type: string
  optional: boolean
  doc: ReturnType<typeof docs>
}

interface Accessor {
  name: string
  type: string
  get: string[]
  set?: string[]
  doc: ReturnType<typeof docs>
}

interface Method {
  name: string
  parameters: { name: string; type: string }[]
  type: string
  statements: string[]
  doc: ReturnType<typeof docs>
}

/** What a class is put together from. */
class Output {
  properties: { name: string; type: string; initializer?: string }[] = []
  privates: { name: string; code: string }[] = []
  accessors: Accessor[] = []
  methods: Method[] = []
  value: ValueMember[] = []
  get: { name: string; code: string; when?: string | undefined }[] = []
  set: string[] = []
}

/** How a value of a slot is read and written. */
interface ValueCode {
  type: string
  get: string
  set(value: string): string[]
}

/** An arm of a union: when it is there, and how its value is read and written. */
interface ArmCode {
  name: string
  member: Member
  when: string | undefined
  code: ValueCode
}

export class StructEmitter {
  readonly #model: Model
  readonly #imports: Imports
  readonly #needs: Needs
  readonly #struct: Struct
  readonly #part: Part | undefined
  readonly #name: string
  readonly #slots: Slot[]
  readonly #hasLayout: boolean
  readonly #variable: boolean
  readonly #given: { name: string; type: string }[]
  readonly #out = new Output()

  constructor(model: Model, imports: Imports, needs: Needs, struct: Struct, part: Part | undefined) {
    this.#model = model
    this.#imports = imports
    this.#needs = needs
    this.#struct = struct
    this.#part = part
    this.#name = className(struct.name) + partSuffix(part)
    this.#slots = slotsOf(needs, struct, part)
    this.#hasLayout = needs.hasContext(struct, part) && struct.role !== 'config'
    this.#variable = needs.isVariable(struct, part)
    this.#given = this.#givenNames()
  }

  statements(): Statement[] {
    this.#imports.runtime('Struct')
    for (const slot of this.#slots) this.#slot(slot)
    return [this.#valueInterface(), ...this.#layoutInterface(), ...this.#givenInterface(), ...this.#elementType(), this.#class()]
  }

  // --- names and scopes -------------------------------------------------------------------------------------------------------------------

  #givenNames(): { name: string; type: string }[] {
    const given = this.#struct.given.map(({ name, struct }) => ({ name: identifier(name), type: struct ? this.#imports.class(struct, this.#partOf(struct), true) : 'number' }))
    if (this.#usesReadable()) given.push({ name: 'readable', type: `${className(this.#struct.name)}Readable` })
    return given
  }

  #partOf(reference: { chapter: string; name: string }): string {
    return findStruct(this.#model, reference)?.twoPart ? partSuffix(this.#part ?? 'readable') : ''
  }

  /** True when the writable part looks at fields of the readable one. */
  #usesReadable(): boolean {
    return this.#part === 'writable' && JSON.stringify(this.#struct.members.filter((member) => member.part === 'writable'), bigintSafe).includes('"from":"readable"')
  }

  #scope(context = 'this.$layout'): ExpressionScope {
    return { needs: this.#needs, imports: this.#imports, struct: this.#struct, members: this.#needs.members(this.#struct, this.#part), context, own: 'this' }
  }

  #qualified(slot: Slot | string): string {
    return quote(`${this.#name}.${typeof slot === 'string' ? slot : slot.id || slot.key}`)
  }

  // --- places -----------------------------------------------------------------------------------------------------------------------------

  /** Where a slot starts, as code. */
  #at(slot: Slot): string {
    switch (slot.start.kind) {
      case 'fixed':
        return slot.start.offset === 0 ? 'this.$offset' : `this.$offset + ${slot.start.offset}`
      case 'layout':
        return `this.$offset + this.$layout.${slot.key}`
      case 'content':
        this.#private(`#${slot.key}_at`, `${this.#at(slot.start.previous)} + ${this.#presentSize(slot.start.previous)}`)
        return `this.#${slot.key}_at`
      case 'end': {
        const rest = this.#slots.slice(this.#slots.indexOf(slot))
        return `this.$offset + this.$length - ${this.#sum(rest.map((other) => this.#presentSize(other)))}`
      }
    }
  }

  #private(name: string, code: string): void {
    if (!this.#out.privates.some((other) => other.name === name)) this.#out.privates.push({ name, code })
  }

  #sum(terms: readonly string[]): string {
    const numbers = terms.filter((term) => /^\d+$/.test(term)).reduce((total, term) => total + Number(term), 0)
    const others = terms.filter((term) => !/^\d+$/.test(term))
    const all = [...others, ...(numbers > 0 || others.length === 0 ? [String(numbers)] : [])]
    return all.length === 1 ? (all[0] as string) : `(${all.join(' + ')})`
  }

  /** True when what is there depends on the content: reads check for the end. */
  #isChecked(slot: Slot): boolean {
    return slot.start.kind === 'content' || slot.start.kind === 'end' || slot.start.kind === undefined
  }

  /** The condition under which the slot is there; undefined: always. */
  #present(slot: Slot): string | undefined {
    if (slot.whens.length === 0) return undefined
    if (slot.start.kind === 'layout' && dependence(slot.whens) === 'context') return `this.$layout.${slot.key} >= 0`
    return slot.whens.map((when) => parenthesise(condition(when, this.#scope()))).join(' && ')
  }

  #presentSize(slot: Slot): string {
    const size = this.#size(slot)
    const present = this.#present(slot)
    return present === undefined ? size : `(${present} ? ${size} : 0)`
  }

  /** Length of a slot in bytes, presence not considered; open slots take what is left. */
  #size(slot: Slot, scope: ExpressionScope = this.#scope()): string {
    if (slot.length === 'open') {
      const rest = this.#slots.slice(this.#slots.indexOf(slot) + 1)
      const behind = rest.length === 0 ? [] : [this.#sum(rest.map((other) => this.#presentSize(other)))]
      const before = this.#at(slot) === 'this.$offset' ? [] : [this.#at(slot).replace(/^this\.\$offset \+ /, '')]
      const content = this.#at(slot).startsWith('this.$offset')
      return content ? `Math.max(0, ${['this.$length', ...before, ...behind].join(' - ')})` : `Math.max(0, this.$offset + this.$length - ${[...[this.#at(slot)], ...behind].join(' - ')})`
    }
    return this.#memberSize(slot.member, slot.id, scope)
  }

  #memberSize(member: Member, id: string, scope: ExpressionScope): string {
    const natural = (): string => this.#product([...member.dims.map((dim, index) => this.#dim(member, index, dim.length, scope)), this.#elementSize(member, id, scope)])
    if (member.area === undefined) return natural()
    const { tree } = member.area
    if (tree.op === 'if' && !tree.otherwise) {
      const whole = numeric(member.area, scope)
      return `(${condition({ text: '', tree: tree.condition }, scope)} ? ${numeric({ text: '', tree: tree.then }, scope) ?? whole} : ${natural()})`
    }
    return constantOr(member.area, numeric(member.area, scope))
  }

  #dim(member: Member, index: number, length: Expression | undefined, scope: ExpressionScope): string {
    const { count } = member.dims[index] as Member['dims'][number]
    if (count !== null) return String(count)
    if (length === undefined) return member.framed ? `${scope.context}.caller.${identifier(member.name)}_length` : '0'
    return parenthesise(numeric(length, scope))
  }

  #product(terms: readonly string[]): string {
    const numbers = terms.filter((term) => /^\d+$/.test(term)).reduce((product, term) => product * Number(term), 1)
    const others = terms.filter((term) => !/^\d+$/.test(term))
    const all = [...others, ...(numbers !== 1 || others.length === 0 ? [String(numbers)] : [])]
    return all.join(' * ')
  }

  /** Bytes of one element. */
  #elementSize(member: Member, id: string, scope: ExpressionScope): string {
    if (member.stride) return parenthesise(numeric(member.stride, scope))
    const { type } = member
    switch (type.kind) {
      case 'integer':
        return String(type.bytes)
      case 'bits':
        return String(type.container.bytes)
      case 'bytes':
      case 'body':
        return '1'
      case 'struct': {
        const struct = this.#needs.struct(type)
        const part = this.#needs.partOf(type, member.part)
        if (this.#needs.isVariable(struct, part)) return scope.context === 'context' ? '0' : member.dims.length > 0 ? '1' : `${optionalSize(member, id)}`
        if (hasContextLength(this.#needs, struct, part)) return scope.context === 'context' ? `${id}_layout.size` : `this.$layout.${id}_layout.size`
        return String(partSize(this.#needs, struct, part))
      }
      case 'union': {
        const sizes = type.arms.map((arm) => this.#armSize(arm, id, scope))
        // An arm whose length stands in its content has one only while it is the chosen one.
        if (type.by && type.arms.some((arm) => this.#needs.isVariableMember(arm))) {
          const chosen = this.#choice(type.by, type.arms)
          return `(${type.arms.map((arm, position) => `${chosen(arm)} ? ${sizes[position]} : `).join('')}0)`
        }
        if (sizes.every((size) => /^\d+$/.test(size))) return String(Math.max(0, ...sizes.map(Number)))
        return `Math.max(${sizes.join(', ')})`
      }
      case 'group':
        return this.#sum(type.members.map((inner) => this.#memberSize(inner, identifier(inner.name), scope)))
    }
  }

  #armSize(arm: Member, id: string, scope: ExpressionScope): string {
    const armId = id === '' ? identifier(arm.name) : `${id}_${identifier(arm.name)}`
    if (this.#needs.isOpenMember(arm)) return '0'
    const size = this.#memberSize(arm, armId, scope)
    return arm.when && dependence([arm.when]) === 'context' ? `(${condition(arm.when, scope)} ? ${size} : 0)` : size
  }

  // --- slots ------------------------------------------------------------------------------------------------------------------------------

  #slot(slot: Slot): void {
    const { member } = slot
    if (member.reserved) {
      // Still a place: what follows may start behind it.
      if (slot.start.kind === 'content') this.#at(slot)
      return
    }
    const present = this.#present(slot)
    if (member.type.kind === 'union') {
      this.#union(slot, present)
      return
    }
    if (member.type.kind === 'bits' && member.dims.length === 0) {
      this.#bits(slot, present)
      return
    }
    const code = this.#value(slot, member, slot.id, this.#at(slot), present)
    const optional = present !== undefined
    this.#out.value.push({ name: slot.id, type: code.type, optional, doc: this.#doc(member) })
    this.#out.get.push({ name: slot.id, code: code.get, when: present })
    this.#assign(slot, code)
  }

  #assign(slot: Slot, code: ValueCode): void {
    const { member } = slot
    const value = `value.${slot.id}`
    if (member.const !== undefined && member.type.kind === 'integer' && member.dims.length === 0) {
      this.#imports.runtime('checkConstant')
      const constant = numberCode(isBigint(member) ? BigInt(member.const) : Number(member.const))
      const assign = code.set(`checkConstant(${value} ?? ${constant}, ${constant}, ${this.#qualified(slot)})`)
      const present = this.#present(slot)
      this.#out.set.push(...(present === undefined ? assign : [`if (${present}) ${assign.join('; ')}`]))
      return
    }
    this.#out.set.push(...guarded(`${value} !== undefined`, code.set(value)))
  }

  #doc(member: Member): ReturnType<typeof docs> {
    return docs(...memberDoc(this.#model, this.#struct, member))
  }

  /** Accessors of a member at a place, and the code of its value. */
  #value(slot: Slot, member: Member, id: string, at: string, present: string | undefined): ValueCode {
    const foreign = member.type.kind === 'struct' && member.dims.length > 0 && this.#needs.struct(member.type).role === 'foreign'
    if (foreign) return this.#value(slot, asBytes(member), id, at, present)
    if (isBytes(member) && (member.type.kind !== 'integer' || member.dims.length === 1)) return this.#bytes(slot, member, id, at, present)
    if (member.dims.length === 0) return member.type.kind === 'struct' ? this.#nested(slot, member, id, at, present) : this.#integer(slot, member, id, at, present)
    if (member.type.kind === 'struct') return this.#structs(slot, member, id, at, present)
    return isBytes(member) && member.dims.length === 2 ? this.#rows(slot, member, id, at, present) : this.#integers(slot, member, id, at, present)
  }

  #integer(slot: Slot, member: Member, id: string, at: string, present: string | undefined): ValueCode {
    const type = isBigint(member) ? 'bigint' : 'number'
    const integer = member.type as IntegerType
    const read = this.#read(integer, at, type === 'bigint', this.#isChecked(slot))
    const write = this.#write(integer, at, 'value', type === 'bigint', this.#isChecked(slot), this.#qualified(id))
    this.#accessor(id, type, [`return ${read}`], [write], member, present)
    return { type, get: `this.${id}`, set: (value) => [`this.${id} = ${value}`] }
  }

  /** The conditions of a member, those of the groups around it included, in the words of the description. */
  #conditionText(member: Member): string {
    const slot = this.#slots.find((candidate) => candidate.member === member)
    return (slot?.whens ?? (member.when ? [member.when] : [])).map((when) => when.text).join(' and ') || 'another arm'
  }

  #accessor(name: string, type: string, get: string[], set: string[] | undefined, member: Member, present: string | undefined): void {
    const missing = present === undefined ? [] : [`if (!(${present})) return undefined`]
    const refuse = present === undefined ? [] : [`if (!(${present})) ${this.#imports.runtime('absent')}(${this.#qualified(name)}, ${quote(this.#conditionText(member))})`]
    const accessor: Accessor = { name, type: present === undefined ? type : `${type} | undefined`, get: [...missing, ...get], doc: this.#doc(member) }
    if (set) accessor.set = [...refuse, ...set]
    this.#out.accessors.push({ ...accessor, type })
    if (present !== undefined) (this.#out.accessors.at(-1) as Accessor & { optional?: boolean }).type = `${type} | undefined`
  }

  #read(integer: IntegerType, at: string, big: boolean, checked: boolean): string {
    const little = integer.endian !== 'be'
    if (checked) {
      const name = integer.bytes === 8 ? (big ? 'getBig64' : 'get64') : `get${integer.bytes * 8}`
      return `${this.#imports.runtime(name)}(this, ${at}${integer.bytes === 1 ? '' : `, ${little}`})`
    }
    if (integer.bytes === 1) return `this.$view.getUint8(${at})`
    if (integer.bytes === 8) return big ? `this.$view.getBigUint64(${at}, ${little})` : `${this.#imports.runtime('getNumber64')}(this.$view, ${at}, ${little})`
    return `this.$view.getUint${integer.bytes * 8}(${at}, ${little})`
  }

  #write(integer: IntegerType, at: string, value: string, big: boolean, checked: boolean, name: string): string {
    const place = checked ? `${this.#imports.runtime('room')}(this, ${at}, ${integer.bytes}, ${name})` : at
    const setter = this.#imports.runtime(integer.bytes === 8 && big ? 'setBig64' : `set${integer.bytes * 8}`)
    return `${setter}(this.$view, ${place}, ${value}${integer.bytes === 1 ? '' : `, ${integer.endian !== 'be'}`}, ${name})`
  }

  #bytes(slot: Slot, member: Member, id: string, at: string, present: string | undefined): ValueCode {
    const length = slot.length === 'open' && slot.member === member ? this.#size(slot) : this.#lengthOfArm(slot, member, id)
    const bytesAt = this.#imports.runtime('bytesAt')
    const putBytes = this.#imports.runtime('putBytes')
    const get = [`return ${bytesAt}(this, ${at}, ${length})`]
    const set = [`${putBytes}(this, ${at}, ${length}, value, ${this.#qualified(id)})`]
    this.#accessor(id, 'Uint8Array', get, set, member, present)
    return { type: 'Uint8Array', get: `this.${id}${present === undefined ? '' : '!'}.slice()`, set: (value) => [`this.${id} = ${value}`] }
  }

  /** Length of a slot's member, or of an arm inside it: an open arm takes the whole area. */
  #lengthOfArm(slot: Slot, member: Member, id: string): string {
    if (slot.member !== member && this.#needs.isOpenMember(member)) return this.#size(slot)
    return this.#memberSize(member, id, this.#scope())
  }

  #nested(slot: Slot, member: Member, id: string, at: string, present: string | undefined): ValueCode {
    const reference = member.type as { chapter: string; name: string }
    const struct = this.#needs.struct(reference)
    const part = this.#needs.partOf(reference, member.part)
    const suffix = partSuffix(part)
    if (struct.role === 'foreign') return this.#bytes(slot, member, id, at, present)
    const type = this.#imports.class(reference, suffix)
    const valueType = this.#imports.class(reference, `${suffix}Value`, true)
    const given = this.#givenFor(member, struct, part)
    this.#out.properties.push({ name: `#${id}`, type: `${type} | undefined` })
    const create = `(this.#${id} ??= new ${type}(${this.#constructorArguments(member, struct, part, id, given)}))`
    const length = this.#nestedLength(slot, member, struct, part, id, at)
    const get = given
      ? [`const nested = ${create}`, `nested.$given = ${given}`, `return nested.$inside(this, ${at}, ${length})`]
      : [`return ${create}.$inside(this, ${at}, ${length})`]
    this.#accessor(id, type, get, undefined, member, present)
    const mark = present === undefined ? '' : '!'
    return { type: valueType, get: `this.${id}${mark}.$get()`, set: (value) => this.#setNested(id, value, present, member) }
  }

  #setNested(id: string, value: string, present: string | undefined, member: Member): string[] {
    const refuse = present === undefined ? [] : [`if (!(${present})) ${this.#imports.runtime('absent')}(${this.#qualified(id)}, ${quote(this.#conditionText(member))})`]
    return [...refuse, `this.${id}${present === undefined ? '' : '!'}.$set(${value})`]
  }

  #nestedLength(slot: Slot, member: Member, struct: Struct, part: Part | undefined, id: string, at: string): string {
    if (member.area) return this.#memberSize(member, id, this.#scope())
    if (!this.#needs.isVariable(struct, part)) return this.#elementSize(member, id, this.#scope())
    if (slot.length === 'open') return this.#size(slot)
    return at === 'this.$offset' ? 'this.$length' : `this.$offset + this.$length - (${at})`
  }

  #constructorArguments(member: Member, struct: Struct, part: Part | undefined, id: string, given: string | undefined): string {
    const layout = this.#needs.hasContext(struct, part) ? [`this.$layout.${id}_layout`] : []
    void member
    return [...layout, ...(given ? [given] : [])].join(', ')
  }

  /** What a nested struct needs from outside, as an object. */
  #givenFor(member: Member, struct: Struct, part: Part | undefined): string | undefined {
    const bindings = typeof member.with === 'object' ? member.with : {}
    const own = struct.given.map(({ name, struct: type }) => {
      const binding = bindings[name]
      const text = binding === undefined || binding === 'caller' ? `this.$given.${identifier(name)}` : this.#binding(binding, type !== undefined)
      return `${identifier(name)}: ${text}`
    })
    if (part === 'writable' && new StructEmitter(this.#model, this.#imports, this.#needs, struct, part).#usesReadable()) own.push('readable: this.$given.readable')
    return own.length === 0 ? undefined : `{ ${own.join(', ')} }`
  }

  #binding(expression: Expression, isStruct: boolean): string {
    const { tree } = expression
    if (!isStruct || tree.op !== 'field') return numeric(expression, this.#scope())
    if (tree.from === 'own') return fieldCode(this.#needs, this.#needs.members(this.#struct, this.#part), 'this', tree.path)
    if (tree.from === 'readable') return fieldCode(this.#needs, this.#needs.members(this.#struct, 'readable'), 'this.$given.readable', tree.path)
    const [name, ...path] = tree.path as [string, ...string[]]
    const reference = this.#struct.given.find((given) => given.name === name)?.struct
    const base = `this.$given.${identifier(name)}`
    return path.length === 0 || !reference ? base : fieldCode(this.#needs, this.#needs.struct(reference).members, base, path)
  }

  // --- arrays -----------------------------------------------------------------------------------------------------------------------------

  /** Elements of the outermost dimension that the struct claims to have. */
  #claimed(slot: Slot, member: Member, id: string, stride: string): string {
    const [first] = member.dims
    if (first?.length !== undefined || member.framed) return member.area && first?.length === undefined ? `Math.floor(${this.#memberSize(member, id, this.#scope())} / ${stride})` : this.#dim(member, 0, first?.length, this.#scope())
    const size = member.area ? this.#memberSize(member, id, this.#scope()) : this.#size(slot)
    return stride === '1' ? size : `Math.floor(${size} / ${stride})`
  }

  #lengthAccessor(slot: Slot, member: Member, id: string, at: string, stride: string, present: string | undefined): string {
    const claimed = this.#claimed(slot, member, id, stride)
    const count = `${this.#imports.runtime('elementCount')}(this, ${at}, ${claimed}, ${stride})`
    this.#out.accessors.push({ name: `${id}_length`, type: 'number', get: [present === undefined ? `return ${count}` : `return ${present} ? ${count} : 0`], doc: docs(`Elements of \`${id}\` that are there.`) })
    return claimed
  }

  #rows(slot: Slot, member: Member, id: string, at: string, present: string | undefined): ValueCode {
    const row = this.#dim(member, 1, member.dims[1]?.length, this.#scope())
    const claimed = this.#lengthAccessor(slot, member, id, at, row, present)
    const place = `${at} + i * ${parenthesise(row)}`
    const bytesAt = this.#imports.runtime('bytesAt')
    const putBytes = this.#imports.runtime('putBytes')
    this.#out.methods.push({ name: id, parameters: [index], type: 'Uint8Array', statements: [`return ${bytesAt}(this, ${place}, ${row})`], doc: this.#doc(member) })
    this.#out.methods.push({
      name: `set_${id}`,
      parameters: [index, { name: 'value', type: 'Uint8Array' }],
      type: 'void',
      statements: [`${putBytes}(this, ${place}, ${row}, value, ${this.#qualified(id)})`],
      doc: {},
    })
    return this.#arrayCode('Uint8Array[]', id, claimed, `this.${id}(i).slice()`, `this.set_${id}(i, element)`)
  }

  #arrayCode(type: string, id: string, claimed: string, read: string, write: string): ValueCode {
    const readArray = this.#imports.runtime('readArray')
    const putArray = this.#imports.runtime('putArray')
    return {
      type,
      get: `${readArray}(this.${id}_length, (i) => ${read})`,
      set: (value) => [`${putArray}(${value}, ${claimed}, (element, i) => ${write}, ${this.#qualified(id)})`],
    }
  }

  #integers(slot: Slot, member: Member, id: string, at: string, present: string | undefined): ValueCode {
    const integer = (member.type.kind === 'bits' ? member.type.container : member.type) as IntegerType
    const big = isBigint(member)
    const type = big ? 'bigint' : 'number'
    const name = this.#qualified(id)
    if (member.dims.length > 1) return this.#manyDimensions(slot, member, id, at, integer, big, present)
    const stride = this.#elementSize(member, id, this.#scope())
    const claimed = this.#lengthAccessor(slot, member, id, at, stride, present)
    const place = `${at} + i * ${parenthesise(stride)}`
    this.#out.methods.push({ name: id, parameters: [index], type, statements: [`return ${this.#read(integer, place, big, true)}`], doc: this.#doc(member) })
    this.#out.methods.push({
      name: `set_${id}`,
      parameters: [index, { name: 'value', type }],
      type: 'void',
      statements: [this.#write(integer, place, 'value', big, true, name)],
      doc: {},
    })
    return this.#arrayCode(`${type}[]`, id, claimed, `this.${id}(i)`, `this.set_${id}(i, element)`)
  }

  #manyDimensions(slot: Slot, member: Member, id: string, at: string, integer: IntegerType, big: boolean, present: string | undefined): ValueCode {
    const type = `${big ? 'bigint' : 'number'}${'[]'.repeat(member.dims.length)}`
    const inner = member.dims.slice(1).map((dim, position) => this.#dim(member, position + 1, dim.length, this.#scope()))
    const stride = this.#product([...inner, String(integer.bytes)])
    const dims = [this.#claimed(slot, member, id, parenthesise(stride)), ...inner]
    const place = `${at} + i * ${integer.bytes}`
    const get = `${this.#imports.runtime('readRows')}([${dims.join(', ')}], (i) => ${this.#read(integer, place, big, true)}) as ${type}`
    const write = this.#write(integer, place, `element as ${big ? 'bigint' : 'number'}`, big, true, this.#qualified(id))
    const set = [`${this.#imports.runtime('padArray')}(value, [${dims.join(', ')}], ${this.#qualified(id)}).forEach((element, i) => ${write})`]
    this.#accessor(id, type, [`return ${get}`], set, member, present)
    return { type, get: `this.${id}${present === undefined ? '' : '!'}`, set: (value) => [`this.${id} = ${value}`] }
  }

  #structs(slot: Slot, member: Member, id: string, at: string, present: string | undefined): ValueCode {
    const reference = member.type as { chapter: string; name: string }
    const struct = this.#needs.struct(reference)
    const part = this.#needs.partOf(reference, member.part)
    const type = this.#imports.class(reference, partSuffix(part))
    if (member.dims.length > 1) throw new Error(`${this.#struct.name}.${member.name}: arrays of arrays of structs are not supported`)
    if (struct.head) return this.#heads(slot, member, id, at, type, struct, present)
    const valueType = `${this.#imports.class(reference, `${partSuffix(part)}Value`, true)}[]`
    const given = this.#givenFor(member, struct, part)
    const make = `new ${type}(${this.#constructorArguments(member, struct, part, id, given)})`
    if (this.#needs.isVariable(struct, part) && !member.stride) return this.#variableStructs(slot, member, id, at, type, valueType, make, struct, part, present)
    const stride = this.#elementSize(member, id, this.#scope())
    const length = member.stride ? stride : stride
    const claimed = this.#lengthAccessor(slot, member, id, at, stride, present)
    this.#out.properties.push({ name: `#${id}`, type: `${type} | undefined` })
    const cursor = `(this.#${id} ??= ${make})`
    const move = `$inside(this, ${at} + i * ${parenthesise(stride)}, ${length})`
    const statements = given ? [`const nested = ${cursor}`, `nested.$given = ${given}`, `return nested.${move}`] : [`return ${cursor}.${move}`]
    this.#out.methods.push({ name: id, parameters: [index], type, statements, doc: this.#doc(member) })
    return this.#arrayCode(valueType, id, claimed, `this.${id}(i).$get()`, `this.${id}(i).$set(element)`)
  }

  /** Elements of different lengths: a cursor each. */
  #variableStructs(slot: Slot, member: Member, id: string, at: string, type: string, valueType: string, make: string, struct: Struct, part: Part | undefined, present: string | undefined): ValueCode {
    const count = member.dims[0]?.length === undefined ? 'Infinity' : this.#dim(member, 0, member.dims[0].length, this.#scope())
    const length = slot.length === 'open' ? this.#size(slot) : member.area ? this.#memberSize(member, id, this.#scope()) : `this.$offset + this.$length - (${at})`
    const entries = `${this.#imports.runtime('entriesOf')}(this, ${at}, ${length}, ${make})`
    const limited = count === 'Infinity' ? entries : `${entries}.slice(0, ${count})`
    this.#accessor(id, `${type}[]`, [`return ${limited}.map(({ offset, size }) => ${make}.$inside(this, offset, size))`], undefined, member, present)
    const mark = present === undefined ? '' : '?'
    const putBytes = this.#imports.runtime('putBytes')
    const encode = this.#needs.hasContext(struct, part) ? `${type}.encode(element, this.$layout)` : `${type}.encode(element)`
    return {
      type: valueType,
      get: `this.${id}${mark}.map((element) => element.$get())`,
      set: (value) => [`let ${id}_at = ${at}`, `for (const element of ${value}) {`, `  const bytes = ${encode}`, `  ${putBytes}(this, ${id}_at, bytes.length, bytes, ${this.#qualified(id)})`, `  ${id}_at += bytes.length`, `}`],
    }
  }

  #heads(slot: Slot, member: Member, id: string, at: string, type: string, struct: Struct, present: string | undefined): ValueCode {
    const elementType = this.#imports.class({ chapter: struct.chapter, name: struct.name }, 'Element', true)
    const length = slot.length === 'open' ? this.#size(slot) : this.#memberSize(member, id, this.#scope())
    const scope = { ...this.#scope(), members: struct.members, own: 'head' }
    const until = member.until ? `, () => ${condition(member.until, scope)}` : ''
    const get = [`const head = new ${type}()`, `return ${this.#imports.runtime('entriesOf')}(this, ${at}, ${length}, head${until}).map(({ offset, size }) => new ${type}().$inside(this, offset, size))`]
    this.#accessor(id, `${type}[]`, get, undefined, member, present)
    const putBytes = this.#imports.runtime('putBytes')
    return {
      type: `${elementType}[]`,
      get: `this.${id}${present === undefined ? '' : '!'}.map((element) => element.$element)`,
      set: (value) => [`let ${id}_at = ${at}`, `for (const element of ${value}) {`, `  const bytes = ${type}.encodeElement(element)`, `  ${putBytes}(this, ${id}_at, bytes.length, bytes, ${this.#qualified(id)})`, `  ${id}_at += bytes.length`, `}`],
    }
  }

  // --- bits and unions --------------------------------------------------------------------------------------------------------------------

  #bits(slot: Slot, present: string | undefined): void {
    const { member, id } = slot
    const bits = this.#bitAccessors(slot, member, id, this.#at(slot), present)
    if (id !== '') {
      this.#out.value.push({ name: id, type: bits.type, optional: present !== undefined, doc: this.#doc(member) })
      this.#out.get.push({ name: id, code: bits.get, when: present })
      this.#out.set.push(...bits.constants, ...guarded(`value.${id} !== undefined`, bits.set(`value.${id}`)))
      return
    }
    for (const field of bits.fields) {
      this.#out.value.push({ name: field.name, type: 'number', optional: present !== undefined, doc: field.doc })
      this.#out.get.push({ name: field.name, code: `this.${field.accessor}`, when: present })
      if (field.constant === undefined) this.#out.set.push(`if (value.${field.name} !== undefined) this.${field.accessor} = value.${field.name}`)
    }
    this.#out.set.push(...bits.constants)
  }

  #bitAccessors(slot: Slot, member: Member, id: string, at: string, present: string | undefined) {
    const { container, fields } = member.type as Extract<Member['type'], { kind: 'bits' }>
    const big = container.bytes === 8
    const checked = this.#isChecked(slot)
    const read = this.#read(container, at, big, checked)
    const numberName = big ? 'bigint' : 'number'
    if (id !== '') this.#accessor(id, numberName, [`return ${read}`], [this.#write(container, at, 'value', big, checked, this.#qualified(id))], member, present)
    const take = this.#imports.runtime(big ? 'bigintBits' : 'numberBits')
    const put = this.#imports.runtime(big ? 'putBigintBits' : 'putNumberBits')
    const named = fields
      .filter((field) => !field.reserved && (field.name !== '' || field.const !== undefined))
      .map((field) => {
        const name = identifier(field.name)
        const accessor = id === '' ? name : `${id}_${name}`
        const label = this.#qualified(accessor)
        const doc = docs(field.doc, field.when && `Only with ${field.when.text}.`)
        const replaced = (value: string): string => this.#write(container, at, `${put}(${read}, ${field.bit}, ${field.bits}, ${value}, ${label})`, big, checked, label)
        if (name !== '') this.#accessor(accessor, 'number', [`return ${take}(${read}, ${field.bit}, ${field.bits})`], [replaced('value')], { ...member, ...(field.doc ? { doc: field.doc } : {}) }, present)
        return { name, accessor, doc, constant: field.const, assign: field.const === undefined ? '' : replaced(numberCode(Number(field.const))) }
      })
    const visible = named.filter((field) => field.name !== '')
    return {
      fields: visible,
      type: `{ ${visible.map((field) => `${propertyName(field.name)}: number`).join('; ')} }`,
      get: `{ ${visible.map((field) => `${field.name}: this.${field.accessor}${present === undefined ? '' : '!'}`).join(', ')} }`,
      constants: named.flatMap((field) => (field.constant === undefined ? [] : guarded(present, [field.assign]))),
      set: (value: string) => visible.flatMap((field) => (field.constant === undefined ? [`if (${value}.${field.name} !== undefined) this.${field.accessor} = ${value}.${field.name}`] : [])),
    }
  }

  #union(slot: Slot, present: string | undefined): void {
    const { member, id } = slot
    const type = member.type as Extract<Member['type'], { kind: 'union' }>
    const at = this.#at(slot)
    const chosen = type.by && this.#choice(type.by, type.arms)
    const arms = type.arms.flatMap((arm) => this.#arm(slot, arm, id, at, present, chosen))
    if (id === '') {
      for (const arm of arms) {
        this.#out.value.push({ name: arm.name, type: arm.code.type, optional: true, doc: this.#doc(arm.member) })
        this.#out.get.push({ name: arm.name, code: arm.code.get, when: arm.when ?? 'true' })
        this.#out.set.push(...guarded(`value.${arm.name} !== undefined`, arm.code.set(`value.${arm.name}`)))
      }
      return
    }
    this.#namedUnion(slot, arms, type.by !== undefined, at, present)
  }

  #arm(slot: Slot, arm: Member, id: string, at: string, present: string | undefined, chosen: ((arm: Member) => string | undefined) | undefined): ArmCode[] {
    const own = arm.when && condition(arm.when, this.#scope())
    const whens = [present, own, chosen?.(arm)].filter((text) => text !== undefined)
    const when = whens.length < 2 ? whens[0] : whens.map((text) => parenthesise(text as string)).join(' && ')
    if (arm.type.kind === 'group') return this.#groupArm(slot, arm, id, at, when)
    if (arm.reserved) return []
    const name = identifier(arm.name)
    const armId = id === '' ? name : `${id}_${name}`
    // Reads at the union's start need no check unless the start itself depends on the content.
    if (arm.type.kind === 'bits' && arm.dims.length === 0) {
      const bits = this.#bitAccessors(slot, arm, armId, at, own && parenthesise(own))
      return [{ name, member: arm, when, code: { type: bits.type, get: bits.get, set: (value) => [...bits.constants, ...bits.set(value)] } }]
    }
    return [{ name, member: arm, when, code: this.#value(slot, arm, armId, at, own && parenthesise(own)) }]
  }

  /** An arm of several members: each has its place behind the one before. */
  #groupArm(slot: Slot, arm: Member, id: string, at: string, when: string | undefined): ArmCode[] {
    let offset = 0
    return (arm.type as Extract<Member['type'], { kind: 'group' }>).members.flatMap((inner) => {
      const place = offset === 0 ? at : `${at} + ${offset}`
      offset += inner.size ?? 0
      if (inner.reserved) return []
      const name = identifier(inner.name)
      const innerId = id === '' ? name : `${id}_${name}`
      return [{ name, member: inner, when, code: this.#value(slot, inner, innerId, place, undefined) }]
    })
  }

  /** Code that says whether an arm is selected. */
  #choice(by: { from: 'own' | 'readable' | 'given' | 'config'; path: string[] }, arms: readonly Member[]): (arm: Member) => string | undefined {
    const field = numeric({ text: '', tree: { op: 'field', ...by } }, this.#scope())
    const mask = this.#enumMask(by, arms)
    const value = mask === undefined ? field : `(${field} & ${mask}) >>> 0`
    return (arm) => arm.is?.map(({ name, value: constant }) => `${parenthesise(value)} === ${this.#constantCode(name, constant)}`).join(' || ')
  }

  /** The bits of the deciding field that hold its enum, where it has flags beside it. */
  #enumMask(by: { from: string; path: string[] }, arms: readonly Member[]): string | undefined {
    void arms
    const member = by.from === 'own' ? this.#needs.memberAt(this.#needs.members(this.#struct, this.#part), by.path as string[]) : undefined
    if (member === undefined || by.path.length > 1 || member.enum === undefined) return undefined
    if (member.mask !== undefined) return numberCode(Number(member.mask))
    if (member.flags === undefined) return undefined
    const flags = member.flags.flatMap(({ chapter, name }) => this.#model.chapters.find((candidate) => candidate.name === chapter)?.groups.find((group) => group.name === name)?.constants ?? [])
    const all = 2 ** ((member.size ?? 4) * 8) - 1
    return numberCode(Number(BigInt(all) & ~flags.reduce((bits, { value }) => bits | BigInt(value), 0n)))
  }

  #constantCode(name: string, value: number | bigint): string {
    const chapter = this.#model.chapters.find((candidate) => candidate.name === this.#struct.chapter)
    return chapter && exportedConstants(chapter).get(name)?.value === value && typeof value === 'number' ? name : numberCode(Number(value))
  }

  #namedUnion(slot: Slot, arms: ArmCode[], decided: boolean, at: string, present: string | undefined): void {
    const { id, member } = slot
    const out = this.#out
    if (!decided) {
      const type = `{ ${arms.map((arm) => `${arm.name}?: ${arm.code.type}`).join('; ')} }`
      const entries = arms.map((arm) => (arm.when && arm.member.when ? `...(${arm.when} ? { ${arm.name}: ${arm.code.get} } : {})` : `${arm.name}: ${arm.code.get}`))
      out.value.push({ name: id, type, optional: present !== undefined, doc: this.#doc(member) })
      out.get.push({ name: id, code: `{ ${entries.join(', ')} }`, when: present })
      for (const arm of arms) out.set.push(...guarded(`value.${id}?.${arm.name} !== undefined`, arm.code.set(`value.${id}.${arm.name}`)))
      return
    }
    const variants = arms.map((arm) => `{ arm: ${quote(arm.name)}; ${arm.name}: ${arm.code.type} }`)
    const type = [...variants, '{ arm: undefined; bytes: Uint8Array }'].join(' | ')
    out.value.push({ name: id, type, optional: present !== undefined, doc: this.#doc(member) })
    const bytes = `${this.#imports.runtime('bytesAt')}(this, ${at}, ${this.#size(slot)})`
    out.methods.push({
      name: `$${id}`,
      parameters: [],
      type: `${this.#name}Value[${quote(id)}] & {}`,
      statements: [...arms.map((arm) => `if (${unparenthesise(arm.when ?? 'true')}) return { arm: ${quote(arm.name)}, ${arm.name}: ${arm.code.get} }`), `return { arm: undefined, bytes: ${bytes}.slice() }`],
      doc: docs(`The arm of \`${id}\` that is selected, as a plain value.`),
    })
    out.get.push({ name: id, code: `this.$${id}()`, when: present })
    const putBytes = this.#imports.runtime('putBytes')
    const lines = arms.flatMap((arm) => guarded(`value.${id}.arm === ${quote(arm.name)}`, arm.code.set(`value.${id}.${arm.name}`)))
    const unknown = `if (value.${id}.arm === undefined) ${putBytes}(this, ${at}, value.${id}.bytes.length, value.${id}.bytes, ${this.#qualified(id)})`
    out.set.push(`if (value.${id} !== undefined) {`, ...lines.map((line) => `  ${line}`), `  ${unknown}`, `}`)
  }

  // --- the class --------------------------------------------------------------------------------------------------------------------------

  #valueInterface(): Statement {
    return {
      kind: StructureKind.Interface,
      isExported: true,
      name: `${this.#name}Value`,
      properties: this.#out.value.map(({ name, type, optional, doc }) => ({ name: propertyName(name), type: optional ? `${type} | undefined` : type, hasQuestionToken: optional, ...doc })),
      ...docs(`A \`${this.#struct.name}\` as a plain value.`),
    }
  }

  #contextType(withGiven: boolean): string | undefined {
    const { features, config, queueSize, caller } = this.#needs.context(this.#struct, this.#part)
    const parts: string[] = []
    if (this.#hasLayout) {
      if (features) parts.push(`features: ${this.#imports.runtimeType('FeatureSet')}`)
      if (config.size > 0) parts.push(`config: ${configType([...config])}`)
      if (queueSize) parts.push('queueSize: number')
      if (caller.size > 0) parts.push(`caller: { ${[...caller].map((name) => `${identifier(name)}: number`).join('; ')} }`)
    }
    if (withGiven && this.#given.length === 0 && parts.length > 0) return `${this.#name}Context`
    if (withGiven && this.#given.length > 0) parts.push(`given: ${this.#name}Given`)
    return parts.length === 0 ? undefined : `{ ${parts.map((part) => `readonly ${part}`).join('; ')} }`
  }

  #layoutSlots(): Slot[] {
    return this.#slots.filter((slot) => slot.start.kind === 'layout')
  }

  #nestedLayouts(): { id: string; type: string; expression: string }[] {
    const result: { id: string; type: string; expression: string }[] = []
    const visit = (member: Member, id: string): void => {
      if (member.type.kind === 'union') for (const arm of member.type.arms) visit(arm, id === '' ? identifier(arm.name) : `${id}_${identifier(arm.name)}`)
      if (member.type.kind === 'group') for (const inner of member.type.members) visit(inner, identifier(inner.name))
      if (member.type.kind !== 'struct') return
      const struct = this.#needs.struct(member.type)
      const part = this.#needs.partOf(member.type, member.part)
      if (!this.#needs.hasContext(struct, part) || struct.role === 'config') return
      const type = this.#imports.class(member.type, partSuffix(part))
      result.push({ id: `${id}_layout`, type: this.#imports.class(member.type, `${partSuffix(part)}Layout`, true), expression: `${type}.layout(context)` })
    }
    for (const { member, id } of this.#slots) visit(member, id)
    return result
  }

  #layoutInterface(): Statement[] {
    const context = this.#contextType(false)
    if (!this.#hasLayout || context === undefined) return []
    const total = this.#variable ? 'minimum' : 'size'
    return [
      exportType(`${this.#name}Context`, context, docs(`What the layout of \`${this.#struct.name}\` depends on.`)),
      {
        kind: StructureKind.Interface,
        isExported: true,
        name: `${this.#name}Layout`,
        extends: [`${this.#name}Context`],
        properties: [
          { name: total, type: 'number', isReadonly: true, ...docs(this.#variable ? 'Bytes that are always there.' : 'Length in bytes.') },
          ...this.#layoutSlots().map((slot) => ({ name: slot.key, type: 'number', isReadonly: true })),
          ...this.#nestedLayouts().map(({ id, type }) => ({ name: id, type, isReadonly: true })),
        ],
        ...docs(`Where the members of \`${this.#struct.name}\` stand after a negotiation; -1: absent.`),
      },
    ]
  }

  #givenInterface(): Statement[] {
    if (this.#given.length === 0) return []
    return [
      {
        kind: StructureKind.Interface,
        isExported: true,
        name: `${this.#name}Given`,
        properties: this.#given.map(({ name, type }) => ({ name, type, isReadonly: true })),
        ...docs(`What the layout of \`${this.#struct.name}\` needs from outside.`),
      },
    ]
  }

  /** The layout after a negotiation, member by member. */
  #layoutStatements(): string[] {
    const scope = this.#scope('context')
    const lines: string[] = this.#nestedLayouts().map(({ id, expression }) => `const ${id} = ${expression}`)
    let pending = 0
    lines.push('let size = 0')
    const flush = (): void => {
      if (pending > 0) lines.push(`size += ${pending}`)
      pending = 0
    }
    let open = false
    for (const slot of this.#slots) {
      const isLayout = slot.start.kind === 'layout'
      if (slot.length === 'open' || slot.length === 'content') {
        if (isLayout && !open) {
          flush()
          const conditions = slot.whens.map((part) => parenthesise(condition(part, scope))).join(' && ')
          lines.push(conditions === '' ? `const ${slot.key} = size` : `const ${slot.key} = ${unparenthesise(conditions)} ? size : -1`)
        }
        open = true
        continue
      }
      const size = this.#memberSize(slot.member, slot.id, scope)
      const when = slot.whens.length > 0 && dependence(slot.whens) === 'context' ? slot.whens.map((part) => parenthesise(condition(part, scope))).join(' && ') : undefined
      if (!isLayout && when === undefined && /^\d+$/.test(size)) {
        pending += Number(size)
        continue
      }
      flush()
      if (isLayout && !open) {
        lines.push(when === undefined ? `const ${slot.key} = size` : `const ${slot.key} = ${unparenthesise(when)} ? size : -1`)
        lines.push(when === undefined ? `size += ${size}` : `if (${slot.key} >= 0) size += ${size}`)
      } else lines.push(when === undefined ? `size += ${size}` : `if (${unparenthesise(when)}) size += ${size}`)
    }
    flush()
    const names = [...this.#layoutSlots().map((slot) => slot.key), ...this.#nestedLayouts().map(({ id }) => id)]
    return [...compactStart(lines), `return { ...context, ${this.#variable ? 'minimum: size' : 'size'}${names.map((name) => `, ${name}`).join('')} }`]
  }

  #minimum(): string {
    if (this.#hasLayout) return this.#variable ? 'this.$layout.minimum' : 'this.$layout.size'
    const total = this.#slots.filter((slot) => slot.length === 'constant').reduce((sum, slot) => sum + Number(this.#memberSize(slot.member, slot.id, this.#scope())), 0)
    return String(this.#struct.role === 'config' ? (this.#struct.size ?? 0) : total)
  }

  /** Bytes that the content claims. */
  #contentSize(): string {
    const { length, head } = this.#struct
    if (head) return numeric(head.size, this.#scope())
    if (length) return numeric(length, this.#scope())
    if (!this.#variable) return this.#minimum()
    if (this.#slots.some((slot) => slot.length === 'open')) return 'this.$length'
    const last = this.#slots.at(-1) as Slot
    const end = `${this.#at(last)} + ${this.#presentSize(last)}`
    return end.startsWith('this.$offset + ') ? end.slice('this.$offset + '.length) : end === 'this.$offset' ? '0' : `${end} - this.$offset`
  }

  #class(): Statement {
    const minimum = this.#minimum()
    const size = this.#contentSize()
    const out = this.#out
    const fixed = !this.#variable && !this.#hasLayout
    const get = (name: string, statements: string[], returnType: string, doc = {}) => ({ name, statements: statements.join('\n'), returnType, ...doc })
    const context = this.#contextType(true)
    const constructorParameters = [...(this.#hasLayout ? [{ name: '$layout', type: `${this.#name}Layout` }] : []), ...(this.#given.length > 0 ? [{ name: '$given', type: `${this.#name}Given` }] : [])]
    return {
      kind: StructureKind.Class,
      isExported: true,
      name: this.#name,
      extends: 'Struct',
      ...docs(this.#struct.doc, this.#structNote(), citation(this.#model, this.#struct)),
      properties: [
        ...(fixed ? [{ name: 'size', isStatic: true, isReadonly: true, initializer: minimum, ...docs('Length in bytes.') }] : []),
        ...this.#offsetTable(),
        ...(this.#hasLayout ? [{ name: '$layout', type: `${this.#name}Layout`, isReadonly: true, ...docs('Where the members stand.') }] : []),
        ...(this.#given.length > 0 ? [{ name: '$given', type: `${this.#name}Given`, ...docs('What the layout needs from outside.') }] : []),
        ...out.properties,
      ],
      ctors: constructorParameters.length === 0 ? [] : [{ parameters: constructorParameters, statements: ['super()', ...constructorParameters.map(({ name }) => `this.${name} = ${name}`)].join('\n') }],
      getAccessors: [
        get('$minimum', [`return ${minimum}`], 'number'),
        get('$size', [`return ${size}`], 'number'),
        ...out.privates.map(({ name, code }) => get(name, [`return ${code}`], 'number')),
        ...out.accessors.map(({ name, type, get: statements, doc }) => get(name, statements, type, doc)),
        ...this.#elementAccessor(),
      ],
      setAccessors: out.accessors.filter((accessor) => accessor.set).map(({ name, type, set }) => ({ name, parameters: [{ name: 'value', type: type.replace(' | undefined', '') }], statements: (set as string[]).join('\n') })),
      methods: [
        ...this.#staticMethods(context, constructorParameters.length > 0),
        ...out.methods.map(({ name, parameters, type, statements, doc }) => ({ name, parameters, returnType: type, statements: statements.join('\n'), ...doc })),
        this.#getMethod(),
        this.#setMethod(),
      ],
    }
  }

  #structNote(): string | undefined {
    const notes = [
      this.#part && `The device-${this.#part} part.`,
      this.#struct.legacyInterface && 'On the legacy interface only.',
      this.#struct.was.length > 0 && `Was ${this.#struct.was.join(', ')}.`,
      this.#struct.within && `\`${this.#struct.within.member}\` of \`${this.#struct.within.struct}\`.`,
    ]
    return notes.filter(Boolean).join(' ') || undefined
  }

  /** Offsets of members with a fixed place, for code that reads without accessors (rings). */
  #offsetTable() {
    const entries = this.#slots.flatMap((slot) => (slot.start.kind === 'fixed' && slot.id !== '' && !(slot.member.reserved && this.#slots.filter(({ id }) => id === slot.id).length > 1) ? [`${slot.id}: ${slot.start.offset}`] : []))
    if (entries.length === 0) return []
    return [{ name: 'offsetOf', isStatic: true, isReadonly: true, initializer: `{ ${entries.join(', ')} } as const`, ...docs('Offsets of members in bytes.') }]
  }

  #staticMethods(context: string | undefined, hasConstructor: boolean) {
    const name = this.#name
    const contextParameter = context === undefined ? [] : [{ name: 'context', type: context }]
    const cursor = `new ${name}(${[...(this.#hasLayout ? [`${name}.layout(context)`] : []), ...(this.#given.length > 0 ? ['context.given'] : [])].join(', ')})`
    void hasConstructor
    const viewOf = this.#imports.runtime('viewOf')
    const usesContext = cursor.includes('context')
    const size = this.#variable ? `${name}.sizeOf(value${this.#sizeOfContext()})` : this.#hasLayout ? 'struct.$minimum' : minimumOf(this.#minimum())
    return [
      ...(this.#hasLayout
        ? [
            {
              name: 'layout',
              isStatic: true,
              parameters: [{ name: 'context', type: `${name}Context` }],
              returnType: `${name}Layout`,
              statements: this.#layoutStatements().join('\n'),
              ...docs('Computes the layout, once per negotiation.'),
            },
          ]
        : []),
      {
        name: 'decode',
        isStatic: true,
        parameters: [{ name: 'bytes', type: 'Uint8Array' }, ...(usesContext ? contextParameter : [])],
        returnType: `${name}Value`,
        statements: [`return ${cursor}.at(${viewOf}(bytes)).$get()`],
        ...docs('Reads a plain value. Throws RangeError when the bytes are too few.'),
      },
      {
        name: 'encode',
        isStatic: true,
        parameters: [{ name: 'value', type: `Partial<${name}Value>` }, ...(usesContext ? contextParameter : [])],
        returnType: 'Uint8Array',
        statements: [`const struct = ${cursor}`, `const bytes = new Uint8Array(${size})`, `struct.at(${viewOf}(bytes)).$set(value)`, `return bytes`].join('\n'),
        ...docs('Writes a plain value. Throws RangeError for what does not fit.'),
      },
      ...(this.#variable
        ? [
            {
              name: 'sizeOf',
              isStatic: true,
              parameters: [{ name: 'value', type: `Partial<${name}Value>` }, ...(this.#hasLayout ? [{ name: 'layout', type: `${name}Layout` }] : [])],
              returnType: 'number',
              statements: this.#sizeOfStatements().join('\n'),
              ...docs('Bytes that a value takes.'),
            },
          ]
        : []),
      ...this.#elementMethods(),
    ]
  }

  #sizeOfContext(): string {
    return this.#hasLayout ? ', struct.$layout' : ''
  }

  /** The length of a value: the fixed part, and what each variable member brings. */
  #sizeOfStatements(): string[] {
    const terms: string[] = [this.#hasLayout ? 'layout.minimum' : this.#minimum()]
    for (const slot of this.#slots) {
      if (slot.length !== 'open' && slot.length !== 'content') continue
      const term = this.#sizeOfMember(slot.member, slot.id === '' ? 'value' : `value.${slot.id}`, slot.id)
      const when = slot.whens.filter((part) => dependence([part]) === 'context')
      const guard = when.map((part) => parenthesise(condition(part, this.#scope('layout')))).join(' && ')
      terms.push(guard === '' ? term : `(${guard} ? ${term} : 0)`)
    }
    const statement = `return ${terms.filter((term, position) => term !== '0' || position === 0).join(' + ')}`
    return [...(statement.includes('value') ? [] : ['void value']), statement]
  }

  #sizeOfMember(member: Member, value: string, id: string): string {
    const { type } = member
    const scope: ExpressionScope = { ...this.#scope('layout'), own: 'this' }
    if (member.area && dependence([member.area]) !== 'content' && !(member.area.tree.op === 'if' && !member.area.tree.otherwise)) return numeric(member.area, scope)
    if (member.reserved) return member.size === null ? '0' : String(member.size)
    if (isBytes(member) && (type.kind !== 'integer' || member.dims.length === 1)) return `(${value}?.length ?? 0)`
    if (type.kind === 'union') return this.#sizeOfUnion(member, value, id)
    const struct = type.kind === 'struct' ? this.#needs.struct(type) : undefined
    const part = type.kind === 'struct' ? this.#needs.partOf(type, member.part) : undefined
    if (member.dims.length === 0) {
      if (struct && struct.role !== 'foreign' && this.#needs.isVariable(struct, part)) {
        const class_ = this.#imports.class(type as never, partSuffix(part))
        const layout = this.#needs.hasContext(struct, part) ? `, layout.${id}_layout` : ''
        return `${class_}.sizeOf(${value} ?? {}${layout})`
      }
      return `(${value} === undefined ? 0 : ${this.#elementSize(member, id, scope)})`
    }
    if (struct?.head) return `(${value} ?? []).reduce((sum, element) => sum + ${this.#imports.class(type as never, '')}.encodeElement(element).length, 0)`
    if (struct && this.#needs.isVariable(struct, part) && !member.stride) {
      const layout = this.#needs.hasContext(struct, part) ? `, layout.${id}_layout` : ''
      return `(${value} ?? []).reduce((sum, element) => sum + ${this.#imports.class(type as never, partSuffix(part))}.sizeOf(element${layout}), 0)`
    }
    const inner = member.dims.slice(1).map((dim, position) => (dim.count === null ? '0' : this.#dim(member, position + 1, dim.length, scope)))
    if (inner.includes('0')) return `(${value} ?? []).flat(${Math.max(1, member.dims.length - 1)}).reduce((sum: number, element) => sum + (element instanceof Uint8Array ? element.length : 1), 0)`
    const stride = member.stride && dependence([member.stride]) === 'content' ? `(value.${fieldOf(member.stride)} ?? 0)` : this.#elementSize(member, id, scope)
    return `(${value}?.length ?? 0) * ${this.#product([...inner, stride])}`
  }

  #sizeOfUnion(member: Member, value: string, id: string): string {
    const { arms, by } = member.type as Extract<Member['type'], { kind: 'union' }>
    const size = (arm: Member): string => {
      const name = identifier(arm.name)
      const armValue = id === '' ? `value.${name}` : `${value}.${name}`
      return this.#needs.isVariableMember(arm) ? this.#sizeOfMember({ ...arm }, armValue, id === '' ? name : `${id}_${name}`) : this.#armSize(arm, id, this.#scope('layout'))
    }
    if (id !== '' && by) {
      const cases = arms.map((arm) => `${value}?.arm === ${quote(identifier(arm.name))} ? ${size(arm)} : `)
      return `(${cases.join('')}(${value}?.bytes.length ?? 0))`
    }
    const given = (arm: Member): string => (id === '' ? `value.${identifier(arm.name)}` : `${value}?.${identifier(arm.name)}`)
    return `Math.max(0, ${arms.filter((arm) => arm.name !== '' && !arm.reserved).map((arm) => `${given(arm)} === undefined ? 0 : ${size(arm)}`).join(', ')})`
  }

  #getMethod() {
    const required = this.#out.get.filter(({ when }) => when === undefined)
    const optional = this.#out.get.filter(({ when }) => when !== undefined)
    const literal = required.length === 0 ? '{}' : `{\n${required.map(({ name, code }) => `  ${propertyName(name)}${code === name ? '' : `: ${code}`},`).join('\n')}\n}`
    const statements =
      optional.length === 0
        ? [`return ${literal}`]
        : [`const value: ${this.#name}Value = ${literal}`, ...optional.map(({ name, code, when }) => `if (${when}) value.${name} = ${code}`), 'return value']
    return { name: '$get', returnType: `${this.#name}Value`, statements: statements.join('\n'), ...docs('Reads all members into a plain value.') }
  }

  #setMethod() {
    const lines = this.#out.set
    return {
      name: '$set',
      parameters: [{ name: lines.some((line) => /\bvalue\b/.test(line)) ? 'value' : '_value', type: `Partial<${this.#name}Value>` }],
      returnType: 'this',
      statements: [...lines, 'return this'].join('\n'),
      ...docs('Writes the members that are given; the others keep their bytes. Throws RangeError for what does not fit.'),
    }
  }

  // --- heads of lists ---------------------------------------------------------------------------------------------------------------------

  #elements(): { name: string; class: string; valueType: string; is: { name: string; value: number | bigint } }[] {
    const { head } = this.#struct
    if (head === undefined) return []
    const field = this.#needs.memberAt(this.#struct.members, head.by)
    const bit = this.#struct.members.flatMap((member) => (member.type.kind === 'bits' ? member.type.fields : [])).find(({ name }) => name === head.by.at(-1))
    const group = bit?.enum ?? field?.enum
    if (group === undefined) return []
    const groups = this.#model.chapters.flatMap((chapter) => chapter.groups.filter((candidate) => (candidate.chapter === group.chapter && candidate.name === group.name) || (candidate.extends?.chapter === group.chapter && candidate.extends.group === group.name)))
    return groups
      .flatMap((candidate) => candidate.constants)
      .flatMap((constant) =>
        constant.holds
          ? [{ name: constant.holds.name, class: this.#imports.class(constant.holds, ''), valueType: this.#imports.class(constant.holds, 'Value', true), is: { name: constant.name, value: constant.value } }]
          : [],
      )
  }

  #elementType(): Statement[] {
    if (this.#struct.head === undefined) return []
    const variants = this.#elements().map(({ name, valueType }) => `{ arm: ${quote(name)}; ${name}: ${valueType} }`)
    return [
      exportType(
        `${this.#name}Element`,
        [...variants, '{ arm: undefined; bytes: Uint8Array }'].join(' | '),
        docs(`An element of a list that begins with \`${this.#struct.name}\`, as a plain value.`),
      ),
    ]
  }

  #elementAccessor() {
    const { head } = this.#struct
    if (head === undefined) return []
    const by = fieldCode(this.#needs, this.#struct.members, 'this', head.by)
    const bytesAt = this.#imports.runtime('bytesAt')
    const lines = this.#elements().flatMap(({ name, class: type, is }) => [
      `if (${by} === ${this.#constantCode(is.name, is.value)}) {`,
      `  const element = new ${type}()`,
      `  if (this.$length >= element.$minimum) return { arm: ${quote(name)}, ${name}: element.at(this.$view, this.$offset, this.$length).$get() }`,
      `}`,
    ])
    return [
      {
        name: '$element',
        returnType: `${this.#name}Element`,
        statements: [...lines, `return { arm: undefined, bytes: ${bytesAt}(this, this.$offset, this.$length).slice() }`].join('\n'),
        ...docs('The whole element that this head begins, as a plain value.'),
      },
    ]
  }

  #elementMethods() {
    if (this.#struct.head === undefined) return []
    return [
      {
        name: 'encodeElement',
        isStatic: true,
        parameters: [{ name: 'element', type: `${this.#name}Element` }],
        returnType: 'Uint8Array',
        statements: [...this.#elements().map(({ name, class: type }) => `if (element.arm === ${quote(name)}) return ${type}.encode(element.${name})`), 'return element.bytes'].join('\n'),
        ...docs('Writes an element of a list.'),
      },
    ]
  }
}

const index = { name: 'i', type: 'number' }

export function partSuffix(part: Part | undefined): string {
  return part === undefined ? '' : part === 'readable' ? 'Readable' : 'Writable'
}

function partSize(needs: Needs, struct: Struct, part: Part | undefined): number | null {
  return part === undefined ? struct.size : needs.members(struct, part).reduce<number | null>((sum, { size }) => (sum === null || size === null ? null : sum + size), 0)
}

function optionalSize(member: Member, id: string): string {
  return member.when ? `(this.${id}?.$size ?? 0)` : `this.${id}.$size`
}

function constantOr(expression: Expression, code: string): string {
  return expression.tree.op === 'number' || expression.tree.op === 'constant' || expression.tree.op === 'sizeof' ? String(Number(expression.tree.value)) : parenthesise(code)
}

function guarded(guard: string | undefined, lines: readonly string[]): string[] {
  if (guard === undefined) return [...lines]
  if (lines.length === 1) return [`if (${guard}) ${lines[0]}`]
  return [`if (${guard}) {`, ...lines.map((line) => `  ${line}`), `}`]
}

function minimumOf(code: string): string {
  return code
}

/** Structs of which only the size is known are rows of bytes. */
function asBytes(member: Member): Member {
  const size = member.type.kind === 'struct' ? (member.type.size ?? 0) : 0
  const row: Member['dims'][number] = { count: size, length: { text: String(size), tree: { op: 'number', value: size } } }
  return { ...member, type: integers.u8, dims: [...member.dims, row] }
}

function fieldOf(expression: Expression): string {
  return expression.tree.op === 'field' ? expression.tree.path.map(identifier).join('.') : expression.text
}

function configType(paths: readonly string[]): string {
  interface Node {
    [name: string]: Node
  }
  const root: Node = {}
  for (const path of paths) {
    let node = root
    for (const step of path.split('.')) node = node[identifier(step)] ??= {}
  }
  const print = (node: Node): string => {
    const names = Object.keys(node)
    return names.length === 0 ? 'number' : `{ ${names.map((name) => `readonly ${name}: ${print(node[name] as Node)}`).join('; ')} }`
  }
  return print(root)
}

/** `let size = 0` and `size += N` become one line. */
function compactStart(lines: string[]): string[] {
  const start = lines.indexOf('let size = 0')
  const match = /^size \+= (\d+)$/.exec(lines[start + 1] ?? '')
  if (match === null) return lines
  return [...lines.slice(0, start), `let size = ${match[1]}`, ...lines.slice(start + 2)]
}

function bigintSafe(_: string, value: unknown): unknown {
  return typeof value === 'bigint' ? value.toString() : value
}
