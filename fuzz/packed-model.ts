/** A packed virtqueue as its device must see it. Positions have the wrap counter in bit 15. */
import {
  PvirtqDesc,
  PvirtqEventSuppress,
  RING_EVENT_FLAGS_DESC,
  RING_EVENT_FLAGS_DISABLE,
  VIRTQ_DESC_F_AVAIL,
  VIRTQ_DESC_F_USED,
  VIRTQ_DESC_F_WRITE,
} from 'virtgen/wire/packed-ring'
import { isHeld } from './chain-reading.ts'
import { DeviceModel, type Outcome, type Reading, type TakenChain } from './device-model.ts'
import { require } from './failure.ts'
import { isAnyAvailable, moved, readPackedChain, wrapBit } from './packed-reading.ts'
import type { Range } from './ring-rules.ts'

const slotsOf = (chains: readonly TakenChain[]): number => chains.reduce((sum, { reading }) => sum + reading.slots, 0)

export class PackedDeviceModel extends DeviceModel {
  protected override read(): Outcome {
    const { size } = this.rules.setup
    const found = readPackedChain(this.rules, this.available, size - slotsOf(this.out) - slotsOf(this.due))
    if (found === undefined) return { kind: 'none' }
    const { id, reading } = found
    if (reading.problems.size > 0) return { kind: 'violation', kinds: reading.problems }
    if (this.out.some(({ head }) => head === id)) return { kind: 'violation', kinds: new Set(['available-index']) }
    return { kind: 'chain', head: id, reading }
  }

  override hasMore(): boolean {
    return this.restored.length > 0 || isAnyAvailable(this.rules, this.available)
  }

  /** Used descriptors may lie where it was: it is what it was when it was taken, as far as memory is there. */
  protected override readAgain({ head, reading }: TakenChain): Outcome {
    const isThere = [...reading.readable, ...reading.writable].every(({ address, length }) => isHeld(this.rules.arena, address, length))
    return isThere ? { kind: 'chain', head, reading } : { kind: 'violation', kinds: new Set(['descriptor-address']), head }
  }

  protected override advance({ slots }: Reading): void {
    this.available = moved(this.available, slots, this.rules.setup.size)
  }

  protected override goOn(due: readonly TakenChain[]): number {
    this.used = moved(this.used, slotsOf(due), this.rules.setup.size)
    return slotsOf(due)
  }

  protected override checkEntries(before: number, due: readonly TakenChain[]): void {
    const { arena, setup } = this.rules
    for (let done = 0, position = before; done < due.length; ) {
      const at = setup.descriptorArea + (position & ~wrapBit) * PvirtqDesc.size
      const flags = arena.get16(at + PvirtqDesc.offsetOf.flags)
      const wrap = (position & wrapBit) !== 0
      const isUsed = ((flags & VIRTQ_DESC_F_AVAIL) !== 0) === wrap && ((flags & VIRTQ_DESC_F_USED) !== 0) === wrap
      require(isUsed, `the descriptor at ${position & ~wrapBit} has flags 0x${flags.toString(16)}: it is not marked as used`)
      require((flags & VIRTQ_DESC_F_WRITE) === 0 ||
        arena.get32(at + PvirtqDesc.offsetOf.len) > 0, 'a used descriptor claims that 0 bytes were written')
      const length = (flags & VIRTQ_DESC_F_WRITE) === 0 ? 0 : arena.get32(at + PvirtqDesc.offsetOf.len)
      const last = this.named(due, done, arena.get16(at + PvirtqDesc.offsetOf.id), length)
      position = moved(position, slotsOf(due.slice(done, last + 1)), setup.size)
      done = last + 1
    }
  }

  protected override isDue(before: number, count: number): boolean {
    const { arena, setup, eventIndex } = this.rules
    const flags = arena.get16(setup.driverArea + PvirtqEventSuppress.offsetOf.flags) & 3
    if (!eventIndex || flags !== RING_EVENT_FLAGS_DESC) return flags !== RING_EVENT_FLAGS_DISABLE
    const event = arena.get16(setup.driverArea + PvirtqEventSuppress.offsetOf.desc)
    for (let i = 0, position = before; i < count; i++, position = moved(position, 1, setup.size)) if (position === event) return true
    return false
  }

  /** The descriptors of the ring in which the chains that are due can be told of, and the device's event suppression structure. */
  override owned(): readonly Range[] {
    const { descriptorArea, deviceArea, size } = this.rules.setup
    const owned = [{ start: deviceArea, end: deviceArea + PvirtqEventSuppress.size }]
    for (let i = 0, position = this.used; i < slotsOf(this.due); i++, position = moved(position, 1, size)) {
      const start = descriptorArea + (position & ~wrapBit) * PvirtqDesc.size
      owned.push({ start, end: start + PvirtqDesc.size })
    }
    return owned
  }
}
