/** The requests of a protocol as data: what generated modules of `virtgen/protocol/*` hold. */
import type { FeatureSet } from './features.ts'
import type { Struct } from './struct.ts'

/** What reading and writing a message depends on besides its bytes. */
export interface ProtocolContext {
  /** The features in use. */
  readonly features: FeatureSet
  /** What the program knows, by the names of the description. */
  readonly caller: Readonly<Record<string, number>>
}

/** Bytes of a message, its header included. */
export interface MessageSize {
  readonly least: number
  /** Infinity where the description does not bound it. */
  readonly most: number
}

/** One request of a protocol. Accessors lie over the whole message, header included. */
export interface ProtocolRequest {
  /** By which the message says what it is. */
  readonly id: number
  /** As the description calls it. */
  readonly name: string
  /** The constant that the id is. */
  readonly constant: string
  /** Bit of the feature without which it does not exist. */
  readonly feature?: number
  /** Bit of the protocol feature without which it does not exist. */
  readonly protocolFeature?: number
  readonly size: MessageSize
  /** Of the reply that it has anyway; 0 where it has none. */
  readonly replySize: MessageSize
  /** What follows the members is not described: the message is longer than its accessor says. */
  readonly open?: true
  /** It has a reply, also where none is asked for. */
  answers(context: ProtocolContext): boolean
  /** File descriptors that come with the message. */
  fds(request: Struct, context: ProtocolContext): number
  /** File descriptors that come with the reply. */
  replyFds(reply: Struct, context: ProtocolContext): number
  /** An accessor of the message, not yet at its bytes. */
  request(context: ProtocolContext): Struct
  /** An accessor of the reply, not yet at its bytes. */
  reply(context: ProtocolContext, request: Struct): Struct
  /** The message. Throws RangeError for what does not fit. */
  encode(value: object, context: ProtocolContext): Uint8Array
  /** The reply. Throws RangeError for what does not fit. */
  encodeReply(value: object, context: ProtocolContext, request: Struct): Uint8Array
}

/** For a message without members, which a request that is never answered has as its reply. */
export function noMembers(): never {
  throw new TypeError('there is no such message')
}
