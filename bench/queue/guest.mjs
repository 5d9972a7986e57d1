// The guest of the workload, written by hand over typed arrays: drivers that make 256 chains available at once, and devices that use them all.
// Nothing of it is measured, except for the one store that makes the chains available.

import {
  PvirtqDesc,
  RING_EVENT_FLAGS_DESC,
  VIRTQ_DESC_F_AVAIL,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_USED,
  VIRTQ_DESC_F_WRITE,
} from 'virtgen/wire/packed-ring'
import { VirtqAvail, VirtqDesc, VirtqUsed, VirtqUsedElem } from 'virtgen/wire/split-ring'

/** Chains of a batch. */
export const batch = 256
export const memoryBytes = 64 << 20
/** Rings lie below, buffers from here on: those of a chain side by side, chains 8 KiB apart. */
const firstBuffer = 16 << 20
const buffersOfChain = 8192

/** 64 MiB that all rows share, each with rings of its own. */
export class GuestBytes {
  u8 = new Uint8Array(memoryBytes).fill(1)
  u16 = new Uint16Array(this.u8.buffer)
  u32 = new Uint32Array(this.u8.buffer)
  #next = 4096

  /** Zeroed room for a ring: its address. */
  reserve(length) {
    const address = this.#next
    this.#next = Math.ceil((address + length) / 64) * 64
    if (this.#next > firstBuffer) throw new RangeError(`the rings of all rows need more than ${firstBuffer} bytes`)
    this.u8.fill(0, address, address + length)
    return address
  }
}

/**
 * What the chains look like.
 *
 * @typedef {object} Shape
 * @property {number} n - descriptors of a chain
 * @property {number} payload - bytes of a chain; 0: as 64, and the device does not look at them
 * @property {boolean} [indirect] - in tables of their own
 * @property {boolean} [shuffled] - descriptors (packed: buffer ids) in no order
 * @property {boolean} [writable] - the device writes them
 * @property {boolean} [twoRegions] - chains lie by turns in the lower and the upper half of memory
 * @property {boolean} [eventIndex] - the driver asks for a notification of the first chain of each batch
 */

/** Address of the j-th piece of the i-th chain. */
export function pieceAddress(shape, i, j) {
  const half = shape.twoRegions && i % 2 === 1 ? memoryBytes / 2 : 0
  return firstBuffer + half + i * buffersOfChain + j * pieceLength(shape)
}

export function pieceLength({ n, payload }) {
  return (payload || 64) / n
}

/** Entries of the queue: room for a batch, and no more. */
export function queueSize({ n, indirect, tables = true }) {
  return indirect && tables ? batch : batch * n
}

function orderOf({ shuffled }, count) {
  const order = Array.from({ length: count }, (_, i) => i)
  // A generator of its own: every run measures the same order.
  let seed = 1
  for (let i = count - 1; shuffled && i > 0; i--) {
    seed = (seed * 48271) % 0x7fff_ffff
    const j = seed % (i + 1)
    ;[order[i], order[j]] = [order[j], order[i]]
  }
  return order
}

/** Writes an entry; `last` is what follows the length: flags and next, or id and flags. */
function putDescriptor(u32, at, address, length, last) {
  u32[at / 4] = address
  u32[at / 4 + 1] = 0
  u32[at / 4 + 2] = length
  u32[at / 4 + 3] = last
}

/** The areas of a queue in the bytes of the guest. */
export function layOut(guest, format, size) {
  const descriptorArea = guest.reserve(VirtqDesc.size * size)
  if (format === 'packed') return { index: 0, size, descriptorArea, driverArea: guest.reserve(4), deviceArea: guest.reserve(4) }
  const driverArea = guest.reserve(VirtqAvail.offsetOf.ring + 2 * size + 2)
  const deviceArea = guest.reserve(VirtqUsed.offsetOf.ring + VirtqUsedElem.size * size + 2)
  return { index: 0, size, descriptorArea, driverArea, deviceArea }
}

/** A split ring's driver: everything is written once, a batch is one store. */
export class SplitDriver {
  #u16
  #index
  #usedEvent
  #next = 0

  /** @param {Shape} shape */
  constructor(guest, setup, shape) {
    const { u16, u32 } = guest
    const { n } = shape
    const { descriptorArea, driverArea, size } = setup
    const order = orderOf(shape, size)
    const length = pieceLength(shape)
    const write = shape.writable ? VIRTQ_DESC_F_WRITE : 0
    for (let i = 0; i < batch; i++) {
      const table = shape.indirect ? guest.reserve(VirtqDesc.size * n) : descriptorArea
      const place = (j) => (shape.indirect ? j : order[i * n + j])
      for (let j = 0; j < n; j++) {
        const chained = j < n - 1 ? VIRTQ_DESC_F_NEXT | (place(j + 1) << 16) : 0
        putDescriptor(u32, table + place(j) * VirtqDesc.size, pieceAddress(shape, i, j), length, chained | write)
      }
      if (shape.indirect) putDescriptor(u32, descriptorArea + order[i] * VirtqDesc.size, table, n * VirtqDesc.size, VIRTQ_DESC_F_INDIRECT)
    }
    const ring = (driverArea + VirtqAvail.offsetOf.ring) / 2
    for (let i = 0; i < size; i++) u16[ring + i] = order[(i % batch) * (shape.indirect ? 1 : n)]
    this.#u16 = u16
    this.#index = (driverArea + VirtqAvail.offsetOf.idx) / 2
    this.#usedEvent = shape.eventIndex ? ring + size : -1
  }

