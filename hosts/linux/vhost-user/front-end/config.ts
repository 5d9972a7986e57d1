/** The configuration space of a back-end, as far as it was fetched: reading it must not wait. */
import { vhost_user } from 'virtgen/protocol/vhost-user'
import type { RegisterBus } from 'virtgen/runtime'
import { vhost_user_config_flags } from 'virtgen/wire/vhost-user'
import type { FrontEndChannel } from './channel.ts'

/** What back-ends answer at most (QEMU's VHOST_USER_MAX_CONFIG_SIZE). */
const mostBytes = 256

/** How long a configuration space is. */
export interface ConfigShape {
  /** Bytes that are always there. */
  readonly length: number
  /** All of it, by the first `length` bytes. Absent: these are all. */
  readonly size?: ((start: Uint8Array) => number) | undefined
}

export class FrontEndConfig implements RegisterBus {
  /** Changes with what was fetched. */
  generation = 0
  readonly #channel: FrontEndChannel
  readonly #shape: ConfigShape
  #bytes = new Uint8Array(0)

  constructor(channel: FrontEndChannel, shape: ConfigShape) {
    this.#channel = channel
    this.#shape = shape
  }

  /**
   * Fetches it anew.
   *
   * @returns whether it has changed
   * @throws DriverError `gone`, `closed` (as a rejection)
   */
  async fetch(): Promise<boolean> {
    const start = await this.#fetch(0, this.#shape.length)
    const size = this.#shape.size?.(start) ?? 0
    const bytes = size > start.length ? Uint8Array.of(...start, ...(await this.#fetch(start.length, size))) : start
    if (isEqual(bytes, this.#bytes)) return false
    this.#bytes = bytes
    this.generation++
    return true
  }

  read(offset: number, width: 1 | 2 | 4): number {
    let value = 0
    for (let byte = width - 1; byte >= 0; byte--) value = ((value << 8) | (this.#bytes[offset + byte] ?? 0)) >>> 0
    return value
  }

  /** The back-end may make something else of it: all is fetched again. */
  write(offset: number, width: 1 | 2 | 4, value: number): void {
    const payload = Uint8Array.from({ length: width }, (_, byte) => value >>> (8 * byte))
    const config = { offset, size: width, flags: vhost_user_config_flags.writable, payload }
    this.#channel.tell(vhost_user.set_config, { config })
    if (offset + width <= this.#bytes.length) this.#bytes.set(payload, offset)
    this.fetch().catch(() => {})
  }

  async #fetch(from: number, to: number): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = new Uint8Array(to - from)
    for (let at = from; at < to; at += mostBytes) {
      const size = Math.min(to - at, mostBytes)
      const { reply } = await this.#channel.ask(vhost_user.get_config, { config: { offset: at, size, flags: 0, payload: new Uint8Array(size) } })
      // What a back-end does not have, reads as zeros.
      bytes.set(reply.config?.payload.subarray(0, size) ?? [], at - from)
    }
    return bytes
  }
}

function isEqual(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && one.every((byte, at) => byte === other[at])
}
