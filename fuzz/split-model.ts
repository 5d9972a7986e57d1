/** A split virtqueue as its device must see it: plain arrays, and memory read anew at each look. */
import { split_ring_entry_size, VIRTQ_AVAIL_F_NO_INTERRUPT, VirtqAvail, VirtqDesc, VirtqUsed, VirtqUsedElem } from 'virtgen/wire/split-ring'
import { ChainReading, goesOn, isIndirect, readDescriptor } from './chain-reading.ts'
import type { DeviceModel, Outcome, Published, TakenChain } from './device-model.ts'
import { require } from './failure.ts'
import type { Range, RingRules } from './ring-rules.ts'

const wrap = 0x1_0000
const largestLength = 0xffff_ffff

export class SplitDeviceModel implements DeviceModel {
  readonly rules: RingRules
  available: number
  /** Where the next used entry goes, and up to where the driver can see them. */
  #used: number
  /** Chains that are out or complete, but not yet used, in the order in which they were taken. */
  readonly out: TakenChain[] = []
  /** Completed chains in the order in which they must become visible. */
  #due: TakenChain[] = []
  readonly restored: number[] = []
  /** All values that the available index ever had. */
  readonly #indices = new Set<number>()

  constructor(rules: RingRules, available: number, used: number) {
    this.rules = rules
    this.available = available
    this.#used = used
    this.#indices.add(available)
  }

  get used(): number {
    return this.#used
  }

  /** The driver has done something. */
  look(): void {
    this.#indices.add(this.#index())
  }

  #index(): number {
    return this.rules.arena.get16(this.rules.setup.driverArea + VirtqAvail.offsetOf.idx)
  }

  /** What the next chain is. `seen`: up to where the queue says it has seen buffers. */
  next(seen: number): Outcome {
    const restored = this.restored[0]
    if (restored !== undefined) return this.#take(restored)
    let index = seen
    if (index === this.available) index = this.#index()
    else require(this.#indices.has(index), `the queue has seen the available index ${index}, which it never was`)
    const count = (index - this.available + wrap) % wrap
    if (count > this.rules.setup.size) return { kind: 'violation', kinds: new Set(['available-index']) }
    if (count === 0) return { kind: 'none' }
    const { driverArea, size } = this.rules.setup
    return this.#take(this.rules.arena.get16(driverArea + VirtqAvail.offsetOf.ring + (this.available % size) * split_ring_entry_size.available_ring))
  }

  #take(head: number): Outcome {
    if (head >= this.rules.setup.size) return { kind: 'violation', kinds: new Set(['descriptor-index']), head }
    if (this.out.some((chain) => chain.head === head)) return { kind: 'violation', kinds: new Set(['available-index']), head }
    const reading = this.#read(head)
    return reading.problems.size > 0 ? { kind: 'violation', kinds: reading.problems, head } : { kind: 'chain', head, reading }
  }

  #read(head: number): ChainReading {
    const { arena, setup, indirect, maxChainLength } = this.rules
    const reading = new ChainReading(arena, maxChainLength === 'strict' ? setup.size : maxChainLength)
    let table = setup.descriptorArea
    let entries = setup.size
    let isNested = false
    let visited = 0
    for (let index = head; ; ) {
      if (index >= entries) return found(reading, 'descriptor-index')
      if (visited++ === entries) return found(reading, 'descriptor-loop')
      const descriptor = readDescriptor(arena, table + index * VirtqDesc.size, true)
      if (isIndirect(descriptor)) {
        if (isNested) return found(reading, 'indirect-nested')
        isNested = true
        entries = reading.open(descriptor, indirect)
        if (entries === 0) return reading
        table = descriptor.address
        index = 0
        visited = 0
        continue
      }
      reading.add(descriptor)
      if (reading.problems.has('chain-length') || !goesOn(descriptor)) return reading
      index = descriptor.other
    }
  }

  /** The queue has delivered it. */
  taken(chain: TakenChain): void {
    this.out.push(chain)
    if (this.restored.length > 0) this.restored.shift()
    else this.available = (this.available + 1) % wrap
  }

  /** The queue has got it back unused. */
  putBack(chain: TakenChain): void {
    require(this.out.pop() === chain, 'a chain was put back that was not taken last')
    this.available = (this.available + wrap - 1) % wrap
  }

  completed(chain: TakenChain, written: number): void {
    chain.written = Math.min(written, largestLength)
    if (!this.rules.inOrder) this.out.splice(this.out.indexOf(chain), 1)
    if (!this.rules.inOrder) this.#due.push(chain)
    while (this.rules.inOrder && this.out[0]?.written !== undefined) this.#due.push(this.out.shift()!)
  }

  get due(): number {
    return this.#due.length
  }

  published(isIntact: boolean): Published {
    const before = this.#used
    const due = this.#due
    this.#due = []
    this.#used = (before + due.length) % wrap
    if (isIntact) this.#checkEntries(before, due)
    return { heads: due.map(({ head }) => head), isDue: this.#isDue(before, due.length) }
  }

  #checkEntries(before: number, due: readonly TakenChain[]): void {
    const { arena, setup, inOrder } = this.rules
    const index = arena.get16(setup.deviceArea + VirtqUsed.offsetOf.idx)
    require(index === this.#used, `the used index is ${index} and not ${this.#used}`)
    // A driver that makes more available than was used to it has entries written over.
    for (let done = Math.max(0, due.length - setup.size); done < due.length; ) {
      const at = setup.deviceArea + VirtqUsed.offsetOf.ring + (((before + done) % wrap) % setup.size) * VirtqUsedElem.size
      const id = arena.get32(at + VirtqUsedElem.offsetOf.id)
      const length = arena.get32(at + VirtqUsedElem.offsetOf.len)
      const last = inOrder ? due.findIndex(({ head }, i) => i >= done && head === id) : done
      const chain = due[last]
      require(chain?.head === id, `used entry ${before + done} has id ${id} and not ${due[done]!.head}`)
      require(length === chain.written, `used entry ${before + done} tells of ${length} bytes and not of ${chain.written}`)
      // Who is left out counts as used wholly.
      for (let i = done; i < last; i++)
        require(due[i]!.written ===
          Math.min(due[i]!.reading.writableLength, largestLength), `chain ${due[i]!.head} is left out, and not written wholly`)
      done = last + 1
    }
  }

  #isDue(before: number, count: number): boolean {
    const { arena, setup, eventIndex } = this.rules
    if (!eventIndex) return (arena.get16(setup.driverArea + VirtqAvail.offsetOf.flags) & VIRTQ_AVAIL_F_NO_INTERRUPT) === 0
    const event = arena.get16(setup.driverArea + VirtqAvail.offsetOf.ring + setup.size * split_ring_entry_size.available_ring)
    for (let i = 0; i < count; i++) if ((before + i) % wrap === event) return true
    return false
  }

  /** What the queue may write besides buffers. */
  owned(): readonly Range[] {
    const { deviceArea, size } = this.rules.setup
    return [{ start: deviceArea, end: deviceArea + VirtqUsed.offsetOf.ring + size * VirtqUsedElem.size + 2 }]
  }
}

function found(reading: ChainReading, kind: Parameters<typeof reading.problems.add>[0]): ChainReading {
  reading.problems.add(kind)
  return reading
}
