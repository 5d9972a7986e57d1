/** The chain objects of a queue: made once, at most one for each entry of the ring, and used again and again. */
import { Chain, type ChainOwner } from './chain.ts'
import { chainAwaited, chainBusy, chainLent, chainOut } from './chain-state.ts'

export class ChainPool {
  readonly #owner: ChainOwner
  readonly #chains: Chain[] = []
  /** Those of them that are free. The one given back last is taken first: it is still in the processor's cache. */
  readonly #free: Chain[] = []
  /** Cancelled chains that a reset waits for. */
  #awaited = 0
  #ending: Promise<void> | undefined
  #resolve: (() => void) | undefined

  constructor(owner: ChainOwner) {
    this.#owner = owner
  }

  /** Chain objects made so far. */
  get made(): number {
    return this.#chains.length
  }

  /** A free chain; to be given back with {@link keep}. */
  take(): Chain {
    return this.#free.pop() ?? this.#make()
  }

  #make(): Chain {
    const chain = new Chain(this.#owner)
    this.#chains.push(chain)
    return chain
  }

  /** The chain is free again. The first one made never is: its queue holds it. */
  keep(chain: Chain): void {
    if (chain !== this.#chains[0]) this.#free.push(chain)
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
    const isAwaited = (chain.$state & chainAwaited) !== 0
    chain.$state &= ~(chainBusy | chainAwaited)
    this.keep(chain)
    if (!isAwaited) return
    if (--this.#awaited > 0) return
    this.#ending = undefined
    this.#resolve?.()
  }
}
