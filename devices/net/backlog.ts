/** Frames that wait for buffers of one receive queue. */
import type { Offload } from './backend.ts'

export interface WaitingFrame {
  readonly frame: Uint8Array
  readonly offload: Offload | undefined
  /** The limiter has let it through. */
  admitted: boolean
}

export class Backlog {
  readonly #limit: number
  readonly #frames: WaitingFrame[] = []

  constructor(limit: number) {
    this.#limit = limit
  }

  get length(): number {
    return this.#frames.length
  }
  get first(): WaitingFrame | undefined {
    return this.#frames[0]
  }

  /** @returns false where there is no room */
  push(frame: WaitingFrame): boolean {
    if (this.#frames.length >= this.#limit) return false
    this.#frames.push(frame)
    return true
  }

  /** Puts back what `shift` gave. */
  unshift(frame: WaitingFrame): void {
    this.#frames.unshift(frame)
  }

  shift(): WaitingFrame | undefined {
    return this.#frames.shift()
  }

  /** All that waits, which does so no more. */
  takeAll(): WaitingFrame[] {
    return this.#frames.splice(0)
  }
}
