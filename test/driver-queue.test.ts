/** The driver side of a split virtqueue, against a device that is driven by hand and lies where it can. */
import fc from 'fast-check'
import {
  VIRTQ_AVAIL_F_NO_INTERRUPT,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_USED_F_NO_NOTIFY,
  VirtqAvail,
  VirtqDesc,
  VirtqUsed,
  VirtqUsedElem,
} from 'virtgen/wire/split-ring'
import { describe, expect, it } from 'vitest'
import { DriverMemory } from '../runtime/driver/memory.ts'
import { GuestMemory } from '../runtime/memory.ts'
import type { DeviceAddress } from '../runtime/queue.ts'
import { SplitDriverQueue } from '../runtime/split/driver-queue.ts'
import type { Violation } from '../runtime/violation.ts'

interface Setting {
  size?: number
  eventIndex?: boolean
  indirect?: boolean
  tables?: number
  memory?: GuestMemory
}

/** A queue, and the device's hands on its rings: through a DataView, as far from the code under test as possible. */
function make({ size = 8, eventIndex = false, indirect = false, tables = 0x2000, memory = GuestMemory.of(new Uint8Array(0x2_0000)) }: Setting = {}) {
  const setup = { index: 3, size, descriptorArea: 0x1000, driverArea: 0x6000, deviceArea: 0x8000 }
  const violations: Violation[] = []
  let notifications = 0
  const queue = new SplitDriverQueue<string | number>(memory, setup, {
    eventIndex,
    indirect,
    notify: () => {
      notifications++
    },
    fail: (violation) => violations.push(violation),
    ...(indirect ? { indirectTables: new DriverMemory(memory, 0x1_0000, tables) } : {}),
  })
  const view = () => {
    memory.refresh()
    return memory.regions[0]!.view
  }
  let usedIndex = 0
  const device = {
    violations,
    get notifications() {
      return notifications
    },
    get availIndex() {
      return view().getUint16(setup.driverArea + VirtqAvail.offsetOf.idx, true)
    },
    get availFlags() {
      return view().getUint16(setup.driverArea + VirtqAvail.offsetOf.flags, true)
    },
    get usedEvent() {
      return view().getUint16(setup.driverArea + VirtqAvail.offsetOf.ring + 2 * size, true)
    },
    availEntry: (index: number) => view().getUint16(setup.driverArea + VirtqAvail.offsetOf.ring + 2 * ((index & 0xffff) % size), true),
    descriptor: (index: number, table = setup.descriptorArea) => new VirtqDesc().at(view(), table + index * VirtqDesc.size).$get(),
    /** The descriptors of the chain that begins at `head`. */
    chain(head: number) {
      const found = []
      let table = setup.descriptorArea
      for (let at = head; ; ) {
        const descriptor = device.descriptor(at, table)
        if ((descriptor.flags & VIRTQ_DESC_F_INDIRECT) !== 0) {
          table = descriptor.addr
          at = 0
          continue
        }
        found.push(descriptor)
        if ((descriptor.flags & VIRTQ_DESC_F_NEXT) === 0) return found
        at = descriptor.next
      }
    },
    set availEvent(value: number) {
      view().setUint16(setup.deviceArea + VirtqUsed.offsetOf.ring + VirtqUsedElem.size * size, value, true)
    },
    set usedFlags(value: number) {
      view().setUint16(setup.deviceArea + VirtqUsed.offsetOf.flags, value, true)
    },
    set usedIndex(value: number) {
      usedIndex = value & 0xffff
      view().setUint16(setup.deviceArea + VirtqUsed.offsetOf.idx, usedIndex, true)
    },
    element(index: number, id: number, length: number) {
      const at = setup.deviceArea + VirtqUsed.offsetOf.ring + VirtqUsedElem.size * (index % size)
      view().setUint32(at + VirtqUsedElem.offsetOf.id, id, true)
      view().setUint32(at + VirtqUsedElem.offsetOf.len, length, true)
    },
    use(id: number, length = 0) {
      device.element(usedIndex, id, length)
      device.usedIndex = usedIndex + 1
    },
  }
  return { queue, device, memory, setup }
}

const piece = (address: number, length: number): DeviceAddress => ({ address, length })
const small = [piece(0x1_8000, 4)]

