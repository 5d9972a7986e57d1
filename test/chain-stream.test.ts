/** Chains as a stream: nothing is lost, nothing comes twice, and it ends when the queue does. */
import fc from 'fast-check'
import { VIRTQ_USED_F_NO_NOTIFY } from 'virtgen/wire/split-ring'
import { describe, expect, it } from 'vitest'
import type { Chain } from '../runtime/chain.ts'
import { dispose } from '../runtime/dispose.ts'
import type { DeviceQueue, RingFeatures } from '../runtime/queue.ts'
import { ChainStream } from '../runtime/stream/chain-stream.ts'
import { chain, type FakeDriver, TestMemory, testQueue } from '../runtime/testing/index.ts'
import { offerHeads } from './support/offers.ts'

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Takes all that comes in a loop, notes the heads, and says when the loop is over. */
function collect(stream: ChainStream, body: (chain: Chain) => unknown = (chain) => chain.complete(0)): { heads: number[]; over: Promise<void> } {
  const heads: number[] = []
  const loop = async (): Promise<void> => {
    for await (const chain of stream) {
      heads.push(chain.head)
      await body(chain)
    }
  }
  return { heads, over: loop() }
}

describe('a chain stream', () => {
  it('gives what is there, waits, and goes on when it is woken', async () => {
    const { driver, queue } = testQueue()
    const stream = new ChainStream(queue)
    offerHeads(driver, 3, 1)
    const { heads, over } = collect(stream)
    await settle()
    expect(heads).toEqual([3, 1])
    offerHeads(driver, 4)
    await settle()
    expect(heads).toEqual([3, 1])
    stream.wake()
    await settle()
    expect([heads, driver.usedIndex]).toEqual([[3, 1, 4], 3])
    stream.release()
    await over
  })

  it('asks for notifications only while it waits', async () => {
    const { driver, queue } = testQueue()
    const stream = new ChainStream(queue)
    let go = (): void => {}
    collect(stream, () => new Promise<void>((resolve) => (go = resolve)))
    for (const head of [0, 1]) {
      await settle()
      expect(driver.usedFlags).toBe(0)
      offerHeads(driver, head)
      stream.wake()
      await settle()
      expect(driver.usedFlags).toBe(VIRTQ_USED_F_NO_NOTIFY)
      go()
    }
  })

  it('looks again after asking: a buffer that came before the driver could see the wish is not lost', async () => {
    const { driver, queue } = testQueue()
    // Right before the driver can see that notifications are wanted it makes a buffer available, and sends none.
    const late = proxy(queue, (name) => name === 'enableNotifications' && driver.position.available === 1 && offerHeads(driver, 5))
    offerHeads(driver, 2)
    const { heads } = collect(new ChainStream(late))
    await settle()
    expect(heads).toEqual([2, 5])
  })

  it('hears a notification that comes while it looks', async () => {
    const { driver, queue } = testQueue()
    // After the last look of the queue, still within the call.
    let once = true
    const late = proxy(
      queue,
      () => {},
      (name) => {
        if (name !== 'enableNotifications' || !once) return
        once = false
        offerHeads(driver, 5)
        stream.wake()
      },
    )
    const stream = new ChainStream(late)
    const { heads } = collect(stream)
    await settle()
    expect(heads).toEqual([5])
  })

  it('serves who asks while it looks', async () => {
    const { driver, queue } = testQueue()
    const asked: Promise<IteratorResult<Chain, undefined>>[] = []
    const around = proxy(queue, (name) => name === 'next' && asked.length === 0 && asked.push(stream.next()))
    const stream = new ChainStream(around)
    offerHeads(driver, 4, 6)
    const first = await stream.next()
    expect(first.value?.head).toBe(4)
    expect((await asked[0])?.value?.head).toBe(6)
  })

  it('gives every chain to one of several loops', async () => {
    const { driver, queue } = testQueue()
    const stream = new ChainStream(queue)
    const loops = [collect(stream, settle), collect(stream, settle), collect(stream, settle)]
    offerHeads(driver, 0, 1, 2, 3, 4)
    stream.wake()
    for (let i = 0; i < 5; i++) await settle()
    expect(loops.flatMap(({ heads }) => heads).sort()).toEqual([0, 1, 2, 3, 4])
    expect(loops.map(({ heads }) => heads.length)).not.toContain(5)
  })

  it('gives results of their own to who asks again before reading', async () => {
    const { driver, queue } = testQueue()
    const stream = new ChainStream(queue)
    offerHeads(driver, 6, 5, 4)
    const results = await Promise.all([stream.next(), stream.next(), stream.next()])
    expect(results.map((result) => result.value?.head)).toEqual([6, 5, 4])
  })

  it('makes neither promises nor results for chains that are there', async () => {
    const { driver, queue } = testQueue()
    const stream = new ChainStream(queue)
    offerHeads(driver, 6, 5)
    const first = stream.next()
    const result = await first
    expect(result.value?.head).toBe(6)
    const second = stream.next()
    expect(second).toBe(first)
    expect(await second).toBe(result)
    expect(result.value?.head).toBe(5)
  })

  it('gives way for every round of the ring where it is told how', async () => {
    const { driver, queue } = testQueue({ size: 4 })
    const later: (() => void)[] = []
    const stream = new ChainStream(queue, { defer: (callback) => void later.push(callback) })
    offerHeads(driver, 0, 1, 2, 3)
    // The driver never stops: each completion brings another buffer.
    const { heads } = collect(stream, (chain) => {
      const { head } = chain
      chain.complete(0)
      offerHeads(driver, head)
    })
    await settle()
    expect([heads.length, later.length]).toEqual([4, 1])
    later.shift()?.()
    await settle()
    expect([heads.length, later.length]).toEqual([8, 1])
  })

  it('waits while the chains that are out take all the room, and goes on when the queue says resume', async () => {
    const { driver, queue } = testQueue()
    let room = 2
    // What a queue does that has room for two chains, and is starved then.
    const scarce = new Proxy(queue, {
      get: (target, name) => {
        if (room === 0 && name === 'next') return () => undefined
        if (room === 0 && name === 'enableNotifications') return () => false
        const value = Reflect.get(target, name, target)
        return typeof value === 'function' ? value.bind(target) : value
      },
    }) as DeviceQueue
    const stream = new ChainStream(scarce)
    offerHeads(driver, 0, 1, 2, 3)
    const { heads } = collect(stream, () => room--)
    await settle()
    expect(heads).toEqual([0, 1])
    room++
    stream.wake()
    await settle()
    expect(heads).toEqual([0, 1, 2])
  })
})

