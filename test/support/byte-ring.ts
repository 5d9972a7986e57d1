/** A split virtqueue as bytes, written and read by a driver that trusts itself. */
import {
  split_ring_alignment,
  split_ring_entry_size,
  split_ring_fixed_size,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  VirtqAvail,
  VirtqDesc,
  VirtqUsed,
  VirtqUsedElem,
} from 'virtgen/wire/split-ring'

const aligned = (address: number, alignment: number): number => Math.ceil(address / alignment) * alignment

export class ByteRing {
  readonly size: number
  readonly descriptorArea: number
  readonly driverArea: number
  readonly deviceArea: number
  readonly #view: DataView
  #next = 0
  #available = 0
  #used = 0

  /** @param memory - guest memory from address 0 */
  constructor(memory: Uint8Array, address: number, size: number) {
    this.#view = new DataView(memory.buffer, memory.byteOffset, memory.byteLength)
    this.size = size
    this.descriptorArea = aligned(address, split_ring_alignment.descriptor_table)
    this.driverArea = this.descriptorArea + size * VirtqDesc.size
    const driverAreaEnd = this.driverArea + split_ring_fixed_size.available_ring + size * split_ring_entry_size.available_ring
    this.deviceArea = aligned(driverAreaEnd, split_ring_alignment.used_ring)
  }

  /** Makes a chain of buffers `[address, length, writable]` available; gives its head. Descriptors are taken round the table. */
  add(...buffers: readonly (readonly [address: number, length: number, writable: boolean])[]): number {
    const head = this.#next
    buffers.forEach(([address, length, writable], index) => {
      const at = this.#next
      this.#next = (at + 1) % this.size
      const desc = new VirtqDesc().at(this.#view, this.descriptorArea + at * VirtqDesc.size, VirtqDesc.size)
      desc.addr = address
      desc.len = length
      desc.flags = (writable ? VIRTQ_DESC_F_WRITE : 0) | (index + 1 < buffers.length ? VIRTQ_DESC_F_NEXT : 0)
      desc.next = this.#next
    })
    const entry = VirtqAvail.offsetOf.ring + (this.#available % this.size) * split_ring_entry_size.available_ring
    this.#view.setUint16(this.driverArea + entry, head, true)
    this.#available = (this.#available + 1) & 0xffff
    this.publish(this.#available)
    return head
  }

  /** Writes the available index, whatever it is. */
  publish(index: number): void {
    this.#view.setUint16(this.driverArea + VirtqAvail.offsetOf.idx, index, true)
  }

  /** Used buffers since the last call: `[head, written]`. */
  used(): [number, number][] {
    const at = this.deviceArea
    const result: [number, number][] = []
    for (const index = this.#view.getUint16(at + VirtqUsed.offsetOf.idx, true); this.#used !== index; this.#used = (this.#used + 1) & 0xffff) {
      const entry = at + VirtqUsed.offsetOf.ring + (this.#used % this.size) * VirtqUsedElem.size
      const element = new VirtqUsedElem().at(this.#view, entry, VirtqUsedElem.size)
      result.push([element.id, element.len])
    }
    return result
  }
}