describe('a driver queue', () => {
  it('writes the chain as the text says: readable before writable, linked by next, the head in the ring', () => {
    const { queue, device } = make()
    expect(queue.add([piece(0x1_8000, 16), piece(0x12_3456_789a, 0xffff_0000)], [piece(0x1_9000, 512), piece(0x1_a000, 1)], 'a')).toBe(true)
    expect(queue.free).toBe(4)
    const head = device.availEntry(0)
    expect(device.chain(head).map(({ addr, len, flags }) => [addr, len, flags])).toEqual([
      [0x1_8000, 16, VIRTQ_DESC_F_NEXT],
      [0x12_3456_789a, 0xffff_0000, VIRTQ_DESC_F_NEXT],
      [0x1_9000, 512, VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE],
      [0x1_a000, 1, VIRTQ_DESC_F_WRITE],
    ])
  })

  it('shows buffers to the device with publish, not before', () => {
    const { queue, device } = make()
    queue.add(small, [], 'a')
    queue.add(small, [], 'b')
    expect([device.availIndex, device.notifications]).toEqual([0, 0])
    queue.publish()
    expect([device.availIndex, device.notifications]).toEqual([2, 1])
    queue.publish()
    expect(device.notifications).toBe(1)
  })

  it('gives tokens and lengths back in the order in which the device used the buffers', () => {
    const { queue, device } = make()
    for (const token of ['a', 'b', 'c']) queue.add([], [piece(0x1_8000, 100)], token)
    queue.publish()
    for (const [place, length] of [2, 0, 1].map((place, i) => [place, 10 * i])) device.use(device.availEntry(place!), length)
    const seen = []
    for (let token = queue.completed(); token !== undefined; token = queue.completed()) seen.push([token, queue.written])
    expect(seen).toEqual([
      ['c', 0],
      ['a', 10],
      ['b', 20],
    ])
    expect([queue.free, device.violations]).toEqual([8, []])
  })

  it('refuses a buffer for which there is no room, and takes it later', () => {
    const { queue, device } = make({ size: 4 })
    expect(queue.add([...small, ...small, ...small], [], 'a')).toBe(true)
    expect(queue.add([...small, ...small], [], 'b')).toBe(false)
    expect(queue.add(small, [], 'c')).toBe(true)
    expect(queue.add(small, [], 'd')).toBe(false)
    queue.publish()
    device.use(device.availEntry(0))
    expect(queue.completed()).toBe('a')
    expect(queue.add([...small, ...small], [], 'b')).toBe(true)
  })

  it('lets a buffer stay out while the indices go round', () => {
    const { queue, device } = make({ size: 2 })
    queue.add([], small, 'stays')
    queue.publish()
    const stays = device.availEntry(0)
    for (const round of [40_000, 25_536, 70_000]) {
      for (let i = 0; i < round; i++) {
        queue.add(small, [], i)
        queue.publish()
        device.use(device.availEntry(device.availIndex - 1))
        queue.completed()
      }
      device.use(stays, 4)
      expect([queue.completed(), queue.broken]).toEqual(['stays', undefined])
      queue.add([], small, 'stays')
      queue.publish()
    }
  })

  it('works with a single entry', () => {
    const { queue, device } = make({ size: 1 })
    for (let i = 0; i < 5; i++) {
      expect(queue.add(small, [], i)).toBe(true)
      expect(queue.add(small, [], i)).toBe(false)
      queue.publish()
      device.use(device.availEntry(i))
      expect(queue.completed()).toBe(i)
    }
  })

  it('refuses wrong calls', () => {
    const { queue } = make({ size: 4 })
    const many = Array.from({ length: 5 }, () => piece(0, 1))
    expect(() => queue.add([], [], 'a')).toThrow('a buffer in a queue of size 4 must have 1 to 4 pieces, not 0')
    expect(() => queue.add(many, [], 'a')).toThrow(RangeError)
    for (const wrong of [piece(0, 0), piece(0, -1), piece(0, 1.5), piece(0, 2 ** 32), piece(-1, 1), piece(2 ** 53 - 1, 1), piece(Number.NaN, 1)])
      expect(() => queue.add([wrong], [], 'a'), JSON.stringify(wrong)).toThrow(RangeError)
    expect(() => queue.add([piece(0, 0xffff_ffff)], [piece(0, 2)], 'a')).toThrow('a buffer must have at most 4294967296 bytes, not 4294967297')
    expect(queue.free).toBe(4)
  })

  it('refuses to be made in a wrong place', () => {
    const memory = GuestMemory.of(new Uint8Array(0x1000))
    const options = { eventIndex: false, indirect: false, notify() {}, fail() {} }
    const setup = { index: 0, size: 8, descriptorArea: 0, driverArea: 0x200, deviceArea: 0x400 }
    for (const wrong of [
      { size: 0 },
      { size: 3 },
      { size: 65536 },
      { descriptorArea: 8 },
      { driverArea: 0x201 },
      { deviceArea: 0x402 },
      { deviceArea: 0xff8 },
      { descriptorArea: 0x1000 },
    ])
      expect(() => new SplitDriverQueue(memory, { ...setup, ...wrong }, options), JSON.stringify(wrong)).toThrow(RangeError)
  })

  it('begins with clear rings, whatever lay there', () => {
    const memory = GuestMemory.of(new Uint8Array(0x2_0000).fill(0xff))
    const { queue, device } = make({ memory })
    expect(queue.completed()).toBeUndefined()
    queue.add(small, [], 'a')
    queue.publish()
    expect([device.availIndex, device.notifications, device.violations]).toEqual([1, 1, []])
  })

  it('gives everything back when it is detached, and takes nothing any more', () => {
    const { queue, device } = make()
    for (const token of ['a', 'b', 'c']) queue.add([...small, ...small], [], token)
    queue.publish()
    device.use(device.availEntry(1))
    expect(queue.completed()).toBe('b')
    expect([queue.detach(), queue.detach(), queue.detach()].sort()).toEqual(['a', 'c', undefined])
    expect([queue.free, queue.add(small, [], 'd'), queue.completed()]).toEqual([8, false, undefined])
  })

  it('keeps working when the memory gets another buffer', () => {
    const source = { buffer: new ArrayBuffer(0x2_0000) }
    const memory = new GuestMemory([{ guestAddress: 0, size: 0x2_0000, source }])
    const { queue, device } = make({ memory, indirect: true })
    queue.add(small, small, 'a')
    source.buffer = structuredClone(source.buffer, { transfer: [source.buffer] })
    queue.add(small, small, 'b')
    queue.publish()
    expect(device.availIndex).toBe(2)
    source.buffer = structuredClone(source.buffer, { transfer: [source.buffer] })
    device.use(device.availEntry(1), 1)
    expect(queue.completed()).toBe('b')
    expect(device.chain(device.availEntry(1))).toHaveLength(2)
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
    expect(device.chain(device.availEntry(1))).toHaveLength(2)
    device.use(device.availEntry(1))
    expect(queue.completed()).toBe('b')
  })

  it('works with shared memory', () => {
    const { queue, device } = make({
      memory: new GuestMemory([{ guestAddress: 0, size: 0x2_0000, source: { buffer: new SharedArrayBuffer(0x2_0000) } }]),
    })
    queue.add(small, [], 'a')
    queue.publish()
    device.use(device.availEntry(0))
    expect(queue.completed()).toBe('a')
  })
})

