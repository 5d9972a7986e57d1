/** A cable between two network devices of one process. */
import type { NetBackend, NetCard, Offload } from './backend.ts'

/** One end of a cable: a backend for a `Net`. */
class LinkEnd implements NetBackend {
  /** What the other guest cannot take is done by its card. */
  readonly takes = { checksum: true, tcp4: true, tcp6: true, ecn: true }
  other: LinkEnd | undefined
  card: NetCard | undefined

  attach(card: NetCard): void {
    this.card = card
  }

  send(frame: Uint8Array, offload?: Offload): void {
    this.other?.card?.receive(frame, offload)
  }
}

/**
 * Joins two devices. Frames go straight from one guest's buffers into those of the other; checksums and segmentation that neither guest needs are never done.
 *
 * @example
 * const [left, right] = link()
 * const [one, two] = [new Net(left), new Net(right)]
 */
export function link(): [NetBackend, NetBackend] {
  const [left, right] = [new LinkEnd(), new LinkEnd()]
  left.other = right
  right.other = left
  return [left, right]
}
