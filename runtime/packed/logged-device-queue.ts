/** Device side of a packed virtqueue that keeps a log of the chains that are out. */
import { PvirtqDescSize, VIRTQ_DESC_F_AVAIL } from 'virtgen/wire/packed-ring'
import { split_ring_limits } from 'virtgen/wire/split-ring'
import type { Chain } from '../chain.ts'
import type { ChainProblem } from '../chain-builder.ts'
import type { DeviceQueueOptions } from '../device-queue-options.ts'
import type { InOrder } from '../in-order.ts'
import type { GuestMemory } from '../memory.ts'
import type { QueueSetup, SavedChain } from '../queue.ts'
import { words32 } from '../ring-areas.ts'
import { noHead, several } from '../ring-device-queue.ts'
import { LoggedChains, type PackedRingLog } from '../ring-log.ts'
import { PackedChainReader } from './chain-reader.ts'
import { packedDescriptorWords } from './descriptor-words.ts'
import { PackedDeviceQueue } from './device-queue.ts'
import { offsetMask } from './event-offset.ts'

const { idWord, flagsShift } = packedDescriptorWords
const ids = split_ring_limits.split_ring_index_wrap

export class LoggedPackedDeviceQueue extends PackedDeviceQueue {
  readonly #setup: QueueSetup
  readonly #log: PackedRingLog
  readonly #chains: LoggedChains
  readonly #reader: PackedChainReader
  /** The descriptor ring. */
  #table: Uint32Array = new Uint32Array(0)
  #version = -1
  /** Where the chain begins that is being taken. */
  #first = 0

  constructor(memory: GuestMemory, setup: QueueSetup, options: DeviceQueueOptions, log: PackedRingLog, inOrder?: InOrder) {
    super(memory, setup, options, inOrder)
    this.#setup = setup
    this.#log = log
    this.#chains = new LoggedChains(ids, options.inOrder)
    this.#reader = new PackedChainReader(memory, this.$builder, setup.size, { indirect: options.indirect === true, maxChainLength: this.$most })
    for (const saved of options.state?.inFlight ?? []) this.#chains.had((saved as SavedChain).head)
    if (log.problem !== undefined) this.$break(log.problem)
  }

  override next(): Chain | undefined {
    // No chain is alone: each of them goes through `$deliver`.
    if (this.$alone === noHead) this.$alone = several
    this.#first = this.$available & offsetMask
    return super.next()
  }

  protected override $deliver(chain: Chain, id: number): Chain | undefined {
    const first = this.#first
    const delivered = super.$deliver(chain, id)
    if (delivered !== undefined && this.#chains.delivered(id)) this.#log.taken(id, this.#words(), first, chain.$slots)
    return delivered
  }

  /** The ring was found a moment ago, so it is in memory. */
  #words(): Uint32Array {
    const { memory } = this
    if (this.#version !== memory.version) {
      this.#table = words32(memory.resolve(this.#setup.descriptorArea, this.size * PvirtqDescSize) ?? new Uint8Array(0))
      this.#version = memory.version
    }
    return this.#table
  }

  override putBack(chain: Chain): void {
    super.putBack(chain)
    this.#chains.putBack()
  }

  protected override $restore(chain: Chain, saved: number | SavedChain): ChainProblem | undefined {
    const { head, slots = 1, buffers } = saved as SavedChain
    const list = buffers === undefined ? this.#log.restore(head) : undefined
    if (list === undefined) return super.$restore(chain, saved)
    const reader = this.#reader
    reader.descriptors = list
    const problem = reader.read(chain, 0, (list[idWord] ?? VIRTQ_DESC_F_AVAIL) >>> flagsShift)
    this.$grown()
    if (problem !== undefined) return problem
    this.$builder.finish(head)
    chain.$slots = slots
    return undefined
  }

  /** Visible at once, one by one: the list of free entries of the log knows no other chain between a use and its end. Notifications wait as ever. */
  override $use(id: number, written: number, slots: number, count: number): void {
    this.#chains.using(this.#log, id, count)
    super.$use(id, written, slots, count)
    this.$publish()
    this.#log.used(this.$published)
  }
}
