/** Devices whose queues are streams: how they are put together, who takes which stream, and how notifications reach them. */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import {
  BufferedNotifier,
  type Chain,
  type ChainStream,
  type ConfigureQueueMessage,
  checkQueue,
  configureFromStream,
  type Device,
  DeviceBuilder,
  type DeviceBuilderOptions,
  DeviceError,
  DoorbellRange,
  type DriverNotification,
  type GuestMemory,
  NotificationCounter,
  type QueueConfig,
  type ReadyMessage,
  type StopSignal,
  type Violation,
} from 'virtgen/runtime'
import { chain, SplitFakeDriver, TestMemory } from 'virtgen/testing'
import { VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_VERSION_1 } from 'virtgen/wire/content'
import { VIRTQ_DESC_F_INDIRECT, VirtqDesc } from 'virtgen/wire/split-ring'
import { describe, expect, it } from 'vitest'
import { offerHeads } from './support/offers.ts'

const features = FeatureSet.of(VIRTIO_F_VERSION_1)
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
const bell = 0xfe00_0000

interface Stage {
  memory: GuestMemory
  rings: SplitFakeDriver[]
  counter: NotificationCounter
  violations: Violation[]
  builder: DeviceBuilder<NotificationCounter>
}

/** Three rings in one memory, and a builder that knows the first two. */
function stage(options: Partial<DeviceBuilderOptions<NotificationCounter>> = {}): Stage {
  const memory = new TestMemory({ regions: [{ guestAddress: 0, size: 0x1_0000 }] })
  const rings = [0, 1, 2].map((index) => new SplitFakeDriver(memory, { size: 8, index }))
  const counter = new NotificationCounter()
  const violations: Violation[] = []
  const builder = new DeviceBuilder({ memory, notify: counter, onViolation: (violation) => violations.push(violation), ...options })
  for (const { setup } of rings.slice(0, 2)) builder.addQueue(setup)
  return { memory, rings, counter, violations, builder }
}

async function serve(stream: ChainStream, heads: number[], body: (chain: Chain) => void = (chain) => chain.complete(0)): Promise<void> {
  for await (const chain of stream) {
    heads.push(chain.head)
    body(chain)
  }
}

/** A source that gives what it is told, when it is told. */
class Feed<T> implements AsyncIterableIterator<T> {
  readonly #items: T[] = []
  #end = false
  #wake = (): void => {}
  returned = false

