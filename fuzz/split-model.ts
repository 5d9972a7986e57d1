/** A split virtqueue as its device must see it. */
import { split_ring_entry_size, VIRTQ_AVAIL_F_NO_INTERRUPT, VirtqAvail, VirtqUsed, VirtqUsedElem } from 'virtgen/wire/split-ring'
import { DeviceModel, type Outcome, type TakenChain } from './device-model.ts'
import { require } from './failure.ts'
import type { Range, RingRules } from './ring-rules.ts'
import { readSplitChain } from './split-reading.ts'

const wrap = 0x1_0000

export class SplitDeviceModel extends DeviceModel {
  /** All values that the available index ever had. */
  readonly #indices = new Set<number>()

  constructor(rules: RingRules, available: number, used: number) {
    super(rules, available, used)
    this.#indices.add(available)
  }

  override look(): void {
    this.#indices.add(this.#index())
  }

  #index(): number {
    return this.rules.arena.get16(this.rules.setup.driverArea + VirtqAvail.offsetOf.idx)
  }

  protected override read(seen: number): Outcome {
    const { setup } = this.rules
    const isKnown = seen !== this.available
    require(!isKnown || this.#indices.has(seen), `the queue has seen the available index ${seen}, which it never was`)
    const count = ((isKnown ? seen : this.#index()) - this.available + wrap) % wrap
    // What the driver cannot see used yet takes entries as well.
    const taken = (this.available - this.used + wrap) % wrap
    if (!isKnown && count > setup.size - taken) return { kind: 'violation', kinds: new Set(['available-index']) }
    if (count === 0) return { kind: 'none' }
    const head = availableHead(this.rules, this.available)
    if (head >= setup.size) return { kind: 'violation', kinds: new Set(['descriptor-index']), head }
    const found = this.#chain(head)
    if (!this.out.some((chain) => chain.head === head)) return found
    return { kind: 'violation', kinds: new Set(['available-index', ...(found.kind === 'violation' ? found.kinds : [])]), head }
  }

  override hasMore(seen: number): boolean {
    return this.restored.length > 0 || seen !== this.available
  }

  protected override readAgain({ head }: TakenChain): Outcome {
    return this.#chain(head)
  }

  #chain(head: number): Outcome {
    const reading = readSplitChain(this.rules, head)
    return reading.problems.size > 0 ? { kind: 'violation', kinds: reading.problems, head } : { kind: 'chain', head, reading }
  }

  protected override advance(): void {
    this.available = (this.available + 1) % wrap
  }

  protected override goOn(due: readonly TakenChain[]): number {
    this.used = (this.used + due.length) % wrap
    return due.length
  }

  protected override checkEntries(before: number, due: readonly TakenChain[]): void {
    const { arena, setup } = this.rules
    const index = arena.get16(setup.deviceArea + VirtqUsed.offsetOf.idx)
    require(index === this.used, `the used index is ${index} and not ${this.used}`)
    for (let done = 0; done < due.length; ) {
      const at = setup.deviceArea + VirtqUsed.offsetOf.ring + (((before + done) % wrap) % setup.size) * VirtqUsedElem.size
      done = this.named(due, done, arena.get32(at + VirtqUsedElem.offsetOf.id), arena.get32(at + VirtqUsedElem.offsetOf.len)) + 1
    }
  }

  protected override isDue(before: number, count: number): boolean {
    const { arena, setup, eventIndex } = this.rules
    if (!eventIndex) return (arena.get16(setup.driverArea + VirtqAvail.offsetOf.flags) & VIRTQ_AVAIL_F_NO_INTERRUPT) === 0
    const event = arena.get16(setup.driverArea + VirtqAvail.offsetOf.ring + setup.size * split_ring_entry_size.available_ring)
    for (let i = 0; i < count; i++) if ((before + i) % wrap === event) return true
    return false
  }

  override owned(): readonly Range[] {
    const { deviceArea, size } = this.rules.setup
    return [{ start: deviceArea, end: deviceArea + VirtqUsed.offsetOf.ring + size * VirtqUsedElem.size + 2 }]
  }
}

/** What stands at an index of the available ring. */
export function availableHead({ arena, setup }: RingRules, index: number): number {
  return arena.get16(setup.driverArea + VirtqAvail.offsetOf.ring + (index % setup.size) * split_ring_entry_size.available_ring)
}
