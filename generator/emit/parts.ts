/**
 * The two parts of each request as classes: the members that the description names, with the payload (open bytes, which nobody copies) left out. Requests that add
 * no members of their own share the class of the message's frame.
 */
import { requestStruct } from '../codec/session.ts'
import { findStruct } from '../facts.ts'
import type { Dim, Member, Message, Model, Part, Request, Struct } from '../model.ts'
import { className } from '../names.ts'
import { isOpen } from '../resolve/place.ts'
import { isBytes } from '../values.ts'
import { type Needs, usesReadable } from './wire/needs.ts'
import { slotsOf } from './wire/slots.ts'

/** A class of a part. `struct` has both parts, so that the writable one may look at the readable one. */
export interface PartClass {
  name: string
  part: Part
  struct: Struct
  /** Class of the readable part that goes with it. */
  readable?: string
}

export interface PartShape {
  /** Absent: no members besides a payload. */
  class?: PartClass
  payload?: Member
  /** Bytes of the members behind the payload, another open member, or the body. */
  suffix: number
  /** The member whose length is that of its descriptor, and where it stands. */
  framed?: { member: Member; offset: number }
}

export type Shapes = Record<Part, PartShape>

export interface RequestShape extends Shapes {
  message: Message
  request: Request
}

export interface MessageShape {
  message: Message
  frame: Shapes
  requests: RequestShape[]
  /** Every class once. */
  classes: PartClass[]
}

const parts = ['readable', 'writable'] as const

export function messageShape(model: Model, needs: Needs, message: Message): MessageShape {
  const frameStruct = message.frame === undefined ? undefined : findStruct(model, { chapter: message.chapter, name: message.frame })
  const frameMembers = frameStruct?.members ?? []
  const every = withError(model, message, frameMembers)
  const whole = { ...wholeOf(model, message, emptyRequest(message)), name: message.name, members: withoutBody(every) }
  const frame = shapesOf(
    needs,
    whole,
    every === frameMembers ? frameMembers : [],
    (part) => className(message.name) + suffixOf(message, part),
    undefined,
  )
  const requests = message.requests.map((request): RequestShape => {
    const struct = wholeOf(model, message, request)
    const own = (part: Part): string => className(`${message.name}_${request.name}`) + suffixOf(message, part)
    return { message, request, ...shapesOf(needs, struct, frameMembers, own, { request, frame }) }
  })
  const all = [frame, ...requests].flatMap((shapes) => parts.flatMap((part) => shapes[part].class ?? []))
  return { message, frame, requests, classes: [...new Set(all)] }
}

/** What a class of a part is called by. */
function suffixOf({ kind }: Message, part: Part): string {
  if (part === 'readable') return 'Header'
  return kind === 'events' ? 'Event' : 'Reply'
}

/** Where every reply brings the members of its status itself, an error has those of the struct that the message names for it. */
function withError(model: Model, { status }: Message, frame: readonly Member[]): readonly Member[] {
  const [name, ...rest] = status?.field ?? []
  if (status?.error === undefined || name === undefined || rest.length === 0) return frame
  if (frame.some((member) => member.part === 'writable' && member.type.kind !== 'body')) return frame
  const size = findStruct(model, status.error)?.size ?? null
  const error: Member = {
    source: 'prose',
    name,
    part: 'writable',
    type: { kind: 'struct', ...status.error, size },
    dims: [],
    reserved: false,
    offset: 0,
    size,
    framed: false,
    legacy: 'same',
    was: [],
    linux: { name: null },
  }
  return [...frame, error]
}

/** Frame and request in one, with what is to be said of them. */
function wholeOf(model: Model, message: Message, request: Request): Struct {
  const { doc, section } = request
  return { ...requestStruct(model, message, request), ...(doc === undefined ? {} : { doc }), ...(section === undefined ? {} : { section }) }
}

function emptyRequest(message: Message): Request {
  const { source, section, doc } = message
  return { source, ...(section === undefined ? {} : { section }), ...(doc === undefined ? {} : { doc }), name: '', is: [], members: [] }
}

function withoutBody(members: readonly Member[]): Member[] {
  return members.filter(({ type }) => type.kind !== 'body')
}

function shapesOf(
  needs: Needs,
  whole: Struct,
  frameMembers: readonly Member[],
  name: (part: Part) => string,
  of: { request: Request; frame: Shapes } | undefined,
): Shapes {
  const { members } = seenStruct(needs, whole)
  const payloads = { readable: payloadOf(needs, whole, members, 'readable'), writable: payloadOf(needs, whole, members, 'writable') }
  const rest = members.flatMap((member) => without(member, payloads[member.part as Part]))
  const doc = docOf(whole, payloads)
  const struct: Struct = { ...whole, ...(doc === undefined ? {} : { doc }), members: rest }
  const shape = (part: Part, readable: string | undefined): PartShape => {
    const payload = payloads[part]
    const inPart = rest.filter((member) => member.part === part)
    const result: PartShape = { suffix: suffixBytes(needs, struct, members, frameMembers, part, payload) }
    if (payload) result.payload = payload
    const framed = framedOf(needs, struct, inPart)
    if (framed) result.framed = framed
    if (inPart.length === 0) return result
    const shared = of?.frame[part].class
    const own = of === undefined || flat(of.request.members).some((member) => member.part === part && member.name !== payload?.name)
    const looks = part === 'writable' && usesReadable(struct)
    if (shared && !own && !(looks && shared.readable !== readable)) return { ...result, class: shared }
    return { ...result, class: { name: name(part), part, struct, ...(looks && readable !== undefined ? { readable } : {}) } }
  }
  const readable = shape('readable', undefined)
  return { readable, writable: shape('writable', readable.class?.name) }
}

