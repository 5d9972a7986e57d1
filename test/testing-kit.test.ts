/** The rest of `virtgen/testing`: memory, recorder, interleaving, whole devices. */

import { VirtioBlkReqHeader } from 'virtgen/parts/blk'
import { type Outcome, PARKED } from 'virtgen/runtime'
import { BlkDevice, type BlkReadRequest, type BlkWriteRequest } from 'virtgen/skeleton/blk'
import {
  chain,
  differences,
  forgedChains,
  interleave,
  Recorder,
  RuleBroken,
  randomNumbers,
  schedules,
  TestMemory,
  testDevice,
  testQueue,
} from 'virtgen/testing'
import { VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_RO, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK, VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_IN } from 'virtgen/wire/blk'
import { describe, expect, it } from 'vitest'

describe('test memory', () => {
  it('knows what the test wrote and what somebody else did', () => {
    const memory = new TestMemory()
    memory.poke(100, Uint8Array.of(1, 2, 3))
    memory.poke16(200, 0x1234)
    memory.poke32(203, 0x12345678)
    expect(memory.changes()).toEqual([])
    memory.write(101, Uint8Array.of(9))
    memory.write(0x3_fffe, Uint8Array.of(1, 2, 3, 4))
    memory.resolve(0x1_0000_0000, 1)![0] = 7
    expect(memory.changes()).toEqual([
      { address: 101, length: 1 },
      { address: 0x3_fffe, length: 2 },
      { address: 0x4_0000, length: 2 },
      { address: 0x1_0000_0000, length: 1 },
    ])
    expect([...memory.peek(100, 3), memory.peek16(200), memory.peek32(203)]).toEqual([1, 9, 3, 0x1234, 0x12345678])
    memory.settle()
    expect(memory.changes()).toEqual([])
    expect(() => memory.poke(0x8_0000, Uint8Array.of(1))).toThrow(RangeError)
    expect(() => memory.poke16(0x7_ffff, 1)).toThrow(RangeError)
    expect(() => memory.peek32(2 ** 40)).toThrow(RangeError)
  })

  it('tells onWrite nothing of what the test writes', () => {
    const heard: number[] = []
    const memory = new TestMemory({ onWrite: (address) => heard.push(address) })
    memory.poke(8, Uint8Array.of(1))
    memory.poke16(8, 1)
    memory.write(16, Uint8Array.of(1))
    expect(heard).toEqual([16])
  })

  it('finds a byte that was written outside of the regions, on all sides', () => {
    const memory = new TestMemory({
      regions: [
        { guestAddress: 0, size: 100 },
        { guestAddress: 104, size: 8 },
      ],
      guard: 16,
    })
    const bytes = new Uint8Array(memory.buffer)
    const inside = memory.regions.flatMap(({ u8 }) => Array.from({ length: u8.length }, (_, i) => u8.byteOffset + i))
    for (let at = 0; at < bytes.length; at++) {
      const before = bytes[at]!
      bytes[at] = before ^ 1
      if (inside.includes(at)) memory.checkGuards()
      else expect(() => memory.checkGuards()).toThrow(`byte ${at} `)
      bytes[at] = before
    }
    expect(bytes.length - inside.length).toBe(16 + 16 + 4 + 16)
  })

  it('gives places that lie apart, and takes them back', () => {
    const memory = new TestMemory({
      regions: [
        { guestAddress: 0, size: 256 },
        { guestAddress: 256, size: 256 },
      ],
    })
    const places = [memory.allocate(10), memory.allocate(1), memory.allocate(64, 64)]
    expect(places.every((place) => place >= 16)).toBe(true)
    expect(places[1]! - places[0]!).toBeGreaterThanOrEqual(26)
    expect(places[2]! % 64).toBe(0)
    expect(() => memory.allocate(300)).toThrow('no place for 300 bytes')
    for (const place of places) memory.release(place)
    expect(() => memory.release(places[0]!)).toThrow(RangeError)
    for (let round = 0; round < 100; round++) for (const place of [memory.allocate(100), memory.allocate(150)]) memory.release(place)
    // No place crosses from one region into the other one.
    const long = [memory.allocate(200), memory.allocate(200)]
    expect(long.map((place) => memory.indexOf(place, 200))).toEqual([0, 1])
  })

  it('may lie in bytes of your own, or in shared ones', () => {
    const own = new Uint8Array(64).fill(3)
    const memory = new TestMemory({
      regions: [
        { guestAddress: 0, size: 64, source: own },
        { guestAddress: 64, size: 64 },
      ],
      shared: true,
    })
    expect(memory.changes()).toEqual([])
    own[5] = 1
    expect([memory.changes(), memory.buffer instanceof SharedArrayBuffer]).toEqual([[{ address: 5, length: 1 }], true])
    expect(() => new TestMemory({ guard: 4 })).toThrow(RangeError)
  })

  it('finds every difference', () => {
    const random = randomNumbers(3)
    for (let round = 0; round < 50; round++) {
      const before = Uint8Array.from({ length: 9000 }, () => random() * 256)
      const after = before.slice()
      for (let i = 0; i < 20; i++) after[Math.floor(random() * 9000)]! ^= 1
      const found = differences(before, after, 50).flatMap(({ address, length }) => Array.from({ length }, (_, i) => address - 50 + i))
      expect(found).toEqual([...before.keys()].filter((at) => before[at] !== after[at]))
    }
  })
})

