/** Networks for trying and measuring: every frame is dropped, or comes back; and one that joins guests. */
import type { NetBackend, NetCard, Offload, OffloadSupport } from 'virtgen/devices/net'

/** Nothing needs to be done to frames that nobody looks into. */
const everything: OffloadSupport = { checksum: true, tcp4: true, tcp6: true, ecn: true }

/** Drops every frame. The card counts them. */
export class Sink implements NetBackend {
  readonly takes = everything
  attach(): void {}
  send(): void {}
}

/** Gives every frame back, as it came. */
export class Echo implements NetBackend {
  readonly takes = everything
  #card: NetCard | undefined

  attach(card: NetCard): void {
    this.#card = card
  }
  send(frame: Uint8Array, offload?: Offload): void {
    this.#card?.receive(frame, offload)
  }
}
