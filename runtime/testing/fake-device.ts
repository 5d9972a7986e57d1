/** The device's side of a ring, by hand: for tests of drivers. It checks what the driver made available, and uses it rightly or wrongly. */
import type { QueueSetup, RingFeatures } from '../queue.ts'
import { type Content, contentOf } from './chain.ts'
import type { RingFormat, RingPosition, Wish } from './fake-driver.ts'
import { RuleBroken } from './fake-driver.ts'
import type { Range, TestMemory } from './memory.ts'

export interface FakeDeviceOptions extends Omit<RingFeatures, 'packed'> {
  /** Where to begin, by default with an empty ring that is new. */
  readonly position?: RingPosition
  /** A used buffer notification: the driver has not suppressed it. */
  readonly notify?: () => void
}

/** A buffer that the driver made available. */
export interface TakenBuffer extends Range {
  readonly writable: boolean
}

/** A chain that the device has taken. */
export interface TakenChain {
  /** What it is used by: index of the first descriptor; packed: the buffer id. */
  readonly id: number
  readonly buffers: readonly TakenBuffer[]
  /** Content of the device-readable part, as it was when the chain was taken. */
  readonly readable: Uint8Array
  /** Bytes of the device-writable part. */
  readonly writable: number
  /** Entries of the ring that it takes. */
  readonly entries: number
}

/** What stands in a used entry instead of what belongs there. */
export interface UsedAmendment {
  /** 32 bits in a split ring, 16 in a packed one. */
  readonly id?: number
  readonly length?: number
}

/** What differs between the formats is in `SplitFakeDevice` and `PackedFakeDevice`. */
export abstract class FakeDevice {
  abstract readonly format: RingFormat
  readonly memory: TestMemory
  readonly setup: QueueSetup
  readonly features: RingFeatures
  /** Chains that were taken and are not used, in their order. */
  readonly out: TakenChain[] = []
  protected wish: Wish = 'always'
  readonly #notify: () => void

  protected constructor(memory: TestMemory, setup: QueueSetup, features: RingFeatures, notify: () => void) {
    this.memory = memory
    this.setup = setup
    this.features = features
    this.#notify = notify
  }

  get size(): number {
    return this.setup.size
  }
  abstract readonly position: RingPosition

  /**
   * Takes the next chain that is available, or undefined where there is none.
   *
   * @throws RuleBroken where the driver did what the specification forbids
   */
  take(): TakenChain | undefined {
    const found = this.read()
    if (found === undefined) return undefined
    if (this.out.some(({ id }) => id === found.id)) throw new RuleBroken(`the driver makes ${found.id} available, which the device has already`)
    const entries = this.out.reduce((sum, chain) => sum + chain.entries, found.entries)
    if (entries > this.size) throw new RuleBroken(`the chains that the device has take ${entries} entries of a ring of ${this.size}`)
    const chain = this.#checked(found.id, found.buffers, found.entries)
    this.out.push(chain)
    if (this.wish === 'always') this.tell()
    return chain
  }

  /**
   * Writes into the device-writable part and puts a used entry into the ring; the driver does not see it before `publish`.
   *
   * @param content - what to write, from the start of the part on; default: nothing
   * @param amend - what the used entry says instead
   */
  put(chain: TakenChain, content: Content = 0, amend: UsedAmendment = {}): void {
    const bytes = contentOf(content)
    this.fill(chain, bytes)
    const at = this.out.indexOf(chain)
    if (at >= 0) this.out.splice(at, 1)
    this.write({ id: amend.id ?? chain.id, length: amend.length ?? bytes.length, entries: chain.entries, count: 1 })
  }

  /** With VIRTIO_F_IN_ORDER: one used entry for all chains up to this one. They count as written completely. */
  putBatch(last: TakenChain, content: Content = 0): void {
    const bytes = contentOf(content)
    this.fill(last, bytes)
    const batch = this.out.splice(0, this.out.indexOf(last) + 1)
    const entries = batch.reduce((sum, chain) => sum + chain.entries, 0)
    this.write({ id: last.id, length: bytes.length, entries, count: batch.length })
  }

  /** Makes visible what was put, and notifies the driver if it wants that. */
  publish(): void {
    this.show()
    if (this.driverWantsNotification) this.#notify()
  }

  /** `put` and `publish`. */
  use(chain: TakenChain, content?: Content, amend?: UsedAmendment): void {
    this.put(chain, content, amend)
    this.publish()
  }

  /** Writes into the device-writable part, from its start on. @throws RangeError for more than it has */
  fill(chain: TakenChain, bytes: Uint8Array): void {
    if (bytes.length > chain.writable) throw new RangeError(`the chain has room for ${chain.writable} bytes, not for ${bytes.length}`)
    let done = 0
    for (const { address, length, writable } of chain.buffers) {
      if (!writable || done === bytes.length) continue
      this.memory.poke(address, bytes.subarray(done, done + length))
      done += Math.min(length, bytes.length - done)
    }
  }

  /** Tells the driver when to send available buffer notifications; a number: when that many entries more are available. */
  ask(wish: Wish): void {
    if (typeof wish === 'number' && !this.features.eventIndex) throw new TypeError('only VIRTIO_F_EVENT_IDX lets a device ask for an entry')
    this.wish = wish
    this.tell()
  }

  /** Whether the driver is to be notified of what the last `publish` made visible. */
  abstract readonly driverWantsNotification: boolean

  protected abstract read(): { id: number; buffers: TakenBuffer[]; entries: number } | undefined
  protected abstract write(used: { id: number; length: number; entries: number; count: number }): void
  protected abstract show(): void
  protected abstract tell(): void

  /** What holds for the buffers of a chain in both formats. */
  #checked(id: number, buffers: readonly TakenBuffer[], entries: number): TakenChain {
    const firstWritable = buffers.findIndex(({ writable }) => writable)
    if (firstWritable >= 0 && buffers.slice(firstWritable).some(({ writable }) => !writable))
      throw new RuleBroken(`chain ${id} has a device-readable buffer behind a device-writable one`)
    if (buffers.length > this.size) throw new RuleBroken(`chain ${id} has ${buffers.length} descriptors, the queue ${this.size}`)
    for (const { address, length } of buffers) {
      if (length > 0 && !this.memory.holds(address, length))
        throw new RuleBroken(`chain ${id} has ${length} bytes at 0x${address.toString(16)}, which is no memory`)
    }
    const bytesOf = (which: readonly TakenBuffer[]): number => which.reduce((sum, { length }) => sum + length, 0)
    if (bytesOf(buffers) > 2 ** 32) throw new RuleBroken(`chain ${id} has more than 2^32 bytes`)
    const readable = buffers.filter(({ writable }) => !writable)
    const bytes = new Uint8Array(bytesOf(readable))
    let at = 0
    for (const { address, length } of readable) {
      bytes.set(this.memory.peek(address, length), at)
      at += length
    }
    return { id, buffers, entries, readable: bytes, writable: bytesOf(buffers) - bytes.length }
  }
}
