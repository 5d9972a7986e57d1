/** The chain objects of a queue: made once, at most one for each entry of the ring, and used again and again. */
import { Chain, type ChainOwner } from './chain.ts'
import { chainAwaited, chainBusy, chainLent, chainOut } from './chain-state.ts'

const notBusy = ~chainBusy

export class ChainPool {
  // These four are for `next` and `used` of the queue alone, which each chain goes through: a call less is what counts there.
  /** Chains that are out. */
  inFlight = 0
  /** Chains that are free, the first `freeCount`. The one given back last is taken first: it is still in the processor's cache. */
  readonly free: (Chain | undefined)[]
  freeCount = 0
  /** Number of the chain that was taken last; see `Chain.$ticket`. */
  tickets = 0
  readonly #owner: ChainOwner
  readonly #chains: Chain[] = []
  /** Cancelled chains that a reset waits for. */
  #awaited = 0
  #ending: Promise<void> | undefined
  #resolve: (() => void) | undefined

  constructor(owner: ChainOwner, size: number) {
    this.#owner = owner
    this.free = new Array<Chain | undefined>(size).fill(undefined)
  }

  /** Chain objects made so far. */
  get made(): number {
    return this.#chains.length
  }

  /** The chain that is taken next. */
  spare(): Chain {
    if (this.freeCount === 0) this.#make()
    return this.free[this.freeCount - 1]!
  }

  #make(): void {
    const chain = new Chain(this.#owner)
    this.#chains.push(chain)
    this.free[this.freeCount++] = chain
  }

  /** The chain is not out any more. */
  release(chain: Chain): void {
    this.inFlight--
    chain.$state &= notBusy
    const at = this.freeCount++
    // Mostly it is there already, and a comparison is cheaper than what the garbage collector wants of a store.
    if (this.free[at] !== chain) this.free[at] = chain
  }

  /** The chains that are out, in the order in which they were taken. */
  out(): Chain[] {
    // Tickets wrap at 2^32, and no two of the chains that are out are that far apart.
    return this.#chains.filter((chain) => (chain.$state & chainBusy) !== 0).sort((a, b) => (a.$ticket - b.$ticket) | 0)
  }

  /** Takes the ranges of the slab from all chains, as they are only kept for later. Only when none is out. False where there was only one range. */
  dropRanges(): boolean {
    const kept = this.#chains.filter((chain) => chain.$capacity > 0).length
    for (const chain of this.#chains) {
      chain.$first = 0
      chain.$capacity = 0
    }
    return kept > 1
  }

  /** Cancels the chains that are out. Resolves when those that gave views of guest memory out are complete; undefined where there are none. */
  cancel(): Promise<void> | undefined {
    const out = this.out()
    for (const chain of out) {
      chain.$cancel()
      // One that is not with the device is being completed right now.
      if ((chain.$state & chainOut) === 0 || (chain.$state & chainLent) === 0) continue
      chain.$state |= chainAwaited
      this.#awaited++
    }
    if (this.#awaited > 0) {
      this.#ending = new Promise((resolve) => {
        this.#resolve = resolve
      })
    }
    // What was written until now is told now: a cancelled chain may never be completed.
    for (const chain of out) chain.writable.$announce()
    return this.#ending
  }

  /** The promise of `cancel`, as long as it is not resolved. */
  get ending(): Promise<void> | undefined {
    return this.#ending
  }

  /** Nobody works on a cancelled chain any more. */
  released(chain: Chain): void {
    this.release(chain)
    if ((chain.$state & chainAwaited) === 0) return
    chain.$state &= ~chainAwaited
    if (--this.#awaited > 0) return
    this.#ending = undefined
    this.#resolve?.()
  }
}
