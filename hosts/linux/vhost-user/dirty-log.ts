/** The log of a migration: a bit for each page of guest memory that the back-end has written. vhost-user, Migration. */
import { VHOST_LOG_PAGE } from 'virtgen/wire/vhost-user'

const bitsPerByte = 8
const allBits = 0xff

/** A device area whose writes the front-end wants to find elsewhere in the log. */
export interface LoggedRing {
  /** Where it lies, and its bytes. */
  readonly address: number
  readonly length: number
  /** The address under which it is logged (`log` of VHOST_USER_SET_VRING_ADDR). */
  readonly log: number
}

/**
 * The front-end takes bits out while they are set, and copies the page then: a bit is set behind the write that it tells of. To be called from `GuestMemory.onWrite`,
 * which tells of payload and of used entries alike.
 */
export class DirtyLog {
  readonly #windows: readonly Uint8Array[]
  readonly #rings: (LoggedRing | undefined)[] = []

  /** @param windows - the memory of VHOST_USER_SET_LOG_BASE, one piece behind the other; they may become empty when it is unmapped */
  constructor(windows: readonly Uint8Array[]) {
    this.#windows = windows
  }

  /** Guest memory that it covers, in bytes. */
  get covers(): number {
    return this.#windows.reduce((sum, window) => sum + window.length, 0) * bitsPerByte * VHOST_LOG_PAGE
  }

  /** Writes to a device area are logged at another address as well; undefined: no longer. Nothing is needed where `log` is its guest address. */
  setRing(index: number, ring: LoggedRing | undefined): void {
    this.#rings[index] = ring?.log === ring?.address ? undefined : ring
  }

  /** Bytes of guest memory were written. Pages that the log does not cover are left out. */
  mark(address: number, length: number): void {
    this.#markPages(address, length)
    for (const ring of this.#rings) {
      if (ring === undefined || address < ring.address || address >= ring.address + ring.length) continue
      this.#markPages(ring.log + address - ring.address, Math.min(length, ring.address + ring.length - address))
    }
  }

  #markPages(address: number, length: number): void {
    if (length <= 0) return
    const first = Math.floor(address / VHOST_LOG_PAGE)
    const last = Math.floor((address + length - 1) / VHOST_LOG_PAGE)
    let place = Math.floor(first / bitsPerByte)
    for (const end = Math.floor(last / bitsPerByte); place <= end; place++) {
      const low = Math.max(first - place * bitsPerByte, 0)
      const high = Math.min(last - place * bitsPerByte, bitsPerByte - 1)
      if (!this.#set(place, (allBits << low) & (allBits >> (bitsPerByte - 1 - high)))) return
    }
  }

  /** False beyond the end. An atomic read-modify-write: the front-end takes bits out of the same byte, and none that another ring has set may get lost. */
  #set(place: number, bits: number): boolean {
    let at = place
    for (const window of this.#windows) {
      if (at < window.length) {
        Atomics.or(window, at, bits)
        return true
      }
      at -= window.length
    }
    return false
  }
}
