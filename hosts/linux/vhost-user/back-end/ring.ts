/** What a front-end has said of one ring, and the descriptors by which the two sides wake each other. */
import type { DeviceQueue } from 'virtgen/runtime'
import type { VhostVringAddrValue } from 'virtgen/wire/vhost-user'
import { closeFd, type Poller, signalEventfd, type Watch } from '../../system/index.ts'

/** How a ring is told of buffers. `polled`: not at all, the back-end looks by itself. */
type Kick = { readonly fd: number; readonly watch: Watch } | 'polled'

/** One virtqueue between front-end and back-end. vhost-user protocol, Ring states. */
export class Ring {
  readonly index: number
  /** Entries; 0 where the front-end has not said. */
  size = 0
  /** User addresses. */
  addresses: Omit<VhostVringAddrValue, 'index'> | undefined
  /** Where it goes on, as messages have it; undefined where nobody has said. */
  base: number | undefined
  /** The first kick has come, and the front-end has not asked for the base since. */
  started = false
  enabled = false
  /** Its queue is at work, or was when something broke it: nobody has closed it. */
  open = false
  /** It was broken from the start, and has got nowhere. */
  failed = false
  /** The device takes buffers right now, of this ring or another one. */
  serving = false
  /** The guest is to be interrupted, together with what else is used in this turn of the loop. */
  callDue = false
  /** That queue. */
  queue: DeviceQueue | undefined
  #corked: DeviceQueue | undefined
  #kick: Kick | undefined
  #call: number | undefined
  #error: number | undefined
  /** The front-end has said how it wants to be called: by an eventfd, or not at all as it looks by itself. */
  #callIsSet = false
  #errorIsSet = false

  constructor(index: number) {
    this.index = index
  }

  get isPolled(): boolean {
    return this.#kick === 'polled'
  }

  /**
   * @param fd - an eventfd, which belongs to the ring from now on; undefined: the ring is to be polled
   * @throws SystemError where it cannot be watched; it is closed then
   */
  setKick(fd: number | undefined, poller: Poller, kicked: () => void): void {
    this.dropKick()
    try {
      this.#kick = fd === undefined ? 'polled' : { fd, watch: poller.watch(fd, { edge: true }, kicked) }
    } catch (error) {
      if (fd !== undefined) closeFd(fd)
      throw error
    }
  }

  setCall(fd: number | undefined): void {
    if (this.#call !== undefined) closeFd(this.#call)
    this.#call = fd
    this.#callIsSet = true
  }

  setError(fd: number | undefined): void {
    if (this.#error !== undefined) closeFd(this.#error)
    this.#error = fd
    this.#errorIsSet = true
  }

  /** The device begins to take buffers: what it uses of this ring meanwhile becomes visible in batches, also where it takes those of another ring and answers here. */
  cork(): void {
    if (this.serving) return
    this.serving = true
    this.#corked = this.queue
    this.#corked?.cork()
  }

  /** It has taken all of this ring, and goes on with another one: what is used here becomes visible now. */
  show(): void {
    const corked = this.#corked
    corked?.uncork()
    corked?.cork()
  }

  /** It has ended: the rest becomes visible. */
  uncork(): void {
    const corked = this.#corked
    this.#corked = undefined
    try {
      corked?.uncork()
    } finally {
      this.serving = false
    }
  }

  /** Interrupts the guest. False where that needs a message, as the front-end has given no eventfd and has not said that it looks by itself. */
  call(): boolean {
    if (this.#call !== undefined) signalEventfd(this.#call)
    return this.#callIsSet
  }

  /** Reports that the ring is broken; likewise. */
  fail(): boolean {
    if (this.#error !== undefined) signalEventfd(this.#error)
    return this.#errorIsSet
  }

  /** Kicks are not heard any more. */
  dropKick(): void {
    if (typeof this.#kick === 'object') {
      this.#kick.watch.close()
      closeFd(this.#kick.fd)
    }
    this.#kick = undefined
  }

  /** Closes its descriptors. */
  release(): void {
    this.dropKick()
    this.setCall(undefined)
    this.setError(undefined)
  }
}
