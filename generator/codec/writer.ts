/** Values to bytes. What does not fit throws an error that names the member, the value and what is allowed. */
import type { BitField, Expression, IntegerType, Member, Reference, Struct } from '../model.ts'
import { identifier } from '../names.ts'
import { isBigint } from '../values.ts'
import { type Held, headSelector, heldStructs, presentArms, selectArm, type UnionType } from './choice.ts'
import { extentOf, isByteArray, isFixedUnion, typeExtent, unionExtent } from './extent.ts'
import { join, namesOf, valueName } from './names.ts'
import { Output } from './output.ts'
import { Reader } from './reader.ts'
import {
  areaOf,
  declarationAt,
  evaluated,
  evaluatedIfKnown,
  groupScope,
  isPresent,
  type Outer,
  outerOf,
  placeOf,
  type Scope,
  toLength,
} from './scope.ts'
import { isFixedLayout, isLittleEndian, membersOf, type Session } from './session.ts'

interface WriterScope extends Scope {
  /** Where the struct begins. */
  base: number
}

type Plain = Record<string, unknown>

/** Elements that are written for a missing array; a longer one must be given. */
const mostDefaults = 2 ** 20

export class Writer {
  readonly #session: Session
  readonly #out = new Output()
  /** Several views of the same bytes: the second time only what is given is written, so that defaults of one do not cover values of another. */
  #onlyGiven = false

  constructor(session: Session) {
    this.#session = session
  }

  /** Writes a whole struct. */
  whole(struct: Struct, value: unknown, outer: Outer): Uint8Array {
    this.#struct(struct, value, outer, '')
    return this.#out.bytes()
  }