describe('the recorder', () => {
  it('writes down what it hears, in order', () => {
    const { driver, queue, recorder, memory } = testQueue()
    driver.offer(chain().writable(4))
    queue.next()!.complete(0)
    recorder.fail({ kind: 'chain-length', queue: 0, detail: '' })
    expect(recorder.events.map(({ event }) => event)).toEqual(['write', 'write', 'notify', 'violation'])
    expect([recorder.takeNotifications(), recorder.notifications]).toEqual([1, 0])
    recorder.expectWritesCoverChanges(memory)
    recorder.clear()
    expect([recorder.events, recorder.writes, recorder.violations]).toEqual([[], [], []])
    expect(() => recorder.expectWritesCoverChanges(memory)).toThrow('onWrite did not hear')
  })

  it('finds the byte of which nobody was told', () => {
    const recorder = new Recorder()
    const before = new Uint8Array(16)
    const after = before.slice().fill(1, 4, 12)
    recorder.wrote(108, 4)
    expect(() => recorder.expectWritesCover(before, after, 100)).toThrow('0x68 ')
    recorder.wrote(102, 3)
    expect(() => recorder.expectWritesCover(before, after, 100)).toThrow('0x69 ')
    recorder.wrote(103, 5)
    recorder.expectWritesCover(before, after, 100)
  })

  it('leaves who listened before in place', () => {
    const heard: number[] = []
    const memory = new TestMemory({ onWrite: (address) => heard.push(address) })
    const recorder = new Recorder()
    recorder.watch(memory)
    memory.write(8, Uint8Array.of(1))
    expect([heard, recorder.writes]).toEqual([[8], [{ address: 8, length: 1 }]])
  })
})

