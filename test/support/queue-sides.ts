/** The two sides of a virtqueue behind one face each: ours, and the ones by hand that share no code with ours. */
import {
  type Chain,
  createDeviceQueue,
  createDriverQueue,
  type DeviceQueue,
  DriverMemory,
  type DriverQueue,
  type QueueSetup,
  type RingFeatures,
} from 'virtgen/runtime'
import { chain, type FakeDevice, type FakeDriver, fakeDevice, fakeDriver, type RingPosition, type TakenChain, TestMemory } from 'virtgen/testing'
import { PvirtqDesc, VIRTQ_DESC_F_AVAIL, VIRTQ_DESC_F_USED } from 'virtgen/wire/packed-ring'
import { VirtqAvail, VirtqUsed } from 'virtgen/wire/split-ring'

/** What a driver puts into the ring: bytes to read, and lengths of the buffers to write. */
export interface Request {
  readonly number: number
  readonly readable: readonly Uint8Array[]
  readonly writable: readonly number[]
}

/** What comes back. */
export interface Answer {
  readonly number: number
  readonly written: number
  /** The first bytes of the device-writable part, as many as were written. */
  readonly bytes: Uint8Array
}

export interface DriverSide {
  /** Memory is arranged. */
  begin?(): void
  /** Entries that are free. */
  readonly free: number
  /** False: there is no room. */
  add(request: Request): boolean
  publish(): void
  used(): Answer | undefined
  enable?(): boolean
  disable?(): void
  /** Goes on as another queue, at the same place. */
  restore?(): void
  /** Takes back what is out, in any order; only after a reset. */
  detach?(): number[]
}

export interface DeviceSide {
  begin?(): void
  /** Takes the next request; gives what it finds there. */
  take(): { readonly content: Uint8Array; readonly room: number } | undefined
  /** Answers the request that was taken as the `index`-th of those that are not answered. */
  complete(index: number, bytes: Uint8Array): void
  /** Whether answers may come in any order: what the ring does of it is the queue's business. */
  readonly isOrderFree: boolean
  enable?(): boolean
  disable?(): void
  cork?(): void
  uncork?(): void
  /** Gives the last one back, to be taken again. */
  putBack?(): void
  /** Goes on as another queue; what was taken has to be taken again. */
  restore?(): void
  /** Ends the queue; gives what does something with the requests that were out. */
  reset?(): () => void
}

export interface Setting extends RingFeatures {
  readonly size: number
  /** Where both sides begin. */
  readonly position: number
}

/** A ring in memory, as it lies there when both sides have come to a position. */
export class Ring {
  readonly memory = new TestMemory()
  readonly setup: QueueSetup
  readonly setting: Setting
  /** Notifications that were sent since the side was asked last. */
  toDevice = 0
  toDriver = 0
  /** Of a queue of ours. */
  readonly fail = ({ kind, detail }: { kind: string; detail: string }): never => {
    throw new Error(`a violation where nobody breaks a rule: ${kind}, ${detail}`)
  }

  constructor(setting: Setting) {
    this.setting = setting
    this.setup = fakeDriver(this.memory, { packed: setting.packed === true, size: setting.size }).setup
  }

  /** Makes memory what it is when both sides have come to where they begin; after both are made, as one that begins may clear what is there. */
  arrange(): void {
    const { packed, position } = this.setting
    if (packed) this.#age(position)
    else {
      this.memory.poke16(this.setup.driverArea + VirtqAvail.offsetOf.idx, position)
      this.memory.poke16(this.setup.deviceArea + VirtqUsed.offsetOf.idx, position)
    }
  }

  /** Every descriptor was used in its last round: those before the position in this one. */
  #age(position: number): void {
    const wrap = position >> 15
    const isNew = position === this.begin
    for (let i = 0; i < this.setup.size && !isNew; i++) {
      const round = i < (position & 0x7fff) ? wrap : 1 - wrap
      const flags = round === 1 ? VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED : 0
      this.memory.poke16(this.setup.descriptorArea + i * PvirtqDesc.size + PvirtqDesc.offsetOf.flags, flags)
    }
  }

  /** Where a new ring begins. */
  get begin(): number {
    return this.setting.packed ? 0x8000 : 0
  }
  get isNew(): boolean {
    return this.setting.position === this.begin
  }
  get position(): RingPosition {
    return { available: this.setting.position, used: this.setting.position }
  }
}

