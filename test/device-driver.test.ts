/** The base of driver clients, with messages written by hand, against a device that is driven by hand. */
import { FeatureSet, Struct } from 'virtgen/codegen/v1/wire'
import { VIRTIO_F_RING_RESET } from 'virtgen/wire/content'
import { VIRTQ_DESC_F_INDIRECT, VIRTQ_DESC_F_NEXT, VIRTQ_DESC_F_WRITE, VirtqDesc } from 'virtgen/wire/split-ring'
import { describe, expect, it } from 'vitest'
import { DeviceDriver, type DeviceDriverOptions, type ReadablePayload, type WritablePayload } from '../runtime/driver/device-driver.ts'
import { DriverError, type DriverHost, RequestError } from '../runtime/driver/host.ts'
import { DriverMemory } from '../runtime/driver/memory.ts'
import { createDriverQueue } from '../runtime/driver-queue.ts'
import { GuestMemory } from '../runtime/memory.ts'
import type { DriverQueue } from '../runtime/queue.ts'
import type { LayoutInfo, MessageInfo, QueueInfo, RequestInfo } from '../runtime/request/message.ts'
import { areaSizes } from '../runtime/split/areas.ts'
import type { Violation } from '../runtime/violation.ts'

// ---- structs and messages, as the generator would write them -------------------------------------------------------------------------------------

/** Members of 8 bits one behind the other; `list` is open, `nested.code` a member of a member. */
class Bytes extends Struct {
  readonly names: readonly string[]
  readonly isOpen: boolean
  constructor(names: readonly string[], isOpen = false) {
    super()
    this.names = names
    this.isOpen = isOpen
  }
  get $minimum() {
    return this.names.length
  }
  get $size() {
    return this.isOpen ? this.$length : this.names.length
  }
  get(name: string) {
    return this.$view.getUint8(this.$offset + this.names.indexOf(name))
  }
  set(name: string, value: number) {
    if (!(Number.isInteger(value) && value >= 0 && value < 256)) throw new RangeError(`${name} must be an integer from 0 to 255, not ${value}`)
    this.$view.setUint8(this.$offset + this.names.indexOf(name), value)
  }
  $get(): Record<string, unknown> {
    const value: Record<string, unknown> = {}
    for (const name of this.names) {
      const [outer, inner] = name.split('.') as [string, string?]
      if (inner === undefined) value[outer] = this.get(name)
      else value[outer] = { ...(value[outer] as object), [inner]: this.get(name) }
    }
    if (this.isOpen) value.list = new Uint8Array(this.$view.buffer, this.$offset + this.names.length, this.$length - this.names.length).slice()
    return value
  }
  $set(value: Record<string, unknown>) {
    for (const name of this.names) {
      const [outer, inner] = name.split('.') as [string, string?]
      const member = inner === undefined ? value[outer] : (value[outer] as Record<string, unknown> | undefined)?.[inner]
      if (member !== undefined) this.set(name, member as number)
    }
    if (value.list !== undefined) new Uint8Array(this.$view.buffer).set(value.list as Uint8Array, this.$offset + this.names.length)
    return this
  }
}