  #struct(struct: Struct, given: unknown, outer: Outer, path: string): void {
    if (struct.role === 'foreign') {
      this.#foreign(struct, given, path)
      return
    }
    const value = objectOf(given, path === '' ? struct.name : path)
    checkNames(value, membersOf(struct, outer.part), path, struct.name)
    const scope = this.#scope(struct, value, outer)
    this.#sequence(scope.members, scope, path)
    if (isFixedLayout(struct) && struct.size !== null) this.#out.moveTo(scope.base + struct.size, path)
    if (struct.length) this.#endAt(struct.length, scope, path)
  }

  #scope(struct: Struct, value: Plain, outer: Outer): WriterScope {
    const absent = (path: readonly string[]): unknown => constantAt(path, scope) ?? 0
    const scope: WriterScope = { ...outer, struct, members: membersOf(struct, outer.part), value, here: value, absent, base: this.#out.position }
    return scope
  }

  #foreign(struct: Struct, given: unknown, path: string): void {
    const size = struct.size ?? 0
    const name = path === '' ? struct.name : path
    const value = path === '' ? objectOf(given, name).bytes : given
    const bytes = value === undefined ? new Uint8Array(size) : bytesOf(value, name)
    if (bytes.length !== size) throw new RangeError(`${name} must have ${size} bytes, not ${bytes.length}`)
    this.#out.put(bytes, name)
  }

  /** A struct that says how long it is: what its members leave is zero. */
  #endAt(length: Expression, scope: WriterScope, path: string): void {
    const content = this.#out.position - scope.base
    const total = toLength(evaluated(length, scope))
    const name = path === '' ? scope.struct.name : path
    if (total < content) throw new RangeError(`${name} is ${total} bytes long as "${length.text}" says, but its members take ${content}`)
    this.#out.moveTo(scope.base + total, name)
  }

  // --- members ----------------------------------------------------------------------------------------------------------------------------

  #sequence(members: readonly Member[], scope: WriterScope, path: string): void {
    if (!isFixedLayout(scope.struct)) {
      for (const member of members) this.#member(member, scope, path)
      return
    }
    let last = this.#out.position
    let next = last
    for (const member of members) {
      const start = placeOf(member, scope, next)
      next = start + (extentOf(member, scope).size ?? 0)
      // What means nothing may lie over something else and is written only if it is given.
      if (!isGiven(member, scope.here) && member.when !== undefined && evaluatedIfKnown(member.when, scope) === 0n) continue
      this.#out.moveTo(start, path)
      this.#member(member, scope, path)
      next = this.#out.position
      last = Math.max(last, next)
    }
    this.#out.moveTo(last, path)
  }

  #member(member: Member, scope: WriterScope, path: string): void {
    const name = join(path, member.name)
    if (!isPresent(member, scope)) {
      if (isGiven(member, scope.here)) throw new RangeError(`${name} is not there: it exists only with ${member.when?.text}`)
      return
    }
    const start = this.#out.position
    this.#content(member, scope, path)
    const area =
      member.framed && this.#session.context.caller?.[`${identifier(member.name)}_length`] === undefined ? undefined : areaOf(member, scope)
    if (area === undefined) return
    const used = this.#out.position - start
    if (used > area) throw new RangeError(`${name} takes ${used} bytes, allowed are 0 .. ${area}${member.area ? ` (${member.area.text})` : ''}`)
    this.#out.moveTo(start + area, name)
  }

  #content(member: Member, scope: WriterScope, path: string): void {
    const { type } = member
    const name = valueName(member)
    const inside = name === '' ? path : join(path, name)
    const value = name === '' || member.reserved ? undefined : scope.here[name]
    if (type.kind === 'group') this.#sequence(type.members, groupScope(member, scope), path)
    else if (type.kind === 'bits' && member.dims.length === 0) this.#bits(member, name === '' ? scope.here : value, scope, inside)
    else if (type.kind === 'union' && member.dims.length === 0)
      this.#union(member, type, value, scope, inside, member.area !== undefined && areaOf(member, scope) !== undefined)
    else this.#elements(member, member.dims.length, value ?? undefined, scope, join(path, name))
  }

  /** The elements of an array from the given number of dimensions on; with none, one element. */
  #elements(member: Member, dims: number, value: unknown, scope: WriterScope, path: string): void {
    if (dims === 0) {
      this.#element(member, value, scope, path)
      return
    }
    const dim = member.dims[member.dims.length - dims] as Member['dims'][number]
    const count = dim.count ?? (dim.length === undefined ? undefined : toLength(evaluated(dim.length, scope)))
    if (dims === 1 && isByteArray(member)) {
      this.#byteArray(value, count, dim.length, path)
      return
    }
    const values = arrayOf(value, count, path)
    if (count !== undefined && values.length !== count)
      throw new RangeError(`${path} must have ${count} elements${saidBy(dim.length)}, not ${values.length}`)
    const struct = dims === member.dims.length && member.type.kind === 'struct' ? this.#session.struct(member.type) : undefined
    const stride = dims === member.dims.length && member.stride ? toLength(evaluated(member.stride, scope)) : undefined
    values.forEach((element, index) => {
      const start = this.#out.position
      const at = `${path}[${index}]`
      if (struct?.head) this.#headed(member, struct, element, scope, at)
      else this.#elements(member, dims - 1, element ?? undefined, scope, at)
      if (stride !== undefined) this.#endStride(start, stride, at)
    })
  }

  /** The other side chose the distance between elements; where it is shorter than an element, the rest of the element has no place. */
  #endStride(start: number, stride: number, path: string): void {
    this.#out.cut(start + stride)
    this.#out.moveTo(start + stride, path)
  }

  #byteArray(value: unknown, count: number | undefined, length: Expression | undefined, path: string): void {
    if (value === undefined) {
      this.#out.moveTo(this.#out.position + (count ?? 0), path)
      return
    }
    const bytes = bytesOf(value, path)
    if (count !== undefined && bytes.length !== count) throw new RangeError(`${path} must have ${count} bytes${saidBy(length)}, not ${bytes.length}`)
    this.#out.put(bytes, path)
  }

  #element(member: Member, value: unknown, scope: WriterScope, path: string): void {
    const { type } = member
    switch (type.kind) {
      case 'integer':
        this.#integer(member, type, value, path)
        return
      case 'struct': {
        const struct = this.#session.struct(type)
        if (this.#onlyGiven && value === undefined) this.#out.moveTo(this.#out.position + (typeExtent(member, scope).size ?? 0), path)
        else this.#struct(struct, value, outerOf(member, struct, scope), path)
        return
      }
      case 'bits':
        this.#bits(member, value, scope, path)
        return
      case 'union':
        this.#union(member, type, value, scope, path, false)
        return
      default:
        if (value !== undefined) this.#out.put(bytesOf(value, path), path)
    }
  }

  #integer(member: Member, type: IntegerType, value: unknown, path: string): void {
    if (value === undefined && this.#onlyGiven) {
      this.#out.moveTo(this.#out.position + type.bytes, path)
      return
    }
    const most =
      type.bytes === 8 && !isBigint(member) && typeof value !== 'bigint' ? BigInt(Number.MAX_SAFE_INTEGER) : (1n << BigInt(type.bytes * 8)) - 1n
    this.#out.putInteger(checked(value, member.const, most, path), type.bytes, isLittleEndian(type, member, this.#session), path)
  }

  #bits(member: Member, value: unknown, scope: WriterScope, path: string): void {
    const { container, fields } = member.type as Extract<Member['type'], { kind: 'bits' }>
    const own = objectOf(value, path)
    if (own !== scope.here) {
      const known = fields.map((field) => field.name).filter((name) => name !== '')
      checkKeys(own, known, path, member.name)
    }
    const little = isLittleEndian(container, member, this.#session)
    let raw = this.#onlyGiven ? this.#out.getInteger(container.bytes, little, path) : 0n
    // Values after defaults: bits may overlap.
    for (const isValue of [false, true]) {
      for (const field of fields) {
        const bits = field.name === '' || field.reserved ? undefined : (own[identifier(field.name)] ?? undefined)
        if ((bits !== undefined) === isValue) raw = this.#field(field, bits, raw, scope, path)
      }
    }
    this.#out.putInteger(raw, container.bytes, little, path)
  }

  #field(field: BitField, value: unknown, raw: bigint, scope: Scope, path: string): bigint {
    const name = join(path, field.name)
    if (!isPresent(field, scope)) {
      if (value !== undefined) throw new RangeError(`${name} is not there: it exists only with ${field.when?.text}`)
      return raw
    }
    if (value === undefined && (this.#onlyGiven || field.const === undefined)) return raw
    const all = (1n << BigInt(field.bits)) - 1n
    const most = all > BigInt(Number.MAX_SAFE_INTEGER) && typeof value !== 'bigint' ? BigInt(Number.MAX_SAFE_INTEGER) : all
    return (raw & ~(all << BigInt(field.bit))) | (checked(value, field.const, most, name) << BigInt(field.bit))
  }

  // --- unions -----------------------------------------------------------------------------------------------------------------------------

  /** `path`: that of the arms. `isArea`: the member has a length of its own. */
  #union(member: Member, type: UnionType, value: unknown, scope: WriterScope, path: string, isArea: boolean): void {
    const start = this.#out.position
    const here = member.name === '' ? scope.here : objectOf(value, path)
    const inside: WriterScope = { ...scope, here }
    if (member.name !== '') checkUnionNames(here, type, path, member.name)
    if (type.by === undefined) this.#views(type, inside, path)
    else this.#selected(member, type, inside, path)
    const size = isFixedUnion(type) ? unionExtent(type, scope).size : undefined
    if (isArea || size === undefined) return
    const used = this.#out.position - start
    if (used > size) throw new RangeError(`${path} takes ${used} bytes, allowed are 0 .. ${size}`)
    this.#out.moveTo(start + size, path)
  }

  #views(type: UnionType, scope: WriterScope, path: string): void {
    const start = this.#out.position
    const arms = presentArms(type, scope)
    this.#refuseOthers(type, arms, scope, path)
    const given = arms.filter((arm) => isGiven(arm, scope.here))
    let last = start
    const write = (arm: Member): void => {
      this.#out.moveTo(start, path)
      this.#member(arm, scope, path)
      last = Math.max(last, this.#out.position)
    }
    given.forEach(write)
    if (given.length > 1 && !this.#onlyGiven) {
      this.#onlyGiven = true
      given.forEach(write)
      this.#onlyGiven = false
    }
    this.#out.moveTo(last, path)
  }

  #selected(member: Member, type: UnionType, scope: WriterScope, path: string): void {
    const { here } = scope
    const arm = selectArm(type, scope)
    const by = type.by?.path.join('.')
    if (member.name !== '') {
      const claimed = here.arm
      if (claimed === undefined && here.bytes !== undefined) {
        this.#out.put(bytesOf(here.bytes, `${path}.bytes`), path)
        return
      }
      if (claimed !== undefined && claimed !== (arm && identifier(arm.name))) {
        throw new RangeError(`${path}.arm must be ${arm ? `"${identifier(arm.name)}"` : 'undefined'}, which ${by} selects, not ${show(claimed)}`)
      }
    }
    this.#refuseOthers(type, arm ? [arm] : [], scope, path)
    if (arm) this.#member(arm, scope, path)
  }

  #refuseOthers(type: UnionType, arms: readonly Member[], scope: Scope, path: string): void {
    const other = type.arms.find((arm) => !arms.some(({ name }) => name === arm.name) && arm.name !== '' && isGiven(arm, scope.here))
    if (other === undefined) return
    const reason =
      other.when === undefined
        ? `${type.by?.path.join('.')} selects ${arms[0] ? `"${arms[0].name}"` : 'none'}`
        : `it exists only with ${other.when.text}`
    throw new RangeError(`${join(path, other.name)} is not there: ${reason}`)
  }

  // --- heads of lists ---------------------------------------------------------------------------------------------------------------------

  #headed(member: Member, head: Struct, value: unknown, scope: WriterScope, path: string): void {
    const element = objectOf(value, path)
    const start = this.#out.position
    const outer = outerOf(member, head, scope)
    const held = heldStructs(this.#session, head).filter(({ struct }) => identifier(struct.name) === element.arm)
    if (held[0]) this.#named(held[0].struct, element, outer, path)
    else if (element.arm === undefined) this.#out.put(bytesOf(element.bytes ?? new Uint8Array(0), `${path}.bytes`), path)
    else throw new TypeError(`${path}.arm must be undefined or the name of a struct that ${head.name} begins, not ${show(element.arm)}`)
    this.#endElement(head, held, outer, start, path)
  }

  #named(reference: Reference, element: Plain, outer: Outer, path: string): void {
    const name = identifier(reference.name)
    checkKeys(element, ['arm', name], path, 'an element of this kind')
    this.#struct(this.#session.struct(reference), element[name], outer, join(path, name))
  }

  /** What is written must be what its head says: so long, and of that kind. */
  #endElement(head: Struct, held: readonly Held[], outer: Outer, start: number, path: string): void {
    const bytes = this.#out.bytes(start, this.#out.position)
    const own = this.#readHead(head, bytes, outer, path)
    const scope: Scope = { ...outer, struct: head, members: head.members, value: own, here: own, absent: () => 0 }
    const { size: length, by } = head.head as NonNullable<Struct['head']>
    const size = toLength(evaluated(length, scope))
    if (size < bytes.length || (held.length === 0 && size !== bytes.length)) {
      throw new RangeError(`${path} takes ${bytes.length} bytes, but its head says ${size} (${length.text})`)
    }
    const selector = headSelector(head, scope)
    if (held.length > 0 && !held.some(({ constant }) => BigInt(constant.value) === selector)) {
      const constants = held.map(({ constant }) => constant.value).join(' or ')
      throw new RangeError(`${path} is a ${held[0]?.struct.name}: its ${by.join('.')} must be ${constants}, not ${selector}`)
    }
    this.#out.moveTo(start + size, path)
  }

  #readHead(head: Struct, bytes: Uint8Array, outer: Outer, path: string): Plain {
    try {
      return new Reader(this.#session, bytes).whole(head, outer).value as Plain
    } catch (error) {
      throw error instanceof RangeError ? new RangeError(`${path}: ${error.message}`) : error
    }
  }
}