// ---- Ours

export class OurDriver implements DriverSide {
  readonly #ring: Ring
  readonly #tables: DriverMemory
  #queue: DriverQueue<Request>
  readonly #places = new Map<Request, { address: number; length: number }[]>()

  constructor(ring: Ring) {
    this.#ring = ring
    const bytes = 0x2000
    this.#tables = new DriverMemory(ring.memory, ring.memory.allocate(bytes, 16), bytes)
    this.#queue = this.#open(ring.isNew ? undefined : { ...ring.position, out: [], ...(ring.setting.inOrder && { descriptor: 0 }) }, [])
  }

  #open(state: ReturnType<DriverQueue['save']> | undefined, tokens: Request[]): DriverQueue<Request> {
    const { memory, setup, setting, fail } = this.#ring
    const { packed, eventIndex, indirect, inOrder } = setting
    return createDriverQueue<Request>(memory, setup, {
      ...({ packed, eventIndex, indirect, inOrder } as RingFeatures),
      indirectTables: this.#tables,
      notify: () => void this.#ring.toDevice++,
      fail,
      ...(state !== undefined && { state, tokens }),
    })
  }

  get free(): number {
    return this.#queue.free
  }
  add(request: Request): boolean {
    const { memory } = this.#ring
    const place = (length: number) => ({ address: memory.allocate(length), length })
    const readable = request.readable.map((bytes) => {
      const piece = place(bytes.length)
      memory.poke(piece.address, bytes)
      return piece
    })
    const writable = request.writable.map(place)
    const isAdded = this.#queue.add(readable, writable, request)
    if (isAdded) this.#places.set(request, [...readable, ...writable])
    else for (const { address } of [...readable, ...writable]) memory.release(address)
    return isAdded
  }
  publish(): void {
    this.#queue.publish()
  }
  used(): Answer | undefined {
    const request = this.#queue.completed()
    if (request === undefined) return undefined
    const { written } = this.#queue
    const { memory } = this.#ring
    const pieces = this.#places.get(request)!.slice(request.readable.length)
    const all = Uint8Array.from(pieces.flatMap(({ address, length }) => [...memory.peek(address, length)]))
    this.#release(request)
    return { number: request.number, written, bytes: all.subarray(0, written) }
  }
  #release(request: Request): void {
    for (const { address } of this.#places.get(request)!) this.#ring.memory.release(address)
    this.#places.delete(request)
  }
  enable(): boolean {
    return this.#queue.enableNotifications()
  }
  disable(): void {
    this.#queue.disableNotifications()
  }
  restore(): void {
    const state = JSON.parse(JSON.stringify(this.#queue.save()))
    // In the order in which they were added, as the state has them.
    this.#queue = this.#open(state, [...this.#places.keys()])
  }
  detach(): number[] {
    const numbers: number[] = []
    this.#queue.close()
    for (let request = this.#queue.detach(); request !== undefined; request = this.#queue.detach()) numbers.push(request.number)
    return numbers
  }
}

export class OurDevice implements DeviceSide {
  readonly isOrderFree = true
  readonly #ring: Ring
  #queue: DeviceQueue
  #out: Chain[] = []

  constructor(ring: Ring) {
    this.#ring = ring
    this.#queue = this.#open(ring.isNew ? undefined : { ...ring.position, inFlight: [] })
  }

  #open(state: ReturnType<DeviceQueue['save']> | undefined): DeviceQueue {
    const { memory, setup, setting, fail } = this.#ring
    const { packed, eventIndex, indirect, inOrder } = setting
    return createDeviceQueue(memory, setup, {
      ...({ packed, eventIndex, indirect, inOrder } as RingFeatures),
      notify: () => void this.#ring.toDriver++,
      fail,
      ...(state !== undefined && { state }),
    })
  }

  take() {
    const taken = this.#queue.next()
    if (taken === undefined) return undefined
    this.#out.push(taken)
    const content = new Uint8Array(taken.readable.length)
    taken.readable.copyTo(content)
    return { content, room: taken.writable.length }
  }
  complete(index: number, bytes: Uint8Array): void {
    const [taken] = this.#out.splice(index, 1)
    taken!.writable.copyFrom(bytes)
    taken!.complete()
  }
  enable(): boolean {
    return this.#queue.enableNotifications()
  }
  disable(): void {
    this.#queue.disableNotifications()
  }
  cork(): void {
    this.#queue.cork()
  }
  uncork(): void {
    this.#queue.uncork()
  }
  putBack(): void {
    this.#queue.putBack(this.#out.pop()!)
  }
  restore(): void {
    this.#queue = this.#open(JSON.parse(JSON.stringify(this.#queue.save())))
    this.#out = []
  }
  reset(): () => void {
    const out = this.#out
    this.#out = []
    this.#queue.reset()
    return () => {
      for (const taken of out) {
        taken.writable.fill(0xee)
        taken.complete(0)
      }
    }
  }
}

// ---- By hand

export class HandDriver implements DriverSide {
  readonly #driver: FakeDriver
  readonly #indirect: boolean
  /** Numbers of requests, by the ids of their chains: of a batch that is used, ids may be taken again before all of it was asked for. */
  readonly #sent = new Map<number, number[]>()
  #isNew = false

  constructor(ring: Ring) {
    const { setup, setting, memory, position } = ring
    this.#indirect = setting.indirect === true
    this.#driver = fakeDriver(memory, { ...setting, areas: setup, position, notify: () => void ring.toDevice++ } as Parameters<typeof fakeDriver>[1])
  }

  get free(): number {
    return this.#driver.free
  }
  add({ number, readable, writable }: Request): boolean {
    const spec = chain()
    // Every other one, and what the ring itself has no room for, goes through a table.
    const count = readable.length + writable.length
    if (this.#indirect && (number % 2 === 1 || count > this.#driver.free)) spec.indirect()
    for (const bytes of readable) spec.readable(bytes)
    for (const length of writable) spec.writable(length)
    if ((spec.table === undefined ? count : 1) > this.#driver.free) return false
    const { id } = this.#driver.put(spec)
    this.#sent.set(id, [...(this.#sent.get(id) ?? []), number])
    this.#isNew = true
    return true
  }
  publish(): void {
    // It tells the device in any case, also of nothing, which is permitted.
    if (this.#isNew) this.#driver.publish()
    this.#isNew = false
  }
  used(): Answer | undefined {
    const used = this.#driver.used()
    if (used === undefined) return undefined
    return { number: this.#sent.get(used.id)!.shift()!, written: used.written, bytes: used.bytes.slice() }
  }
  /** What it wants is told from the beginning on. */
  begin(): void {
    this.#driver.ask('always')
  }
  disable(): void {
    this.#driver.ask('never')
  }
  enable(): boolean {
    this.#driver.ask('always')
    return false
  }
}

export class HandDevice implements DeviceSide {
  readonly isOrderFree: boolean
  readonly #device: FakeDevice
  readonly #out: TakenChain[] = []

  constructor(ring: Ring) {
    const { setup, setting, memory, position } = ring
    this.isOrderFree = setting.inOrder !== true
    this.#device = fakeDevice(memory, setup, { ...setting, position, notify: () => void ring.toDriver++ } as Parameters<typeof fakeDevice>[2])
  }

  take() {
    const taken = this.#device.take()
    if (taken === undefined) return undefined
    this.#out.push(taken)
    return { content: taken.readable, room: taken.writable }
  }
  complete(index: number, bytes: Uint8Array): void {
    const [taken] = this.#out.splice(index, 1)
    this.#device.use(taken!, bytes)
  }
  begin(): void {
    this.#device.ask('always')
  }
  disable(): void {
    this.#device.ask('never')
  }
  enable(): boolean {
    this.#device.ask('always')
    return false
  }
}