function docOf({ doc }: Struct, payloads: Record<Part, Member | undefined>): string | undefined {
  const names = [...new Set(parts.flatMap((part) => payloads[part]?.name || []))].map((name) => `\`${name}\``)
  return [doc, names.length > 0 && `The payload, ${names.join(' and ')}, is left out.`].filter(Boolean).join(' ') || undefined
}

function without(member: Member, payload: Member | undefined): Member[] {
  if (payload === undefined) return [member]
  if (member === payload) return []
  if (member.type.kind !== 'group') return [member]
  const members = member.type.members.flatMap((inner) => without(inner, payload))
  if (members.length === 0) return []
  return members.length === member.type.members.length ? [member] : [{ ...member, type: { ...member.type, members } }]
}

/** A request with its members as skeletons and driver clients see them. */
export function seenStruct(needs: Needs, struct: Struct): Struct {
  return { ...struct, members: struct.members.map((member) => opaque(needs, struct, member)) }
}

/** A member whose layout only the program knows is bytes: the program puts the struct's own class over them. */
function opaque(needs: Needs, struct: Struct, member: Member): Member {
  if (member.type.kind === 'group' && member.with === undefined) {
    const members = member.type.members.map((inner) => opaque(needs, struct, inner))
    return members.every((inner, index) => inner === (member.type as { members: Member[] }).members[index])
      ? member
      : { ...member, type: { ...member.type, members } }
  }
  const asksProgram = member.with === 'caller' || (typeof member.with === 'object' && Object.values(member.with).includes('caller'))
  if (!asksProgram) return member
  const { with: _, ...rest } = member
  const fixed = fixedBytes(needs, struct, [{ ...rest, dims: [] }])
  if (fixed === undefined) return { ...rest, type: { kind: 'bytes' }, dims: [] }
  return { ...rest, type: { kind: 'integer', name: 'u8', bytes: 1, endian: 'none' }, dims: [...member.dims, fixedDim(fixed)] }
}

function fixedDim(count: number): Dim {
  return { count, length: { text: String(count), tree: { op: 'number', value: count } } }
}

/** Members in order, those of groups without a condition at their parent's level. */
function flat(members: readonly Member[]): Member[] {
  return members.flatMap((member) =>
    member.type.kind === 'group' && member.when === undefined && member.dims.length === 0 ? flat(member.type.members) : [member],
  )
}

function payloadOf(needs: Needs, whole: Struct, members: readonly Member[], part: Part): Member | undefined {
  const all = flat(members.filter((member) => member.part === part))
  const index = all.findIndex(isPayload)
  return index < 0 || fixedBytes(needs, whole, all.slice(index + 1)) === undefined ? undefined : all[index]
}

function isPayload(member: Member): boolean {
  if (!isOpen(member) || !isBytes(member) || member.when !== undefined || member.reserved) return false
  const [first, ...inner] = member.dims
  return (
    (member.type.kind === 'bytes' && first === undefined) ||
    (first?.length === undefined && first?.count === null && inner.every(({ count }) => count !== null))
  )
}

/** Bytes of members whose length is a number, whatever is negotiated. */
function fixedBytes(needs: Needs, struct: Struct, members: readonly Member[]): number | undefined {
  const slots = slotsOf(needs, { ...struct, members: [...members] }, undefined)
  if (slots.some(({ length, whens, member }) => length !== 'constant' || whens.length > 0 || member.size === null)) return undefined
  return slots.reduce((sum, { member }) => sum + (member.size as number), 0)
}

function suffixBytes(
  needs: Needs,
  struct: Struct,
  members: readonly Member[],
  frameMembers: readonly Member[],
  part: Part,
  payload: Member | undefined,
): number {
  const all = flat(members.filter((member) => member.part === part))
  const open = payload ? all.indexOf(payload) : all.findIndex((member) => needs.isOpenMember(member))
  if (open >= 0) return fixedBytes(needs, struct, all.slice(open + 1)) ?? 0
  const frame = frameMembers.filter((member) => member.part === part)
  const body = frame.findIndex(({ type }) => type.kind === 'body')
  // What stands behind the body is at the end of the part also where a request has nothing in its place.
  return body < 0 ? 0 : (fixedBytes(needs, struct, frame.slice(body + 1)) ?? 0)
}

function framedOf(needs: Needs, struct: Struct, members: readonly Member[]): PartShape['framed'] {
  const all = flat(members)
  const index = all.findIndex(({ framed }) => framed)
  const offset = index < 0 ? undefined : fixedBytes(needs, struct, all.slice(0, index))
  return offset === undefined ? undefined : { member: all[index] as Member, offset }
}
