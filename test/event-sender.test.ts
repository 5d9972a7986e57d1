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
  return (reply: LayoutInfo, context: RequestContext, fill: number): number[] => {
    driver.offer(chain().writable(16))
    expect(sender.send(message, eventOf(reply), context, queue, { fill }, undefined)).toBe(0)
    const [used] = driver.drain()
    return [...used!.bytes.slice(0, used!.written)]
  }
}

describe('an event has', () => {
  it('the layout that it has, not that of the one before', () => {
    const send = setUp()
    const layouts = [2, 4].map((length): LayoutInfo => ({ create: () => new Fill(length), suffix: 0 }))
    const context = contextOf(8)
    expect([0, 1, 0].map((i) => send(layouts[i]!, context, i + 1))).toEqual([
      [1, 1],
      [2, 2, 2, 2],
      [1, 1],
    ])
  })

  it('the layout of what is negotiated now', () => {
    const send = setUp()
    const layout: LayoutInfo = { create: ({ queueSize }) => new Fill(queueSize), suffix: 0 }
    expect([3, 2].map((size) => send(layout, contextOf(size), 5))).toEqual([
      [5, 5, 5],
      [5, 5],
    ])
  })

  it('the layout of the configuration as it is now', () => {
    const send = setUp()
    let length = 2
    const layout: LayoutInfo = { create: () => new Fill(length), outdated: (made) => made.$minimum !== length, suffix: 0 }
    const context = contextOf(8)
    expect(send(layout, context, 1)).toEqual([1, 1])
    length = 3
    expect(send(layout, context, 1)).toEqual([1, 1, 1])
  })
})
