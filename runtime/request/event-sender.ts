/** Puts events of the device into buffers that the driver has given. */
import type { Struct } from 'virtgen/codegen/v1/wire'
import type { DeviceQueue } from '../queue.ts'
import type { Violation } from '../violation.ts'
import type { LayoutInfo, MessageInfo, RequestContext, RequestInfo } from './message.ts'
import { Storage } from './storage.ts'

export class EventSender {
  readonly #storage = new Storage(64)

  /**
   * Fills the next available buffer.
   *
   * @returns bytes of the payload that were sent, undefined where there is no buffer, or what is wrong with the buffer
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
    const length = event.reply === undefined ? 0 : this.#encode(event.reply, message, event, context, value)
    const chain = queue.next()
    if (chain === undefined) return undefined
    const { readable, writable } = chain
    const room = writable.length - length
    if (readable.length > 0 || room < 0) {
      const detail = `a buffer of ${readable.length} device-readable and ${writable.length} device-writable bytes for ${event.name}, which has ${length} bytes`
      return { kind: 'event-size', queue: queue.index, head: chain.head, detail }
    }
    const suffix = event.reply?.suffix ?? 0
    const sent = payload === undefined ? 0 : Math.min(payload.length, room)
    writable.copyFrom(this.#storage.bytes, 0, length - suffix)
    if (payload) writable.copyFrom(payload, 0, sent)
    // Members behind the payload end with it: the used length is all that the driver learns of its length.
    writable.copyFrom(this.#storage.bytes, length - suffix, length)
    chain.complete(length + sent)
    return sent
  }

  #encode(layout: LayoutInfo, message: MessageInfo, event: RequestInfo, context: RequestContext, value: object | undefined): number {
    const struct = layout.create(context, 0, undefined) as Struct & { $set(value: object): unknown }
    const length = layout.sizeOf?.(value ?? {}, context) ?? struct.$minimum
    this.#storage.reserve(length)
    this.#storage.bytes.fill(0, 0, length)
    struct.at(this.#storage.view, 0, length)
    // First, as other members may depend on what selects the event; and last, as nothing else may select it.
    struct.$set(event.values)
    if (value) struct.$set(value)
    const [values] = event.is
    // Flags may stand beside the value that selects.
    if (message.select !== undefined && values !== undefined) message.select(struct, values)
    else struct.$set(event.values)
    return length
  }
}
