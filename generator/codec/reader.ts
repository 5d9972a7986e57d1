/** Bytes to values. Nothing in the bytes makes it throw or run long: a length they claim is cut to what is there, and what lies behind the end reads as zero. */
import type { IntegerType, Member, Struct } from '../model.ts'
import { identifier } from '../names.ts'
import { isBigint } from '../values.ts'
import { headSelector, heldStructs, presentArms, selectArm, type UnionType } from './choice.ts'
import type { DecodedField } from './decoded-field.ts'
import { extentOf, isByteArray, isFixedUnion, isOpen, leastOfSequence, typeExtent, unionExtent } from './extent.ts'
import { type Frame, provides, startOf } from './frame.ts'
import { join, namesOf, valueName } from './names.ts'
import { areaOf, evaluated, evaluatedIfKnown, groupScope, isPresent, type Outer, outerOf, placeOf, type Scope, toLength, walk } from './scope.ts'
import { isFixedLayout, isLittleEndian, membersOf, type Session } from './session.ts'

interface Result<T = unknown> {
  value: T
  /** Where the next member begins; behind the bytes when a length claims more than there is. */
  end: number
}

interface ReaderScope extends Scope {
  /** Where the struct begins. */
  base: number
  frames: Frame<ReaderScope>[]
}

/** Elements may hold lists of elements; deeper ones than these are left as bytes. */
const deepestElement = 32

export class Reader {
  readonly fields: DecodedField[] = []
  readonly #session: Session
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #depth = 0

  constructor(session: Session, bytes: Uint8Array) {
    this.#session = session
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  /**
   * Reads a whole struct.
   *
   * @throws RangeError when the bytes are fewer than its fixed members need
   */
  whole(struct: Struct, outer: Outer): Result {
    const { length } = this.#bytes
    const needed = this.#needed(struct, outer)
    if (needed > length) throw new RangeError(`${struct.name} needs at least ${needed} bytes, there are ${length}`)
    const { value, end } = this.#struct(struct, outer, 0, length, '')
    return { value, end: Math.min(end, length) }
  }

  #needed(struct: Struct, outer: Outer): number {
    if (struct.role === 'foreign') return struct.size ?? 0
    const scope = this.#scope(struct, outer, 0)
    if (!isFixedLayout(struct)) return leastOfSequence(scope.members, scope)
    return Math.max(
      0,
      ...scope.members.map((member) => (isMeaningless(member, scope) ? 0 : placeOf(member, scope, 0) + extentOf(member, scope).least)),
    )
  }

