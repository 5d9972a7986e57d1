/** What a device keeps outside of itself of the chains that it has taken, so that who takes its place goes on where it died. */
import type { Violation } from './violation.ts'

/**
 * Is told of each step of a chain before, or after, the driver can see it. A chain that the queue was given as in flight, and one that was put back and is delivered again,
 * is in the log already and not told of anew.
 */
export interface RingLog {
  /** What is wrong with what the log held: the queue is broken from the start. */
  readonly problem: Violation | undefined
  /** Is about to tell the driver that a chain is used. Several may be used together: each of them is told of, in the order of their entries. */
  using(head: number): void
  /**
   * The driver can see that they are used.
   *
   * @param position - where the next used buffer goes (packed: with the wrap counter in bit 15)
   */
  used(position: number): void
}

/** Of a split ring, whose descriptors stay until their chain is used. */
export interface SplitRingLog extends RingLog {
  /** The device takes a chain. */
  taken(head: number): void
}

/** Of a packed ring, where used descriptors are written over those of chains that are out. */
export interface PackedRingLog extends RingLog {
  /**
   * The device takes a chain.
   *
   * @param words - the descriptor ring
   * @param first - the first of its entries
   * @param slots - how many it has, round the end of the ring
   */
  taken(id: number, words: Uint32Array, first: number, slots: number): void
  /** The descriptors of a chain that was in flight, marked available with a wrap counter of 1; undefined where the log knows of none. Asked once. */
  restore(id: number): Uint32Array | undefined
}

/** Which chains are in the log, and in which order they are used. */
export class LoggedChains {
  readonly #isLogged: Uint8Array
  /** With VIRTIO_F_IN_ORDER, oldest first: a used entry tells of several by the last of them. */
  readonly #order: number[] | undefined

  /** @param heads - largest head, and one more */
  constructor(heads: number, inOrder = false) {
    this.#isLogged = new Uint8Array(heads)
    this.#order = inOrder ? [] : undefined
  }

  /** Chains that are in the log when the queue begins. */
  had(head: number): void {
    this.#isLogged[head] = 1
  }

  /** A chain is delivered. False where it is in the log. */
  delivered(head: number): boolean {
    this.#order?.push(head)
    const isNew = this.#isLogged[head] === 0
    this.#isLogged[head] = 1
    return isNew
  }

  /** The chain that was delivered last is put back; it stays in the log. */
  putBack(): void {
    this.#order?.pop()
  }

  /** Tells the log of what a used entry stands for. */
  using(log: RingLog, head: number, count: number): void {
    for (const each of this.#order?.splice(0, count) ?? [head]) {
      this.#isLogged[each] = 0
      log.using(each)
    }
  }
}
