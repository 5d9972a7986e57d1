/** The driver side of a split virtqueue, driven by hand: writes whatever it is told, right or wrong. Uses nothing of the runtime but the memory. */
import { VIRTQ_DESC_F_NEXT, VIRTQ_DESC_F_WRITE, VirtqAvail, VirtqDesc, VirtqUsed, VirtqUsedElem } from 'virtgen/wire/split-ring'
import { createDeviceQueue } from '../../runtime/device-queue.ts'
import type { DeviceQueueOptions } from '../../runtime/device-queue-options.ts'
import type { GuestMemory } from '../../runtime/memory.ts'
import type { DeviceQueue, QueueSetup } from '../../runtime/queue.ts'
import type { Violation } from '../../runtime/violation.ts'

export interface RawDescriptor {
  address: number | bigint
  length: number
  flags?: number
  next?: number
}
export interface RawBuffer {
  address: number
  length: number
  writable?: boolean
}

const align = (value: number, to: number): number => Math.ceil(value / to) * to

export class RawRing {
  readonly memory: GuestMemory
  readonly setup: QueueSetup
  /** Where the areas end. */
  readonly end: number
  /** The available index that was published. */
  available = 0

  constructor(memory: GuestMemory, size: number, base = 0, index = 0) {
    this.memory = memory
    const driverArea = base + size * VirtqDesc.size
    const deviceArea = align(driverArea + VirtqAvail.offsetOf.ring + size * 2 + 2, 4)
    this.end = deviceArea + VirtqUsed.offsetOf.ring + size * VirtqUsedElem.size + 2
    this.setup = { index, size, descriptorArea: base, driverArea, deviceArea }
  }

  view(address: number, length: number): DataView {
    const bytes = this.memory.resolve(address, length)
    if (bytes === undefined) throw new Error(`no memory at ${address}`)
    return new DataView(bytes.buffer, bytes.byteOffset, length)
  }

  /** Writes a descriptor of a table, by default the descriptor table. */
  descriptor(index: number, { address, length, flags = 0, next = 0 }: RawDescriptor, table = this.setup.descriptorArea): void {
    const bytes = new Uint8Array(VirtqDesc.size)
    const view = new DataView(bytes.buffer)
    view.setBigUint64(VirtqDesc.offsetOf.addr, BigInt(address), true)
    view.setUint32(VirtqDesc.offsetOf.len, length, true)
    view.setUint16(VirtqDesc.offsetOf.flags, flags, true)
    view.setUint16(VirtqDesc.offsetOf.next, next, true)
    if (!this.memory.write(table + index * VirtqDesc.size, bytes)) throw new Error(`no memory for descriptor ${index}`)
  }

  /** Chains buffers through descriptors of these indices. */
  chain(indices: readonly number[], buffers: readonly RawBuffer[], table = this.setup.descriptorArea): void {
    buffers.forEach(({ address, length, writable }, i) => {
      const last = i === buffers.length - 1
      const flags = (writable ? VIRTQ_DESC_F_WRITE : 0) | (last ? 0 : VIRTQ_DESC_F_NEXT)
      this.descriptor(indices[i]!, { address, length, flags, next: last ? 0xffff : indices[i + 1]! }, table)
    })
  }

  /** Writes heads into the available ring without publishing them. */
  put(...heads: number[]): void {
    const { driverArea, size } = this.setup
    for (const head of heads) {
      this.view(driverArea + VirtqAvail.offsetOf.ring + (this.available % size) * 2, 2).setUint16(0, head, true)
      this.available = (this.available + 1) & 0xffff
    }
  }
  publish(index = this.available): void {
    this.view(this.setup.driverArea + VirtqAvail.offsetOf.idx, 2).setUint16(0, index, true)
  }
  offer(...heads: number[]): void {
    this.put(...heads)
    this.publish()
  }

  get usedIndex(): number {
    return this.view(this.setup.deviceArea + VirtqUsed.offsetOf.idx, 2).getUint16(0, true)
  }
  used(index: number): { id: number; len: number } {
    const at = this.setup.deviceArea + VirtqUsed.offsetOf.ring + (index % this.setup.size) * VirtqUsedElem.size
    return new VirtqUsedElem().at(this.view(at, VirtqUsedElem.size)).$get()
  }
  get usedFlags(): number {
    return this.view(this.setup.deviceArea + VirtqUsed.offsetOf.flags, 2).getUint16(0, true)
  }
  set availableFlags(flags: number) {
    this.view(this.setup.driverArea + VirtqAvail.offsetOf.flags, 2).setUint16(0, flags, true)
  }
  set usedEvent(index: number) {
    this.view(this.setup.driverArea + VirtqAvail.offsetOf.ring + this.setup.size * 2, 2).setUint16(0, index, true)
  }
  get availEvent(): number {
    return this.view(this.setup.deviceArea + VirtqUsed.offsetOf.ring + this.setup.size * VirtqUsedElem.size, 2).getUint16(0, true)
  }
}

/** A device queue on a raw ring that records what it says. */
export function deviceQueue(
  ring: RawRing,
  options: Partial<DeviceQueueOptions> = {},
  setup: Partial<QueueSetup> = {},
): { queue: DeviceQueue; notified: () => number; violations: Violation[] } {
  let count = 0
  const violations: Violation[] = []
  const queue = createDeviceQueue(
    ring.memory,
    { ...ring.setup, ...setup },
    {
      eventIndex: false,
      indirect: true,
      notify: () => {
        count++
      },
      fail: (violation) => violations.push(violation),
      ...options,
    },
  )
  return { queue, notified: () => count, violations }
}
