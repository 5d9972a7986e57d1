/** Notifiers, doorbells, ranges of guest addresses: small things that a VMM joins a device to its driver with. */
import fc from 'fast-check'
import { BufferedNotifier, DoorbellRange, dispose, GuestMemory, GuestRange, NotificationCounter, NotifyEvent } from 'virtgen/runtime'
import { describe, expect, it } from 'vitest'

describe('a buffered notifier', () => {
  it('sends nothing until it is flushed, and then one notification for each queue, in their order', () => {
    const sent: number[] = []
    const buffered = new BufferedNotifier({ notify: (queue) => void sent.push(queue) })
    for (const queue of [2, 0, 2, 2, 0]) buffered.notify(queue)
    expect([sent, buffered.isDue]).toEqual([[], true])
    buffered.flush()
    buffered.flush()
    expect([sent, buffered.isDue]).toEqual([[2, 0], false])
    buffered.notify(0)
    buffered.flush()
    expect(sent).toEqual([2, 0, 0])
  })

  it('keeps what becomes due while it sends for the next time, also where that is at once', () => {
    const sent: number[] = []
    const buffered = new BufferedNotifier({
      notify: (queue) => {
        sent.push(queue)
        if (sent.length > 4) return
        buffered.notify(queue + 10)
        if (queue === 1) buffered.flush()
      },
    })
    buffered.notify(0)
    buffered.notify(1)
    buffered.flush()
    expect(sent).toEqual([0, 1, 10, 11])
    buffered.flush()
    expect(sent.slice(4).sort()).toEqual([20, 21])
  })

  it('is flushed at the end of a block', () => {
    const counter = new NotificationCounter()
    const buffered = new BufferedNotifier(counter)
    buffered.notify(3)
    buffered[dispose]()
    expect(buffered.target.get(3)).toBe(1)
    expect(dispose).toBe(Symbol.dispose)
  })
})

describe('a notification counter', () => {
  it('counts by queue and in all, and can be set', () => {
    const counter = new NotificationCounter()
    for (const queue of [0, 1, 1]) counter.notify(queue)
    expect([counter.get(0), counter.get(1), counter.get(2), counter.get()]).toEqual([1, 2, 0, 3])
    counter.set(5, 1)
    expect(counter.get()).toBe(6)
    counter.set(0)
    expect([counter.get(), counter.get(1)]).toEqual([0, 0])
  })
})

describe('a notify event', () => {
  it('tells once of each kind until it is taken', () => {
    let signals = 0
    const event = new NotifyEvent(() => signals++)
    event.signalQueue()
    event.notify(3)
    expect(signals).toBe(1)
    event.signalConfig()
    event.signalConfig()
    expect(signals).toBe(2)
    expect(event.take()).toEqual({ queue: true, config: true })
    expect(event.take()).toEqual({ queue: false, config: false })
    event.signalConfig()
    expect([signals, event.take()]).toEqual([3, { queue: false, config: true }])
  })

  it('can be taken by who is told', () => {
    const seen: unknown[] = []
    const event: NotifyEvent = new NotifyEvent(() => seen.push(event.take()))
    event.signalQueue()
    event.signalQueue()
    expect(seen).toEqual([
      { queue: true, config: false },
      { queue: true, config: false },
    ])
  })
})

