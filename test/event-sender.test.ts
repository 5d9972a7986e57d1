/** Events one after the other: each is written by the layout that holds then, whatever the one before had. */
import { FeatureSet, Struct } from 'virtgen/codegen/v1/wire'
import { chain, testQueue } from 'virtgen/testing'
import { describe, expect, it } from 'vitest'
import { EventSender } from '../runtime/request/event-sender.ts'
import type { LayoutInfo, MessageInfo, RequestContext, RequestInfo } from '../runtime/request/message.ts'

/** Bytes that are all the same. */
class Fill extends Struct {
  readonly $minimum: number
  constructor(length: number) {
    super()
    this.$minimum = length
  }
  get $size(): number {
    return this.$minimum
  }
  $set({ fill }: { fill?: number }): this {
    if (fill !== undefined) for (let i = 0; i < this.$minimum; i++) this.$view.setUint8(this.$offset + i, fill)
    return this
  }
}

const contextOf = (queueSize: number): RequestContext => ({ features: FeatureSet.empty, config: undefined, queueSize, caller: {} })
const message: MessageInfo = { name: 'fills', kind: 'events', reply: undefined, by: [], requests: [] }
const eventOf = (reply: LayoutInfo): RequestInfo => ({ name: 'fill', id: 0, method: 'fill', is: [], reply })

function setUp() {
  const { driver, queue } = testQueue()
  const sender = new EventSender()
  /** What the event is in each of these buffers that it takes. */
  const sendInto = (lengths: number[], event: RequestInfo, context: RequestContext, value?: { fill?: number }, payload?: Uint8Array): number[][] => {
    for (const length of lengths) driver.offer(chain().writable(length))
    expect(sender.send(message, event, context, queue, value, payload)).toBe(payload?.length ?? 0)
    return driver.drain().map(({ bytes, written }) => [...bytes.slice(0, written)])
  }
  const send = (reply: LayoutInfo, context: RequestContext, fill: number): number[] => sendInto([16], eventOf(reply), context, { fill })[0]!
  return { send, sendInto }
}

describe('an event has', () => {
  it('the layout that it has, not that of the one before', () => {
    const { send } = setUp()
    const layouts = [2, 4].map((length): LayoutInfo => ({ create: () => new Fill(length), suffix: 0 }))
    const context = contextOf(8)
    expect([0, 1, 0].map((i) => send(layouts[i]!, context, i + 1))).toEqual([
      [1, 1],
      [2, 2, 2, 2],
      [1, 1],
    ])
  })

  it('the layout of what is negotiated now', () => {
    const { sendInto } = setUp()
    const event = eventOf({ create: ({ queueSize }) => new Fill(queueSize), suffix: 0 })
    for (const value of [{ fill: 5 }, undefined]) {
      const fill = value?.fill ?? 0
      expect([3, 2].map((size) => sendInto([16], event, contextOf(size), value)[0])).toEqual([
        [fill, fill, fill],
        [fill, fill],
      ])
    }
  })

  it('the layout of the configuration as it is now', () => {
    const { send } = setUp()
    let length = 2
    const layout: LayoutInfo = { create: () => new Fill(length), outdated: (made) => made.$minimum !== length, suffix: 0 }
    const context = contextOf(8)
    expect(send(layout, context, 1)).toEqual([1, 1])
    length = 3
    expect(send(layout, context, 1)).toEqual([1, 1, 1])
  })

  it('what its sender says, and nothing that the one before had', () => {
    const { sendInto } = setUp()
    const context = contextOf(8)
    const reply: LayoutInfo = { create: () => new Fill(2), suffix: 0 }
    const [event, other] = [eventOf(reply), { ...eventOf(reply), values: { fill: 8 } }]
    const values = [undefined, {}, { fill: 5 }, undefined, {}]
    expect(values.map((value) => sendInto([16], event, context, value)[0])).toEqual([0, 0, 5, 0, 0].map((fill) => [fill, fill]))
    expect([other, event, other].map((each) => sendInto([16], each, context)[0])).toEqual([
      [8, 8],
      [0, 0],
      [8, 8],
    ])
  })

  it('the number of buffers that it takes, and not that of the one before', () => {
    const { sendInto } = setUp()
    const context = contextOf(8)
    const first = (struct: Struct): number => struct.$view.getUint8(struct.$offset)
    const event: RequestInfo = {
      ...eventOf({ create: () => new Fill(1), suffix: 0 }),
      spans: { count: first, set: (struct, count) => struct.$view.setUint8(struct.$offset, count) },
    }
    const payload = Uint8Array.of(7, 8, 9)
    const inOne = [[1, 7, 8, 9]]
    const inThree = [[3, 7], [8], [9]]
    expect(sendInto([4], event, context, undefined, payload)).toEqual(inOne)
    expect(sendInto([4], event, context, undefined, payload)).toEqual(inOne)
    expect(sendInto([2, 1, 1], event, context, undefined, payload)).toEqual(inThree)
    expect(sendInto([4], event, context, undefined, payload)).toEqual(inOne)
    expect(sendInto([4], event, context, { fill: 6 }, payload)).toEqual(inOne)
    expect(sendInto([2, 1, 1], event, context, { fill: 6 }, payload)).toEqual(inThree)
  })

  it('no number of buffers where it has no payload', () => {
    const { sendInto } = setUp()
    const context = contextOf(8)
    const event: RequestInfo = {
      ...eventOf({ create: () => new Fill(1), suffix: 0 }),
      spans: { count: () => 1, set: (struct, count) => struct.$view.setUint8(struct.$offset, count) },
    }
    const payloads = [Uint8Array.of(7), undefined, Uint8Array.of(7)]
    expect(payloads.map((payload) => sendInto([4], event, context, undefined, payload)[0])).toEqual([[1, 7], [0], [1, 7]])
  })

  it('what an object says whose members are not its own', () => {
    class Five {
      get fill(): number {
        return 5
      }
    }
    const { sendInto } = setUp()
    const event = eventOf({ create: () => new Fill(1), suffix: 0 })
    const context = contextOf(8)
    expect([{}, new Five(), {}].map((value) => sendInto([4], event, context, value)[0])).toEqual([[0], [5], [0]])
  })

  it('the length of its payload where it says more, and what it says where that fits again', () => {
    const { sendInto } = setUp()
    const context = contextOf(8)
    const event: RequestInfo = {
      ...eventOf({ create: () => new Fill(1), suffix: 0 }),
      values: { fill: 3 },
      writable: {
        claim: {
          get: (struct) => struct.$view.getUint8(struct.$offset),
          set: (struct, length) => struct.$view.setUint8(struct.$offset, length),
        },
      },
    }
    const payloads = [2, 3, 1, 3].map((length) => new Uint8Array(length).fill(7))
    expect(payloads.map((payload) => sendInto([16], event, context, undefined, payload)[0]![0])).toEqual([2, 3, 1, 3])
  })
})