  put(...items: T[]): this {
    this.#items.push(...items)
    this.#wake()
    return this
  }
  end(): this {
    this.#end = true
    this.#wake()
    return this
  }
  [Symbol.asyncIterator](): this {
    return this
  }
  async next(): Promise<IteratorResult<T>> {
    while (this.#items.length === 0 && !this.#end)
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    return this.#items.length > 0 ? { done: false, value: this.#items.shift() as T } : { done: true, value: undefined }
  }
  async return(): Promise<IteratorResult<T>> {
    this.returned = true
    return { done: true, value: undefined }
  }
}

describe('a device builder', () => {
  it('knows the queues that were added', () => {
    const { builder, rings } = stage()
    expect(builder.addQueue(rings[2]!.setup).configuredQueues).toEqual([0, 1, 2])
    const device = builder.build(features)
    expect([device.configuredQueues, device.features.equals(features), device.queue(1)?.size, device.queue(3)]).toEqual([
      [0, 1, 2],
      true,
      8,
      undefined,
    ])
  })

  it('takes no queue twice, and none that cannot be', () => {
    const { builder, rings } = stage()
    const { setup } = rings[2]!
    const wrong: [Partial<QueueConfig>, string][] = [
      [{ index: 1 }, 'queue 1 is configured already'],
      [{ index: -1 }, 'index of a queue must be an integer from 0 to 65535, not -1'],
      [{ index: 0x1_0000 }, 'not 65536'],
      [{ index: 0.5 }, 'not 0.5'],
      [{ size: 0 }, 'size of a queue must be an integer from 1 to 32768, not 0'],
      [{ size: 32769 }, 'not 32769'],
      [{ descriptorArea: -16 }, 'descriptorArea of a queue'],
      [{ driverArea: 2 ** 53 }, 'driverArea of a queue'],
      [{ deviceArea: Number.NaN }, 'deviceArea of a queue'],
    ]
    for (const [change, message] of wrong) {
      const add = () => builder.addQueue({ ...setup, ...change })
      expect(add, message).toThrow(RangeError)
      expect(add).toThrow(message)
    }
    expect(builder.configuredQueues).toEqual([0, 1])
  })

  it('builds one device', () => {
    const { builder } = stage()
    builder.build(features)
    expect(() => builder.build(features)).toThrow('has built its device already')
  })

  it('refuses a bound of chains that cannot be', () => {
    expect(() => stage({ maxChainLength: 0 })).toThrow(RangeError)
  })

  it('puts what is asked for between device and driver', async () => {
    const { builder, rings, counter } = stage()
    const device: Device<BufferedNotifier<NotificationCounter>> = builder.mapNotify((notify) => new BufferedNotifier(notify)).build(features)
    const heads: number[] = []
    serve(device.takeStream(0), heads)
    offerHeads(rings[0]!, 0, 1)
    device.notifyQueue(0)
    await settle()
    expect([heads, counter.get()]).toEqual([[0, 1], 0])
    device.notifier.flush()
    expect([counter.get(0), counter.get(1)]).toEqual([1, 0])
  })

  it('makes rings as they were negotiated', async () => {
    const { builder, rings, counter, violations } = stage()
    const device = builder.build(features.with(VIRTIO_F_EVENT_IDX))
    rings[0]!.usedEvent = 1
    offerHeads(rings[0]!, 0, 1)
    await serve(take(device, 0), [], (chain) => {
      chain.complete(0)
      if (chain.head === 1) device.reset()
    })
    // With the event index the second one is notified of, the first only since nobody knows what the driver wanted before.
    expect(counter.get(0)).toBeGreaterThan(0)
    expect(rings[0]!.usedFlags).toBe(0)
    expect(violations).toEqual([])
  })

  it('goes on from a position', async () => {
    const { builder, rings } = stage()
    const first = builder.build(features)
    offerHeads(rings[0]!, 3, 4)
    const stream = first.takeStream(0)
    const { value: parked } = await stream.next()
    expect(parked?.head).toBe(3)
    const saved = first.save()
    const again = new DeviceBuilder({ memory: first.memory, notify: new NotificationCounter() })
    for (const { setup } of rings.slice(0, 2)) again.addQueue({ ...setup, state: saved.get(setup.index)! })
    const heads: number[] = []
    serve(again.build(features).takeStream(0), heads)
    await settle()
    expect(heads).toEqual([3, 4])
  })

  it('breaks a queue that the driver has put nowhere, and leaves the others alone', async () => {
    const { builder, rings, violations } = stage()
    builder.addQueue({ ...rings[2]!.setup, deviceArea: 0x10_0000 })
    const device = builder.build(features)
    expect(violations).toMatchObject([{ kind: 'queue-address', queue: 2 }])
    const heads: number[] = []
    offerHeads(rings[1]!, 6)
    serve(device.takeStream(1), heads)
    await serve(device.takeStream(2), heads)
    await settle()
    expect(heads).toEqual([6])
  })
})

/** For the one that wants it to be over with the device. */
function take(device: Device, index: number): ChainStream {
  return device.takeStream(index)
}

describe('the stream of a queue', () => {
  it('belongs to one, until it is released', async () => {
    const { builder, rings } = stage()
    const device = builder.build(features)
    const stream = device.takeStream(0)
    expect(() => device.takeStream(0)).toThrow('the stream of queue 0 is taken')
    expect(() => device.takeStream(5)).toThrow(RangeError)
    device.takeStream(1)
    stream.release()
    // The end of a loop releases it as well.
    offerHeads(rings[0]!, 1, 2)
    for await (const chain of device.takeStream(0)) {
      expect(chain.head).toBe(1)
      break
    }
    for await (const chain of device.takeStream(0)) {
      expect(chain.head).toBe(2)
      break
    }
  })

  it('finds what came while nobody had it', async () => {
    const { builder, rings } = stage()
    const device = builder.build(features)
    offerHeads(rings[1]!, 7)
    expect(device.notifyQueue(1)).toBe(true)
    const heads: number[] = []
    serve(device.takeStream(1), heads)
    await settle()
    expect(heads).toEqual([7])
  })

  it('goes on when chains that are out have made room for others', async () => {
    const size = 4096
    const pieces = 512
    const memory = new TestMemory({ regions: [{ guestAddress: 0, size: 0x10_0000 }] })
    const ring = new SplitFakeDriver(memory, { size })
    const table = memory.allocate(pieces * VirtqDesc.size, 16)
    const byte = memory.allocate(1)
    // The first chain writes the table, the others use it as well.
    const first = chain().indirect({ at: table })
    for (let i = 0; i < pieces; i++) first.element({ writable: false, length: 1, at: byte })
    ring.put(first)
    const same = { length: pieces * VirtqDesc.size, flags: VIRTQ_DESC_F_INDIRECT }
    for (let i = 1; i < size; i++) ring.put(chain().element({ writable: false, length: 0, at: table, amend: same }))
    ring.publish()
    const heads = ring.out.map(({ id }) => id)
    const builder = new DeviceBuilder({ memory, notify: new NotificationCounter() }).addQueue(ring.setup)
    const device = builder.build(features.with(VIRTIO_F_INDIRECT_DESC))
    const taken: number[] = []
    const parked: Chain[] = []
    serve(device.takeStream(0), taken, (chain) => parked.push(chain))
    await settle()
    expect([device.queue(0)!.starved, taken.length < size]).toEqual([true, true])
    // Nobody but the queue itself says that there is room again.
    while (parked.length > 0) {
      for (const chain of parked.splice(0)) chain.complete(0)
      await settle()
    }
    expect(taken).toEqual(heads)
  })

  it('ends with a reset, also while somebody waits, and the chains that are out are cancelled', async () => {
    const { builder, rings } = stage()
    const device = builder.build(features)
    offerHeads(rings[0]!, 0)
    const parked: Chain[] = []
    const loops = [serve(device.takeStream(0), [], (chain) => parked.push(chain)), serve(device.takeStream(1), [])]
    await settle()
    const view = parked[0]!.writable.bytes(0)
    const atRest = device.reset()
    await Promise.all(loops)
    expect(parked[0]!.cancelled).toBe(true)
    view.fill(1)
    parked[0]!.complete()
    await atRest
    expect(rings[0]!.usedIndex).toBe(0)
    await serve(device.takeStream(0), [])
  })

  it('ends when the driver breaks the rules of its queue, and only that', async () => {
    const { builder, rings, violations } = stage()
    const device = builder.build(features)
    const heads: number[] = []
    const stream = device.takeStream(0)
    const broken = serve(stream, [])
    serve(device.takeStream(1), heads)
    rings[0]!.offer(chain().indirect().writable(16), { head: 4 })
    offerHeads(rings[1]!, 1)
    device.notifyQueue(0)
    device.notifyQueue(1)
    await broken
    await settle()
    expect([violations, heads]).toEqual([[stream.violation], [1]])
    expect(stream.violation).toMatchObject({ kind: 'indirect-not-negotiated', queue: 0, head: 4 })
  })

  it('ends while somebody waits, where a completion finds the queue broken', async () => {
    const { builder, rings, memory } = stage()
    const device = builder.build(features)
    offerHeads(rings[0]!, 4)
    const stream = device.takeStream(0)
    const { value: parked } = await stream.next()
    const waiting = stream.next()
    // The memory that the ring is in is unplugged.
    memory.replace([{ guestAddress: 0x10_0000, size: 16, source: new Uint8Array(16) }])
    parked!.complete(0)
    expect(await waiting).toEqual({ done: true, value: undefined })
    expect(stream.violation?.kind).toBe('queue-address')
  })
})

describe('notifications', () => {
  it('reach the streams by index and by doorbell, from several sources, until those end', async () => {
    const { builder, rings } = stage({ doorbell: new DoorbellRange({ base: bell, length: 16 }) })
    const device = builder.build(features)
    const heads: number[][] = [[], []]
    serve(device.takeStream(0), heads[0]!)
    serve(device.takeStream(1), heads[1]!)
    await settle()
    const [messages, bells] = [new Feed<DriverNotification>(), new Feed<DriverNotification>()]
    const runs = [device.runNotify(messages), device.runNotify(bells)]
    offerHeads(rings[0]!, 0)
    offerHeads(rings[1]!, 1)
    await settle()
    expect(heads).toEqual([[], []])
    messages.put(0)
    bells.put({ address: bell + 4 })
    await settle()
    expect(heads).toEqual([[0], [1]])
    // One source may carry both.
    offerHeads(rings[0]!, 2)
    offerHeads(rings[1]!, 3)
    messages.put({ address: bell }, 1)
    await settle()
    expect(heads).toEqual([
      [0, 2],
      [1, 3],
    ])
    messages.end()
    bells.end()
    await Promise.all(runs)
  })

  it('of a guest that lead nowhere are told of, and the run goes on', async () => {
    const { builder, rings } = stage({ doorbell: new DoorbellRange({ base: bell, length: 16 }) })
    const device = builder.build(features)
    const heads: number[] = []
    serve(device.takeStream(0), heads)
    await settle()
    const problems: unknown[] = []
    offerHeads(rings[0]!, 5)
    const wrong = [9, { address: bell + 2 }, { address: bell + 12 }, { address: 4 }, -1, Number.NaN]
    await device.runNotify(new Feed<DriverNotification>().put(...wrong, 0).end(), { onBadNotification: (problem) => problems.push(problem) })
    await settle()
    expect(heads).toEqual([5])
    expect(problems).toMatchObject([
      { kind: 'no-such-queue', queue: 9 },
      { kind: 'doorbell-misaligned', address: bell + 2 },
      { kind: 'no-such-queue', queue: 3 },
      { kind: 'doorbell-outside', address: 4 },
      { kind: 'no-such-queue', queue: -1 },
      { kind: 'no-such-queue', queue: Number.NaN },
    ])
    expect(stage().builder.build(features).ringDoorbell(bell)).toMatchObject({ kind: 'doorbell-outside', address: bell })
  })

  it('may come without end only', async () => {
    const device = stage().builder.build(features)
    const ended = device.runNotify(new Feed<DriverNotification>().put(0).end(), { endless: true })
    await expect(ended).rejects.toMatchObject({ name: 'DeviceError', kind: 'unexpected-end' })
  })

  it('fail with their source, and with what is no notification', async () => {
    const device = stage().builder.build(features)
    async function* failing(): AsyncGenerator<DriverNotification> {
      yield 0
      throw new Error('the connection is lost')
    }
    await expect(device.runNotify(failing())).rejects.toThrow('the connection is lost')
    for (const message of ['queue 0', undefined, null, {}, { address: '4' }]) {
      const feed = new Feed<DriverNotification>().put(message as never)
      await expect(device.runNotify(feed)).rejects.toMatchObject({ kind: 'unexpected-message' })
      expect(feed.returned).toBe(true)
    }
  })

  it('stop with a signal, at once and for whatever reason it has', async () => {
    const device = stage().builder.build(features)
    const control = new AbortController()
    const feed = new Feed<DriverNotification>()
    const run = device.runNotify(feed, { signal: control.signal })
    await settle()
    control.abort(new Error('the machine stops'))
    await expect(run).rejects.toThrow('the machine stops')
    expect(feed.returned).toBe(true)
    await expect(device.runNotify(feed, { signal: control.signal })).rejects.toThrow('the machine stops')
  })

  it('leave nothing behind at a signal that is never given', async () => {
    const device = stage().builder.build(features)
    const listeners = new Set<() => void>()
    const signal: StopSignal = {
      aborted: false,
      addEventListener: (_, listener) => void listeners.add(listener),
      removeEventListener: (_, listener) => void listeners.delete(listener),
    }
    const feed = new Feed<DriverNotification>().put(0, 1, 0)
    const run = device.runNotify(feed, { signal })
    await settle()
    expect(listeners.size).toBe(1)
    feed.end()
    await run
    expect(listeners.size).toBe(0)
  })
})

describe('configuration by messages', () => {
  const queue = (ring: SplitFakeDriver, respond?: () => void): ConfigureQueueMessage => ({
    type: 'configureQueue',
    queue: ring.setup,
    ...(respond && { respond }),
  })
  const ready = { type: 'ready', features, ticket: 17 } as const
  const empty = (memory: GuestMemory): DeviceBuilder => new DeviceBuilder({ memory, notify: new NotificationCounter() })

  it('takes queues until the driver is ready, answers each, and leaves the rest of the messages', async () => {
    const { memory, rings } = stage()
    let answered = 0
    const messages = new Feed<ConfigureQueueMessage | typeof ready | DriverNotification>()
    messages.put(
      queue(rings[0]!, () => answered++),
      queue(rings[1]!, () => answered++),
      ready,
      1,
    )
    const feed = messages as AsyncIterableIterator<ConfigureQueueMessage | (ReadyMessage & typeof ready)>
    const { device, ready: last } = await configureFromStream(empty(memory), feed, { from: 0, to: 1 })
    expect([answered, last.ticket, device.configuredQueues]).toEqual([2, 17, [0, 1]])
    expect(messages.returned).toBe(false)
    expect((await messages.next()).value).toBe(1)
  })

  it('refuses queues that the device does not have, or has already, or that cannot be', async () => {
    const { memory, rings } = stage()
    const broken: ConfigureQueueMessage = { type: 'configureQueue', queue: { ...rings[0]!.setup, size: 0 } }
    const cases: [ConfigureQueueMessage[], Partial<DeviceError>][] = [
      [[queue(rings[2]!)], { kind: 'invalid-queue', queue: 2 }],
      [[queue(rings[1]!), queue(rings[1]!)], { kind: 'invalid-queue', queue: 1 }],
      [[broken], { kind: 'bad-queue-config', queue: 0 }],
    ]
    for (const [messages, error] of cases)
      await expect(
        configureFromStream(empty(memory), new Feed<ConfigureQueueMessage | ReadyMessage>().put(...messages), [0, 1]),
      ).rejects.toMatchObject(error)
  })

  it('refuses a position that the queue cannot have', async () => {
    const { memory, rings } = stage()
    const state = { available: 1 << 20, used: 0, inFlight: [] }
    const messages = new Feed<ConfigureQueueMessage | ReadyMessage>().put({ type: 'configureQueue', queue: { ...rings[0]!.setup, state } }, ready)
    const failed = configureFromStream(empty(memory), messages, [0])
    await expect(failed).rejects.toBeInstanceOf(DeviceError)
    await expect(failed).rejects.toMatchObject({ kind: 'bad-queue-config', cause: { name: 'StateError' } })
  })

  it('refuses other messages, and an early end', async () => {
    const { memory, rings } = stage()
    const early = new Feed<ConfigureQueueMessage | ReadyMessage>().put(queue(rings[0]!)).end()
    await expect(configureFromStream(empty(memory), early, [0])).rejects.toMatchObject({ kind: 'unexpected-end' })
    for (const message of [0, null, { type: 'notify' }]) {
      const feed = new Feed<ConfigureQueueMessage | ReadyMessage>().put(message as never)
      await expect(configureFromStream(empty(memory), feed, [0])).rejects.toMatchObject({ kind: 'unexpected-message' })
    }
  })

  it('checks queues by list, by range and by function', () => {
    expect([1, 2, 3].map((index) => checkQueue([1, 3], index))).toEqual([true, false, true])
    expect([0, 1, 2, 3].map((index) => checkQueue({ from: 1, to: 2 }, index))).toEqual([false, true, true, false])
    expect(checkQueue({ from: 2 }, 65535)).toBe(true)
    // Pairs only: a transmit queue after its receive queue.
    const pairs = (index: number, configured: readonly number[]): boolean => index % 2 === 0 || configured.includes(index - 1)
    expect([checkQueue(pairs, 3, [0]), checkQueue(pairs, 3, [2])]).toEqual([false, true])
  })
})
