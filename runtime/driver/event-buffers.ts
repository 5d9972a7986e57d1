/** Buffers that a client gives the device for its events, and who hears of them. */
import { type Struct, viewOf } from 'virtgen/codegen/v1/wire'
import type { MessageInfo, RequestContext, RequestInfo } from '../request/message.ts'
import { requestOf, type ValueStruct } from '../request/select.ts'
import type { Violation } from '../violation.ts'
import { DriverError } from './host.ts'
import type { DmaBuffer } from './memory.ts'
import { payloadMistake } from './payload.ts'

import type { ClientBuffer, ServedQueue } from './served-queue.ts'

/** Gets the members of the event, the payload under its name, and `queue`. */
export type EventHandler = (event: object) => void

/** Buffers per queue. */
const mostBuffers = 64

/** An event of which some buffers have come. */
interface BegunEvent {
  readonly parts: Uint8Array[]
  /** Buffers that are still to come. */
  left: number
}

/** The events of one message. */
export class EventBuffers {
  readonly #message: MessageInfo
  readonly #openSize: number
  readonly #guard: (run: () => void) => void
  readonly #handlers = new Map<RequestInfo, EventHandler[]>()
  readonly #begun = new Map<ServedQueue, BegunEvent>()

  /**
   * @param openSize - bytes of a buffer where the length of an event is open
   * @param guard - calls our user's code
   */
  constructor(message: MessageInfo, openSize: number, guard: (run: () => void) => void) {
    this.#message = message
    this.#openSize = openSize
    this.#guard = guard
  }

  add(info: RequestInfo, handler: EventHandler): void {
    const handlers = this.#handlers.get(info)
    if (handlers === undefined) this.#handlers.set(info, [handler])
    else handlers.push(handler)
  }

  /**
   * Gives a queue its buffers: as many as it holds, up to 64, fewer where memory is short.
   *
   * @throws DriverError `memory` when there is no memory for a single one
   */
  post(served: ServedQueue): void {
    const length = this.#length(served.context)
    const count = Math.min(served.queue.size, mostBuffers)
    for (let i = 0; i < count; i++) {
      try {
        served.send(new EventBuffer(this, served.pool.take(length), length))
      } catch (error) {
        if (i > 0 && error instanceof DriverError && error.kind === 'memory') return
        throw error
      }
    }
  }

  /** The queue is reset: what has come of an event is void. */
  forget(served: ServedQueue): void {
    this.#begun.delete(served)
  }

  /** Says what the device did wrong; otherwise `again` is called, then, where the event is complete, the handlers. */
  received(served: ServedQueue, part: Uint8Array, again: () => void): Violation | undefined {
    const { context } = served
    const begun = this.#begun.get(served)
    begun?.parts.push(part)
    if (begun !== undefined && --begun.left > 0) {
      again()
      return undefined
    }
    this.#begun.delete(served)
    const bytes = begun === undefined ? part : joined(begun.parts)
    const frame = this.#message.frame?.create(context, 0, undefined)
    if (frame !== undefined && bytes.length < frame.$minimum) return tooShort(served, this.#message.name, bytes.length, frame.$minimum)
    frame?.at(viewOf(bytes))
    const info = requestOf(this.#message, frame, { readable: { length: 0 }, writable: bytes }, context)
    const event = info === undefined ? undefined : eventOf(served, info, bytes, begun !== undefined)
    if (typeof event === 'object' && 'violation' in event) return event.violation
    again()
    if (begun === undefined && event !== undefined && event.buffers > 1) {
      this.#begun.set(served, { parts: [part], left: event.buffers - 1 })
      return undefined
    }
    if (info !== undefined && event !== undefined)
      for (const handler of this.#handlers.get(info) ?? []) this.#guard(() => handler({ ...event.value, queue: served.info.index }))
    return undefined
  }

  /** Bytes of the largest event there can be. */
  #length(context: RequestContext): number {
    let length = this.#message.frame?.create(context, 0, undefined).$minimum ?? 1
    for (const info of this.#message.requests) {
      if (info.when?.(context) === false) continue
      const least = info.reply?.create(context, 0, undefined).$minimum ?? 0
      const isOpen = info.writable !== undefined || info.reply?.sizeOf !== undefined
      length = Math.max(length, isOpen ? Math.max(least, this.#openSize) : least)
    }
    return length
  }
}

class EventBuffer implements ClientBuffer {
  readonly #events: EventBuffers
  readonly #buffer: DmaBuffer
  readonly #length: number

  constructor(events: EventBuffers, buffer: DmaBuffer, length: number) {
    this.#events = events
    this.#buffer = buffer
    this.#length = length
  }

  add({ queue }: ServedQueue): boolean {
    return queue.add([], [{ address: this.#buffer.address, length: this.#length }], this)
  }

  used(served: ServedQueue, written: number): Violation | undefined {
    // A copy: the buffer goes back to the device before anybody looks at the event.
    return this.#events.received(served, this.#buffer.bytes.slice(0, written), () => served.send(this))
  }

  reject(): void {}

  release({ pool }: ServedQueue): void {
    pool.give(this.#buffer)
  }
}

type Event = { readonly value: object; readonly buffers: number } | { readonly violation: Violation }

/** @param isWhole - the bytes are those of all buffers of the event */
function eventOf(served: ServedQueue, info: RequestInfo, bytes: Uint8Array, isWhole: boolean): Event {
  const { context } = served
  const struct = info.reply?.create(context, 0, undefined)
  const least = struct?.$minimum ?? 0
  if (bytes.length < least) return { violation: tooShort(served, info.name, bytes.length, least) }
  const payload = info.writable
  if (payload === undefined) return { value: struct === undefined ? {} : membersOf(struct, bytes), buffers: 1 }
  const suffix = info.reply?.suffix ?? 0
  const prefix = least - suffix
  const members = new Uint8Array(least)
  members.set(bytes.subarray(0, prefix))
  members.set(bytes.subarray(bytes.length - suffix), prefix)
  const value = struct === undefined ? {} : membersOf(struct, members)
  const buffers = isWhole || !info.spans || !struct ? 1 : info.spans.count(struct, context)
  if (buffers < 1 || buffers > served.queue.size) return { violation: wrong(served, `${info.name}: ${buffers} buffers of ${served.queue.size}`) }
  const mistake = buffers > 1 ? undefined : payloadMistake(payload, bytes.length - least, context)
  if (mistake !== undefined) return { violation: wrong(served, `${info.name}: ${mistake}`) }
  return { value: { ...value, [payload.name]: bytes.subarray(prefix, bytes.length - suffix) }, buffers }
}

function membersOf(struct: Struct, bytes: Uint8Array): object {
  return (struct.at(viewOf(bytes)) as ValueStruct).$get()
}

function tooShort(served: ServedQueue, name: string, written: number, needs: number): Violation {
  return wrong(served, `${name}: the device wrote ${written} bytes, the event has ${needs}`)
}

function wrong({ info }: ServedQueue, detail: string): Violation {
  return { kind: 'used-length', queue: info.index, detail }
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}
