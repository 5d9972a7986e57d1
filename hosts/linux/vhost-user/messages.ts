/** Messages of vhost-user, to and from bytes. qemu/docs/interop/vhost-user.rst, Message Specification. */
import { type ProtocolRequest, type Struct, viewOf } from 'virtgen/codegen/v1/wire'
import type { Context } from 'virtgen/protocol/vhost-user'
import { VhostUserReplyHeader, vhost_user_version } from 'virtgen/wire/vhost-user'

/** Requests by their names, as `virtgen/protocol/vhost-user` has them. */
export type RequestTable = Readonly<Record<string, ProtocolRequest>>

/** Bytes of a message before its payload. */
export const headerSize = VhostUserReplyHeader.size

/** A request of the other side. Its descriptors belong to whoever takes it, and are to be closed. */
export interface RequestMessage<E extends ProtocolRequest = ProtocolRequest> {
  readonly name: E['name']
  readonly entry: E
  /** Over bytes of its own: nothing changes them any more. */
  readonly request: ReturnType<E['request']>
  /** An answer is asked for, whether or not the request has one anyway. */
  readonly needReply: boolean
  /** Header and payload. */
  readonly bytes: Uint8Array
  readonly fds: readonly number[]
}

/** Any request of a table, told apart by `name`. */
export type MessageOf<T extends RequestTable> = { [K in keyof T]: RequestMessage<T[K]> }[keyof T]

export type RequestValue<E extends ProtocolRequest> = Omit<Parameters<E['encode']>[0], 'hdr'>
export type ReplyValue<E extends ProtocolRequest> = Omit<Parameters<E['encodeReply']>[0], 'reply'>

/**
 * A request as bytes.
 *
 * @param value - the members behind the header
 * @throws RangeError for what does not fit
 */
export function encodeRequest<E extends ProtocolRequest>(entry: E, value: RequestValue<E>, context: Context, needReply = false): Uint8Array {
  const hdr = { request: entry.id, flags: { version, reply: 0, need_reply: Number(needReply) }, size: 0 }
  return sized(entry.encode({ ...value, hdr }, context))
}

/**
 * The reply to a request as bytes.
 *
 * @param value - the members behind the header
 * @throws RangeError for what does not fit, and for a reply that nobody asked for
 */
export function encodeReply<E extends ProtocolRequest>(message: RequestMessage<E>, value: ReplyValue<E>, context: Context): Uint8Array {
  const { entry, request } = message
  // Some members are there only where the size is not 0, which is known once they are.
  const reply = { request: entry.id, flags: { version, reply: 1, need_reply: 0 }, size: Object.keys(value).length }
  return sized(entry.encodeReply({ ...value, reply }, context, request))
}

/** Whether the request is to be answered. */
export function isAnswered({ entry, needReply }: RequestMessage, context: Context): boolean {
  return needReply || entry.answers(context)
}

const version = vhost_user_version.vhost_user_protocol_version

function sized(bytes: Uint8Array): Uint8Array {
  new VhostUserReplyHeader().at(viewOf(bytes)).size = bytes.length - headerSize
  return bytes
}

/** The accessor over all of a message's bytes; undefined where they are not as many as they say. */
export function accessorOver<S extends Struct>(accessor: S, bytes: Uint8Array, open: boolean): S | undefined {
  if (bytes.length < accessor.$minimum) return undefined
  accessor.at(viewOf(bytes))
  return open || accessor.$size === bytes.length ? accessor : undefined
}