function constantAt(path: readonly string[], scope: Scope): number | bigint | undefined {
  const found = declarationAt({ from: 'own', path: [...path] }, scope)
  return (found?.field ?? found?.member)?.const
}

// --- checks ---------------------------------------------------------------------------------------------------------------------------------

function checked(value: unknown, constant: number | bigint | undefined, most: bigint, path: string): bigint {
  if (value === undefined) return BigInt(constant ?? 0)
  if (typeof value !== 'number' && typeof value !== 'bigint') throw new TypeError(`${path} must be a number, not ${show(value)}`)
  if (typeof value === 'number' && !Number.isInteger(value)) throw new RangeError(`${path} must be an integer from 0 to ${most}, not ${value}`)
  const integer = BigInt(value)
  if (integer < 0n || integer > most) throw new RangeError(`${path} must be an integer from 0 to ${most}, not ${value}`)
  if (constant !== undefined && integer !== BigInt(constant)) throw new RangeError(`${path} must be ${constant}, not ${value}`)
  return integer
}

function saidBy(length: Expression | undefined): string {
  return length === undefined || length.tree.op === 'number' ? '' : ` (${length.text})`
}

function objectOf(value: unknown, path: string): Plain {
  if (value === undefined || value === null) return {}
  if (typeof value !== 'object' || Array.isArray(value) || value instanceof Uint8Array)
    throw new TypeError(`${path} must be an object, not ${show(value)}`)
  return value as Plain
}

