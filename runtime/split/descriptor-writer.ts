/** Writes descriptors into a descriptor table or an indirect one. VIRTIO 1.4, Virtqueues / The Virtqueue Descriptor Table. */
import { VIRTQ_DESC_F_INDIRECT, VIRTQ_DESC_F_NEXT, VIRTQ_DESC_F_WRITE, VirtqDesc } from 'virtgen/wire/split-ring'
import type { GuestMemory, MemoryRegion } from '../memory.ts'
import type { DeviceAddress } from '../queue.ts'

const { offsetOf } = VirtqDesc

/** Plain stores: the device looks at descriptors only after it has seen the available index that was stored behind them. */
export class DescriptorWriter {
  readonly #memory: GuestMemory
  #version = -1
  /** The region that was written to last; tables of one queue mostly share it. */
  #region: MemoryRegion | undefined

  constructor(memory: GuestMemory) {
    this.#memory = memory
  }

  /**
   * Writes a descriptor that refers to a piece of memory.
   *
   * @param table - guest address of the table, aligned
   * @param index - of the descriptor in the table
   * @param next - index of the descriptor that follows; undefined: it is the last
   */
  put(table: number, index: number, piece: DeviceAddress, writable: boolean, next: number | undefined): void {
    const flags = (writable ? VIRTQ_DESC_F_WRITE : 0) | (next === undefined ? 0 : VIRTQ_DESC_F_NEXT)
    this.#put(table + index * VirtqDesc.size, piece.address, piece.length, flags, next ?? 0)
  }

  /** Writes a descriptor that refers to an indirect table of `count` descriptors. */
  putIndirect(table: number, index: number, address: number, count: number): void {
    this.#put(table + index * VirtqDesc.size, address, count * VirtqDesc.size, VIRTQ_DESC_F_INDIRECT, 0)
  }

  #put(at: number, address: number, length: number, flags: number, next: number): void {
    const region = this.#find(at)
    const start = at - region.guestAddress
    const high = Math.floor(address / 0x1_0000_0000)
    region.u32[(start + offsetOf.addr) / 4] = address - high * 0x1_0000_0000
    region.u32[(start + offsetOf.addr) / 4 + 1] = high
    region.u32[(start + offsetOf.len) / 4] = length
    region.u16[(start + offsetOf.flags) / 2] = flags
    region.u16[(start + offsetOf.next) / 2] = next
  }

  #find(address: number): MemoryRegion {
    const known = this.#region
    if (known !== undefined && this.#version === this.#memory.version) {
      if (address >= known.guestAddress && address + VirtqDesc.size <= known.guestAddress + known.size) return known
    }
    const region = this.#memory.regions[this.#memory.indexOf(address, VirtqDesc.size)]
    if (region === undefined) throw new RangeError(`the descriptor at ${address} is not in the memory any more`)
    this.#region = region
    this.#version = this.#memory.version
    return region
  }
}
