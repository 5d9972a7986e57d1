/** What a model of a virtqueue tells about what its device side must do. */
import type { Chain } from '../runtime/chain.ts'
import type { ViolationKind } from '../runtime/violation.ts'
import type { ChainReading } from './chain-reading.ts'
import type { Range, RingRules } from './ring-rules.ts'

export type Outcome =
  | { readonly kind: 'none' }
  | { readonly kind: 'chain'; readonly head: number; readonly reading: ChainReading }
  /** The queue must name one of these kinds. */
  | { readonly kind: 'violation'; readonly kinds: ReadonlySet<ViolationKind>; readonly head?: number }

/** A chain that the device has. */
export interface TakenChain {
  readonly head: number
  readonly reading: Pick<ChainReading, 'readable' | 'writable' | 'readableLength' | 'writableLength'>
  chain: Chain
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

export interface DeviceModel {
  readonly rules: RingRules
  available: number
  readonly used: number
  readonly out: readonly TakenChain[]
  readonly restored: readonly number[]
  /** Completed chains that the driver cannot see yet, and should with the next publish. */
  readonly due: number
  look(): void
  next(seen: number): Outcome
  taken(chain: TakenChain): void
  putBack(chain: TakenChain): void
  completed(chain: TakenChain, written: number): void
  /** Everything that is due should be visible now, and is compared with memory unless somebody else has written there. */
  published(isIntact: boolean): Published
  owned(): readonly Range[]
}
