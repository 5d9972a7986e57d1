/** The driver's side of a ring, by hand: from the text of the specification, not from the driver queues of the runtime, so that it can do right and wrong. */
import type { QueueSetup, RingFeatures } from '../queue.ts'
import type { Amendment, ChainSpec } from './chain.ts'
import type { TestMemory } from './memory.ts'
import { PlacedChain, type Words } from './placed-chain.ts'

export type RingFormat = 'split' | 'packed'

/** Where the two sides of a ring are. Split: free-running indices; packed: positions with the wrap counter in bit 15. */
export interface RingPosition {
  readonly available: number
  readonly used: number
}

export interface FakeDriverOptions extends Omit<RingFeatures, 'packed'> {
  /** Entries of the ring, 8 by default. */
  readonly size?: number
  /** Index of the queue, 0 by default. */
  readonly index?: number
  /** Guest addresses of the areas; those that are not given the memory finds a place for. */
  readonly areas?: Partial<Pick<QueueSetup, 'descriptorArea' | 'driverArea' | 'deviceArea'>>
  /** Where to begin, by default with an empty ring that is new. */
  readonly position?: RingPosition
  /** An available buffer notification: the device has not suppressed it. */
  readonly notify?: () => void
}

export interface PutOptions {
  /** What the device is to use the chain by: its first descriptor; packed: the buffer id. Default: the next free one. */
  readonly head?: number
  /** Split: all descriptors to take, by their indices in the order of the chain. */
  readonly descriptors?: readonly number[]
}

/** A chain that the device has. */
export interface OfferedChain {
  /** What the device uses it by: index of the first descriptor; packed: the buffer id. */
  readonly id: number
  /** Where its elements and its table lie. */
  readonly placed: PlacedChain
  /** The entries of the ring that it takes, in their order. */
  readonly descriptors: readonly number[]
}

/** A chain that the device has given back. */
export interface UsedChain {
  readonly id: number
  /** Bytes that the device says it wrote. */
  readonly written: number
  /** The first `written` bytes of the device-writable part. */
  readonly bytes: Uint8Array
  /** All of the device-writable part, whatever the device says it wrote. */
  readonly writable: Uint8Array
  /** With VIRTIO_F_IN_ORDER: the device wrote no entry for it but one for a later chain. It counts as written completely. */
  readonly skipped: boolean
  /** What `offer` or `put` gave. */
  readonly chain: OfferedChain
}

/** When the driver wants used buffer notifications; a number: with VIRTIO_F_EVENT_IDX, when that many entries more are used. */
export type Wish = 'always' | 'never' | number

/** The other side did what the specification forbids. The fakes throw it: a test fails with what was wrong. */
export class RuleBroken extends Error {
  override readonly name = 'RuleBroken'
}

/** What differs between the formats is in `SplitFakeDriver` and `PackedFakeDriver`. */
export abstract class FakeDriver {
  abstract readonly format: RingFormat
  readonly memory: TestMemory
  readonly setup: QueueSetup
  readonly features: RingFeatures
  /** Chains that the device has, in the order in which they were made available. */
  readonly out: OfferedChain[] = []
  protected wish: Wish = 'always'
  readonly #ready: UsedChain[] = []
  readonly #notify: () => void

  protected constructor(memory: TestMemory, setup: QueueSetup, features: RingFeatures, notify: () => void) {
    this.memory = memory
    this.setup = setup
    this.features = features
    this.#notify = notify
  }

  /** Entries of the ring. */
  get size(): number {
    return this.setup.size
  }
  /** Entries of the ring that are free. */
  abstract readonly free: number
  /** Where the next chain goes and the next used one is looked for. */
  abstract readonly position: RingPosition

  /** Puts a chain into memory and into the ring; the device does not see it before `publish`. @throws RangeError where there is no room */
  put(spec: ChainSpec, options: PutOptions = {}): OfferedChain {
    const placed = new PlacedChain(this.memory, spec)
    try {
      const chain = this.write(placed, options)
      this.out.push(chain)
      return chain
    } catch (error) {
      placed.release()
      throw error
    }
  }

  /** Makes visible what was put, and notifies the device if it wants that. */
  publish(): void {
    this.show()
    if (this.deviceWantsNotification) this.#notify()
  }

  /** `put` and `publish`. */
  offer(spec: ChainSpec, options?: PutOptions): OfferedChain {
    const chain = this.put(spec, options)
    this.publish()
    return chain
  }

