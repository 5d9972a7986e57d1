/** Base of the generated skeletons of devices that have something to tell by themselves. */
import type { Struct } from 'virtgen/codegen/v1/wire'
import { EventSender } from './event-sender.ts'
import type { MessageInfo, RequestInfo } from './message.ts'
import { RequestDevice } from './request-device.ts'

export abstract class EventDevice<Config extends Struct = Struct> extends RequestDevice<Config> {
  readonly #events = new EventSender()

  /**
   * Sends an event: puts it into the next buffer that the driver has given. A batch of them becomes visible also where the queue is corked, see `DeviceQueue.showBatch`.
   *
   * @returns bytes of the payload that were sent (0 for an event without), or undefined where there is no buffer or the event is not negotiated
   * @throws RangeError for a value that does not fit
   */
  protected sendEvent(event: RequestInfo, queueIndex: number, value: object | undefined, payload: Uint8Array | undefined): number | undefined {
    const active = this.$active(queueIndex)
    const message = active?.info.message
    if (active === undefined || message === undefined || event.when?.(active.context) === false) return undefined
    const result = this.#events.send(message, event, active.context, active.queue, value, payload)
    if (typeof result === 'object') {
      this.host?.fail(result)
      return undefined
    }
    if (result !== undefined) active.queue.showBatch()
    return result
  }

  /** The first queue that carries a message; undefined where there is none. */
  protected queueOf(message: MessageInfo): number | undefined {
    return this.queues.find((info) => info.message === message)?.index
  }
}