function arrayOf(value: unknown, count: number | undefined, path: string): readonly unknown[] {
  if (value === undefined) {
    if ((count ?? 0) > mostDefaults) throw new RangeError(`${path} has ${count} elements and must be given; at most ${mostDefaults} are filled in`)
    return new Array(count ?? 0).fill(undefined)
  }
  if (!Array.isArray(value)) throw new TypeError(`${path} must be an array, not ${show(value)}`)
  return value
}

/** A Uint8Array, or what stands for one in YAML and JSON: a list of numbers, or hexadecimal digits. */
function bytesOf(value: unknown, path: string): Uint8Array {
  if (value instanceof Uint8Array) return value
  if (Array.isArray(value)) return Uint8Array.from(value, (byte, index) => Number(checked(byte, undefined, 255n, `${path}[${index}]`)))
  if (typeof value === 'string' && /^(\s*[0-9a-fA-F]{2})*\s*$/.test(value))
    return Uint8Array.from(value.match(/[0-9a-fA-F]{2}/g) ?? [], (digits) => Number.parseInt(digits, 16))
  throw new TypeError(`${path} must be a Uint8Array, a list of bytes or pairs of hexadecimal digits, not ${show(value)}`)
}

function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value)
  if (value instanceof Uint8Array) return `a Uint8Array of ${value.length} bytes`
  if (Array.isArray(value)) return `an array of ${value.length} elements`
  return typeof value === 'object' && value !== null ? 'an object' : String(value)
}

/** True when the value has the member, or something of one that has no name. */
function isGiven(member: Member, here: Plain): boolean {
  return namesOf(member).some((name) => (here[name] ?? undefined) !== undefined)
}

function checkNames(value: Plain, members: readonly Member[], path: string, owner: string): void {
  checkKeys(value, members.flatMap(namesOf), path, owner)
}

function checkUnionNames(value: Plain, type: UnionType, path: string, owner: string): void {
  checkKeys(value, ['arm', 'bytes', ...type.arms.flatMap(namesOf)], path, owner)
}

/** A name that nothing has is a slip of the pen, and would be lost. */
function checkKeys(value: Plain, known: readonly string[], path: string, owner: string): void {
  for (const name of Object.keys(value)) {
    if (!known.includes(name)) throw new TypeError(`${join(path, name)} is no member of ${owner}`)
  }
}