const layout = (names: string[], suffix = 0, open = false): LayoutInfo => ({
  create: () => new Bytes(names, open),
  suffix,
  ...(open ? { sizeOf: (value: object) => names.length + ((value as { list?: Uint8Array }).list?.length ?? 0) } : {}),
})
const get = (struct: Struct, name: string) => (struct as Bytes).get(name)
const request = (name: string, id: number, more: Partial<RequestInfo>): RequestInfo => ({
  name,
  id,
  method: name,
  is: [[id]],
  values: { type: id },
  header: layout(['type', 'key']),
  reply: layout(['status'], 1),
  ...more,
})
const status = {
  ok: 0,
  failed: 1,
  unknown: 2,
  get: (reply: Struct) => get(reply, 'status'),
  set: (reply: Struct, value: number) => (reply as Bytes).set('status', value),
  names: { 1: 'X_S_IOERR', 2: 'X_S_UNSUPP' },
}
const read = request('read', 0, { writable: { name: 'data', multiple: () => 4 } })
const write = request('write', 1, { readable: { name: 'data', count: () => [1, 5000] } })
const getId = request('getId', 2, { reply: layout(['first', 'second', 'status'], 1) })
const report = request('report', 3, { reply: layout(['status', 'kind'], 0, true) })
const trim = request('trim', 4, { header: layout(['type', 'key'], 0, true) })
const sandwich = request('sandwich', 5, { header: layout(['type', 'key', 'tail'], 1), readable: { name: 'data' } })
const later = request('later', 6, { when: ({ features }) => features.has(9) })
const strict = request('strict', 7, { check: (header) => get(header, 'key') < 10 })
const framed = request('framed', 8, {
  header: {
    create: (_context, length) => new Bytes(['type', 'key', ...Array.from({ length }, (_, i) => `c${i}`)]),
    suffix: 0,
    framedAt: 2,
    sizeOf: (value) => 2 + Object.keys(value).filter((name) => /^c\d/.test(name)).length,
  },
  readable: { name: 'data' },
})
const nested = request('nested', 9, {
  reply: layout(['head.code', 'head.fence', 'value']),
  status: {
    ...status,
    get: (reply: Struct) => get(reply, 'head.code'),
    set: (reply: Struct, value: number) => (reply as Bytes).set('head.code', value),
  },
})
const requests: MessageInfo = {
  name: 'x_req',
  kind: 'requests',
  frame: layout(['type', 'key']),
  reply: layout(['status'], 1),
  by: [(frame) => get(frame, 'type')],
  status,
  requests: [read, write, getId, report, trim, sandwich, later, strict, framed, nested],
}
const fill: RequestInfo = { name: 'fill', id: 0, method: 'fill', is: [], values: {}, writable: { name: 'data' } }
const entropy: MessageInfo = { name: 'x_entropy', kind: 'requests', reply: undefined, by: [], requests: [fill] }
const resize: RequestInfo = { name: 'resize', id: 0, method: 'resize', is: [[5]], values: { event: 5 }, reply: layout(['event', 'port', 'rows']) }
const named: RequestInfo = { ...resize, name: 'named', id: 1, is: [[7]], reply: layout(['event', 'port', 'end'], 1), writable: { name: 'text' } }
const long: RequestInfo = {
  ...resize,
  name: 'long',
  id: 2,
  is: [[9]],
  reply: layout(['event', 'port', 'count']),
  writable: { name: 'text' },
  spans: { count: (event) => get(event, 'count'), set: (event, count) => (event as Bytes).set('count', count) },
}
const events: MessageInfo = {
  name: 'x_event',
  kind: 'events',
  frame: layout(['event', 'port']),
  reply: undefined,
  by: [(frame) => get(frame, 'event')],
  requests: [resize, named, long],
}

const queues: QueueInfo[] = [
  { index: 0, name: 'requests0', message: requests },
  { index: 1, name: 'requests1', message: requests },
  { index: 2, name: 'events', message: events },
  { index: 3, name: 'entropy', message: entropy },
]

class Client extends DeviceDriver {
  send(info: RequestInfo, fields?: object, readable?: ReadablePayload, writable?: WritablePayload, queue?: number) {
    return this.request(info === fill ? entropy : requests, info, queue, fields, readable, writable)
  }
  on(info: RequestInfo, handler: (event: object) => void) {
    this.listen(events, info, handler)
  }
}

// ---- the other side ------------------------------------------------------------------------------------------------------------------------------

interface Taken {
  head: number
  /** Lengths of the descriptors. */
  readable: number[]
  writable: number[]
  bytes: Uint8Array
  /** Fills the device-writable part from a position on. */
  put(at: number, ...bytes: number[]): void
}

class FakeQueue {
  readonly queue: DriverQueue
  readonly areas: { index: number; size: number; descriptorArea: number; driverArea: number; deviceArea: number }
  readonly guest: GuestMemory
  notifications = 0
  taken = 0
  used = 0
  constructor(guest: GuestMemory, index: number, size: number, fail: (violation: Violation) => void) {
    const base = 0x1000 + 0x1000 * index
    this.guest = guest
    this.areas = { index, size, descriptorArea: base, driverArea: base + 0x600, deviceArea: base + 0x800 }
    this.queue = createDriverQueue(guest, this.areas, { eventIndex: true, notify: () => void this.notifications++, fail })
    this.view.setUint16(this.areas.deviceArea + areaSizes(size).deviceArea - 2, 0, true)
  }
  get view() {
    return this.guest.regions[0]!.view
  }
  /** How many buffers the device has been given in all. */
  get available() {
    return this.view.getUint16(this.areas.driverArea + 2, true)
  }
  take(): Taken | undefined {
    if (this.taken === this.available) return undefined
    const head = this.view.getUint16(this.areas.driverArea + 4 + 2 * (this.taken++ % this.areas.size), true)
    const pieces: { addr: number; len: number; flags: number }[] = []
    for (let at = head, more = true; more; ) {
      const descriptor = new VirtqDesc().at(this.view, this.areas.descriptorArea + at * VirtqDesc.size).$get()
      expect(descriptor.flags & VIRTQ_DESC_F_INDIRECT).toBe(0)
      pieces.push(descriptor)
      more = (descriptor.flags & VIRTQ_DESC_F_NEXT) !== 0
      at = descriptor.next
    }
    const readable = pieces.filter(({ flags }) => (flags & VIRTQ_DESC_F_WRITE) === 0)
    const writable = pieces.filter(({ flags }) => (flags & VIRTQ_DESC_F_WRITE) !== 0)
    const places = writable.flatMap(({ addr, len }) => Array.from({ length: len }, (_, i) => addr + i))
    return {
      head,
      readable: readable.map(({ len }) => len),
      writable: writable.map(({ len }) => len),
      bytes: Uint8Array.from(readable.flatMap(({ addr, len }) => [...this.guest.resolve(addr, len)!])),
      put: (at, ...bytes) => {
        for (const [i, byte] of bytes.entries()) this.view.setUint8(places[at + i]!, byte)
      },
    }
  }
  use(head: number, written: number) {
    const at = this.areas.deviceArea + 4 + 8 * (this.used % this.areas.size)
    this.view.setUint32(at, head, true)
    this.view.setUint32(at + 4, written, true)
    this.view.setUint16(this.areas.deviceArea + 2, ++this.used, true)
  }
}