describe('interleaving', () => {
  const counting = (log: string[], name: string, count: number) =>
    function* () {
      for (let i = 0; i < count; i++) {
        log.push(`${name}${i}`)
        yield
      }
    }

  it('goes the same way for a seed, another one for another, and again by its schedule', () => {
    const run = (options: Parameters<typeof interleave>[1]) => {
      const log: string[] = []
      const result = interleave({ a: counting(log, 'a', 5), b: counting(log, 'b', 5) }, options)
      return { log: log.join(' '), ...result }
    }
    const orders = new Set(Array.from({ length: 20 }, (_, seed) => run({ seed }).log))
    expect(orders.size).toBeGreaterThan(10)
    expect(run({ seed: 5 })).toEqual(run({ seed: 5 }))
    const { schedule, log } = run({ seed: 9 })
    expect(run({ schedule }).log).toBe(log)
    const unseeded = run({})
    expect(run({ seed: unseeded.seed }).log).toBe(unseeded.log)
  })

  it('takes functions as steps', () => {
    const log: string[] = []
    interleave({ a: [() => log.push('a0'), () => log.push('a1')], b: [() => log.push('b0')] }, { schedule: ['a', 'b', 'a'] })
    expect(log).toEqual(['a0', 'b0', 'a1'])
  })

  it('can take every order there is', () => {
    const orders = [...schedules({ a: 3, b: 2 })].map((schedule) => {
      const log: string[] = []
      const step = (name: string) => () => log.push(name)
      interleave({ a: [step('a'), step('a'), step('a')], b: [step('b'), step('b')] }, { schedule })
      return log.join('')
    })
    expect([orders.length, new Set(orders).size]).toEqual([10, 10])
  })

  it('tells how to see a failure again, and finds who waits for ever', () => {
    const failing = {
      a: [() => {}],
      b: [
        () => {},
        () => {
          throw new Error('broken')
        },
      ],
    }
    expect(() => interleave(failing, { seed: 1 })).toThrow(/^b: broken\n {2}again: interleave\(sides, \{ seed: 1 \}\), or the schedule [ab] [ab]/)
    const waiting = function* () {
      for (;;) yield
    }
    expect(() => interleave({ a: [() => {}], b: waiting }, { steps: 50 })).toThrow('b came to no end in 50 steps')
  })

  it.each([false, true])('of a driver and a device queue loses no notification (packed: %s)', (packed) => {
    for (let seed = 0; seed < 50; seed++) {
      const { driver, queue, recorder } = testQueue({ packed, eventIndex: true, size: 4 })
      let notified = true
      let done = 0
      const send = driver.publish.bind(driver)
      driver.publish = () => {
        send()
        if (driver.deviceWantsNotification) notified = true
      }
      interleave(
        {
          *driver() {
            for (let sent = 0; sent < 30; ) {
              if (driver.free > 0) {
                driver.offer(chain().writable(1))
                sent++
              } else driver.drain()
              yield
            }
          },
          *device() {
            while (done < 30) {
              while (!notified) yield
              notified = false
              for (let taken = queue.next(); taken !== undefined; taken = queue.next()) {
                yield
                taken.complete(0)
                done++
              }
            }
          },
        },
        { seed },
      )
      expect(recorder.violations).toEqual([])
    }
  })
})

class Disk extends BlkDevice {
  parked: BlkReadRequest[] = []
  parks = false
  protected override read(request: BlkReadRequest): Outcome {
    if (this.parks) {
      this.parked.push(request)
      return PARKED
    }
    request.writable.fill(request.header.sector)
  }
  protected override write(_request: BlkWriteRequest): Outcome {}
  protected override flush(): Outcome {
    throw new Error('the disk is on fire')
  }
  protected override getId(): Outcome {}
}