  /**
   * Takes the next chain that the device has used, or undefined where there is none. Its descriptors and places are free again.
   *
   * @throws RuleBroken where the device used what it does not have, says that it wrote more than there is room for, or does not keep VIRTIO_F_IN_ORDER
   */
  used(): UsedChain | undefined {
    if (this.#ready.length === 0) this.#ready.push(...this.#take())
    return this.#ready.shift()
  }

  /** Takes this chain if the device has used it; others stay for `used`. @throws RuleBroken as `used` */
  usedOf(chain: OfferedChain): UsedChain | undefined {
    for (let more = this.#take(); more.length > 0; more = this.#take()) this.#ready.push(...more)
    const index = this.#ready.findIndex((used) => used.chain === chain)
    return index < 0 ? undefined : this.#ready.splice(index, 1)[0]
  }

  /** All that is used by now. */
  drain(): UsedChain[] {
    const chains: UsedChain[] = []
    for (let used = this.used(); used !== undefined; used = this.used()) chains.push(used)
    return chains
  }

  /** Tells the device when to send used buffer notifications. */
  ask(wish: Wish): void {
    if (typeof wish === 'number' && !this.features.eventIndex) throw new TypeError('only VIRTIO_F_EVENT_IDX lets a driver ask for an entry')
    this.wish = wish
    this.tell()
  }

  /** Whether the device is to be notified of what the last `publish` made visible, as far as what it has written in memory tells. */
  abstract readonly deviceWantsNotification: boolean

  /** A descriptor of the ring, or of a table. */
  abstract descriptor(index: number, table?: number): Words
  /** Writes words of a descriptor of the ring, or of a table; those that are not given stay. */
  abstract setDescriptor(index: number, words: Amendment, table?: number): void

  protected abstract write(placed: PlacedChain, options: PutOptions): OfferedChain
  protected abstract show(): void
  /** Writes the wish into memory. */
  protected abstract tell(): void
  /** The next used entry: which of `out` it is about, and what it says. */
  protected abstract usedEntry(): { id: number; written: number } | undefined
  /** Goes on behind used chains, the last one of which has an entry. */
  protected abstract skip(chains: readonly OfferedChain[]): void

  #take(): UsedChain[] {
    const entry = this.usedEntry()
    if (entry === undefined) return []
    const { id, written } = entry
    const index = this.out.findIndex((chain) => chain.id === id)
    if (index < 0) throw new RuleBroken(`the device used ${id}, which it does not have`)
    const room = this.out[index]!.placed.writable
    if (written > room) throw new RuleBroken(`the device says it wrote ${written} bytes of chain ${id}, which has room for ${room}`)
    // A batch of chains in order has one entry, with the id of the last one (In-order use of descriptors).
    const chains = this.features.inOrder ? this.out.splice(0, index + 1) : this.out.splice(index, 1)
    this.skip(chains)
    if (this.wish === 'always') this.tell()
    return chains.map((chain) => {
      const skipped = chain.id !== id
      return usedChain(chain, skipped ? chain.placed.writable : written, skipped)
    })
  }
}

/** Its places are free from now on: what the device wrote there is copied before. Where they are the test's own, it may be more than one wants to copy unasked. */
function usedChain(chain: OfferedChain, written: number, skipped: boolean): UsedChain {
  const { id, placed } = chain
  const copy = placed.ownsPlaces ? placed.content() : undefined
  placed.release()
  return {
    id,
    written,
    skipped,
    chain,
    get bytes() {
      return this.writable.subarray(0, written)
    },
    get writable() {
      return copy ?? placed.content()
    },
  }
}

export const indexMask = 0xffff

type AreaNumbers = Omit<QueueSetup, 'index' | 'size'>

/** Places for the areas of a ring, which begins with zeros. */
export function placeAreas(
  memory: TestMemory,
  { size = 8, index = 0, areas = {} }: FakeDriverOptions,
  bytes: AreaNumbers,
  alignment: AreaNumbers,
): QueueSetup {
  const place = (area: keyof AreaNumbers): number => {
    const address = areas[area] ?? memory.allocate(bytes[area], alignment[area])
    memory.poke(address, new Uint8Array(bytes[area]))
    return address
  }
  return { index, size, descriptorArea: place('descriptorArea'), driverArea: place('driverArea'), deviceArea: place('deviceArea') }
}
