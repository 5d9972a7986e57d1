/** What the device side of a queue needs of a ring, whatever its format. A ring knows words of memory and positions, and nothing of chains that are out. */
import type { Chain } from './chain.ts'
import type { ChainProblem } from './chain-builder.ts'
import type { SavedChain } from './queue.ts'
import type { Violation } from './violation.ts'

/** Results of `take` and `look`: no buffer is available. */
export const ringEmpty = -1
/** The driver broke the rules: `problem` and `detail` say how. */
export const ringRefused = -2

/** What a ring must know besides its place. */
export interface DeviceRingOptions {
  readonly eventIndex: boolean
  readonly indirect: boolean
  readonly maxChainLength: number
  /** Position to go on from. */
  readonly available: number
  readonly used: number
  /** The ring begins anew: what the driver asked for is not older than the position. */
  readonly fresh: boolean
}

export interface DeviceRing {
  /** Where the next available buffer is looked for, and up to where buffers were seen. */
  readonly available: number
  readonly availableSeen: number
  /** Where the next used buffer goes, and up to where they are visible to the driver. */
  readonly used: number
  readonly published: number
  /** After `ringRefused`: what is wrong with the chain, or with what is said to be available. */
  readonly problem: ChainProblem
  /** Its head (packed: buffer id); -1 where it has none. */
  readonly problemHead: number
  /** What was found and what is allowed. */
  readonly detail: string

  /** Makes the views anew where those of the memory are new; says so where an area is misaligned or in no region (any more). */
  bind(): Violation | undefined

  /**
   * Reads the next of the available buffers into a chain and moves on.
   *
   * @returns the head (packed: buffer id), `ringEmpty` where none is known, or `ringRefused`, and then the position stays
   */
  take(chain: Chain): number
  /** Reads a chain that was out before. */
  restore(chain: Chain, saved: number | SavedChain): ChainProblem | undefined
  /** What `restore` needs of a chain that is out. */
  save(chain: Chain): number | SavedChain
  /** Looks for available buffers: 0 where there are some, `ringEmpty` or `ringRefused`. */
  look(): number

  /**
   * Writes a used entry, not visible before `publish`, and moves on.
   *
   * @param slots - entries of the ring that the buffers have which it tells of
   * @param count - how many buffers it tells of: more than one only with VIRTIO_F_IN_ORDER, and then the head is that of the last
   */
  use(head: number, written: number, slots: number, count: number): void
  /** Makes the used entries visible. */
  publish(): void
  /**
   * Whether the driver asked to be notified of one of the entries published since this was asked last. What it asked for is loaded behind the store of `publish`,
   * and neither can go before the other: the driver states its wish and then looks for used entries, so that at least one of the two sides sees the other's store.
   */
  isNotificationDue(): boolean

  /**
   * Tells the driver whether the device wants to be notified of the next available buffer. What is available has to be looked at again after that: the driver
   * makes buffers available and then looks for the wish.
   *
   * @returns false where the driver knows already
   */
  ask(wanted: boolean): boolean
}