describe('a lying device', () => {
  const out = (setting: Setting = {}) => {
    const made = make(setting)
    made.queue.add([], [piece(0x1_8000, 100)], 'a')
    made.queue.add(small, [], 'b')
    made.queue.publish()
    return made
  }
  const expectBroken = ({ queue, device }: ReturnType<typeof make>, kind: string) => {
    expect(queue.completed()).toBeUndefined()
    expect(queue.broken).toMatchObject({ kind, queue: 3 })
    expect(queue.completed()).toBeUndefined()
    expect(queue.add(small, [], 'c')).toBe(false)
    queue.publish()
    expect(queue.enableNotifications()).toBe(false)
    expect(device.violations.map((violation) => violation.kind)).toEqual([kind])
  }

  it('uses more buffers than it has', () => {
    for (const index of [3, 9, 0x8000, 0xffff]) {
      const made = out()
      made.device.usedIndex = index
      expectBroken(made, 'used-index')
    }
  })

  it('moves its index back', () => {
    const made = out()
    made.device.use(made.device.availEntry(1))
    expect(made.queue.completed()).toBe('b')
    made.device.usedIndex = 0
    expectBroken(made, 'used-index')
  })

  it('uses a buffer that it was not yet told of', () => {
    const made = make()
    made.queue.add(small, [], 'a')
    made.device.use(made.device.availEntry(0))
    expectBroken(made, 'used-index')

    const second = out()
    second.queue.add(small, [], 'hidden')
    second.device.use(second.device.availEntry(2))
    expectBroken(second, 'used-id')
  })

  it('uses an id that no descriptor has', () => {
    for (const id of [8, 0xffff, 0x1_0000, 0xffff_ffff, 0x8000_0000]) {
      const made = out()
      made.device.use(id)
      expectBroken(made, 'used-id')
    }
  })

  it('uses a descriptor that begins no buffer, or a free one', () => {
    const made = make()
    made.queue.add([...small, ...small], [], 'a')
    made.queue.publish()
    made.device.use(made.device.descriptor(made.device.availEntry(0)).next)
    expectBroken(made, 'used-id')

    const second = out()
    second.device.use(7)
    expectBroken(second, 'used-id')
  })

  it('uses a buffer twice', () => {
    const made = out()
    const id = made.device.availEntry(1)
    made.device.use(id)
    made.device.use(id)
    expect(made.queue.completed()).toBe('b')
    expectBroken(made, 'used-id')
  })

  it('claims more bytes than the device-writable part has', () => {
    for (const length of [101, 0xffff_ffff]) {
      const made = out()
      made.device.use(made.device.availEntry(0), length)
      expectBroken(made, 'used-length')
      expect(made.queue.broken?.head).toBe(made.device.availEntry(0))
    }
    const readOnly = out()
    readOnly.device.use(readOnly.device.availEntry(1), 1)
    expectBroken(readOnly, 'used-length')
  })

  it('changes descriptors and the available ring, which nobody reads back', () => {
    const made = make()
    for (const token of ['a', 'b']) made.queue.add([...small, ...small], [piece(0x1_8000, 8)], token)
    made.queue.publish()
    const heads = [made.device.availEntry(0), made.device.availEntry(1)]
    const { u8 } = made.memory.regions[0]!
    u8.fill(0xff, made.setup.descriptorArea, made.setup.descriptorArea + 8 * 16)
    u8.fill(0xff, made.setup.driverArea, made.setup.driverArea + SplitDriverQueue.sizes(8).driverArea)
    for (const head of heads) made.device.use(head, 8)
    expect([made.queue.completed(), made.queue.completed(), made.queue.free]).toEqual(['a', 'b', 8])
    made.queue.add([...small, ...small, ...small], [], 'c')
    made.queue.publish()
    expect(made.device.chain(made.device.availEntry(2))).toHaveLength(3)
  })

  it('gets its buffers back by detach alone', () => {
    const made = out()
    made.device.usedIndex = 5
    expectBroken(made, 'used-index')
    expect([made.queue.detach(), made.queue.detach(), made.queue.detach()]).toEqual(['a', 'b', undefined])
  })
})

