/** Puts events of the device into buffers that the driver has given. */
import type { Struct } from 'virtgen/codegen/v1/wire'
import type { Chain } from '../chain.ts'
import type { DeviceQueue } from '../queue.ts'
import type { Violation } from '../violation.ts'
import type { ClaimInfo, LayoutInfo, MessageInfo, RequestContext, RequestInfo, SpansInfo } from './message.ts'
import { isEmpty, type ValueStruct, writeSelected } from './select.ts'
import { Storage } from './storage.ts'

export class EventSender {
  readonly #storage = new Storage(64)
  // Most events are like the one before.
  #layout: LayoutInfo | undefined
  #context: RequestContext | undefined
  #struct: ValueStruct | undefined
  /** The event that is in the storage with nothing that its sender says. */
  #blank: RequestInfo | undefined
  /** The number of buffers that the members in the storage speak of; 0 where nobody has said so. */
  #buffers = 0

  /**
   * Fills the next available buffer, or several.
   *
   * @returns bytes of the payload that were sent, undefined where there are too few buffers, or what is wrong with the buffer
   * @throws RangeError for a value that does not fit; no buffer is taken then
   */
  send(
    message: MessageInfo,
    event: RequestInfo,
    context: RequestContext,
    queue: DeviceQueue,
    value: object | undefined,
    payload: Uint8Array | undefined,
  ): number | Violation | undefined {
    if (payload === undefined && this.#buffers > 0) this.#blank = undefined
    const length = event.reply === undefined ? 0 : this.#encode(event.reply, message, event, context, value)
    if (event.spans && event.reply && payload) return this.#spread(event, event.spans, context, queue, length, payload)
    const chain = queue.next()
    if (chain === undefined) return undefined
    const { writable } = chain
    const room = writable.length - length
    const mistake = mistakeOf(event, queue, chain, length)
    if (mistake !== undefined) return mistake
    const suffix = event.reply?.suffix ?? 0
    const sent = payload === undefined ? 0 : Math.min(payload.length, room)
    if (event.reply && event.writable?.claim) this.#lower(event.writable.claim, this.#structOf(event.reply, context), length, sent)
    writable.copyFrom(this.#storage.bytes, 0, length - suffix)
    if (payload) writable.copyFrom(payload, 0, sent)
    // Members behind the payload end with it: the used length is all that the driver learns of its length.
    writable.copyFrom(this.#storage.bytes, length - suffix, length)
    chain.complete(length + sent)
    return sent
  }

  /** The members go into the first buffer, the payload into as many as it takes, which become used together. */
  #spread(
    event: RequestInfo,
    spans: SpansInfo,
    context: RequestContext,
    queue: DeviceQueue,
    length: number,
    payload: Uint8Array,
  ): number | Violation | undefined {
    const chain = queue.next()
    if (chain === undefined) return undefined
    const mistake = mistakeOf(event, queue, chain, length)
    if (mistake !== undefined) return mistake
    const sent = payload.length
    if (chain.writable.length < length + sent) return this.#spreadFar(event, spans, context, queue, length, payload, chain)
    this.#say(spans, 1)
    chain.writable.copyFrom(this.#storage.bytes, 0, length)
    chain.writable.copyFrom(payload, 0, sent)
    chain.complete(length + sent)
    return sent
  }

  /** The same where the first buffer is too small. */
  #spreadFar(
    event: RequestInfo,
    spans: SpansInfo,
    context: RequestContext,
    queue: DeviceQueue,
    length: number,
    payload: Uint8Array,
    first: Chain,
  ): number | Violation | undefined {
    this.#say(spans, 2)
    const mayBeMany = spans.count(this.#struct!, context) === 2
    const chains = [first]
    for (let room = first.writable.length; mayBeMany && room < length + payload.length; ) {
      const chain = queue.next()
      if (chain === undefined) {
        // Nobody holds buffers that it does not use: a driver that suspends the device waits for those.
        for (const taken of chains.reverse()) queue.putBack(taken)
        return undefined
      }
      const mistake = mistakeOf(event, queue, chain, length)
      if (mistake !== undefined) return mistake
      chains.push(chain)
      room += chain.writable.length
    }
    this.#say(spans, chains.length)
    let sent = 0
    queue.cork()
    for (const [index, chain] of chains.entries()) {
      const before = index === 0 ? length : 0
      const end = Math.min(payload.length, sent + chain.writable.length - before)
      chain.writable.copyFrom(this.#storage.bytes, 0, before)
      chain.writable.copyFrom(payload, sent, end)
      chain.complete(before + end - sent)
      sent = end
    }
    queue.uncork()
    return sent
  }

  /** Writes how many buffers the event takes, where the members do not say so already. */
  #say(spans: SpansInfo, buffers: number): void {
    if (this.#buffers === buffers) return
    spans.set(this.#struct!, buffers)
    this.#buffers = buffers
  }

  /** No event says that it has more bytes than there was room for. */
  #lower(claim: ClaimInfo, struct: Struct, length: number, sent: number): void {
    this.#blank = undefined
    struct.at(this.#storage.view, 0, length)
    if (claim.get(struct) > sent) claim.set(struct, sent)
  }

  /** Writes the members into the storage, where the accessor of the layout stands then. */
  #encode(layout: LayoutInfo, message: MessageInfo, event: RequestInfo, context: RequestContext, value: object | undefined): number {
    const struct = this.#structOf(layout, context)
    const isBlank = value === undefined || saysNothing(value)
    if (isBlank && this.#blank === event) return struct.$length
    this.#blank = undefined
    this.#buffers = 0
    const length = layout.sizeOf?.(value ?? {}, context) ?? struct.$minimum
    this.#storage.reserve(length)
    this.#storage.clear(length)
    this.#storage.place(struct, length)
    writeSelected(message, event, struct, value)
    if (isBlank) this.#blank = event
    return length
  }

  #structOf(layout: LayoutInfo, context: RequestContext): ValueStruct {
    const known = this.#struct
    if (known !== undefined && layout === this.#layout && context === this.#context && layout.outdated?.(known, context) !== true) return known
    const made = layout.create(context, 0, undefined) as ValueStruct
    this.#layout = layout
    this.#context = context
    this.#struct = made
    this.#blank = undefined
    return made
  }
}

function mistakeOf(event: RequestInfo, queue: DeviceQueue, { head, readable, writable }: Chain, length: number): Violation | undefined {
  if (readable.length === 0 && writable.length >= length) return undefined
  const detail = `a buffer of ${readable.length} device-readable and ${writable.length} device-writable bytes for ${event.name}, which has ${length} bytes`
  return { kind: 'event-size', queue: queue.index, head, detail }
}

/** Objects of other kinds may have members that cannot be enumerated. */
function saysNothing(value: object): boolean {
  return value.constructor === Object && isEmpty(value)
}
