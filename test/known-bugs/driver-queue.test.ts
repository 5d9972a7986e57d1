/**
 * What went wrong in other implementations of virtio, and must not go wrong here: the driver side of a virtqueue, whose device may be hostile (virtio-drivers, kernels of
 * confidential guests). See device-queue.test.ts for the other side and for what is not here.
 */
import { createDriverQueue, type DriverQueue, negotiateQueueSize, queueLayout, type Violation } from 'virtgen/runtime'
import { type FakeDevice, type ForgedUse, fakeDevice, fakeDriver, forgedUses, Recorder, TestMemory } from 'virtgen/testing'
import { PvirtqEventSuppress } from 'virtgen/wire/packed-ring'
import { VIRTQ_DESC_F_NEXT } from 'virtgen/wire/split-ring'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { ringFormats } from '../support/ring-formats.ts'

afterEach(() => void vi.restoreAllMocks())

interface Sides {
  memory: TestMemory
  recorder: Recorder
  queue: DriverQueue<string>
  device: FakeDevice
  piece(length: number): { address: number; length: number }
}

describe.each(ringFormats)('a $format driver queue', ({ format, packed }) => {
  function make({ size = 8, ...features }: { size?: number; inOrder?: boolean; eventIndex?: boolean } = {}): Sides {
    const memory = new TestMemory()
    const recorder = new Recorder()
    const { setup } = fakeDriver(memory, { packed, size })
    const queue = createDriverQueue<string>(memory, setup, { packed, ...features, notify: recorder.notify, fail: recorder.fail })
    const device = fakeDevice(memory, setup, { packed, ...features })
    return { memory, recorder, queue, device, piece: (length) => ({ address: memory.allocate(length), length }) }
  }

  /** The lie is found as what it is, once; the buffers that were out all come back by `detach`. */
  function expectFound({ forge, needs, before = 0, violation }: ForgedUse): void {
    const { queue, device, recorder, piece } = make(needs)
    queue.add([piece(1)], [piece(8)], 'a')
    queue.add([piece(1)], [], 'b')
    queue.publish()
    forge(device)
    const good = Array.from({ length: before }, () => queue.completed())
    expect([queue.completed(), queue.completed()]).toEqual([undefined, undefined])
    expect(recorder.violations).toMatchObject([{ kind: violation[format], queue: 0 } satisfies Partial<Violation>])
    const back = [queue.detach(), queue.detach(), queue.detach()].filter((token) => token !== undefined)
    expect([...good, ...back].toSorted()).toEqual(['a', 'b'])
  }
  const liesOf = (kind: string) => forgedUses.filter(({ violation }) => violation[format] === kind).map((lie) => [lie.title, lie] as const)

  describe('the used index jumps, or a descriptor is used that is not out: RT-Thread#11327, svsm#1072', () => {
    it.each(liesOf('used-index'))('%s', (_, lie) => expectFound(lie))
  })

  describe('a used id that nobody has: RT-Thread#11326, OSv#1450, zephyr#113343, virtio-drivers#245', () => {
    it.each(liesOf('used-id'))('%s', (_, lie) => expectFound(lie))
  })

  describe('a used length that is larger than the buffer: CVE-2021-38160 (Linux)', () => {
    it.each(liesOf('used-length'))('%s', (_, lie) => expectFound(lie))
  })

  it('a buffer that is used twice comes back once: CVE-2021-3748 (QEMU), from the other side', () => {
    const { queue, device, piece } = make()
    for (const token of ['a', 'b']) queue.add([], [piece(8)], token)
    queue.publish()
    const first = device.take()!
    device.put(first)
    device.put(first)
    device.publish()
    expect([queue.completed(), queue.completed(), queue.broken?.kind]).toEqual(['a', undefined, 'used-id'])
  })

  describe('what lies in shared memory is trusted: Linux (untrusted device, 2021), MigTD#935', () => {
    it('descriptors that the device has overwritten change nothing of what the driver knows', () => {
      const { memory, queue, device, piece } = make()
      for (const token of ['a', 'b', 'c']) queue.add([piece(1), piece(2)], [], token)
      queue.publish()
      const taken = [device.take()!, device.take()!, device.take()!]
      // Every chain leads to itself, for a driver that follows it.
      if (!packed) {
        const { descriptorArea } = device.setup
        for (let i = 0; i < 8; i++) memory.poke(descriptorArea + 16 * i, Uint8Array.of(...Array(12).fill(0xff), VIRTQ_DESC_F_NEXT, 0, i, 0))
      }
      for (const each of taken.reverse()) device.use(each)
      expect([queue.completed(), queue.completed(), queue.completed(), queue.free]).toEqual(['c', 'b', 'a', 8])
      // The descriptors are all there, each of them once.
      for (let i = 0; i < 4; i++) expect(queue.add([piece(1), piece(1)], [], `${i}`)).toBe(true)
      queue.publish()
      expect(new Set(Array.from({ length: 4 }, () => device.take()!.id)).size).toBe(4)
      expect(queue.add([piece(1)], [], 'one too many')).toBe(false)
    })

    it('whatever the device writes anywhere in the ring, all buffers are there in the end', () => {
      for (const filling of [0, 0xff, 0x80, 0x81]) {
        const { memory, queue, device, piece } = make({ size: 4 })
        for (const token of ['a', 'b', 'c']) queue.add([piece(1)], [], token)
        queue.publish()
        const { descriptorArea, driverArea, deviceArea } = device.setup
        for (const area of [descriptorArea, deviceArea, driverArea]) memory.poke(area, new Uint8Array(4).fill(filling))
        memory.poke(descriptorArea, new Uint8Array(64).fill(filling))
        while (queue.completed() !== undefined);
        expect([queue.detach(), queue.detach(), queue.detach()].toSorted()).toEqual(['a', 'b', 'c'])
      }
    })
  })

  it('no more is in flight than the ring has: CVE-2016-5403 (QEMU), from the other side', () => {
    const { queue, piece } = make({ size: 4 })
    for (let i = 0; i < 4; i++) expect(queue.add([piece(1)], [], `${i}`)).toBe(true)
    const { allocations } = queue.inspect()
    expect([queue.add([piece(1)], [], 'one too many'), queue.free, queue.out]).toEqual([false, 0, 4])
    expect(queue.inspect().allocations).toBe(allocations)
  })

  describe('sizes that the device says: mvm#1860, CVE-2017-17381 (QEMU), from the other side', () => {
    it.each([
      [0, 0],
      [1, 1],
      [7, packed ? 7 : 4],
      [65_536, 64],
      [0xffff_ffff, 64],
    ])('at most %i entries: %i', (most, size) => expect(negotiateQueueSize(most, 64, { packed })).toBe(size))

    it.each([0, 32769, 65536, ...(packed ? [] : [3, 12])])('a layout of %i entries is no one’s', (size) => {
      expect(() => queueLayout({ size, packed })).toThrow(RangeError)
    })
  })

  describe('addresses that wrap: CVE-2016-7422 (QEMU), from the other side', () => {
    it.each([
      { address: 2 ** 53, length: 1 },
      { address: Number.MAX_SAFE_INTEGER, length: 1 },
      { address: -1, length: 1 },
      { address: 0, length: 2 ** 32 },
      { address: 0, length: 0 },
    ])('$length bytes at $address are no piece', (wrong) => {
      const { queue } = make()
      expect(() => queue.add([wrong], [], 'a')).toThrow(RangeError)
      expect([queue.free, queue.out]).toEqual([8, 0])
    })
  })

  describe('event index at the wrap: virtio-drivers queue.rs:365, cloud-hypervisor#897, openvmm#4267', () => {
    const size = packed ? 5 : 4

    it('the device is told of the entry that it asks for, exactly then, all the way round', () => {
      const { queue, device, recorder, piece } = make({ size, eventIndex: true })
      const buffer = piece(1)
      for (let round = 0, sent = 0; sent < 66_000; round++) {
        const wanted = 1 + (round % size)
        const batch = 1 + (Math.floor(round / size) % size)
        device.ask(wanted)
        for (let i = 0; i < batch; i++) queue.add([buffer], [], 'a')
        recorder.notifications = 0
        queue.publish()
        if (recorder.notifications !== (wanted <= batch ? 1 : 0))
          throw new Error(`${recorder.notifications} notifications, ${wanted} of ${batch} after ${sent}`)
        for (let i = 0; i < batch; i++) device.put(device.take()!)
        device.publish()
        for (let i = 0; i < batch; i++) if (queue.completed() !== 'a') throw new Error(`a buffer is lost after ${sent}`)
        sent += batch
      }
      expect(recorder.violations).toEqual([])
    })
  })
})

describe('a packed driver queue', () => {
  it('reads event offset and flags in one load, so that they belong together: libblkio, Linux snapshot.u32', () => {
    const memory = new TestMemory()
    const { setup } = fakeDriver(memory, { packed: true })
    const queue = createDriverQueue(memory, setup, { packed: true, eventIndex: true, notify: () => {}, fail: () => {} })
    queue.add([{ address: memory.allocate(1), length: 1 }], [], 'a')
    const loads: number[] = []
    const { load } = Atomics
    vi.spyOn(Atomics, 'load').mockImplementation(((array: Uint32Array, index: number) => {
      const region = memory.regions[0]!
      const address = array.byteOffset + index * array.BYTES_PER_ELEMENT - region.u8.byteOffset + region.guestAddress
      if (address >= setup.deviceArea && address < setup.deviceArea + PvirtqEventSuppress.size) loads.push(array.BYTES_PER_ELEMENT)
      return load(array, index)
    }) as typeof Atomics.load)
    queue.publish()
    expect(loads).toEqual([4])
  })
})