describe('indirect tables', () => {
  it('hold the pieces of a buffer that has more than one', () => {
    const { queue, device } = make({ size: 4, indirect: true })
    for (const token of ['a', 'b', 'c']) expect(queue.add([...small, ...small], [piece(0x1_9000, 8)], token)).toBe(true)
    expect(queue.add(small, [], 'd')).toBe(true)
    expect(queue.free).toBe(0)
    queue.publish()
    const head = device.descriptor(device.availEntry(0))
    expect([head.flags, head.len]).toEqual([VIRTQ_DESC_F_INDIRECT, 3 * VirtqDesc.size])
    expect(device.chain(device.availEntry(0)).map(({ len, flags, next }) => [len, flags, next])).toEqual([
      [4, VIRTQ_DESC_F_NEXT, 1],
      [4, VIRTQ_DESC_F_NEXT, 2],
      [8, VIRTQ_DESC_F_WRITE, 0],
    ])
    expect(device.descriptor(device.availEntry(3)).flags).toBe(0)
    device.use(device.availEntry(2), 8)
    expect([queue.completed(), queue.written, queue.free]).toEqual(['c', 8, 1])
  })

  it('are kept and used again', () => {
    const { queue, device } = make({ size: 1, indirect: true })
    expect(queue.add(small, [], 0)).toBe(true)
    const other = make({ size: 2, indirect: true })
    const places = new Set<number>()
    for (let i = 0; i < 20; i++) {
      other.queue.add(small, small, i)
      other.queue.publish()
      places.add(other.device.descriptor(other.device.availEntry(i)).addr)
      other.device.use(other.device.availEntry(i))
      expect(other.queue.completed()).toBe(i)
    }
    expect([places.size, device.violations]).toEqual([1, []])
  })

  it('give way to direct chains where memory is short', () => {
    const { queue, device } = make({ size: 4, indirect: true, tables: 64 })
    queue.add([...small, ...small], [], 'a')
    expect(queue.add([...small, ...small], [], 'b')).toBe(true)
    expect(queue.free).toBe(1)
    expect(queue.add([...small, ...small], [], 'c')).toBe(false)
    queue.publish()
    expect(device.chain(device.availEntry(1))).toHaveLength(2)
    expect(device.descriptor(device.availEntry(1)).flags).toBe(VIRTQ_DESC_F_NEXT)
  })

  it('grow where they must, and come back when the queue is closed', () => {
    const memory = GuestMemory.of(new Uint8Array(0x2_0000))
    const tables = new DriverMemory(memory, 0x1_0000, 0x1000)
    const setup = { index: 0, size: 32, descriptorArea: 0x1000, driverArea: 0x6000, deviceArea: 0x8000 }
    const queue = new SplitDriverQueue(memory, setup, { eventIndex: false, indirect: true, indirectTables: tables, notify() {}, fail() {} })
    queue.add(small, small, 'a')
    queue.publish()
    memory.write(0x8004, new Uint8Array(8))
    memory.write(0x8002, Uint8Array.of(1, 0))
    expect(queue.completed()).toBe('a')
    const many = Array.from({ length: 20 }, (_, i) => piece(i, 1))
    queue.add(many, [], 'b')
    expect(new VirtqDesc().at(memory.regions[0]!.view, 0x1000).len).toBe(20 * VirtqDesc.size)
    expect(tables.available).toBe(0x1000 - 32 * VirtqDesc.size)
    queue.close()
    expect(tables.available).toBe(0x1000)
  })
})