describe('the end of a chain stream', () => {
  it('comes with the end of a loop, whatever ends it', async () => {
    const ends: ((stream: ChainStream) => Promise<void>)[] = [
      async (stream) => {
        for await (const chain of stream) if (chain.head === 0) break
      },
      async (stream) => {
        for await (const _ of stream) throw new Error('enough')
      },
      async (stream) => stream.release(),
      async (stream) => stream[dispose](),
      async (stream) => void (await stream.return()),
      async (stream) => void (await stream.throw(new Error('enough'))),
    ]
    for (const end of ends) {
      const { driver, queue } = testQueue()
      let released = 0
      const stream = new ChainStream(queue, { released: () => released++ })
      offerHeads(driver, 0)
      await end(stream).catch((error: Error) => expect(error.message).toBe('enough'))
      expect([released, stream.isReleased, await stream.next()]).toEqual([1, true, { done: true, value: undefined }])
      // The queue is as it was found, and the next one who takes its chains is notified.
      while (queue.next()) {}
      expect(driver.usedFlags).toBe(0)
    }
  })

  it('comes to everybody who waits', async () => {
    const stream = new ChainStream(testQueue().queue)
    const waiting = [stream.next(), stream.next()]
    stream.release()
    expect(await Promise.all(waiting)).toEqual([
      { done: true, value: undefined },
      { done: true, value: undefined },
    ])
  })

  it('comes with the reset of the queue, as soon as somebody looks', async () => {
    const { queue } = testQueue()
    const stream = new ChainStream(queue)
    const waiting = stream.next()
    queue.reset()
    stream.wake()
    expect([await waiting, stream.isReleased, stream.violation]).toEqual([{ done: true, value: undefined }, true, undefined])
    expect((await new ChainStream(queue).next()).done).toBe(true)
  })

  it('comes when the driver breaks the rules, and says how', async () => {
    const {
      driver,
      queue,
      recorder: { violations },
    } = testQueue()
    const stream = new ChainStream(queue)
    const { heads, over } = collect(stream)
    offerHeads(driver, 1)
    driver.jumpTo(100)
    stream.wake()
    await over
    expect([heads, violations.length, stream.violation]).toEqual([[], 1, violations[0]])
    expect(stream.violation?.kind).toBe('available-index')
  })

  it('takes no chain that a waiting loop will not see', async () => {
    const { driver, queue } = testQueue()
    // The guest is run by a write of the queue, and the stream is released there.
    const ending = proxy(queue, (name) => name === 'next' && driver.position.available === 1 && stream.release())
    const stream = new ChainStream(ending)
    const waiting = stream.next()
    offerHeads(driver, 7)
    stream.wake()
    expect(await waiting).toEqual({ done: true, value: undefined })
    expect(queue.next()?.head).toBe(7)
  })
})

