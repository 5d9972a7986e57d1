/** The driver side of a virtqueue in either format, against a device that is driven by hand and lies where it can. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createDriverQueue } from '../runtime/driver-queue.ts'
import { GuestMemory } from '../runtime/memory.ts'
import { areaAt, formats, makeDriver, piece, type Setting, small } from './support/driver-setup.ts'

for (const format of formats) {
  const make = (setting: Setting = {}) => makeDriver(format, setting)

  describe(`a ${format} driver queue`, () => {
    it('shows the device what was added: readable before writable, each piece as it was given', () => {
      const { queue, device } = make()
      expect(queue.add([piece(0x1_8000, 16), piece(0x12_3456_789a, 0xffff_0000)], [piece(0x1_9000, 512), piece(0x1_a000, 1)], 'a')).toBe(true)
      queue.publish()
      expect(device.take()).toMatchObject([
        {
          slots: 4,
          pieces: [
            { address: 0x1_8000, length: 16, writable: false },
            { address: 0x12_3456_789a, length: 0xffff_0000, writable: false },
            { address: 0x1_9000, length: 512, writable: true },
            { address: 0x1_a000, length: 1, writable: true },
          ],
        },
      ])
      expect([queue.free, queue.out]).toEqual([4, 1])
    })

    it('shows buffers to the device with publish, not before, all of a batch at once', () => {
      const { queue, device, counts } = make()
      for (const token of ['a', 'b', 'c']) queue.add(small, small, token)
      expect([device.take(), counts.notifications]).toEqual([[], 0])
      queue.publish()
      expect([device.take().length, counts.notifications]).toEqual([3, 1])
      queue.publish()
      expect(counts.notifications).toBe(1)
    })

    it('tells in `published` where the device will look next, when it notifies already', () => {
      const seen: [number, number][] = []
      const { queue, device } = make({
        notify: () => {
          device.take()
          seen.push([queue.published, device.position])
        },
      })
      const first = queue.published
      expect(first).toBe(device.position)
      for (let i = 0; i < 20; i++) {
        queue.add(small, small, i)
        expect(queue.published).toBe(device.position)
        queue.publish()
        device.use(device.last)
        queue.completed()
      }
      expect(seen).toHaveLength(20)
      for (const [told, position] of seen) expect(told).toBe(position)
    })

    it('gives tokens and lengths back in the order in which the device used the buffers', () => {
      const { queue, device, violations } = make()
      for (const token of ['a', 'b', 'c']) queue.add([], [piece(0x1_8000, 100)], token)
      queue.publish()
      const found = device.take()
      for (const [i, place] of [2, 0, 1].entries()) device.use(found[place]!.id, 10 * i)
      const seen = []
      for (let token = queue.completed(); token !== undefined; token = queue.completed()) seen.push([token, queue.written])
      expect(seen).toEqual([
        ['c', 0],
        ['a', 10],
        ['b', 20],
      ])
      expect([queue.free, queue.out, violations]).toEqual([8, 0, []])
    })

    it('refuses a buffer for which there is no room, and takes it later', () => {
      const { queue, device } = make({ size: 4 })
      expect(queue.add([...small, ...small, ...small], [], 'a')).toBe(true)
      expect(queue.add([...small, ...small], [], 'b')).toBe(false)
      expect(queue.add(small, [], 'c')).toBe(true)
      expect(queue.add(small, [], 'd')).toBe(false)
      queue.publish()
      expect(device.take().map(({ pieces }) => pieces.length)).toEqual([3, 1])
      device.use(device.ids[0]!)
      expect(queue.completed()).toBe('a')
      expect(queue.add([...small, ...small], [], 'b')).toBe(true)
    })

    it('puts a buffer together piece by piece, and forgets it with rewind', () => {
      const { queue, device } = make({ size: 4 })
      expect([queue.append(0x1_8000, 1, false), queue.append(0x1_8001, 2, true)]).toEqual([true, true])
      queue.rewind()
      expect([queue.append(0x1_9000, 3, false), queue.append(0x1_9003, 4, false), queue.append(0x1_9007, 5, true)]).toEqual([true, true, true])
      queue.commit('a')
      // There is room for one more, not for two: what was appended stays until it is rewound.
      expect([queue.append(0x1_a000, 6, false), queue.append(0x1_a006, 7, false)]).toEqual([true, false])
      queue.rewind()
      expect(queue.append(0x1_b000, 8, true)).toBe(true)
      queue.commit('b')
      queue.publish()
      expect(device.take().map(({ pieces }) => pieces.map(({ length, writable }) => (writable ? -length : length)))).toEqual([[3, 4, -5], [-8]])
      device.use(device.ids[1]!, 8)
      expect([queue.completed(), queue.written]).toEqual(['b', 8])
    })

    it('goes on where it was after a piece found no room', () => {
      const { queue, device } = make({ size: 2 })
      queue.add(small, [], 'a')
      queue.publish()
      expect([queue.append(0x1_8000, 1, false), queue.append(0, 0xffff_ffff, true), queue.append(0, 0xffff_ffff, false)]).toEqual([
        true,
        false,
        false,
      ])
      device.use(device.take()[0]!.id)
      expect(queue.completed()).toBe('a')
      expect(queue.append(0, 0xffff_ffff, true)).toBe(true)
      queue.commit('b')
      queue.publish()
      const { id, pieces } = device.take()[0]!
      expect(pieces).toHaveLength(2)
      device.use(id, 0xffff_ffff)
      expect([queue.completed(), queue.written]).toEqual(['b', 0xffff_ffff])
    })

    it('goes on after a piece was refused', () => {
      const { queue, device } = make({ size: 4 })
      queue.append(0x1_8000, 1, false)
      expect(() => queue.append(0x1_8000, 0, false)).toThrow(RangeError)
      expect(() => queue.add(small, [], 'x')).toThrow(/appended/)
      queue.append(0x1_8001, 2, true)
      expect(() => queue.append(0x1_8000, 1, false)).toThrow('a device-readable piece must come before all device-writable ones')
      queue.commit('a')
      expect(() => queue.commit('b')).toThrow(/nothing was appended/)
      expect(() => queue.add(small, [piece(0, 0)], 'b')).toThrow(RangeError)
      expect(queue.add(small, small, 'c')).toBe(true)
      queue.publish()
      expect(device.take().map(({ pieces }) => pieces.map(({ length }) => length))).toEqual([
        [1, 2],
        [4, 4],
      ])
    })

    it('lets a buffer stay out while all indices go round', () => {
      const { queue, device } = make({ size: 3, powerOf2: 4 })
      queue.add([], small, 'stays')
      queue.publish()
      const stays = device.take()[0]!.id
      for (const round of [40_000, 25_536, 70_000]) {
        for (let i = 1; i <= round; i++) {
          queue.add(small, [], i)
          queue.publish()
          device.use(device.take()[0]!.id)
          if (queue.completed() !== i || queue.completed() !== undefined) throw new Error(`buffer ${i} did not come back alone`)
        }
      }
      device.use(stays, 4)
      expect([queue.completed(), queue.written, queue.broken]).toEqual(['stays', 4, undefined])
    })

    it('works with a single entry', () => {
      const { queue, device } = make({ size: 1 })
      for (let i = 1; i <= 5; i++) {
        expect(queue.add(small, [], i)).toBe(true)
        expect(queue.add(small, [], i)).toBe(false)
        queue.publish()
        device.use(device.take()[0]!.id)
        expect(queue.completed()).toBe(i)
      }
    })

    it('refuses wrong calls', () => {
      const { queue } = make({ size: 4 })
      const many = Array.from({ length: 5 }, () => piece(0, 1))
      expect(() => queue.add([], [], 'a')).toThrow('a buffer in a queue of size 4 must have 1 to 4 pieces, not 0')
      expect(() => queue.add(many, [], 'a')).toThrow('a buffer in a queue of size 4 must have 1 to 4 pieces, not 5')
      for (const [address, length] of [
        [0, 0],
        [0, -1],
        [0, 1.5],
        [0, 2 ** 32],
        [0, Number.NaN],
        [-1, 1],
        [0.5, 1],
        [2 ** 53 - 1, 1],
        [2 ** 64, 1],
        [Number.NaN, 1],
        [Number.POSITIVE_INFINITY, 1],
        ['16' as unknown as number, 1],
        [0, '1' as unknown as number],
      ] as const)
        expect(() => queue.append(address, length, false), `${address}, ${length}`).toThrow(RangeError)
      expect(() => queue.add([piece(0, 0xffff_ffff)], [piece(0, 2)], 'a')).toThrow('a buffer must have at most 4294967296 bytes, not 4294967297')
      expect(queue.add([piece(2 ** 53 - 2, 1)], [piece(0, 0xffff_ffff)], 'a')).toBe(true)
      expect([queue.free, queue.out]).toEqual([2, 1])
    })

    it('refuses to be made in a wrong place', () => {
      const memory = GuestMemory.of(new Uint8Array(0x1000))
      const options = { packed: format === 'packed', notify() {}, fail() {} }
      const setup = { index: 0, size: 8, descriptorArea: 0, driverArea: 0x200, deviceArea: 0x400 }
      for (const wrong of [
        { size: 0 },
        { size: 1.5 },
        { size: format === 'packed' ? 32769 : 3 },
        { size: 65536 },
        { descriptorArea: 8 },
        { driverArea: 0x201 },
        { deviceArea: 0x402 },
        { deviceArea: 0xffe },
        { descriptorArea: 0x1000 },
      ])
        expect(() => createDriverQueue(memory, { ...setup, ...wrong }, options), JSON.stringify(wrong)).toThrow(RangeError)
    })

    it('begins with clear rings, whatever lay there', () => {
      for (const byte of [0xff, 0x80]) {
        const { queue, device, counts, violations } = make({ memory: GuestMemory.of(new Uint8Array(0x2_0000).fill(byte)) })
        expect([queue.completed(), device.take()]).toEqual([undefined, []])
        queue.add(small, [], 'a')
        queue.publish()
        expect([device.take().length, counts.notifications, violations]).toEqual([1, 1, []])
      }
    })

    it('gives everything back when it is detached, and takes nothing any more', () => {
      const { queue, device } = make()
      for (const token of ['a', 'b', 'c']) queue.add([...small, ...small], [], token)
      queue.publish()
      device.use(device.take()[1]!.id)
      expect(queue.completed()).toBe('b')
      queue.add(small, [], 'unpublished')
      queue.append(0, 1, false)
      expect([queue.detach(), queue.detach(), queue.detach(), queue.detach()].sort()).toEqual(['a', 'c', 'unpublished', undefined])
      expect([queue.free, queue.out, queue.add(small, [], 'd'), queue.append(0, 1, false), queue.completed()]).toEqual([
        8,
        0,
        false,
        false,
        undefined,
      ])
      expect(() => queue.commit('d')).toThrow(/nothing was appended/)
      expect([queue.enableNotifications(), device.take()]).toEqual([false, []])
    })

    it('keeps working when the memory gets another buffer', () => {
      const source = { buffer: new ArrayBuffer(0x2_0000) }
      const { queue, device } = make({ memory: new GuestMemory([{ guestAddress: 0, size: 0x2_0000, source }]), indirect: true })
      queue.add(small, small, 'a')
      source.buffer = structuredClone(source.buffer, { transfer: [source.buffer] })
      queue.add(small, small, 'b')
      source.buffer = structuredClone(source.buffer, { transfer: [source.buffer] })
      queue.publish()
      const found = device.take()
      expect(found.map(({ pieces }) => pieces.length)).toEqual([2, 2])
      source.buffer = structuredClone(source.buffer, { transfer: [source.buffer] })
      device.use(found[1]!.id, 1)
      expect(queue.completed()).toBe('b')
    })

    it('keeps working when the memory gets other regions', () => {
      const bytes = new Uint8Array(0x2_0000)
      const memory = GuestMemory.of(bytes)
      const { queue, device } = make({ memory })
      queue.add(small, small, 'a')
      const other = bytes.slice()
      memory.replace([{ guestAddress: 0, size: other.length, source: other }])
      bytes.fill(0xff)
      queue.add(small, small, 'b')
      queue.publish()
      expect(device.take().map(({ pieces }) => pieces.length)).toEqual([2, 2])
      device.use(device.ids[1]!)
      expect(queue.completed()).toBe('b')
    })

    it('works with shared memory', () => {
      const source = { buffer: new SharedArrayBuffer(0x2_0000) }
      const { queue, device } = make({ memory: new GuestMemory([{ guestAddress: 0, size: 0x2_0000, source }]) })
      queue.add(small, [], 'a')
      queue.publish()
      device.use(device.take()[0]!.id)
      expect(queue.completed()).toBe('a')
    })

    it('shows what is out in the order in which it was added, whatever the ids', () => {
      const { queue, device } = make()
      for (const token of ['a', 'b', 'c']) queue.add(small, [], token)
      queue.publish()
      const [a, b, c] = device.take().map(({ id }) => id)
      for (const id of [c!, a!]) device.use(id)
      expect([queue.completed(), queue.completed()]).toEqual(['c', 'a'])
      for (const token of ['d', 'e']) queue.add(small, [], token)
      queue.publish()
      expect(queue.inspect().inFlight).toEqual([b, ...device.take().map(({ id }) => id)])
      expect(queue.save().out.map(({ head }) => head)).toEqual(queue.inspect().inFlight)
    })

    it('shows its state', () => {
      const { queue, device } = make({ size: 8 })
      queue.add(small, small, 'a')
      queue.publish()
      queue.add(small, [], 'b')
      const { available, availableSeen, allocations, ...rest } = queue.inspect()
      expect(rest).toMatchObject({ role: 'driver', format, index: 3, size: 8, broken: undefined, wantsNotifications: true })
      expect(rest.inFlight).toHaveLength(2)
      expect([availableSeen, rest.used]).toEqual([queue.published, rest.usedPublished])
      expect(available - availableSeen).toBe(1)
      queue.disableNotifications()
      for (let i = 0; i < 100; i++) {
        queue.publish()
        for (const { id } of device.take()) device.use(id)
        while (queue.completed() !== undefined);
        queue.add(small, small, i)
      }
      expect(queue.inspect()).toMatchObject({ allocations, wantsNotifications: false })
    })
  })

  describe(`a device that lies in a ${format} ring`, () => {
    const out = (setting: Setting = {}) => {
      const made = make(setting)
      made.queue.add([], [piece(0x1_8000, 100)], 'a')
      made.queue.add(small, [], 'b')
      made.queue.publish()
      made.device.take()
      return made
    }
    const expectBroken = ({ queue, violations, counts }: ReturnType<typeof make>, kind: string, head?: number) => {
      const { notifications } = counts
      expect(queue.completed()).toBeUndefined()
      expect(queue.broken).toMatchObject({ kind, queue: 3, detail: expect.stringMatching(/\d/) })
      expect(queue.broken?.head).toBe(head)
      expect(queue.completed()).toBeUndefined()
      expect(queue.add(small, [], 'c')).toBe(false)
      queue.publish()
      queue.disableNotifications()
      expect(queue.enableNotifications()).toBe(false)
      expect([violations, counts.notifications]).toEqual([[queue.broken], notifications])
    }

    it('uses more buffers than it has', () => {
      const made = make()
      made.device.use(0)
      expectBroken(made, 'used-index')
      const later = out()
      for (const id of later.device.ids) later.device.use(id)
      later.device.use(later.device.ids[0]!)
      // A split ring tells at once that it is too much.
      if (format === 'packed') expect([later.queue.completed(), later.queue.completed()]).toEqual(['a', 'b'])
      expectBroken(later, 'used-index')
    })

    it('uses a buffer that it was not yet told of', () => {
      const made = out()
      made.queue.add(small, [], 'hidden')
      const hidden = made.queue.inspect().inFlight.at(-1)!
      made.device.use(hidden)
      expectBroken(made, 'used-id', hidden)
    })

    it('uses an id that no buffer has', () => {
      for (const id of format === 'packed' ? [8, 7, 0x7fff, 0xffff] : [8, 7, 0xffff, 0x1_0000, 0x8000_0000, 0xffff_ffff]) {
        const made = out()
        made.device.use(id)
        expectBroken(made, 'used-id', id)
      }
    })

    it('uses a buffer twice', () => {
      const made = out()
      const [, id] = made.device.ids as [number, number]
      made.device.use(id)
      made.device.use(id)
      expect(made.queue.completed()).toBe('b')
      expectBroken(made, 'used-id', id)
    })

    it('claims more bytes than the device-writable part has', () => {
      for (const length of [101, 0xffff_ffff]) {
        const made = out()
        made.device.use(made.device.ids[0]!, length)
        expectBroken(made, 'used-length', made.device.ids[0])
      }
      const readOnly = out()
      readOnly.device.use(readOnly.device.ids[1]!, 1)
      expectBroken(readOnly, 'used-length', readOnly.device.ids[1])
    })

    it('changes descriptors and what the driver wrote, which nobody reads back', () => {
      const made = make({ indirect: true })
      for (const token of ['a', 'b']) made.queue.add([...small, ...small], [piece(0x1_8000, 8)], token)
      made.queue.publish()
      const heads = made.device.take().map(({ id }) => id)
      const { u8 } = made.memory.regions[0]!
      // In a packed ring the device's own words lie where the driver's lay.
      if (format === 'split') u8.fill(0xff, made.setup.descriptorArea, made.setup.descriptorArea + 8 * 16)
      u8.fill(0xff, areaAt.tables, areaAt.tables + 0x400)
      u8.fill(0xff, made.setup.driverArea, made.setup.driverArea + 4)
      for (const head of heads) made.device.use(head, 8)
      expect([made.queue.completed(), made.queue.written, made.queue.completed(), made.queue.free]).toEqual(['a', 8, 'b', 8])
    })

    it('gets its buffers back by detach alone', () => {
      const made = out()
      made.device.use(7)
      expectBroken(made, 'used-id', 7)
      expect([made.queue.detach(), made.queue.detach(), made.queue.detach()].sort()).toEqual(['a', 'b', undefined])
    })
  })

  describe(`indirect tables of a ${format} queue`, () => {
    it('hold the pieces of a buffer that has more than one', () => {
      const { queue, device } = make({ size: 4, indirect: true })
      for (const token of ['a', 'b', 'c']) expect(queue.add([...small, ...small], [piece(0x1_9000, 8)], token)).toBe(true)
      expect(queue.add(small, [], 'd')).toBe(true)
      expect([queue.free, queue.out]).toEqual([0, 4])
      queue.publish()
      const found = device.take()
      expect(found.map(({ isIndirect, slots }) => [isIndirect, slots])).toEqual([...Array(3).fill([true, 1]), [false, 1]])
      expect(found[2]!.pieces.map(({ length, writable }) => [length, writable])).toEqual([
        [4, false],
        [4, false],
        [8, true],
      ])
      device.use(found[2]!.id, 8)
      expect([queue.completed(), queue.written, queue.free]).toEqual(['c', 8, 1])
    })

    it('are kept and used again, as many as were out at once', () => {
      const { queue, device, tables } = make({ size: 16, indirect: true })
      const before = tables.available
      for (let i = 1; i <= 60; i++) {
        queue.add(small, small, i)
        queue.publish()
        device.use(device.take()[0]!.id)
        expect(queue.completed()).toBe(i)
      }
      expect(before - tables.available).toBe(8 * 16)
    })

    it('give way to direct chains where memory is short', () => {
      const { queue, device } = make({ size: 4, indirect: true, tables: 64 })
      queue.add([...small, ...small], [], 'a')
      expect(queue.add([...small, ...small], [], 'b')).toBe(true)
      expect([queue.free, queue.add([...small, ...small], [], 'c')]).toEqual([1, false])
      queue.publish()
      expect(device.take().map(({ isIndirect, pieces }) => [isIndirect, pieces.length])).toEqual([
        [true, 2],
        [false, 2],
      ])
    })

    it('grow while pieces are appended, and come back when the queue is closed', () => {
      const { queue, device, tables } = make({ size: 32, indirect: true, tables: 0x1000 })
      queue.add(small, small, 'a')
      queue.publish()
      device.use(device.take()[0]!.id)
      expect(queue.completed()).toBe('a')
      for (let i = 0; i < 20; i++) expect(queue.append(i, i + 1, i > 10)).toBe(true)
      queue.commit('b')
      queue.publish()
      expect(device.take()[0]!.pieces).toEqual(Array.from({ length: 20 }, (_, i) => ({ address: i, length: i + 1, writable: i > 10 })))
      expect(tables.available).toBe(0x1000 - 32 * 16)
      queue.close()
      expect(tables.available).toBe(0x1000)
      expect([queue.detach(), queue.detach(), queue.add(small, [], 'c')]).toEqual(['b', undefined, false])
    })

    it('are not mixed up when a buffer comes back while another one is put together', () => {
      const { queue, device } = make({ size: 8, indirect: true })
      queue.add(small, small, 'a')
      queue.publish()
      const [first] = device.take()
      for (let i = 0; i < 5; i++) queue.append(0x1_8000 + i, 1, false)
      device.use(first!.id)
      expect(queue.completed()).toBe('a')
      for (let i = 5; i < 8; i++) queue.append(0x1_8000 + i, 1, false)
      queue.commit('b')
      queue.add(small, small, 'c')
      queue.publish()
      const found = device.take()
      expect(found.map(({ pieces, isIndirect }) => [pieces.length, isIndirect])).toEqual([
        [8, true],
        [2, true],
      ])
      expect(found[0]!.pieces.map(({ address }) => address - 0x1_8000)).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
    })
  })

  describe(`notifications to the device of a ${format} queue`, () => {
    it('are held back when the device wants none', () => {
      for (const eventIndex of format === 'packed' ? [false, true] : [false]) {
        const { queue, device, counts } = make({ eventIndex })
        device.wish('none')
        queue.add(small, [], 'a')
        queue.publish()
        expect(counts.notifications).toBe(0)
        device.wish('all')
        queue.add(small, [], 'b')
        queue.publish()
        expect(counts.notifications).toBe(1)
      }
    })

    it('come when the entry that the device waits for is among the new ones, over all wraps', () => {
      // Of chains of one descriptor: then entries and descriptors are the same.
      for (const size of format === 'packed' ? [4, 5, 7] : [4]) {
        const { queue, device, counts, violations } = make({ size, eventIndex: true })
        const wrong: string[] = []
        // In batches of changing length; in a split ring two rounds of the index and a bit.
        let index = 0
        for (let step = 0; index < (format === 'split' ? 0x2_0010 : 5000); step++) {
          const count = 1 + (step % size)
          const ahead = ((step * 7) % (2 * size)) - (format === 'split' ? 3 : 0)
          device.wish({ ahead })
          const before = counts.notifications
          for (let i = 0; i < count; i++) queue.add(small, [], i + 1)
          queue.publish()
          const isDue = ahead >= 0 && ahead < count
          if (counts.notifications - before !== (isDue ? 1 : 0)) wrong.push(`${index}+${count}, event ${ahead}`)
          for (const { id } of device.take()) device.use(id)
          for (let i = 0; i < count; i++) if (queue.completed() !== i + 1) wrong.push(`token at ${index}`)
          index += count
        }
        expect([wrong, violations]).toEqual([[], []])
      }
    })
  })

  describe(`notifications from the device of a ${format} queue`, () => {
    it('are turned off and on', () => {
      const { queue, device } = make()
      queue.add(small, [], 'a')
      queue.publish()
      device.take()
      expect(device.driverWish).toBe('all')
      queue.disableNotifications()
      expect(device.driverWish).toBe('none')
      expect([queue.enableNotifications(), device.driverWish]).toEqual([false, 'all'])
      queue.disableNotifications()
      device.use(device.ids[0]!)
      expect(queue.enableNotifications()).toBe(true)
      expect([queue.completed(), queue.enableNotifications()]).toEqual(['a', false])
    })

    it('are asked for by the place of the next used buffer', () => {
      const { queue, device } = make({ eventIndex: true })
      for (const token of ['a', 'b', 'c']) queue.add(small, small, token)
      queue.publish()
      const [a, b, c] = device.take().map(({ id }) => id)
      expect([queue.completed(), device.driverWish]).toEqual([undefined, { ahead: 0 }])
      device.use(a!)
      device.use(b!)
      expect([queue.completed(), queue.completed(), queue.completed()]).toEqual(['a', 'b', undefined])
      expect(device.driverWish).toEqual({ ahead: 0 })
      queue.disableNotifications()
      expect(device.driverWish).toBe('none')
      device.use(c!)
      expect([queue.completed(), queue.completed()]).toEqual(['c', undefined])
      expect(device.driverWish).toBe('none')
      expect([queue.enableNotifications(), device.driverWish]).toEqual([false, { ahead: 0 }])
    })

    it('are not missed for what is used while the driver asks for them', () => {
      // The device uses a buffer at the very moment at which the driver stores its wish: the second look finds it.
      const { queue, device, memory } = make({ eventIndex: true })
      queue.add(small, [], 'a')
      queue.publish()
      device.take()
      queue.disableNotifications()
      queue.enableNotifications()
      queue.add(small, [], 'b')
      queue.publish()
      device.take()
      device.use(device.ids[0]!)
      expect(queue.completed()).toBe('a')
      const store = Atomics.store
      let stores = 0
      Atomics.store = ((array: Uint32Array, at: number, value: number) => {
        const result = store(array, at, value)
        if (array.buffer === memory.regions[0]!.u8.buffer && stores++ === 0) device.use(device.ids[1]!)
        return result
      }) as typeof Atomics.store
      try {
        expect([queue.completed(), stores]).toEqual(['b', 1])
      } finally {
        Atomics.store = store
      }
    })
  })

  describe(`buffers used in order in a ${format} queue`, () => {
    it('come back one by one, each with its own length', () => {
      const { queue, device } = make({ inOrder: true })
      for (const token of ['a', 'b', 'c']) queue.add(small, [piece(0x1_9000, 50)], token)
      queue.publish()
      for (const [i, { id }] of device.take().entries()) device.use(id, i + 1)
      for (const [i, token] of ['a', 'b', 'c'].entries()) expect([queue.completed(), queue.written]).toEqual([token, i + 1])
      expect([queue.completed(), queue.free]).toEqual([undefined, 8])
    })

    it('come back in batches, of which only the last one has a length and the others are full', () => {
      const { queue, device, violations } = make({ inOrder: true, size: 6, powerOf2: 8 })
      for (let round = 0; round < 50; round++) {
        for (let i = 0; i < 4; i++) queue.add([], [piece(0x1_8000, 10 + i)], `${round}.${i}`)
        queue.publish()
        const [a, b, c, d] = device.take().map(({ id }) => id) as [number, number, number, number]
        device.use(c, 5, [a, b])
        expect(queue.enableNotifications()).toBe(true)
        expect([queue.completed(), queue.written]).toEqual([`${round}.0`, 10])
        expect(queue.enableNotifications()).toBe(true)
        expect([queue.completed(), queue.written, queue.completed(), queue.written]).toEqual([`${round}.1`, 11, `${round}.2`, 5])
        expect([queue.completed(), queue.enableNotifications()]).toEqual([undefined, false])
        device.use(d, 13)
        expect([queue.completed(), queue.written, queue.completed()]).toEqual([`${round}.3`, 13, undefined])
      }
      expect([queue.free, violations]).toEqual([queue.size, []])
    })

    it('may be whole batches of chains, seen all at once', () => {
      const { queue, device } = make({ inOrder: true, size: 12, powerOf2: 16 })
      for (let round = 0; round < 30; round++) {
        for (let i = 1; i <= 4; i++) queue.add(Array(i % 3).fill(small[0]!), small, i)
        queue.publish()
        const ids = device.take().map(({ id }) => id)
        device.use(ids[1]!, 4, [ids[0]!])
        device.use(ids[3]!, 4, [ids[2]!])
        expect([1, 2, 3, 4].map(() => queue.completed())).toEqual([1, 2, 3, 4])
        expect([queue.completed(), queue.free]).toEqual([undefined, queue.size])
      }
    })

    it('are shown as seen before they are given', () => {
      const { queue, device } = make({ inOrder: true, size: 5, powerOf2: 8 })
      for (let round = 0; round < 20; round++) {
        for (const token of ['a', 'b']) queue.add(small, small, token)
        queue.publish()
        const end = queue.published
        const [a, b] = device.take().map(({ id }) => id)
        device.use(b!, 0, [a!])
        expect(queue.completed()).toBe('a')
        expect(queue.inspect()).toMatchObject({ inFlight: [b], usedPublished: end })
        expect(queue.completed()).toBe('b')
        expect(queue.inspect()).toMatchObject({ inFlight: [], used: end, usedPublished: end })
      }
    })

    it('are a violation where the batch holds more than was used, or is not out', () => {
      const { queue, device, violations } = make({ inOrder: true })
      for (const token of ['a', 'b', 'c']) queue.add([], small, token)
      queue.publish()
      const ids = device.take().map(({ id }) => id)
      // A packed ring has nothing that tells how far the batch goes but its id.
      device.use(format === 'split' ? ids[2]! : 7, 4, format === 'split' ? [ids[0]!] : [])
      expect(queue.completed()).toBeUndefined()
      expect(violations).toMatchObject([{ kind: 'used-id', queue: 3 }])
    })

    it('are a violation where the last one is longer than its buffer, and none of the batch comes back', () => {
      const { queue, device, violations } = make({ inOrder: true })
      for (const token of ['a', 'b']) queue.add([], small, token)
      queue.publish()
      const [a, b] = device.take().map(({ id }) => id)
      device.use(b!, 5, [a!])
      expect(queue.completed()).toBeUndefined()
      expect(violations).toMatchObject([{ kind: 'used-length', head: b }])
      expect([queue.detach(), queue.detach()].sort()).toEqual(['a', 'b'])
    })
  })

  describe(`any history of a ${format} queue`, () => {
    it('loses no buffer, invents none, and never breaks with an honest device, with any features and from any saved state', () => {
      const command = fc.oneof(
        fc.record({ kind: fc.constant('add' as const), readable: fc.integer({ min: 0, max: 4 }), writable: fc.integer({ min: 0, max: 4 }) }),
        fc.record({ kind: fc.constant('use' as const), which: fc.nat(), length: fc.nat() }),
        fc.record({ kind: fc.constant('wish' as const), ahead: fc.integer({ min: -1, max: 20 }) }),
        fc.constant({ kind: 'publish' as const }),
        fc.constant({ kind: 'complete' as const }),
        fc.constant({ kind: 'rewind' as const }),
        fc.constant({ kind: 'restore' as const }),
      )
      const features = fc.record({ eventIndex: fc.boolean(), indirect: fc.boolean(), inOrder: fc.boolean() })
      const size = format === 'split' ? fc.constantFrom(1, 2, 8, 16) : fc.constantFrom(1, 3, 7, 8, 11)
      fc.assert(
        fc.property(fc.array(command, { maxLength: 200 }), features, size, (commands, features, size) => {
          const made = make({ size, tables: 0x300, ...features })
          const { device, violations, counts } = made
          let { queue } = made
          let nextToken = 1
          const added: { token: number; pieces: number; room: number }[] = []
          const atDevice: { token: number; id: number; room: number }[] = []
          const used: { token: number; length: number }[] = []
          const take = () => {
            for (const { id, pieces } of device.take()) {
              const expected = added.shift()!
              expect(pieces).toHaveLength(expected.pieces)
              atDevice.push({ ...expected, id })
            }
          }
          for (const step of commands) {
            if (step.kind === 'add' && step.readable + step.writable > 0 && step.readable + step.writable <= size) {
              const readable = Array.from({ length: step.readable }, (_, i) => piece(0x1_8000 + 64 * i, 1 + i))
              const writable = Array.from({ length: step.writable }, (_, i) => piece(0x1_c000 + 64 * i, 10))
              if (queue.add(readable, writable, nextToken))
                added.push({ token: nextToken++, pieces: readable.length + writable.length, room: 10 * writable.length })
            } else if (step.kind === 'publish') {
              queue.publish()
              take()
            } else if (step.kind === 'wish') {
              device.wish(step.ahead < 0 ? (features.eventIndex ? 'all' : 'none') : features.eventIndex ? { ahead: step.ahead } : 'all')
            } else if (step.kind === 'rewind') {
              queue.append(0x1_8000, 1, false)
              queue.rewind()
            } else if (step.kind === 'use' && atDevice.length > 0) {
              const from = features.inOrder ? 0 : step.which % atDevice.length
              const batch = atDevice.splice(from, features.inOrder ? 1 + (step.which % atDevice.length) : 1)
              const last = batch.pop()!
              const length = step.length % (last.room + 1)
              device.use(
                last.id,
                length,
                batch.map(({ id }) => id),
              )
              used.push(...batch.map(({ token, room }) => ({ token, length: room })), { token: last.token, length })
            } else if (step.kind === 'complete') {
              const expected = used.shift()
              expect(queue.completed()).toBe(expected?.token)
              if (expected !== undefined) expect(queue.written).toBe(expected.length)
            } else if (step.kind === 'restore') {
              const state = JSON.parse(JSON.stringify(queue.save()))
              take()
              queue = made.again(
                state,
                [...used, ...atDevice].map(({ token }) => token).sort((a, b) => a - b),
              )
            }
            expect(queue.out).toBe(added.length + atDevice.length + used.length)
          }
          expect([violations, counts.notifications >= 0]).toEqual([[], true])
          const rest = [...added, ...atDevice, ...used].map(({ token }) => token)
          const detached = []
          for (let token = queue.detach(); token !== undefined; token = queue.detach()) detached.push(token as number)
          expect(detached.sort((a, b) => a - b)).toEqual(rest.sort((a, b) => a - b))
          expect([queue.free, queue.out]).toEqual([size, 0])
        }),
        { numRuns: 300 },
      )
    })

    it('ends, within bounds, with a device that writes noise into all that the driver reads', () => {
      const round = fc.record({ index: fc.nat(0xffff), noise: fc.uint8Array({ minLength: 70, maxLength: 70 }) })
      const features = fc.record({ eventIndex: fc.boolean(), inOrder: fc.boolean(), indirect: fc.boolean() })
      fc.assert(
        fc.property(fc.array(round, { maxLength: 20 }), features, (rounds, features) => {
          const { queue, device, violations } = make(features)
          for (const { index, noise } of rounds) {
            while (queue.add(small, small, 1));
            queue.publish()
            device.noise(noise)
            if ('usedIndex' in device) device.usedIndex = index
            let taken = 0
            while (queue.completed() !== undefined) {
              expect(queue.written).toBeLessThanOrEqual(4)
              expect(++taken).toBeLessThanOrEqual(8)
            }
          }
          expect(violations.length).toBe(queue.broken === undefined ? 0 : 1)
        }),
        { numRuns: 300 },
      )
    })
  })
}
