/** A virtqueue as its device must see it: plain arrays, and memory read anew at each look. What both formats have in common. */
import type { Chain } from '../runtime/chain.ts'
import type { ViolationKind } from '../runtime/violation.ts'
import type { ChainReading } from './chain-reading.ts'
import { require } from './failure.ts'
import type { Range, RingRules } from './ring-rules.ts'

/** Bytes that a used entry can tell of. */
const largestLength = 0xffff_ffff

export type Reading = Pick<ChainReading, 'readable' | 'writable' | 'readableLength' | 'writableLength' | 'slots'>

export type Outcome =
  | { readonly kind: 'none' }
  | { readonly kind: 'chain'; readonly head: number; readonly reading: Reading }
  /** The queue must name one of these kinds. */
  | { readonly kind: 'violation'; readonly kinds: ReadonlySet<ViolationKind>; readonly head?: number }

/** A chain that the driver has not got back. */
export interface TakenChain {
  readonly head: number
  reading: Reading
  /** Absent: the device has not got it yet, or given it back; it will be delivered again. */
  chain: Chain | undefined
  /** Of the chain object: it carries this chain as long as the number is the same. */
  generation: number
  /** What it was completed with. */
  written?: number
}

export interface Published {
  /** Chains that the driver can see used now. */
  readonly heads: readonly number[]
  /** The driver had asked to be told of one of them. */
  readonly isDue: boolean
}

export abstract class DeviceModel {
  readonly rules: RingRules
  /** Where the next available chain is. */
  available: number
  /** Where the next used entry goes, as the driver sees it. */
  used: number
  /** Chains that the driver has not got back, in the order in which they were taken; with VIRTIO_F_IN_ORDER also those that are complete and wait. */
  readonly out: TakenChain[] = []
  /** Those of them that are to be delivered again, in that order. */
  readonly restored: TakenChain[] = []
  /** Completed chains in the order in which they must become visible. */
  due: TakenChain[] = []

  constructor(rules: RingRules, available: number, used: number) {
    this.rules = rules
    this.available = available
    this.used = used
  }

  /** A model of the same ring from here on, where all chains that are out have to be delivered again. */
  restoreTo(other: DeviceModel): void {
    for (const { head, reading, written } of this.out) {
      const again: TakenChain = { head, reading, chain: undefined, generation: -1, ...(written !== undefined && { written }) }
      other.out.push(again)
      if (written === undefined) other.restored.push(again)
    }
  }

  /** Chains that the device has. */
  get inHand(): TakenChain[] {
    return this.out.filter(({ chain, written }) => chain !== undefined && written === undefined)
  }

  /** The driver may have done something. */
  look(): void {}

  /** What the next chain is. `seen`: up to where the queue says it has seen buffers. */
  next(seen: number): Outcome {
    const again = this.restored[0]
    return again === undefined ? this.read(seen) : this.readAgain(again)
  }

  /** Whether there is something to take, right or wrong; asked when the queue has just looked. */
  abstract hasMore(seen: number): boolean

  protected abstract read(seen: number): Outcome
  protected abstract readAgain(chain: TakenChain): Outcome

  /** The queue has delivered it. */
  taken(head: number, reading: Reading, chain: Chain): void {
    const again = this.restored.shift()
    if (again !== undefined) {
      Object.assign(again, { reading, chain, generation: chain.generation })
      return
    }
    this.out.push({ head, reading, chain, generation: chain.generation })
    this.advance(reading)
  }

  protected abstract advance(reading: Reading): void

  /** The queue has got it back untouched. */
  putBack(chain: TakenChain): void {
    require(this.out.at(-1 - this.restored.length) === chain || this.restored.length > 0, 'a chain was put back that was not taken last')
    chain.chain = undefined
    this.restored.unshift(chain)
  }

  completed(chain: TakenChain, written: number): void {
    chain.written = Math.min(written, largestLength)
    if (this.rules.inOrder) while (this.out[0]?.written !== undefined) this.due.push(this.out.shift()!)
    else {
      this.out.splice(this.out.indexOf(chain), 1)
      this.due.push(chain)
    }
  }

  /** Everything that is due should be visible now, and is compared with memory unless somebody else has written there. */
  published(isIntact: boolean): Published {
    const { due } = this
    this.due = []
    const before = this.used
    const count = this.goOn(due)
    if (isIntact && !this.#isAmbiguous(due)) this.checkEntries(before, due)
    return { heads: due.map(({ head }) => head), isDue: this.isDue(before, count) }
  }

  /** A driver may make a chain available again that is complete and not yet visible. Where an entry can stand for several chains, its id does not tell which it is then. */
  #isAmbiguous(due: readonly TakenChain[]): boolean {
    return this.rules.inOrder && new Set(due.map(({ head }) => head)).size < due.length
  }

  /** Moves `used` behind these chains; gives by how much. */
  protected abstract goOn(due: readonly TakenChain[]): number
  protected abstract checkEntries(before: number, due: readonly TakenChain[]): void
  protected abstract isDue(before: number, count: number): boolean
  /** What the queue may write now besides buffers. */
  abstract owned(): readonly Range[]

  /**
   * Finds the chain that a used entry is about, which can stand for those before it where the order is kept. They count as written wholly then.
   *
   * @returns its index
   */
  protected named(due: readonly TakenChain[], from: number, id: number, length: number): number {
    const at = this.rules.inOrder ? due.findIndex(({ head }, i) => i >= from && head === id) : from
    const chain = due[at]
    require(chain?.head === id, `a used entry has id ${id} and not ${due[from]!.head}`)
    require(chain.written === length, `a used entry of ${id} tells of ${length} bytes and not of ${chain.written}`)
    for (const { head, reading, written } of due.slice(from, at))
      require(written === Math.min(reading.writableLength, largestLength), `chain ${head} is left out, and was not written wholly`)
    return at
  }
}
