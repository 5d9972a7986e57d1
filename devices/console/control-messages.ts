/** What the device has to tell the driver of its ports, until there are buffers for it. */
import type { ConsolePort } from './port.ts'

/** The messages of the device, VIRTIO 1.4, Console Device / Multiport Device Operation. */
export type ControlMessage = 'add' | 'remove' | 'console' | 'name' | 'size' | 'open'

/** How a message is sent; false where there is no buffer. */
export type SendControl = (port: ConsolePort, message: ControlMessage) => boolean

interface Pending {
  readonly port: ConsolePort
  readonly message: ControlMessage
}

/**
 * Messages in their order. One of each kind for a port at most: what it says is looked up when it is sent, so that neither a host that changes its mind nor a driver that asks
 * again and again makes the list longer.
 */
export class ControlMessages {
  #pending: Pending[] = []

  add(port: ConsolePort, message: ControlMessage): void {
    if (!this.#pending.some((each) => each.port === port && each.message === message)) this.#pending.push({ port, message })
  }

  /**
   * Nothing more is said of a port.
   *
   * @returns false where not even that it is there was said
   */
  forget(port: ConsolePort): boolean {
    const isUnknown = this.#pending.some((each) => each.port === port && each.message === 'add')
    this.#pending = this.#pending.filter((each) => each.port !== port)
    return !isUnknown
  }

  clear(): void {
    this.#pending = []
  }

  send(send: SendControl): void {
    for (let first = this.#pending[0]; first !== undefined; first = this.#pending[0]) {
      if (!send(first.port, first.message)) return
      this.#pending.shift()
    }
  }

  /** For snapshots. */
  get list(): readonly (readonly [port: number, message: ControlMessage])[] {
    return this.#pending.map(({ port, message }) => [port.index, message])
  }
}