describe.each([{ packed: false }, { packed: true }])('a device under test (packed: $packed)', (format) => {
  const read = (sector: number) =>
    chain()
      .readable(VirtioBlkReqHeader.encode({ type: VIRTIO_BLK_T_IN, sector }))
      .writable(512)
      .writable(1)
  const make = (options: Parameters<typeof testDevice>[1] = {}) =>
    testDevice(new Disk({ config: { capacity: 100 }, features: [VIRTIO_BLK_F_FLUSH] }), { ...format, ...options })

  it('answers, also later and in any order', async () => {
    const disk = make()
    const { bytes, written } = await disk.request(read(7))
    expect([written, bytes[0], bytes[511], bytes[512]]).toEqual([513, 7, 7, VIRTIO_BLK_S_OK])
    disk.device.parks = true
    const answers = [disk.request(read(1)), disk.request(read(2))]
    expect(disk.device.parked.map(({ header }) => header.sector)).toEqual([1, 2])
    disk.device.parked[1]!.writable.fill(2)
    disk.device.parked[1]!.complete()
    expect((await answers[1])!.bytes[0]).toBe(2)
    disk.device.parked[0]!.complete(VIRTIO_BLK_S_IOERR)
    expect((await answers[0])!.writable[512]).toBe(VIRTIO_BLK_S_IOERR)
    expect(disk.recorder.takeNotifications()).toBe(3)
    disk.recorder.expectWritesCoverChanges(disk.memory)
    disk.memory.checkGuards()
  })

  it('has the features that the driver accepts', async () => {
    const flush = chain()
      .readable(VirtioBlkReqHeader.encode({ type: VIRTIO_BLK_T_FLUSH }))
      .writable(1)
    const [all, none] = [make(), make({ features: [] })]
    expect([(await all.request(flush)).bytes[0], all.control.features.has(VIRTIO_BLK_F_FLUSH)]).toEqual([VIRTIO_BLK_S_IOERR, true])
    expect(none.control.features.has(VIRTIO_BLK_F_FLUSH)).toBe(false)
    expect(() => make({ features: [VIRTIO_BLK_F_RO] })).toThrow(RangeError)
  })

  it('has queues as long as both sides allow', async () => {
    const disk = testDevice(new Disk({ config: { capacity: 100 }, queueSize: 12 }), format)
    expect(disk.driver().size).toBe(format.packed ? 12 : 8)
    expect((await disk.request(read(7))).written).toBe(513)
    expect(() => disk.driver(1)).toThrow('no queue 1')
  })

  it('lets no one wait for what does not come: after a violation, and after a reset', async () => {
    const disk = make()
    disk.device.parks = true
    const waiting = disk.request(read(1))
    const wrong = disk.request(chain().writable(1).readable(1))
    await expect(wrong).rejects.toThrow('descriptor-order')
    await expect(waiting).rejects.toThrow('descriptor-order')
    expect([disk.needsReset, disk.recorder.violations.length, disk.recorder.configChanges]).toEqual([true, 1, 1])
    await expect(disk.request(read(1))).rejects.toThrow('needs a reset')
    await disk.reset()
    disk.start()
    const cancelled = disk.request(read(1))
    await disk.reset()
    await expect(cancelled).rejects.toThrow('reset')
    await expect(disk.request(read(1))).rejects.toThrow('start it again')
    disk.start()
    disk.device.parks = false
    expect((await disk.request(read(3))).bytes[0]).toBe(3)
  })

  it('is found out when it breaks a rule', async () => {
    class Liar extends Disk {
      override queueNotified(index: number): void {
        const queue = this.host!.queue(index)!
        const taken = queue.next()
        if (taken === undefined) return
        queue.cork()
        taken.complete(0)
        // Behind the back of the queue it writes another id into the used entry.
        const { descriptorArea, deviceArea } = disk.driver().setup
        disk.memory.write(format.packed ? descriptorArea + 12 : deviceArea + 4, Uint8Array.of(15))
        queue.uncork()
      }
    }
    const disk = testDevice(new Liar(), format)
    await expect(disk.request(read(1))).rejects.toThrow(RuleBroken)
    expect(disk.recorder.errors).toHaveLength(1)
  })

  it('needs a reset after whatever forged chain', () => {
    const tally = new Set<string>()
    for (const { title, forge, needs, violation, before } of forgedChains) {
      const kind = violation[format.packed ? 'packed' : 'split']
      if (kind === undefined || before !== undefined) continue
      const disk = make({ size: 8, ...needs })
      forge(disk.driver())
      expect([title, disk.recorder.violations.map((found) => found.kind), disk.needsReset]).toEqual([title, [kind], true])
      disk.memory.checkGuards()
      tally.add(kind)
    }
    expect(tally.size).toBeGreaterThan(8)
  })
})
