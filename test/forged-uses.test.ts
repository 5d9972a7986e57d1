/** The catalogue of what a hostile device can do to a driver: each is a violation of its kind, once, and all buffers come back by `detach`. */
import { createDriverQueue } from 'virtgen/runtime'
import { fakeDevice, fakeDriver, forgedUses, Recorder, TestMemory } from 'virtgen/testing'
import { describe, expect, it } from 'vitest'

describe.each([
  { format: 'split', packed: false },
  { format: 'packed', packed: true },
] as const)('a $format driver queue', ({ format, packed }) => {
  const applying = forgedUses.filter(({ violation }) => violation[format] !== undefined)

  const make = (features: { inOrder?: boolean; eventIndex?: boolean } = {}) => {
    const memory = new TestMemory()
    const recorder = new Recorder()
    // It finds places for the areas.
    const { setup } = fakeDriver(memory, { packed, size: 8 })
    const queue = createDriverQueue<string>(memory, setup, { packed, ...features, notify: recorder.notify, fail: recorder.fail })
    const device = fakeDevice(memory, setup, { packed, ...features })
    const piece = (length: number) => ({ address: memory.allocate(length), length })
    return { memory, recorder, queue, device, piece }
  }

  it.each(applying)('finds $title', ({ forge, violation, needs, before = 0 }) => {
    const { queue, device, recorder, piece } = make(needs)
    queue.add([piece(1)], [piece(8)], 'a')
    queue.add([piece(1)], [], 'b')
    queue.publish()
    forge(device)
    const good = Array.from({ length: before }, () => queue.completed())
    expect(good).not.toContain(undefined)
    expect(queue.completed()).toBeUndefined()
    expect(recorder.violations).toMatchObject([{ kind: violation[format], queue: 0 }])
    expect(queue.broken).toBe(recorder.violations[0])
    expect([queue.completed(), queue.enableNotifications(), recorder.violations.length]).toEqual([undefined, false, 1])
    const back = [queue.detach(), queue.detach(), queue.detach()].filter((token) => token !== undefined)
    expect([...good, ...back].toSorted()).toEqual(['a', 'b'])
  })

  it.each([{}, { eventIndex: true }, { inOrder: true }])('gets along with the device by hand (%o)', (features) => {
    const { queue, device, piece, memory } = make(features)
    const [header, data] = [piece(4), piece(8)]
    for (let i = 0; i < 100; i++) {
      memory.poke(header.address, Uint8Array.of(i))
      expect([queue.add([header], [data], 'a'), queue.add([header], [], 'b')]).toEqual([true, true])
      queue.publish()
      const [first, second] = [device.take()!, device.take()!]
      expect([first.readable[0], second.readable[0], first.writable, second.writable]).toEqual([i, i, 8, 0])
      device.put(first, [i, i])
      device.put(second)
      expect(queue.completed()).toBeUndefined()
      device.publish()
      expect([queue.completed(), queue.written, memory.peek(data.address + 1, 1)[0], queue.completed(), queue.completed()]).toEqual([
        'a',
        2,
        i,
        'b',
        undefined,
      ])
    }
    expect(queue.broken).toBeUndefined()
  })
})