  /** Makes the chains available. */
  offer() {
    if (this.#usedEvent >= 0) this.#u16[this.#usedEvent] = this.#next
    this.#next = (this.#next + batch) & 0xffff
    // Orders the entries before the index: the device loads it first.
    Atomics.store(this.#u16, this.#index, this.#next)
  }
}

/** A packed ring's driver: the device overwrites descriptors, so that each batch is written anew. A batch fills the ring, and the next one has the other wrap counter. */
export class PackedDriver {
  #u16
  #u32
  #ring
  #event
  /** The whole ring, by the wrap counter. */
  #batches
  #wrap = 1

  /** @param {Shape} shape */
  constructor(guest, setup, shape) {
    const { n } = shape
    const ids = orderOf(shape, batch)
    const write = shape.writable ? VIRTQ_DESC_F_WRITE : 0
    const words = new Uint32Array((PvirtqDesc.size / 4) * setup.size)
    for (let i = 0; i < batch; i++) {
      const table = shape.indirect ? guest.reserve(PvirtqDesc.size * n) : undefined
      const put = (j, flags) =>
        putDescriptor(words, (i * n + j) * PvirtqDesc.size, pieceAddress(shape, i, j), pieceLength(shape), ids[i] | (flags << 16))
      for (let j = 0; j < n; j++) {
        if (table === undefined) put(j, (j < n - 1 ? VIRTQ_DESC_F_NEXT : 0) | write)
        else putDescriptor(guest.u32, table + j * PvirtqDesc.size, pieceAddress(shape, i, j), pieceLength(shape), write << 16)
      }
      if (table !== undefined) putDescriptor(words, i * PvirtqDesc.size, table, n * PvirtqDesc.size, ids[i] | (VIRTQ_DESC_F_INDIRECT << 16))
    }
    this.#u16 = guest.u16
    this.#u32 = guest.u32
    this.#ring = setup.descriptorArea / 4
    this.#event = shape.eventIndex ? setup.driverArea / 2 : -1
    this.#batches = [available(words, VIRTQ_DESC_F_USED), available(words, VIRTQ_DESC_F_AVAIL)]
  }

  offer() {
    if (this.#event >= 0) {
      this.#u16[this.#event] = this.#wrap << 15
      this.#u16[this.#event + 1] = RING_EVENT_FLAGS_DESC
    }
    this.#u32.set(this.#batches[this.#wrap], this.#ring)
    this.#wrap ^= 1
  }
}

/** The same descriptors with one more flag. */
function available(words, flag) {
  return words.map((word, i) => (i % 4 === 3 ? word | (flag << 16) : word))
}

export function driverByHand(format, guest, setup, shape) {
  return format === 'packed' ? new PackedDriver(guest, setup, shape) : new SplitDriver(guest, setup, shape)
}

/** A split ring's device that uses every available chain, with nothing written. */
export class SplitDevice {
  #guest
  #setup
  #next = 0

  constructor(guest, setup) {
    this.#guest = guest
    this.#setup = setup
  }

  use() {
    const { u16, u32 } = this.#guest
    const { driverArea, deviceArea, size } = this.#setup
    const available = Atomics.load(u16, (driverArea + VirtqAvail.offsetOf.idx) / 2)
    for (; this.#next !== available; this.#next = (this.#next + 1) & 0xffff) {
      const at = this.#next & (size - 1)
      const element = (deviceArea + VirtqUsed.offsetOf.ring + at * VirtqUsedElem.size) / 4
      u32[element] = u16[(driverArea + VirtqAvail.offsetOf.ring) / 2 + at]
      u32[element + 1] = 0
    }
    Atomics.store(u16, (deviceArea + VirtqUsed.offsetOf.idx) / 2, available)
  }
}

/** A packed ring's device that uses a batch of chains of `entries` descriptors. */
export class PackedDevice {
  #guest
  #setup
  #entries
  #at = 0
  #wrap = 1

  constructor(guest, setup, entries) {
    this.#guest = guest
    this.#setup = setup
    this.#entries = entries
  }

  use() {
    const { u32 } = this.#guest
    const { descriptorArea, size } = this.#setup
    for (let i = 0; i < batch; i++) {
      const first = (descriptorArea + this.#at * PvirtqDesc.size) / 4
      const last = (descriptorArea + ((this.#at + this.#entries - 1) % size) * PvirtqDesc.size) / 4
      const id = u32[last + 3] & 0xffff
      u32[first + 2] = 0
      u32[first + 3] = id | ((this.#wrap === 1 ? VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED : 0) << 16)
      this.#at += this.#entries
      if (this.#at >= size) {
        this.#at -= size
        this.#wrap ^= 1
      }
    }
  }
}
