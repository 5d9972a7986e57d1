/** The fake driver and the fake device of `virtgen/testing`: written from the text each, they understand each other, and find out who breaks a rule. */
import fc from 'fast-check'
import {
  chain,
  fakeDevice,
  fakeDriver,
  forgedChains,
  forgedUses,
  RuleBroken,
  type TakenChain,
  TestMemory,
  type UsedChain,
  unusualChains,
} from 'virtgen/testing'
import { describe, expect, it } from 'vitest'

const bytes = (length: number, value: number): Uint8Array => new Uint8Array(length).fill(value)

/** Both sides of a ring, each of them told when the other one notifies. */
function sides(options: Parameters<typeof fakeDriver>[1] = {}) {
  const memory = new TestMemory()
  const heard = { driver: 0, device: 0 }
  const driver = fakeDriver(memory, { ...options, notify: () => heard.device++ })
  const device = fakeDevice(memory, driver.setup, { ...options, notify: () => heard.driver++ })
  return { memory, driver, device, heard }
}

describe.each([{ packed: false }, { packed: true }])('a ring (packed: $packed) by hand', (format) => {
  it('carries what the driver offers, and brings back what the device wrote, in any order', () => {
    const { driver, device } = sides(format)
    driver.offer(chain().readable([1, 2]).readable([3]).writable(4).writable(2))
    driver.offer(chain().writable(1))
    const [first, second] = [device.take()!, device.take()!]
    expect(device.take()).toBeUndefined()
    expect([[...first.readable], first.writable, second.readable.length, second.writable]).toEqual([[1, 2, 3], 6, 0, 1])
    device.use(second, [9])
    device.use(first, [5, 6, 7, 8, 9])
    expect(driver.drain().map(({ id, written, bytes }) => [id, written, ...bytes])).toEqual([
      [second.id, 1, 9],
      [first.id, 5, 5, 6, 7, 8, 9],
    ])
    expect([driver.used(), driver.out, driver.free]).toEqual([undefined, [], driver.size])
  })

  it('shows nothing before it is published', () => {
    const { driver, device } = sides(format)
    driver.put(chain().readable(1))
    driver.put(chain().readable(2))
    expect(device.take()).toBeUndefined()
    driver.publish()
    const [first, second] = [device.take()!, device.take()!]
    expect([first.readable.length, second.readable.length]).toEqual([1, 2])
    device.put(first)
    device.put(second)
    expect(driver.used()).toBeUndefined()
    device.publish()
    expect(driver.drain().length).toBe(2)
  })

  it('goes round and round, in any portions, with tables and without', () => {
    const step = fc.record({
      count: fc.nat(4),
      readable: fc.nat(3),
      writable: fc.nat(3),
      indirect: fc.boolean(),
      use: fc.array(fc.nat(10), { maxLength: 4 }),
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.integer({ min: 1, max: 9 }), (steps, packedSize) => {
        const size = format.packed ? packedSize : 2 ** (packedSize % 4)
        const { driver, device, memory } = sides({ ...format, size })
        const out: TakenChain[] = []
        const expected: UsedChain['id'][] = []
        let value = 0
        for (const { count, readable, writable, indirect, use } of steps) {
          for (let i = 0; i < count; i++) {
            const spec = chain()
            if (indirect) spec.indirect()
            for (let r = 0; r < readable; r++) spec.readable([value & 0xff, r])
            for (let w = 0; w < writable; w++) spec.writable(3)
            if (spec.elements.length === 0 || spec.elements.length > size || (indirect ? 1 : spec.elements.length) > driver.free) continue
            driver.offer(spec)
            const taken = device.take()!
            expect([...taken.readable]).toEqual(Array.from({ length: readable }, (_, r) => [value & 0xff, r]).flat())
            out.push(taken)
            value++
          }
          for (const pick of use) {
            const [taken] = out.splice(pick % Math.max(out.length, 1), 1)
            if (taken === undefined) continue
            device.use(taken, bytes(taken.writable, taken.id + 1))
            expected.push(taken.id)
          }
          const used = driver.drain()
          expect(used.map(({ id }) => id)).toEqual(expected.splice(0))
          for (const { id, bytes: content } of used) expect(content.every((byte) => byte === id + 1)).toBe(true)
        }
        memory.checkGuards()
        expect(memory.changes()).toEqual([])
      }),
      { numRuns: 200 },
    )
  })

  it('tells of a batch in order with one entry', () => {
    const { driver, device } = sides({ ...format, inOrder: true })
    for (let round = 0; round < 20; round++) {
      for (let i = 0; i < 3; i++) driver.put(chain().readable(1).writable(2))
      driver.publish()
      const chains = [device.take()!, device.take()!, device.take()!]
      device.fill(chains[0]!, bytes(2, 1))
      device.putBatch(chains[1]!, [7])
      device.publish()
      device.use(chains[2]!)
      expect(driver.drain().map(({ written, skipped, bytes }) => [written, skipped, ...bytes])).toEqual([
        [2, true, 1, 1],
        [1, false, 7],
        [0, false],
      ])
    }
  })

  it('notifies whoever wants it, and when', () => {
    for (const eventIndex of [false, true]) {
      const { driver, device, heard } = sides({ ...format, eventIndex })
      driver.ask('never')
      device.ask('never')
      driver.offer(chain().writable(1))
      device.use(device.take()!)
      driver.drain()
      expect(heard).toEqual({ driver: 0, device: 0 })
      driver.ask('always')
      device.ask('always')
      driver.offer(chain().writable(1))
      device.use(device.take()!)
      driver.drain()
      expect(heard).toEqual({ driver: 1, device: 1 })
    }
    const { driver, device, heard } = sides({ ...format, eventIndex: true })
    for (let round = 0; round < 20; round++) {
      driver.ask(3)
      device.ask(2)
      const before = { ...heard }
      const seen = Array.from({ length: 4 }, () => {
        driver.offer(chain().writable(1))
        return heard.device - before.device
      })
      const answered = Array.from({ length: 4 }, () => {
        device.use(device.take()!)
        return heard.driver - before.driver
      })
      driver.drain()
      expect([seen, answered]).toEqual([
        [0, 1, 1, 1],
        [0, 0, 1, 1],
      ])
    }
    expect(() => sides(format).driver.ask(1)).toThrow(TypeError)
    expect(() => sides(format).device.ask(1)).toThrow(TypeError)
  })

  it('begins where it is told', () => {
    const position = format.packed ? { available: 6, used: 6 } : { available: 0xfffe, used: 0xfffe }
    const { driver, device } = sides({ ...format, position })
    for (let i = 0; i < 4; i++) {
      driver.offer(chain().readable(1).readable([i]).writable(1))
      const taken = device.take()!
      expect(taken.readable[1]).toBe(i)
      device.use(taken, [i])
      expect(driver.used()!.bytes[0]).toBe(i)
    }
    expect(device.position).toEqual(driver.position)
    expect(driver.position.available).toBe(2)
  })

  it.each(unusualChains.filter(({ formats, needs }) => formats.includes(format.packed ? 'packed' : 'split') && needs?.maxChainLength === undefined))(
    'carries $title',
    ({ forge, needs, readable, writable, title }) => {
      const { driver, device } = sides({ ...format, ...needs })
      forge(driver)
      // The text allows the first, and Linux does the second.
      if (/flags|more descriptors/.test(title) && !/mean nothing/.test(title)) return expect(() => device.take()).toThrow(RuleBroken)
      const taken = device.take()!
      expect([taken.readable.length, taken.writable]).toEqual([readable, writable])
    },
  )

  const name = format.packed ? 'packed' : 'split'

  // A bound of its own is what a device may have; the text knows none but the queue size.
  const forged = forgedChains.filter(({ violation, needs }) => violation[name] !== undefined && typeof needs?.maxChainLength !== 'number')
  it.each(forged)('finds $title: the device', ({ forge, forgeLater, needs, before = 0 }) => {
    const { driver, device } = sides({ ...format, ...needs })
    forge(driver)
    for (let i = 0; i < before; i++) device.take()
    forgeLater?.(driver)
    expect(() => device.take()).toThrow(RuleBroken)
  })

  it.each(forgedUses.filter(({ violation }) => violation[name] !== undefined))('finds $title: the driver', ({ forge, needs, before = 0 }) => {
    const { driver, device } = sides({ ...format, ...needs })
    driver.offer(chain().readable(1).writable(8))
    driver.offer(chain().readable(1))
    forge(device)
    for (let i = 0; i < before; i++) driver.used()
    expect(() => driver.used()).toThrow(RuleBroken)
  })

  it('begins with zeros, whatever was there', () => {
    const memory = new TestMemory()
    for (const { guestAddress, size } of memory.regions) memory.poke(guestAddress, new Uint8Array(size).fill(0xff))
    const { setup } = fakeDriver(memory, format)
    expect(fakeDevice(memory, setup, format).take()).toBeUndefined()
  })

  it('refuses what cannot be offered', () => {
    const { driver } = sides({ ...format, size: 4 })
    expect(() => driver.offer(chain())).toThrow(RangeError)
    expect(() => driver.offer(chain().readable(1).readable(1).readable(1).readable(1).readable(1))).toThrow(RangeError)
    expect(() => driver.offer(chain().writable(2 ** 20))).toThrow(RangeError)
    expect(() => chain().writable(-1)).toThrow(RangeError)
    expect([driver.free, driver.out.length]).toEqual([4, 0])
  })
})