describe('doorbells', () => {
  const range = new DoorbellRange({ base: 0x1000, length: 0x20 })

  it('are four bytes apart unless something else is said', () => {
    expect([0x1000, 0x1004, 0x101c].map((address) => range.queueForAddress(address))).toEqual([0, 1, 7])
    expect([range.count, range.multiplier]).toEqual([8, 4])
    expect(new DoorbellRange({ base: 0x2000, length: 0x4000, multiplier: 0x1000 }).queueForAddress(0x5000)).toBe(3)
  })

  it('are told apart from addresses that are none', () => {
    expect([0xfff, 0x1020, 0, -4, 2 ** 60, Number.NaN].map((address) => range.queueForAddress(address))).toMatchObject(
      Array.from({ length: 6 }, () => ({ kind: 'doorbell-outside' })),
    )
    expect(range.queueForAddress(0x1005)).toEqual({
      kind: 'doorbell-misaligned',
      address: 0x1005,
      detail: 'doorbells from 0x1000 on are 4 bytes apart, 0x1005 is none',
    })
    expect(range.queueForAddress(0x1020)).toMatchObject({ detail: 'doorbells lie from 0x1000 to 0x101c, not at 0x1020' })
    expect(range.queueForAddress(0x1000 + 0.5)).toMatchObject({ kind: 'doorbell-misaligned' })
  })

  it('lead to the queue that they were made for', () => {
    fc.assert(
      fc.property(fc.nat(2 ** 20), fc.integer({ min: 1, max: 1000 }), fc.integer({ min: 1, max: 16 }), fc.nat(), (base, count, shift, pick) => {
        const multiplier = 2 ** shift
        const doorbells = new DoorbellRange({ base: base * multiplier, length: count * multiplier, multiplier })
        const queue = pick % count
        expect(doorbells.queueForAddress(doorbells.addressForQueue(queue))).toBe(queue)
      }),
    )
    expect(() => range.addressForQueue(8)).toThrow('queues 0 to 7, not 8')
  })

  it('cannot lie just anywhere', () => {
    const good = { base: 0x1000, length: 0x20 }
    const wrong = [
      { base: 0x1002 },
      { base: -4 },
      { base: 2 ** 53 },
      { base: 2 ** 53 - 32, length: 64 },
      { length: 0 },
      { length: 6 },
      { length: -4 },
      { length: 0x4_0004 },
      { multiplier: 0 },
      { multiplier: 1 },
      { multiplier: 12 },
      { multiplier: Number.NaN },
    ]
    for (const change of wrong) expect(() => new DoorbellRange({ ...good, ...change }), JSON.stringify(change)).toThrow(RangeError)
    expect(() => new DoorbellRange({ ...good, base: 0x1002 })).toThrow('base must be a multiple of 4 from 0, not 4098')
  })
})

describe('a range of guest addresses', () => {
  it('is none where its end cannot be', () => {
    expect(GuestRange.of(0x1000, 0x20)).toMatchObject({ address: 0x1000, length: 0x20, end: 0x1020 })
    expect(GuestRange.of(0x1000n, 8n)).toMatchObject({ address: 0x1000, length: 8 })
    const none: [number | bigint, number | bigint][] = [
      [-1, 4],
      [0, -1],
      [0.5, 4],
      [2 ** 53 - 4, 8],
      [2n ** 64n - 10n, 20n],
      [2n ** 53n + 1n, 0n],
      [Number.NaN, 1],
    ]
    for (const [address, length] of none) expect(GuestRange.of(address, length)).toBeUndefined()
  })

  it('is split where it has bytes, with an empty part at either end', () => {
    const range = GuestRange.of(0x1000, 8)!
    const parts = (offset: number): number[][] | undefined => range.splitAt(offset)?.map(({ address, length }) => [address, length])
    expect([0, 3, 8, 9, -1].map(parts)).toEqual([
      [
        [0x1000, 0],
        [0x1000, 8],
      ],
      [
        [0x1000, 3],
        [0x1003, 5],
      ],
      [
        [0x1000, 8],
        [0x1008, 0],
      ],
      undefined,
      undefined,
    ])
  })

  it('holds others, and finds its bytes', () => {
    const memory = GuestMemory.of(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8), 0x1000)
    const range = GuestRange.of(0x1000, 8)!
    expect(range.splitAt(2)![1].resolve(memory)).toEqual(Uint8Array.of(3, 4, 5, 6, 7, 8))
    expect([range.contains(GuestRange.of(0x1002, 6)!), range.contains(GuestRange.of(0x1002, 7)!), range.contains(GuestRange.of(0xfff, 2)!)]).toEqual([
      true,
      false,
      false,
    ])
    expect(GuestRange.of(0x1004, 5)!.resolve(memory)).toBeUndefined()
  })
})