describe('notifications to the device', () => {
  it('are held back by the flag', () => {
    const { queue, device } = make()
    device.usedFlags = VIRTQ_USED_F_NO_NOTIFY
    queue.add(small, [], 'a')
    queue.publish()
    expect(device.notifications).toBe(0)
    device.usedFlags = 0
    queue.add(small, [], 'b')
    queue.publish()
    expect(device.notifications).toBe(1)
  })

  it('are sent when avail_event is one of the new entries, over all wraps of the index, and the flag is ignored then', () => {
    const size = 4
    const { queue, device } = make({ size, eventIndex: true })
    device.usedFlags = VIRTQ_USED_F_NO_NOTIFY
    let index = 0
    const wrong: string[] = []
    // Two rounds of the index and a bit, in batches of changing length.
    for (let step = 0; index < 0x2_0010; step++) {
      const count = 1 + (step % size)
      const distance = (step * 7) % 11
      device.availEvent = (index + distance - 3) & 0xffff
      const before = device.notifications
      for (let i = 0; i < count; i++) queue.add(small, [], i + 1)
      queue.publish()
      // By the text: notify if the index of one of the entries was equal to avail_event.
      const expected = distance - 3 >= 0 && distance - 3 < count
      if (device.notifications - before !== (expected ? 1 : 0)) wrong.push(`${index}+${count}, event ${distance - 3}`)
      for (let i = 0; i < count; i++) device.use(device.availEntry(index + i))
      for (let i = 0; i < count; i++) if (queue.completed() !== i + 1) wrong.push(`token at ${index}`)
      index += count
    }
    expect([wrong, device.violations, device.availIndex]).toEqual([[], [], index & 0xffff])
  })

  it('follow the text for every avail_event', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 0xffff }), fc.integer({ min: 1, max: 8 }), fc.integer({ min: 0, max: 40 }), (event, count, start) => {
        const { queue, device } = make({ eventIndex: true })
        for (let i = 0; i < start; i++) {
          queue.add(small, [], i)
          queue.publish()
          device.use(device.availEntry(i))
          queue.completed()
        }
        device.availEvent = event
        const before = device.notifications
        for (let i = 0; i < count; i++) queue.add(small, [], i)
        queue.publish()
        expect(device.notifications - before).toBe(event >= start && event < start + count ? 1 : 0)
      }),
    )
  })
})