  #scope(struct: Struct, outer: Outer, base: number): ReaderScope {
    const value: Record<string, unknown> = {}
    const frames: Frame<ReaderScope>[] = []
    const looking = new Set<string>()
    const absent = (path: readonly string[]): unknown =>
      Object.hasOwn(value, identifier(path[0] as string)) ? 0 : this.#behind(frames, looking, path)
    return { ...outer, struct, members: membersOf(struct, outer.part), value, here: value, absent, base, frames }
  }

  #struct(struct: Struct, outer: Outer, start: number, end: number, path: string): Result {
    const needed = this.#needed(struct, outer)
    if (needed > Math.max(0, end - start)) return this.#padded(struct, outer, needed, start, end, path)
    if (struct.role === 'foreign') {
      const size = struct.size ?? 0
      const value = this.#slice(start, start + size)
      return { value, end: start + size }
    }
    const scope = this.#scope(struct, outer, start)
    const stop = this.#stop(struct, scope, start, end, needed)
    const last = this.#sequence(scope.members, scope, start, stop, path)
    return { value: scope.value, end: struct.length ? stop : last }
  }

  /** The end of a struct that says how long it is; one that is too short for its own fixed members is taken to hold them. */
  #stop(struct: Struct, scope: ReaderScope, start: number, end: number, needed: number): number {
    if (struct.length === undefined) return end
    scope.frames.push({ members: scope.members, scope, index: -1, position: start, end })
    const length = evaluated(struct.length, scope)
    scope.frames.pop()
    return length === undefined ? end : Math.min(end, start + Math.max(needed, toLength(length)))
  }

  /** What a struct lacks of its bytes reads as zeros. */
  #padded(struct: Struct, outer: Outer, needed: number, start: number, end: number, path: string): Result {
    const bytes = new Uint8Array(needed)
    const there = this.#slice(start, end)
    bytes.set(there)
    const reader = new Reader(this.#session, bytes)
    reader.#depth = this.#depth
    const result = reader.#struct(struct, outer, 0, needed, path)
    for (const field of reader.fields) {
      const isMissing = field.offset + field.size > there.length
      this.fields.push({ ...field, offset: field.offset + start, ...(isMissing ? { missing: true } : {}) })
    }
    return { value: result.value, end: start + result.end }
  }

  // --- members ----------------------------------------------------------------------------------------------------------------------------

  #sequence(members: readonly Member[], scope: ReaderScope, start: number, end: number, path: string): number {
    const frame: Frame<ReaderScope> = { members, scope, index: -1, position: start, end }
    scope.frames.push(frame)
    let position = start
    let last = start
    members.forEach((member, index) => {
      frame.index = index
      frame.position = isFixedLayout(scope.struct) ? placeOf(member, scope, position) : position
      position = this.#member(member, scope, frame.position, this.#endOf(frame), path)
      last = Math.max(last, position)
    })
    scope.frames.pop()
    return isFixedLayout(scope.struct) ? last : position
  }

  /** Where the member in work ends at the latest: one that takes all that is left leaves what the members behind it need. */
  #endOf({ members, scope, index, position, end }: Frame<ReaderScope>): number {
    if (!isOpen(members[index] as Member, scope)) return end
    const behind = members.slice(index + 1).reduce((sum, member) => {
      const { size, least } = extentOf(member, scope)
      return sum + (size ?? least)
    }, 0)
    return Math.max(position, end - behind)
  }

  #member(member: Member, scope: ReaderScope, start: number, end: number, path: string): number {
    if (!isPresent(member, scope) || (isMeaningless(member, scope) && start + extentOf(member, scope).least > end)) {
      this.#leaveOut(member, start, path)
      return start
    }
    const area = areaOf(member, scope)
    if (area === undefined) return this.#content(member, scope, start, end, path)
    this.#content(member, scope, start, Math.min(end, start + area), path, true)
    return start + area
  }

  /** Lists a member that is not there. */
  #leaveOut(member: Member, offset: number, path: string): void {
    const { type } = member
    const inside = type.kind === 'group' ? type.members : type.kind === 'union' && member.name === '' ? type.arms : undefined
    if (inside) for (const inner of inside) this.#leaveOut(inner, offset, path)
    else this.fields.push({ path: join(path, valueName(member)), offset, size: 0, value: undefined, member, missing: true })
  }

  /** `isArea`: the bytes from `start` to `end` are the member's, whatever is in them. */
  #content(member: Member, scope: ReaderScope, start: number, end: number, path: string, isArea = false): number {
    const { type } = member
    const name = valueName(member)
    if (type.kind === 'group') return this.#sequence(type.members, groupScope(member, scope), start, end, path)
    if (member.dims.length === 0) {
      if (type.kind === 'bits') return this.#bits(member, scope, name === '' ? scope.here : {}, start, end, path)
      if (type.kind === 'union') return this.#union(member, type, scope, start, end, name === '' ? path : join(path, name), isArea)
    }
    const { value, end: last } = this.#elements(member, member.dims.length, scope, start, end, join(path, name))
    if (!member.reserved && name !== '') scope.here[name] = value
    return last
  }

  /** The elements of an array from the given number of dimensions on; with none, one element. */
  #elements(member: Member, dims: number, scope: ReaderScope, start: number, end: number, path: string): Result {
    if (dims === 0) return this.#element(member, scope, start, end, path)
    const dim = member.dims[member.dims.length - dims] as Member['dims'][number]
    const count = dim.count ?? (dim.length === undefined ? undefined : toLength(evaluated(dim.length, scope)))
    if (dims === 1 && isByteArray(member)) return this.#byteArray(member, count, start, end, path)
    const head = dims === member.dims.length && member.type.kind === 'struct' ? this.#session.struct(member.type) : undefined
    if (head?.head) return this.#listOfHeads(member, head, scope, count, start, end, path)
    const stride = dims === member.dims.length && member.stride ? toLength(evaluated(member.stride, scope)) : undefined
    const inner = member.dims.slice(member.dims.length - dims + 1)
    const extent = inner.length === 0 ? typeExtent(member, scope) : extentOf({ ...bare(member), dims: inner }, scope)
    return this.#list(member, dims, scope, { count, stride, least: extent.least, size: stride ?? extent.size }, start, end, path)
  }

  #byteArray(member: Member, count: number | undefined, start: number, end: number, path: string): Result {
    const value = this.#slice(start, count === undefined ? end : Math.min(end, start + count))
    this.#record(member, path, start, value.length, value, start + (count ?? 0) > end)
    return { value, end: count === undefined ? Math.max(start, end) : start + count }
  }

  /** Elements one behind the other, as many as there are and as are whole. */
  #list(member: Member, dims: number, scope: ReaderScope, shape: ListShape, start: number, end: number, path: string): Result {
    const { count, stride, least, size } = shape
    const values: unknown[] = []
    const smallest = stride ?? Math.max(least, size ?? 0)
    // Elements of no length would never end; there are at most as many as there are bytes.
    const most = Math.min(count ?? Number.MAX_SAFE_INTEGER, this.#bytes.length)
    let position = start
    while (values.length < most && position + smallest <= end && stride !== 0) {
      if (count === undefined && position >= end) break
      const mark = this.fields.length
      const { value, end: next } = this.#elements(
        member,
        dims - 1,
        scope,
        position,
        stride === undefined ? end : position + stride,
        `${path}[${values.length}]`,
      )
      if (this.#isLast(member, value, scope) || (count === undefined && next === position)) {
        this.fields.length = mark
        break
      }
      values.push(value)
      position = stride === undefined ? next : position + stride
    }
    if (values.length === 0) this.#record(member, path, start, 0, values)
    if (count === undefined) return { value: values, end: Math.max(start, end) }
    return { value: values, end: size === undefined ? position : start + count * size }
  }

  /** True for the element at which `until` ends the list. */
  #isLast(member: Member, value: unknown, scope: Scope): boolean {
    if (member.until === undefined || member.type.kind !== 'struct' || Array.isArray(value)) return false
    const struct = this.#session.struct(member.type)
    const own = value as Record<string, unknown>
    return (evaluated(member.until, { ...scope, members: struct.members, value: own, here: own, absent: () => 0 }) ?? 0n) !== 0n
  }

  #element(member: Member, scope: ReaderScope, start: number, end: number, path: string): Result {
    const { type } = member
    switch (type.kind) {
      case 'integer':
        return this.#integer(member, type, start, end, path)
      case 'struct': {
        const struct = this.#session.struct(type)
        const result = this.#struct(struct, outerOf(member, struct, scope), start, end, path)
        if (struct.role === 'foreign') this.#record(member, path, start, result.end - start, result.value, result.end > end)
        return result
      }
      case 'bits': {
        const value = {}
        return { value, end: this.#bits({ ...member, name: '' }, scope, value, start, end, path) }
      }
      case 'union': {
        const here: { element?: unknown } = {}
        const last = this.#union({ ...member, name: 'element' }, type, { ...scope, here }, start, end, path, false)
        return { value: here.element, end: last }
      }
      default: {
        const value = this.#slice(start, end)
        this.#record(member, path, start, value.length, value)
        return { value, end: Math.max(start, end) }
      }
    }
  }

  #integer(member: Member, type: IntegerType, start: number, end: number, path: string): Result {
    const isMissing = start + type.bytes > end
    const raw = isMissing ? 0n : this.#raw(type, member, start)
    const value = isBigint(member) ? raw : Number(raw)
    this.#record(member, path, start, type.bytes, value, isMissing)
    return { value, end: start + type.bytes }
  }

  #raw(type: IntegerType, member: Member, at: number): bigint {
    const little = isLittleEndian(type, member, this.#session)
    switch (type.bytes) {
      case 1:
        return BigInt(this.#view.getUint8(at))
      case 2:
        return BigInt(this.#view.getUint16(at, little))
      case 4:
        return BigInt(this.#view.getUint32(at, little))
      case 8:
        return this.#view.getBigUint64(at, little)
    }
  }

  /** `target` takes the bits: the parent's value where the container has no name. */
  #bits(member: Member, scope: ReaderScope, target: Record<string, unknown>, start: number, end: number, path: string): number {
    const { container, fields } = member.type as Extract<Member['type'], { kind: 'bits' }>
    const isMissing = start + container.bytes > end
    const raw = isMissing ? 0n : this.#raw(container, member, start)
    const inside = member.name === '' ? path : join(path, member.name)
    if (member.name !== '' && !member.reserved) scope.here[identifier(member.name)] = target
    for (const field of fields) {
      if (!isPresent(field, scope)) {
        this.fields.push({
          path: join(inside, field.name),
          offset: start,
          size: 0,
          bit: field.bit,
          bits: field.bits,
          value: undefined,
          member,
          field,
          missing: true,
        })
        continue
      }
      const value = Number((raw >> BigInt(field.bit)) & ((1n << BigInt(field.bits)) - 1n))
      if (field.name !== '' && !field.reserved) target[identifier(field.name)] = value
      this.fields.push({
        path: join(inside, field.name),
        offset: start,
        size: container.bytes,
        bit: field.bit,
        bits: field.bits,
        value,
        member,
        field,
        ...(isMissing ? { missing: true } : {}),
      })
    }
    return start + container.bytes
  }

  // --- unions -----------------------------------------------------------------------------------------------------------------------------

  /** `path`: that of the arms. */
  #union(member: Member, type: UnionType, scope: ReaderScope, start: number, end: number, path: string, isArea: boolean): number {
    const size = isArea ? undefined : unionLength(type, scope)
    const stop = size === undefined ? end : Math.min(end, start + size)
    const last = type.by === undefined ? this.#views(member, type, scope, start, stop, path) : this.#selected(member, type, scope, start, stop, path)
    return isArea ? stop : size === undefined ? last : start + size
  }

  #views(member: Member, type: UnionType, scope: ReaderScope, start: number, end: number, path: string): number {
    const here = this.#unionValue(member, scope, {})
    const present = presentArms(type, scope)
    for (const arm of type.arms) if (!present.includes(arm)) this.#leaveOut(arm, start, path)
    const arms = present.filter((arm) => extentOf(arm, scope).least <= end - start)
    const before = this.fields.length
    const ends = arms.map((arm) => this.#arm(arm, { ...scope, here }, start, end, path))
    if (this.fields.length === before && end > start) this.#record(member, path, start, end - start, this.#slice(start, end))
    return Math.max(start, ...ends)
  }

  /** A view whose constants are not in the bytes is not there: they tell it from the others. */
  #arm(arm: Member, scope: ReaderScope, start: number, end: number, path: string): number {
    const mark = this.fields.length
    const last = this.#member(arm, scope, start, end, path)
    if (this.fields.slice(mark).every(hasItsConstant)) return last
    this.fields.length = mark
    for (const name of namesOf(arm)) delete scope.here[name]
    return last
  }

  /** An arm that does not fit into what is there is not selected. */
  #selected(member: Member, type: UnionType, scope: ReaderScope, start: number, end: number, path: string): number {
    const selected = selectArm(type, scope)
    const arm = selected && extentOf(selected, scope).least <= end - start ? selected : undefined
    if (arm === undefined) {
      const bytes = this.#slice(start, end)
      if (bytes.length > 0) this.#record(member, member.name === '' ? join(path, '') : path, start, bytes.length, bytes)
      this.#unionValue(member, scope, { arm: undefined, bytes })
      return Math.max(start, end)
    }
    const here = this.#unionValue(member, scope, { arm: identifier(arm.name) })
    return this.#member(arm, { ...scope, here }, start, end, path)
  }

  /** The object that a union's arms belong to. */
  #unionValue(member: Member, scope: Scope, own: Record<string, unknown>): Record<string, unknown> {
    if (member.name === '') return scope.here
    if (!member.reserved) scope.here[identifier(member.name)] = own
    return own
  }

  // --- heads of lists ---------------------------------------------------------------------------------------------------------------------

  #listOfHeads(member: Member, head: Struct, scope: ReaderScope, count: number | undefined, start: number, end: number, path: string): Result {
    const values: unknown[] = []
    const outer = outerOf(member, head, scope)
    const needed = Math.max(1, this.#needed(head, outer))
    let position = start
    while (values.length < (count ?? Number.MAX_SAFE_INTEGER) && position + needed <= end) {
      const mark = this.fields.length
      const { value, end: headEnd } = this.#struct(head, outer, position, end, '')
      this.fields.length = mark
      if (this.#isLast(member, value, scope)) break
      const size = this.#sizeOfElement(head, outer, value)
      // A shorter one than its head would be met again for ever.
      if (size < headEnd - position || position + size > end) break
      values.push(this.#headed(member, head, outer, value, position, position + size, `${path}[${values.length}]`))
      position += size
    }
    if (values.length === 0) this.#record(member, path, start, 0, values)
    return { value: values, end: count === undefined ? Math.max(start, end) : position }
  }

  #headScope(head: Struct, outer: Outer, value: unknown): Scope {
    const own = value as Record<string, unknown>
    return { ...outer, struct: head, members: head.members, value: own, here: own, absent: () => 0 }
  }

  #sizeOfElement(head: Struct, outer: Outer, value: unknown): number {
    return head.head === undefined ? 0 : toLength(evaluated(head.head.size, this.#headScope(head, outer, value)))
  }

  #headed(member: Member, head: Struct, outer: Outer, value: unknown, start: number, end: number, path: string): unknown {
    const selector = headSelector(head, this.#headScope(head, outer, value))
    const held = heldStructs(this.#session, head).find(({ constant }) => BigInt(constant.value) === selector)
    const struct = held && this.#session.struct(held.struct)
    if (struct && this.#depth < deepestElement && this.#needed(struct, outer) <= end - start) {
      const name = identifier(struct.name)
      this.#depth++
      const { value: element } = this.#struct(struct, outer, start, end, join(path, name))
      this.#depth--
      return { arm: name, [name]: element }
    }
    const bytes = this.#slice(start, end)
    this.#record(member, path, start, bytes.length, bytes)
    return { arm: undefined, bytes }
  }

  // --- fields behind the place in work ----------------------------------------------------------------------------------------------------

  /** A field that has not been read: it stands behind the member in work, or it is not there at all and counts as 0. */
  #behind(frames: readonly Frame<ReaderScope>[], looking: Set<string>, path: readonly string[]): unknown {
    const name = path[0] as string
    if (looking.has(name)) return undefined
    looking.add(name)
    try {
      for (const frame of frames.toReversed()) {
        const index = frame.members.findIndex((member, position) => position > frame.index && provides(member, name))
        if (index >= 0) return this.#peek(frame, index, path)
      }
      return 0
    } finally {
      looking.delete(name)
    }
  }

  #peek(frame: Frame<ReaderScope>, index: number, path: readonly string[]): unknown {
    const start = startOf(frame, index)
    if (start === undefined) return undefined
    const value = { ...frame.scope.value }
    const mark = this.fields.length
    this.#member(frame.members[index] as Member, { ...frame.scope, value, here: value }, start, frame.end, '')
    this.fields.length = mark
    return walk(value, path) ?? 0
  }

  // --- bytes ------------------------------------------------------------------------------------------------------------------------------

  #slice(start: number, end: number): Uint8Array {
    return end > start ? this.#bytes.slice(start, end) : new Uint8Array(0)
  }

  #record(member: Member, path: string, offset: number, size: number, value: unknown, isMissing = false): void {
    const isBehind = offset > this.#bytes.length
    this.fields.push({ path, offset, size, value, member, ...(isMissing || isBehind ? { missing: true } : {}) })
  }
}

interface ListShape {
  count: number | undefined
  stride: number | undefined
  /** Bytes that an element needs at least. */
  least: number
  /** Bytes from one element to the next; undefined where they differ. */
  size: number | undefined
}

/** True for a member of config or registers that is there but means nothing. */
function isMeaningless(member: Member, scope: Scope): boolean {
  return isFixedLayout(scope.struct) && member.when !== undefined && evaluatedIfKnown(member.when, scope) === 0n
}

function hasItsConstant({ field, member, value, missing }: DecodedField): boolean {
  const constant = (field ?? member).const
  if (constant === undefined || missing || (typeof value !== 'number' && typeof value !== 'bigint')) return true
  return BigInt(value) === BigInt(constant)
}

function unionLength(type: UnionType, scope: Scope): number | undefined {
  return isFixedUnion(type) ? unionExtent(type, scope).size : undefined
}

/** The member without what is said about all its elements together. */
function bare(member: Member): Member {
  const { area: _area, stride: _stride, until: _until, when: _when, ...rest } = member
  return { ...rest, framed: false }
}
