/**
 * What generated code says of the messages that the queues of a device carry. Skeletons and driver clients consist of these tables and typed methods; the protocol
 * itself (copying, checking, dispatching, answering) is `RequestDevice` on one side and `DeviceDriver` on the other.
 *
 * A part of a buffer (device-readable or device-writable) consists of a *header* or *reply*, the members that the description names, and at most one *payload*: open
 * bytes whose length is all that is left. Members may stand on both sides of the payload; header and reply are structs in which the payload is left out.
 */
import type { FeatureProblem, FeatureSet, Struct } from 'virtgen/codegen/v1/wire'

/** What layouts and conditions depend on; the same object from `activate` to `reset`. */
export interface RequestContext {
  readonly features: FeatureSet
  /** The configuration space as its struct: it reads what is there now. */
  readonly config: Struct | undefined
  readonly queueSize: number
  /** Values that only the program knows (`let NAME: caller`). */
  readonly caller: Readonly<Record<string, number>>
}

/** The struct of a part, payload left out. */
export interface LayoutInfo {
  /**
   * Makes an accessor; made once per chain object and kept.
   *
   * @param framed - length of the framed member, where the part has one (see `framedAt`)
   * @param header - the accessor of the readable part, where `usesHeader`
   */
  create(context: RequestContext, framed: number, header: Struct | undefined): Struct
  /** Says whether the configuration that an accessor was made with is another one now. Absent: its layout does not depend on it. */
  outdated?(made: Struct, context: RequestContext): boolean
  /** Bytes of members that stand behind the payload, or behind another open member: they lie at the end of the part. 0 where there are none. */
  readonly suffix: number
  /** A writable part whose layout depends on members of the readable one. */
  readonly usesHeader?: true
  /** Where a member stands whose length is that of its own descriptor (legacy framing). */
  readonly framedAt?: number
  /** Writes the members of a reply that always have the same value. Absent: there are none. */
  fill?(reply: Struct): void
  /** Bytes that a value takes, payload left out, as the struct's `sizeOf` says; for drivers. Absent: always `$minimum`. */
  sizeOf?(value: object, context: RequestContext): number
}

/** Open bytes. */
export interface PayloadInfo {
  /** The member's name. */
  readonly name: string
  /** Its length is a multiple of this, in bytes. */
  multiple?(context: RequestContext): number
  /** Its length lies between these, in bytes. */
  count?(context: RequestContext): readonly [number, number]
  /** A member that says how many of the bytes count; there may be more, but not fewer. */
  readonly claim?: ClaimInfo
}

/** Where a header (event: the event) says how many bytes of its payload count. */
export interface ClaimInfo {
  get(members: Struct): number
  set(members: Struct, length: number): void
}

export interface StatusInfo {
  /** For a request that succeeds, where its handler says nothing. */
  readonly ok: number
  /** Other values of requests that succeed. Where there are any, a driver finds the status in the result. */
  readonly alsoOk?: readonly number[]
  /** For a request that fails. Absent: there is no such value. */
  readonly failed?: number
  /** For a request that is malformed. Absent: as `failed`. */
  readonly malformed?: number
  /** For a request that is not known or not negotiated; `none`: used with length 0. */
  readonly unknown?: number | 'none'
  /** A reply with a value that is no success has no more members than all replies have, unless a payload is written. */
  readonly shrinks?: true
  /** Where its field ends: a refusal is written as far as there is room, if it reaches that far. Absent: only whole ones are. */
  readonly end?: number
  /** Absent in the tables of devices, as are the names. */
  get?(reply: Struct): number
  set(reply: Struct, value: number): void
  /** Names of the values, for messages. */
  readonly names?: Readonly<Record<number, string>>
}

/** Says whether a status is one of success. */
export function isSuccess({ ok, alsoOk }: StatusInfo, value: number): boolean {
  return value === ok || alsoOk?.includes(value) === true
}

/** An event that may take several buffers: its members stand in the first, the payload goes on in the others, each filled to its end but the last. */
export interface SpansInfo {
  /** How many buffers the event takes. */
  count(reply: Struct, context: RequestContext): number
  /** Writes how many; nothing where the member for it is absent. */
  set(reply: Struct, count: number): void
}