describe('notifications from the device', () => {
  it('are turned off and on by the flag', () => {
    const { queue, device } = make()
    queue.add(small, [], 'a')
    queue.publish()
    queue.disableNotifications()
    expect(device.availFlags).toBe(VIRTQ_AVAIL_F_NO_INTERRUPT)
    expect(queue.enableNotifications()).toBe(false)
    expect(device.availFlags).toBe(0)
    queue.disableNotifications()
    device.use(device.availEntry(0))
    expect(queue.enableNotifications()).toBe(true)
    expect(queue.completed()).toBe('a')
  })

  it('are asked for by used_event, the flag stays 0', () => {
    const { queue, device } = make({ eventIndex: true })
    for (const token of ['a', 'b', 'c']) queue.add(small, [], token)
    queue.publish()
    expect(device.usedEvent).toBe(0)
    device.use(device.availEntry(0))
    device.use(device.availEntry(1))
    expect([queue.completed(), queue.completed(), queue.completed()]).toEqual(['a', 'b', undefined])
    expect(device.usedEvent).toBe(2)
    queue.disableNotifications()
    // Far away: the device has to use half of all indices before it notifies.
    expect([device.usedEvent, device.availFlags]).toEqual([2 + 0x8000, 0])
    device.use(device.availEntry(2))
    expect([queue.completed(), queue.completed()]).toEqual(['c', undefined])
    expect(device.usedEvent).toBe(2 + 0x8000)
    expect(queue.enableNotifications()).toBe(false)
    expect(device.usedEvent).toBe(3)
  })
})

describe('any history', () => {
  it('loses no buffer, invents none, and never breaks with an honest device', () => {
    const command = fc.oneof(
      fc.record({ kind: fc.constant('add' as const), readable: fc.integer({ min: 0, max: 4 }), writable: fc.integer({ min: 0, max: 4 }) }),
      fc.record({ kind: fc.constant('use' as const), which: fc.nat(), length: fc.nat() }),
      fc.constant({ kind: 'publish' as const }),
      fc.constant({ kind: 'complete' as const }),
    )
    fc.assert(
      fc.property(fc.array(command, { maxLength: 200 }), fc.boolean(), fc.boolean(), (commands, eventIndex, indirect) => {
        const { queue, device } = make({ size: 8, eventIndex, indirect, tables: 0x300 })
        let nextToken = 1
        let seen = 0
        const added: { token: number; pieces: number; room: number }[] = []
        const atDevice: { token: number; id: number; room: number }[] = []
        const used: { token: number; length: number }[] = []
        for (const step of commands) {
          if (step.kind === 'add' && step.readable + step.writable > 0) {
            const readable = Array.from({ length: step.readable }, (_, i) => piece(0x1_8000 + 64 * i, 1 + i))
            const writable = Array.from({ length: step.writable }, (_, i) => piece(0x1_c000 + 64 * i, 10))
            if (queue.add(readable, writable, nextToken))
              added.push({ token: nextToken++, pieces: readable.length + writable.length, room: 10 * writable.length })
          } else if (step.kind === 'publish') {
            queue.publish()
            for (; seen !== device.availIndex; seen++) {
              const { token, pieces, room } = added.shift()!
              const id = device.availEntry(seen)
              expect(device.chain(id)).toHaveLength(pieces)
              atDevice.push({ token, id, room })
            }
          } else if (step.kind === 'use' && atDevice.length > 0) {
            const [{ token, id, room }] = atDevice.splice(step.which % atDevice.length, 1) as [(typeof atDevice)[0]]
            const length = step.length % (room + 1)
            device.use(id, length)
            used.push({ token, length })
          } else if (step.kind === 'complete') {
            const expected = used.shift()
            expect(queue.completed()).toBe(expected?.token)
            if (expected !== undefined) expect(queue.written).toBe(expected.length)
          }
        }
        expect(device.violations).toEqual([])
        const rest = [...added, ...atDevice, ...used].map(({ token }) => token)
        const detached = []
        for (let token = queue.detach(); token !== undefined; token = queue.detach()) detached.push(token as number)
        expect(detached.sort((a, b) => a - b)).toEqual(rest.sort((a, b) => a - b))
        expect(queue.free).toBe(8)
      }),
    )
  })

  it('ends, within bounds, with a device that writes noise into its ring', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ index: fc.nat(0xffff), noise: fc.uint8Array({ minLength: 70, maxLength: 70 }) }), { maxLength: 20 }),
        (rounds) => {
          const { queue, device, memory, setup } = make({ eventIndex: true })
          for (const { index, noise } of rounds) {
            while (queue.add([], small, 1));
            queue.publish()
            memory.regions[0]!.u8.set(noise, setup.deviceArea)
            device.usedIndex = index
            let taken = 0
            while (queue.completed() !== undefined) {
              expect(queue.written).toBeLessThanOrEqual(4)
              expect(++taken).toBeLessThanOrEqual(8)
            }
          }
          expect(device.violations.length).toBe(queue.broken === undefined ? 0 : 1)
        },
      ),
    )
  })
})
