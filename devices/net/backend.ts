/** What is between a network device and its network. */

/** What the receiver of a frame can do with it, so that its sender need not; nothing of it by default. */
export interface OffloadSupport {
  /** Take frames whose checksum is missing. */
  readonly checksum?: boolean
  /** Take TCP over IPv4 that is not cut into segments. */
  readonly tcp4?: boolean
  /** Take TCP over IPv6 that is not cut into segments. */
  readonly tcp6?: boolean
  /** Take such TCP also with explicit congestion notification. */
  readonly ecn?: boolean
}

/** A frame that is still to be cut into segments. */
export interface Segmentation {
  readonly protocol: 'tcp4' | 'tcp6'
  /** Most payload of a segment, in bytes. */
  readonly size: number
  /** Length of all headers; a hint. */
  readonly headerLength: number
  /** CWR of the TCP header is meant for the first segment alone. */
  readonly ecn: boolean
}

/** What its sender has left to do in a frame: a checksum, and perhaps segmentation. */
export interface Offload {
  /** Where the bytes begin that the checksum is over, in bytes from the start of the frame; they go on to its end. */
  readonly checksumStart: number
  /** Where it is to be written, in bytes from there. Until then the sum of the pseudo header stands there. */
  readonly checksumOffset: number
  readonly segmentation?: Segmentation
}

/**
 * A network, as a card sees it. Frames are Ethernet frames from the destination address on, without the frame check sequence.
 */
export interface NetBackend {
  /** What may be left to do in frames that it is sent. */
  readonly takes?: OffloadSupport
  /** The card tells who it is, once, before anything is sent. */
  attach(card: NetCard): void
  /**
   * A frame from the guest.
   *
   * @param frame - good until this returns; a copy is needed beyond
   * @returns nothing, or a promise: until it resolves the guest does not get its buffer back, so that a slow network slows the guest down
   */
  send(frame: Uint8Array, offload?: Offload): void | Promise<void>
  /** The card has room again, after `receive` has said false. */
  resume?(): void
}

/** The end of a network that a guest is plugged into: a `Net`. */
export interface NetCard {
  /** 6 bytes. */
  readonly mac: Uint8Array
  /**
   * A frame for the guest. What it has no buffer for waits, and is dropped where too much does.
   *
   * @param frame - what is kept of it is copied; it is not changed
   * @returns false where so much waits that it were better to wait for `resume`
   */
  receive(frame: Uint8Array, offload?: Offload): boolean
  /** There is a network, or none any more; there is one at first. The guest is told. */
  setCarrier(up: boolean): void
}
