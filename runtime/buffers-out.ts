/** What a driver remembers of the buffers that are in its ring, whatever the format: the device could change what lies in shared memory. */

/** Buffers by their ids: split, the head of the chain; packed, the buffer id. The arrays begin empty, not undefined, so that they are not checked at each use. */
export class BuffersOut<T> {
  readonly #tokens: (T | undefined)[] = []
  /** Of each id: descriptors in the ring (0: not out), device-writable bytes, and which buffer of the queue's life it is. Exact for 2^53 buffers. */
  readonly #descriptors: Uint16Array = new Uint16Array(0)
  readonly #writable: Float64Array = new Float64Array(0)
  readonly #serial: Float64Array = new Float64Array(0)
  /** With VIRTIO_F_IN_ORDER: the ids in the order in which they were added, round and round; and where the oldest one and the next one stand. */
  readonly #order: Uint16Array | undefined
  #oldestAt = 0
  #nextAt = 0
  /** Buffers that were added, and of those the ones that the device was told of. */
  #added = 0
  #visible = 0
  #count = 0
  #detachFrom = 0

  constructor(size: number, inOrder: boolean) {
    this.#tokens = new Array<T | undefined>(size).fill(undefined)
    this.#descriptors = new Uint16Array(size)
    this.#writable = new Float64Array(size)
    this.#serial = new Float64Array(size)
    this.#order = inOrder ? new Uint16Array(size) : undefined
  }

  get count(): number {
    return this.#count
  }

  /** Of those that are out, the ones that the device was told of. */
  get visible(): number {
    return this.#count - (this.#added - this.#visible)
  }

  /** Descriptors of the ring that a buffer takes. */
  descriptors(id: number): number {
    return this.#descriptors[id]!
  }

  /** Bytes that the device may write into a buffer. */
  writable(id: number): number {
    return this.#writable[id]!
  }

  /** A buffer is in the ring. */
  add(id: number, descriptors: number, writable: number, token: T): void {
    this.#descriptors[id] = descriptors
    this.#writable[id] = writable
    this.#serial[id] = this.#added++
    this.#tokens[id] = token
    this.#count++
    if (this.#order !== undefined) this.#enqueue(this.#order, id)
  }

  /** The device was told of all that were added. */
  get isVisibleAll(): boolean {
    return this.#visible === this.#added
  }

  /** The device is told of all that were added. */
  publish(): void {
    this.#visible = this.#added
  }

  /** Says whether the device has a buffer of this id and was told of it. Any number may be asked for. */
  isVisible(id: number): boolean {
    // An id outside the arrays is undefined, and not more than 0.
    return this.#descriptors[id]! > 0 && this.#serial[id]! < this.#visible
  }

  /** The buffer is back: gives its token. */
  release(id: number): T | undefined {
    const token = this.#tokens[id]
    this.#tokens[id] = undefined
    this.#descriptors[id] = 0
    this.#count--
    return token
  }

  /** VIRTIO_F_IN_ORDER: how many buffers are out up to this one, itself included. It must be visible. */
  batchTo(id: number): number {
    return this.#serial[id]! - (this.#added - this.#count) + 1
  }

  /** VIRTIO_F_IN_ORDER: takes the oldest one that is out from the line; `release` follows. */
  oldest(): number {
    const order = this.#order!
    const id = order[this.#oldestAt]!
    this.#oldestAt = this.#oldestAt + 1 === order.length ? 0 : this.#oldestAt + 1
    return id
  }

  /** The id of some buffer that is out, or -1. Looks at each id once in all: only where none is added any more. */
  any(): number {
    for (; this.#detachFrom < this.#descriptors.length; this.#detachFrom++) if (this.#descriptors[this.#detachFrom] !== 0) return this.#detachFrom
    return -1
  }

  /** Ids in the order in which they were added. */
  list(): number[] {
    const ids = [...this.#descriptors.keys()].filter((id) => this.#descriptors[id]! > 0)
    return ids.sort((a, b) => this.#serial[a]! - this.#serial[b]!)
  }

  #enqueue(order: Uint16Array, id: number): void {
    order[this.#nextAt] = id
    this.#nextAt = this.#nextAt + 1 === order.length ? 0 : this.#nextAt + 1
  }
}