/** A queue around whose calls something else happens. */
function proxy(queue: DeviceQueue, before: (name: string) => unknown, after: (name: string) => unknown = () => {}): DeviceQueue {
  return new Proxy(queue, {
    get: (target, name: string) => {
      const value = Reflect.get(target, name, target)
      if (typeof value !== 'function') return value
      return (...args: unknown[]) => {
        before(name)
        const result = value.apply(target, args)
        after(name)
        return result
      }
    },
  })
}

/**
 * A driver that sends just the notifications that the device has asked for, and a device behind a stream. Decisions say who does what when; the driver gets its turn around
 * each call of the queue, and inside of it with each write.
 */
class Play {
  readonly offered: number[] = []
  readonly delivered: number[] = []
  readonly parked: Chain[] = []
  readonly stream: ChainStream
  readonly #driver: FakeDriver
  readonly #decisions: number[]
  /** A driver inside of the driver does nothing. */
  #acting = false
  /** The device wants to hear of what the driver has done. */
  #notifies = false

  constructor(rings: RingFeatures, defers: boolean, decisions: readonly number[]) {
    this.#decisions = [...decisions]
    const memory = new TestMemory({ onWrite: () => this.act() })
    const { driver, queue } = testQueue({ ...rings, memory, size: 4, notify: () => (this.#notifies = true) })
    this.#driver = driver
    const act = (): void => this.act()
    this.stream = new ChainStream(proxy(queue, act, act), defers ? { defer: (callback) => void setImmediate(callback) } : {})
  }

  get decision(): number {
    return this.#decisions.shift() ?? 0
  }
  get isDecided(): boolean {
    return this.#decisions.length === 0
  }

  /** What the next decision says: nothing, or some buffers that become available together. */
  act(): void {
    if (this.#acting) return
    this.#acting = true
    const decision = this.decision
    this.#notifies = false
    if (decision > 3) this.offer(decision - 3)
    this.#acting = false
    if (this.#notifies) this.stream.wake()
  }

  offer(count: number): void {
    const driver = this.#driver
    driver.drain()
    for (let i = 0; i < count && driver.free > 0; i++) this.offered.push(driver.put(chain().writable(16)).id)
    driver.publish()
  }

  async consume(): Promise<void> {
    for await (const chain of this.stream) {
      this.delivered.push(chain.head)
      const decision = this.decision
      if (decision === 1) this.parked.push(chain)
      else {
        if (decision === 2) await settle()
        if (decision === 3) await Promise.resolve()
        chain.complete(0)
      }
    }
  }
}

describe('wake-ups', () => {
  const rings = fc.record({ packed: fc.boolean(), eventIndex: fc.boolean(), inOrder: fc.boolean() })
  const decisions = fc.array(fc.integer({ min: 0, max: 6 }), { maxLength: 60 })

  it('are not lost, whatever driver and device do in between', async () => {
    await fc.assert(
      fc.asyncProperty(rings, fc.boolean(), fc.integer({ min: 1, max: 3 }), decisions, async (features, defers, loops, decided) => {
        const play = new Play(features, defers, decided)
        const over = Array.from({ length: loops }, () => play.consume())
        while (!play.isDecided) {
          play.act()
          if (play.decision === 1) play.parked.shift()?.complete(0)
          await settle()
        }
        for (const chain of play.parked.splice(0)) chain.complete(0)
        // No notification comes any more that could make up for one that was lost.
        for (let i = 0; i < 6; i++) await settle()
        expect(play.delivered).toEqual(play.offered)
        expect(play.stream.violation).toBeUndefined()
        play.stream.release()
        await Promise.all(over)
      }),
      { numRuns: 400 },
    )
  })
})