/** A request of the driver, or an event of the device. */
export interface RequestInfo {
  /** Name in the description. */
  readonly name: string
  /** Its number in the chapter. */
  readonly id: number
  /** Name of the method that handles it in the skeleton (`zoneAppend`), or that sends or receives it. */
  readonly method: string
  /** Values of the deciding fields, one list per alternative; empty where the request is chosen by its condition and its parts. */
  readonly is: readonly (readonly number[])[]
  /** Members of the header (event: of the reply) that select it, as `$set` takes them. Absent in the tables of devices, which make no requests. */
  readonly values?: object
  /**
   * Absent: always there.
   *
   * @param frame - what the buffer begins with, where it is known; a condition on its members does not hold without it
   */
  when?(context: RequestContext, frame?: Struct): boolean
  /** Sets and clears bits of the header that `when` asks for (`flags has X`). Absent: it asks for none. */
  mark?(header: Struct): void
  /** Device-readable part; absent: no members besides a payload. */
  readonly header?: LayoutInfo
  /** Device-writable part; absent likewise. */
  readonly reply?: LayoutInfo
  /** What a refusal has in place of the reply of the message. */
  readonly refusal?: LayoutInfo
  /** Payload in the device-readable part. */
  readonly readable?: PayloadInfo
  /** Payload in the device-writable part. */
  readonly writable?: PayloadInfo
  /** Absent: one buffer. */
  readonly spans?: SpansInfo
  /** The driver may leave out the device-writable part: the request is handled all the same, and nothing is answered. */
  readonly replyOptional?: true
  /** Nothing is written for success. */
  readonly onlyFailures?: true
  /** Bytes behind the members of the device-readable part are ignored. */
  readonly restIgnored?: true
  /**
   * Says whether the header keeps the ranges, counts, constants and whole elements that the description demands, and whether its 64-bit numbers are exact.
   * Absent: nothing to check.
   */
  check?(header: Struct, context: RequestContext): boolean
  /** Absent: that of the message. */
  readonly status?: StatusInfo
  /** Writes into the reply how many bytes are written, in place of that of the message. */
  setLength?(reply: Struct, length: number): void
  /** Copies what the reply repeats of its request, in place of that of the message. */
  echo?(reply: Struct, frame: Struct): void
}

export interface MessageInfo {
  /** Name in the description. */
  readonly name: string
  readonly kind: 'requests' | 'events'
  /** Members that every request (event) begins with, up to the body: the deciding fields are among them. Absent: there is nothing to decide by. */
  readonly frame?: LayoutInfo
  /** Members that every reply has, the status among them: what is written when a request is not known or malformed. */
  readonly reply: LayoutInfo | undefined
  /** Reads the deciding fields of the frame, outermost first; enum bits only. */
  readonly by: readonly ((frame: Struct) => number)[]
  /** Writes the deciding fields of a header or an event, in the order of `by`, and keeps the flags that stand beside them. Absent: there are none. */
  select?(header: Struct, values: readonly number[]): void
  readonly status?: StatusInfo
  /** Writes into the reply how many bytes are written. Absent: it does not say it. */
  setLength?(reply: Struct, length: number): void
  /** Copies what every reply repeats of its request. */
  echo?(reply: Struct, frame: Struct): void
  readonly requests: readonly RequestInfo[]
}

/** One queue of a device, as negotiated. */
export interface QueueInfo {
  readonly index: number
  /** Name in the description. */
  readonly name: string
  /** Number of a repeated queue, as the description counts it. */
  readonly i?: number
  /** What it carries; undefined where the description says nothing of it. */
  readonly message: MessageInfo | undefined
}

/** A device type. */
export interface DeviceInfo {
  /** Device id, VIRTIO 1.4, Device Types. */
  readonly id: number
  /** Requirements that a negotiated set breaks, or one that a device offers. */
  checkFeatures(features: FeatureSet, offered?: boolean): FeatureProblem[]
  readonly messages: readonly MessageInfo[]
  /** The queues that exist with these features and this configuration. */
  queues(features: FeatureSet, config: Uint8Array): QueueInfo[]
}