class FakeHost implements DriverHost {
  readonly features: FeatureSet
  readonly memory: DriverMemory
  readonly queues = queues
  readonly fakes: FakeQueue[]
  readonly violations: Violation[] = []
  configBytes = Uint8Array.of(1, 2)
  resets = 0
  resetFails = false
  /** Ends the reset of a queue, or fails it. */
  queueIsReset: (error?: DriverError) => void = () => {}
  enableFails: DriverError | undefined
  readonly #guest: GuestMemory
  readonly #size: number
  readonly #used = new Map<number, () => void>()
  readonly #failures: ((error: DriverError) => void)[] = []
  configChanged = () => {}

  constructor(size: number, memorySize: number, features: FeatureSet) {
    const guest = GuestMemory.of(new Uint8Array(0x10_0000))
    this.#guest = guest
    this.#size = size
    this.features = features
    this.memory = new DriverMemory(guest, 0x1_0000, memorySize)
    this.fakes = queues.map(({ index }) => this.#makeQueue(index, size))
  }
  #makeQueue(index: number, size: number) {
    return new FakeQueue(this.#guest, index, size, (violation) => this.fail(violation))
  }
  readonly config = { read: () => this.configBytes, write() {} }
  queue(index: number): DriverQueue {
    return this.fakes[index]!.queue
  }
  resetQueue(index: number) {
    expect(this.fakes[index]).toBeDefined()
    return new Promise<void>((resolve, reject) => {
      this.queueIsReset = (error) => {
        if (error === undefined) resolve()
        else {
          this.failed(error)
          reject(error)
        }
      }
    })
  }
  enableQueue(index: number, size = this.#size) {
    if (this.enableFails) throw this.enableFails
    this.fakes[index] = this.#makeQueue(index, size)
    return this.queue(index)
  }
  onUsed(index: number, handler: () => void) {
    expect(this.#used.has(index)).toBe(false)
    this.#used.set(index, handler)
  }
  onConfigChange(handler: () => void) {
    this.configChanged = handler
  }
  onFailure(handler: (error: DriverError) => void) {
    this.#failures.push(handler)
  }
  fail(violation: Violation) {
    this.violations.push(violation)
    this.failed(new DriverError('violation', violation.detail, violation))
  }
  failed(error: DriverError) {
    for (const handler of this.#failures) handler(error)
  }
  async reset() {
    this.resets++
    if (this.resetFails) throw new DriverError('reset', 'no')
  }
  interrupt() {
    for (const handler of this.#used.values()) handler()
  }
}

const tick = () => new Promise<void>((resolve) => setImmediate(resolve))

interface Setting extends DeviceDriverOptions {
  size?: number
  memory?: number
  features?: FeatureSet
}

function make({ size = 8, memory = 0x8000, features = FeatureSet.empty, ...options }: Setting = {}) {
  const host = new FakeHost(size, memory, features)
  const client = new Client(host, new Bytes(['a', 'b', 'c']), options)
  /** Takes the next buffer of a queue, once the client has published. */
  const take = async (queue = 0): Promise<Taken> => {
    await tick()
    return host.fakes[queue]!.take() ?? expect.fail('nothing is available')
  }
  const use = (taken: Taken, written: number, queue = 0) => {
    host.fakes[queue]!.use(taken.head, written)
    host.interrupt()
  }
  return { host, client, take, use }
}

describe('a request', () => {
  it('goes out as header, payload, reply; and resolves to what the device wrote', async () => {
    const { client, take, use, host } = make()
    const result = client.send(read, { key: 7, type: 99 }, undefined, 8, 0)
    const taken = await take()
    // The selecting member is not our user's to choose.
    expect([[...taken.bytes], taken.readable, taken.writable]).toEqual([[0, 7], [2], [8, 1]])
    taken.put(0, 1, 2, 3, 4)
    use(taken, 5)
    expect(await result).toEqual({ data: Uint8Array.of(1, 2, 3, 4) })
    expect(host.violations).toEqual([])
  })

  it('carries a payload to the device', async () => {
    const { client, take, use } = make()
    const result = client.send(write, { key: 1 }, Uint8Array.of(9, 8, 7), undefined, 0)
    const taken = await take()
    expect([[...taken.bytes], taken.readable, taken.writable]).toEqual([[1, 1, 9, 8, 7], [2, 3], [1]])
    use(taken, 1)
    expect(await result).toBeUndefined()
  })

  it('gives DMA buffers to the device as they are', async () => {
    const { client, take, use, host } = make()
    const buffer = host.memory.allocate(64)
    buffer.bytes.set([1, 2, 3, 4])
    const writing = client.send(write, {}, buffer.part(0, 4), undefined, 0)
    const taken = await take()
    expect([...taken.bytes.subarray(2)]).toEqual([1, 2, 3, 4])
    use(taken, 1)
    await writing
    const reading = client.send(read, {}, undefined, buffer, 0)
    const second = await take()
    second.put(0, 5, 6)
    use(second, 3)
    const { data } = (await reading) as { data: Uint8Array }
    expect([[...data], data.buffer === buffer.bytes.buffer, data.byteOffset === buffer.bytes.byteOffset]).toEqual([[5, 6], true, true])
  })

  it('fills a Uint8Array of our user', async () => {
    const { client, take, use } = make()
    const target = new Uint8Array(8)
    const result = client.send(read, {}, undefined, target, 0)
    const taken = await take()
    taken.put(0, 5, 6, 7)
    use(taken, 4)
    const { data } = (await result) as { data: Uint8Array }
    expect([[...data], data.buffer === target.buffer]).toEqual([[5, 6, 7], true])
  })

  it('resolves to the members of the reply without the status, wherever that is', async () => {
    const { client, take, use } = make()
    const id = client.send(getId, {}, undefined, undefined, 0)
    let taken = await take()
    taken.put(0, 3, 4, 0)
    use(taken, 3)
    expect(await id).toEqual({ first: 3, second: 4 })
    const inner = client.send(nested, {}, undefined, undefined, 0)
    taken = await take()
    taken.put(0, 0, 8, 9)
    use(taken, 3)
    expect(await inner).toEqual({ head: { fence: 8 }, value: 9 })
  })

  it('has members of any length, in a header as in a reply', async () => {
    const { client, take, use } = make()
    const trimming = client.send(trim, { key: 1, list: Uint8Array.of(4, 5, 6) }, undefined, undefined, 0)
    let taken = await take()
    expect([[...taken.bytes], taken.readable]).toEqual([[4, 1, 4, 5, 6], [5]])
    use(taken, 1)
    expect(await trimming).toBeUndefined()
    const reporting = client.send(report, {}, undefined, 10, 0)
    taken = await take()
    expect(taken.writable).toEqual([10])
    taken.put(0, 0, 7, 1, 2, 3)
    use(taken, 5)
    expect(await reporting).toEqual({ kind: 7, list: Uint8Array.of(1, 2, 3) })
  })

  it('puts members on both sides of a payload, and a framed member into a descriptor of its own', async () => {
    const { client, take } = make()
    void client.send(sandwich, { key: 1, tail: 0xee }, Uint8Array.of(1, 2, 3), undefined, 0)
    let taken = await take()
    expect([[...taken.bytes], taken.readable]).toEqual([
      [5, 1, 1, 2, 3, 0xee],
      [2, 3, 1],
    ])
    void client.send(framed, { key: 1, c0: 10, c1: 11, c2: 12 }, Uint8Array.of(1, 2), undefined, 0)
    taken = await take()
    expect([[...taken.bytes], taken.readable]).toEqual([
      [8, 1, 10, 11, 12, 1, 2],
      [2, 3, 2],
    ])
  })

  it('rejects with another status than success', async () => {
    const { client, take, use } = make()
    const result = client.send(getId, {}, undefined, undefined, 0)
    const taken = await take()
    taken.put(0, 3, 4, 1)
    use(taken, 3)
    const error = (await result.catch((error) => error)) as RequestError
    expect(error).toBeInstanceOf(RequestError)
    expect([error.message, error.status, error.request]).toEqual(['getId: the device answered X_S_IOERR (1)', 1, 'getId'])
    expect((error.reply as Bytes).$get()).toEqual({ first: 3, second: 4, status: 1 })
  })

  it('understands a device that refuses with nothing but a status, at the end of the part', async () => {
    const { client, take, use, host } = make()
    const result = client.send(getId, {}, undefined, undefined, 0)
    const taken = await take()
    taken.put(2, 2)
    use(taken, 1)
    await expect(result).rejects.toThrow('getId: the device answered X_S_UNSUPP (2)')
    expect(host.violations).toEqual([])
  })

  it('believes an error at the end of the part whatever the used length is, which may be too low', async () => {
    const { client, take, use, host } = make()
    const result = client.send(read, {}, undefined, 4, 0)
    const taken = await take()
    taken.put(4, 1)
    use(taken, 0)
    await expect(result).rejects.toThrow('read: the device answered X_S_IOERR (1)')
    expect(host.violations).toEqual([])
  })

  it('takes turns over the queues of its message, or the queue that is asked for', async () => {
    const { client, host } = make({ size: 16 })
    for (let i = 0; i < 4; i++) void client.send(read, {}, undefined, 4)
    void client.send(read, {}, undefined, 4, 1)
    await tick()
    expect([host.fakes[0]!.available, host.fakes[1]!.available]).toEqual([2, 3])
    await expect(client.send(read, {}, undefined, 4, 2)).rejects.toThrow('x_req is carried by queue 0, 1, not by 2')
  })

  it('shares its notification with others of the same turn', async () => {
    const { client, host } = make()
    for (let i = 0; i < 2; i++) void client.send(read, {}, undefined, 4, 0)
    expect(host.fakes[0]!.available).toBe(0)
    await tick()
    expect([host.fakes[0]!.available, host.fakes[0]!.notifications]).toEqual([2, 1])
  })

  it('waits in order when the ring is full', async () => {
    const { client, take, use, host } = make({ size: 4 })
    const done: number[] = []
    const all = Array.from({ length: 50 }, (_, key) => client.send(write, { key }, Uint8Array.of(key), undefined, 0).then(() => done.push(key)))
    const order: number[] = []
    for (let i = 0; i < 50; i++) {
      const taken = await take()
      order.push(taken.bytes[1]!)
      use(taken, 1)
    }
    await Promise.all(all)
    expect([order, done]).toEqual([Array.from({ length: 50 }, (_, i) => i), order])
    expect(host.violations).toEqual([])
  })

  it('does not overtake one that waits, even where it would fit', async () => {
    const { client, take, use } = make({ size: 8 })
    const data = Uint8Array.of(1)
    const all = [write, write, write].map((info, key) => client.send(info, { key }, data, undefined, 0))
    all.push(client.send(strict, { key: 3 }, undefined, undefined, 0))
    const order: number[] = []
    for (let i = 0; i < 4; i++) {
      const taken = await take()
      order.push(taken.bytes[1]!)
      use(taken, 1)
    }
    await Promise.all(all)
    expect(order).toEqual([0, 1, 2, 3])
  })

  it('waits when memory is short as long as something is out, else rejects', async () => {
    const { client, take, use, host } = make({ memory: 0x3000 })
    const first = client.send(read, {}, undefined, 0x2000, 0)
    const second = client.send(read, {}, undefined, 0x2000, 0)
    use(await take(), 1)
    await first
    use(await take(), 1)
    await second
    await expect(client.send(read, {}, undefined, 0x4000, 0)).rejects.toMatchObject({ kind: 'memory' })
    expect(host.memory.available).toBeGreaterThan(0x2000)
  })

  it('uses no more memory after ten thousand requests than after ten', async () => {
    const { client, take, use, host } = make()
    const one = async (length: number) => {
      const result = client.send(read, {}, undefined, length, 0)
      use(await take(), 1)
      await result
    }
    for (let i = 0; i < 10; i++) await one(4 * (i + 1))
    const before = host.memory.available
    for (let i = 0; i < 10_000; i++) await one(4 * ((i % 10) + 1))
    expect(host.memory.available).toBe(before)
  })

  it('shows the device nothing of what others left in the memory', async () => {
    const { client, take, use } = make()
    const first = client.send(write, {}, new Uint8Array(100).fill(0x55), undefined, 0)
    use(await take(), 1)
    await first
    const second = client.send(read, {}, undefined, 100, 0)
    const taken = await take()
    use(taken, 101)
    expect(((await second) as { data: Uint8Array }).data.every((byte) => byte === 0)).toBe(true)
  })

  it('rejects wrong calls and sends nothing', async () => {
    const { client, host } = make()
    for (const [promise, message] of [
      [client.send(read, {}, undefined, 6), 'data must have a multiple of 4 bytes, not 6'],
      [client.send(read, {}, undefined, -4), 'the length of read.data must be an integer from 0, not -4'],
      [client.send(read, {}, Uint8Array.of(1), 4), 'read has no device-readable payload, but one is given'],
      [client.send(write, {}, undefined, undefined), 'data must have 1 to 5000 bytes, not 0'],
      [client.send(write, {}, Uint8Array.of(1), Uint8Array.of(1)), 'write has no device-writable payload, but one is given'],
      [client.send(write, {}, [1] as never), 'write.data must be a Uint8Array, a DmaBuffer or a length'],
      [client.send(read, { key: 256 }, undefined, 4), 'key must be an integer from 0 to 255, not 256'],
      [client.send(strict, { key: 10 }), 'strict: a member is out of the range'],
      [client.send(later, {}), 'later does not exist with the negotiated features 0x0'],
      [client.send(report, {}, undefined, 1), 'the reply of report has 2 bytes or more, not 1'],
      [client.send(fill, { key: 1 }, undefined, 4), 'fill has no members, but key is given'],
      [client.send(fill, undefined, undefined, 0), 'must have 1 to 8 pieces, not 0'],
    ] as const)
      await expect(promise).rejects.toThrow(message)
    await tick()
    expect(host.fakes.map((queue) => queue.available)).toEqual([0, 0, 0, 0])
  })

  it('may have nothing but a payload', async () => {
    const { client, take, use } = make()
    const result = client.send(fill, undefined, undefined, 16)
    const taken = await take(3)
    expect([taken.readable, taken.writable]).toEqual([[], [16]])
    taken.put(0, 1, 2, 3)
    use(taken, 3, 3)
    expect(await result).toEqual({ data: Uint8Array.of(1, 2, 3) })
  })
})

describe('events', () => {
  it('come with their members, payload and queue, to those who listen for them', async () => {
    const { client, host, take, use } = make()
    const seen: object[] = []
    client.on(resize, (event) => seen.push({ resize: event }))
    client.on(named, (event) => seen.push({ named: event }))
    client.on(named, (event) => seen.push({ again: event }))
    await tick()
    expect(host.fakes[2]!.available).toBe(8)
    let taken = await take(2)
    taken.put(0, 5, 1, 40)
    use(taken, 3, 2)
    taken = await take(2)
    taken.put(0, 7, 2, 97, 98, 99, 0xee)
    use(taken, 6, 2)
    // Of no known kind: ignored.
    taken = await take(2)
    taken.put(0, 99, 2)
    use(taken, 2, 2)
    const event = { event: 7, port: 2, end: 0xee, text: Uint8Array.of(97, 98, 99), queue: 2 }
    expect(seen).toEqual([{ resize: { event: 5, port: 1, rows: 40, queue: 2 } }, { named: event }, { again: event }])
    await tick()
    expect([host.fakes[2]!.available, host.violations]).toEqual([11, []])
  })

  it('get buffers of the size that is asked for, as many as there is memory', async () => {
    const { client, host, take } = make({ memory: 0x300, eventBufferSize: 0x100 })
    client.on(resize, () => {})
    expect((await take(2)).writable).toEqual([0x100])
    expect(host.fakes[2]!.available).toBe(3)
    const short = make({ memory: 0x80, eventBufferSize: 0x100 })
    expect(() => short.client.on(resize, () => {})).toThrow(DriverError)
    expect(() => make({ eventBufferSize: 0 })).toThrow(RangeError)
  })

  it('go on for ever with the same buffers', async () => {
    const { client, host, take, use } = make({ size: 4 })
    let sum = 0
    client.on(resize, (event) => {
      sum += (event as { rows: number }).rows
    })
    const before = host.memory.available
    for (let i = 0; i < 1000; i++) {
      const taken = await take(2)
      taken.put(0, 5, 1, 1)
      use(taken, 3, 2)
    }
    expect([sum, host.memory.available]).toEqual([1000, before])
  })

  it('survive a handler that throws', async () => {
    const errors: unknown[] = []
    const { client, host, take, use } = make({ onError: (error) => errors.push(error) })
    client.on(resize, () => {
      throw new Error('mine')
    })
    for (let i = 0; i < 2; i++) {
      const taken = await take(2)
      taken.put(0, 5, 1, 1)
      use(taken, 3, 2)
    }
    expect([errors.length, host.violations]).toEqual([2, []])
  })

  it('that are too short are a violation', async () => {
    for (const [bytes, detail] of [
      [[5], 'x_event: the device wrote 1 bytes, the event has 2'],
      [[5, 1], 'resize: the device wrote 2 bytes, the event has 3'],
    ] as const) {
      const { client, host, take, use } = make()
      client.on(resize, () => expect.fail('no event'))
      const taken = await take(2)
      taken.put(0, ...bytes)
      use(taken, bytes.length, 2)
      expect(host.violations).toEqual([{ kind: 'used-length', queue: 2, detail }])
    }
  })
})

describe('the configuration', () => {
  it('is the last consistent copy, padded with zeros', () => {
    const { client, host } = make()
    let changes = 0
    client.onConfigChange(() => changes++)
    expect((client.config as Bytes).$get()).toEqual({ a: 1, b: 2, c: 0 })
    host.configBytes = Uint8Array.of(3, 4, 5, 6)
    expect((client.config as Bytes).get('a')).toBe(1)
    host.configChanged()
    expect([(client.config as Bytes).$get(), changes]).toEqual([{ a: 3, b: 4, c: 5 }, 1])
  })
})

describe('a device that breaks the rules', () => {
  it('by a used length below the reply: everything rejects, nothing is sent any more', async () => {
    const { client, host, take, use } = make({ size: 4 })
    const promises = [0, 1, 2].map((key) => client.send(getId, { key }, undefined, undefined, 0))
    const results = Promise.allSettled(promises)
    const taken = await take()
    use(taken, 2)
    expect(host.violations).toMatchObject([{ kind: 'used-length', queue: 0, detail: 'getId: the device wrote 2 bytes, its reply has 3' }])
    for (const result of await results)
      expect(result).toMatchObject({ status: 'rejected', reason: { kind: 'violation', violation: { kind: 'used-length' } } })
    await expect(client.send(getId, {})).rejects.toBe(client.failure)
    expect(() => client.on(resize, () => {})).toThrow(client.failure)
  })

  it('in the ring: likewise', async () => {
    const { client, host } = make()
    const result = client.send(getId, {}, undefined, undefined, 0)
    await tick()
    host.fakes[0]!.use(77, 0)
    host.interrupt()
    await expect(result).rejects.toMatchObject({ kind: 'violation', violation: { kind: 'used-id' } })
  })

  it('keeps its memory until it is reset', async () => {
    const { client, host, take, use } = make({ eventBufferSize: 64 })
    client.on(resize, () => {})
    const free = host.memory.available
    const results = Promise.allSettled([1, 2].map(() => client.send(read, {}, undefined, 512, 0)))
    use(await take(), 0)
    await results
    expect(host.memory.available).toBeLessThan(free)
    await client.close()
    expect(host.memory.available).toBe(0x8000)
  })

  it('or needs a reset: everything rejects with that', async () => {
    const { client, host } = make()
    const result = client.send(read, {}, undefined, 4)
    const error = new DriverError('needs-reset', 'x')
    host.failed(error)
    await expect(result).rejects.toBe(error)
    expect(client.failure).toBe(error)
  })
})

describe('the reset of one queue', () => {
  const withReset = FeatureSet.of(VIRTIO_F_RING_RESET)

  it('rejects what is out or waits there, gives its memory back, and goes on with the queue as it is set up then', async () => {
    const { client, host, take, use } = make({ size: 4, features: withReset })
    const before = host.memory.available
    const other = client.send(getId, {}, undefined, undefined, 1)
    const results = Promise.allSettled(Array.from({ length: 10 }, () => client.send(read, {}, undefined, 5000, 0)))
    await tick()
    const reset = client.resetQueue(0, 8)
    for (const result of await results) expect(result).toMatchObject({ status: 'rejected', reason: { kind: 'queue-reset' } })
    // While the reset goes on the device may still write there, and nothing is sent.
    expect(host.memory.available).toBeLessThan(before - 5000)
    await expect(client.send(read, {}, undefined, 4, 0)).rejects.toMatchObject({ kind: 'queue-reset' })
    host.queueIsReset()
    await reset
    expect(host.memory.available).toBeGreaterThan(before - 5000)
    expect(host.fakes[0]!.queue.size).toBe(8)
    const again = client.send(read, {}, undefined, 4, 0)
    const taken = await take()
    taken.put(0, 1, 2, 3, 4, 0)
    use(taken, 5)
    expect(await again).toEqual({ data: Uint8Array.of(1, 2, 3, 4) })
    const kept = await take(1)
    kept.put(0, 7, 8, 0)
    use(kept, 3, 1)
    expect(await other).toEqual({ first: 7, second: 8 })
    await client.close()
    expect(host.memory.available).toBe(0x8000)
  })

  it('provides buffers for events anew', async () => {
    const { client, host, take, use } = make({ size: 4, features: withReset })
    const rows: number[] = []
    client.on(resize, (event) => rows.push((event as { rows: number }).rows))
    await tick()
    const free = host.memory.available
    for (const size of [4, 2]) {
      const reset = client.resetQueue(2, size)
      host.queueIsReset()
      await reset
      await tick()
      expect(host.fakes[2]!.available).toBe(size)
    }
    const taken = await take(2)
    taken.put(0, 5, 1, 33)
    use(taken, 3, 2)
    expect([rows, host.memory.available]).toEqual([[33], free])
  })

  it('forgets an event of which only a part has come', async () => {
    const { client, host, take, use } = make({ size: 4, features: withReset, eventBufferSize: 8 })
    const seen: object[] = []
    client.on(long, (event) => seen.push(event))
    client.on(resize, (event) => seen.push(event))
    const part = await take(2)
    part.put(0, 9, 1, 2, 97)
    use(part, 4, 2)
    const reset = client.resetQueue(2)
    host.queueIsReset()
    await reset
    const taken = await take(2)
    taken.put(0, 5, 1, 33)
    use(taken, 3, 2)
    expect(seen).toEqual([{ event: 5, port: 1, rows: 33, queue: 2 }])
  })

  it('lets nobody listen in vain meanwhile, nor lose memory', async () => {
    const { client, host, take, use } = make({ size: 4, features: withReset })
    const rows: number[] = []
    const first = client.resetQueue(2)
    client.on(resize, (event) => rows.push((event as { rows: number }).rows))
    host.queueIsReset()
    await first
    await tick()
    const free = host.memory.available
    const second = client.resetQueue(2)
    host.queueIsReset()
    await second
    const taken = await take(2)
    taken.put(0, 5, 1, 33)
    use(taken, 3, 2)
    expect([rows, host.memory.available]).toEqual([[33], free])
    await client.close()
    expect(host.memory.available).toBe(0x8000)
  })

  it('takes queues that nothing was sent on yet', async () => {
    const { client, host } = make({ size: 4, features: withReset })
    const reset = client.resetQueue(3, 2)
    host.queueIsReset()
    await reset
    expect(host.fakes[3]!.queue.size).toBe(2)
  })

  it('does nothing without the feature, twice at once, or to a size that is none', async () => {
    const { client } = make()
    const result = client.send(read, {}, undefined, 4, 0)
    await expect(client.resetQueue(0)).rejects.toMatchObject({ kind: 'feature' })
    const other = make({ features: withReset })
    await expect(other.client.resetQueue(4)).rejects.toThrow('there is no queue 4')
    for (const size of [0, -1, 1.5]) await expect(other.client.resetQueue(0, size)).rejects.toThrow(RangeError)
    const first = other.client.resetQueue(0)
    await expect(other.client.resetQueue(0)).rejects.toThrow('queue 0 is being reset')
    other.host.queueIsReset()
    await first
    client.close()
    await expect(result).rejects.toMatchObject({ kind: 'closed' })
    await expect(client.resetQueue(0)).rejects.toMatchObject({ kind: 'closed' })
  })

  it('that fails gives the device up; a queue that cannot be set up again rejects what is sent there, until it can', async () => {
    const { client, host } = make({ features: withReset })
    const result = client.send(read, {}, undefined, 4, 0)
    const reset = client.resetQueue(0)
    host.enableFails = new DriverError('memory', 'full')
    host.queueIsReset()
    await expect(reset).rejects.toBe(host.enableFails)
    await expect(result).rejects.toMatchObject({ kind: 'queue-reset' })
    await expect(client.send(read, {}, undefined, 4, 0)).rejects.toBe(host.enableFails)
    host.enableFails = undefined
    const again = client.resetQueue(0)
    host.queueIsReset()
    await again
    const out = client.send(read, {}, undefined, 4, 0)
    const last = client.resetQueue(1)
    host.queueIsReset(new DriverError('reset', 'no'))
    await expect(last).rejects.toMatchObject({ kind: 'reset' })
    await expect(out).rejects.toMatchObject({ kind: 'reset' })
  })
})

describe('close', () => {
  it('resets the device, rejects what is out or waits, and gives all memory back', async () => {
    const { client, host } = make({ size: 4 })
    client.on(resize, () => {})
    const results = Promise.allSettled(Array.from({ length: 10 }, () => client.send(read, {}, undefined, 512, 0)))
    await tick()
    await client.close()
    for (const result of await results) expect(result).toMatchObject({ status: 'rejected', reason: { kind: 'closed' } })
    expect([host.resets, host.memory.available]).toEqual([1, 0x8000])
    await client.close()
    expect(host.resets).toBe(1)
    await expect(client.send(read, {}, undefined, 4)).rejects.toMatchObject({ kind: 'closed' })
  })

  it('keeps the memory of a device that does not come back', async () => {
    const { client, host } = make()
    const result = client.send(read, {}, undefined, 512)
    host.resetFails = true
    const before = host.memory.available
    await expect(client.close()).rejects.toMatchObject({ kind: 'reset' })
    await expect(result).rejects.toMatchObject({ kind: 'closed' })
    expect(host.memory.available).toBe(before)
  })
})
