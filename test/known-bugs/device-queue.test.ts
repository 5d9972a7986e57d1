/**
 * What went wrong in other implementations of virtio, and must not go wrong here: the device side of a virtqueue. Each test is named after the class of the bug and the
 * reports of it; "CVE-… (QEMU)" and the like are the other project's.
 *
 * Beside this file: `driver-queue.test.ts` (a driver that trusts its device), `around-queues.test.ts` (constants, byte order, negotiation, registers).
 *
 * | class                                              | evidence                                                  | where it is tested                                     |
 * | -------------------------------------------------- | --------------------------------------------------------- | ------------------------------------------------------ |
 * | a bug that only another thread can cause           | MigTD#935, DPDK CVE-2020-14375                            | here as far as one thread shows it; races of `npm run fuzz` |
 * | lost notifications between threads                 | cloud-hypervisor#897, #2179; virtio-spec#35; acrn#2623    | test/two-threads.test.ts                               |
 * | values of constants                                | firecracker#138, virtio-bindings#35, virtio-spec#6, #131  | `virtgen drift`, `virtgen verify`: test/drift.test.ts, test/linux.test.ts |
 * | regenerating breaks users                          | vm-virtio#194, #300, #327                                 | `virtgen diff`: test/changes.test.ts                   |
 * | lengths in requests of other devices               | CVE-2024-7730 (sound), CVE-2023-6693 (net)                | around-queues.test.ts, test/malformed.test.ts          |
 * | checksum offsets in packets                        | CVE-2024-11614 (csum_start)                               | what a packet's header says is the network device's: waits for devices/net |
 * | vhost-user: descriptors, overlap of regions, logs  | CVE-2022-0669, CVE-2019-14835, CVE-2020-10722, -10723     | waits for vhost-user                                   |
 * | vhost-user: a kick before the queue is enabled     | rust-vmm/vhost#247                                        | MMIO: around-queues.test.ts; vhost-user waits          |
 * | MSI-X vectors out of range                         | CVE-2011-2512, cloud-hypervisor#7917                      | queues: around-queues.test.ts; vectors wait for PCI    |
 * | constants of virgl                                 | go-virtio                                                 | not part of VIRTIO: none here                          |
 */
import type { Chain } from 'virtgen/runtime'
import { chain, type ForgedChain, forgedChains, type PackedFakeDriver, testQueue } from 'virtgen/testing'
import { PvirtqEventSuppress, VIRTQ_DESC_F_USED } from 'virtgen/wire/packed-ring'
import { VIRTQ_DESC_F_INDIRECT, VIRTQ_DESC_F_NEXT, VIRTQ_DESC_F_WRITE, VirtqDesc } from 'virtgen/wire/split-ring'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { ringFormats } from '../support/ring-formats.ts'

afterEach(() => void vi.restoreAllMocks())

describe.each(ringFormats)('a $format device queue', ({ format, packed }) => {
  type Options = Omit<NonNullable<Parameters<typeof testQueue>[0]>, 'packed'>
  const make = (options: Options = {}) => testQueue({ ...options, packed })

  /** The forgery is found as what it is, once, and nothing is taken or touched. */
  function expectFound({ forge, forgeLater, needs, before = 0, violation }: ForgedChain): void {
    const { queue, driver, memory, recorder } = make(needs)
    forge(driver)
    for (let i = 0; i < before; i++) expect(queue.next()).toBeDefined()
    forgeLater?.(driver)
    expect(queue.next()).toBeUndefined()
    expect(queue.next()).toBeUndefined()
    expect(recorder.violations).toMatchObject([{ kind: violation[format], queue: 0, detail: expect.stringMatching(/./) }])
    memory.checkGuards()
  }
  const forgeriesOf = (...kinds: string[]) =>
    forgedChains.filter(({ violation }) => kinds.includes(violation[format] ?? '')).map((forged) => [forged.title, forged] as const)

  describe('descriptor loop, chain longer than the queue: openvmm#2986, CVE-2016-6490 (QEMU)', () => {
    it.each(forgeriesOf('descriptor-loop', 'chain-length'))('%s', (_, forged) => expectFound(forged))

    it('an indirect entry inside of its own table does not begin the table anew: v86 virtio.js:1376', () => {
      const { queue, driver, memory, recorder } = make()
      const at = memory.allocate(VirtqDesc.size, VirtqDesc.size)
      driver.offer(
        chain()
          .indirect({ at })
          .readable(1, { amend: { address: at, length: VirtqDesc.size, flags: VIRTQ_DESC_F_INDIRECT } }),
      )
      // In a packed ring the flag means nothing there: the element is a buffer, which happens to be the table.
      expect(queue.next()?.readable.length).toBe(packed ? VirtqDesc.size : undefined)
      expect(recorder.violations.map(({ kind }) => kind)).toEqual(packed ? [] : ['indirect-nested'])
    })
  })

  describe('indirect tables: vm-virtio#28, openvmm#3137', () => {
    it.each(forgeriesOf('indirect-nested', 'indirect-table', 'indirect-next', 'indirect-not-negotiated'))('%s', (_, forged) => expectFound(forged))

    it('VIRTQ_DESC_F_WRITE beside VIRTQ_DESC_F_INDIRECT is ignored', () => {
      const { queue, driver } = make()
      driver.offer(
        chain()
          .indirect({ amend: { set: VIRTQ_DESC_F_WRITE } })
          .readable(3)
          .writable(5),
      )
      const { readable, writable } = queue.next()!
      expect([readable.length, writable.length]).toEqual([3, 5])
    })
  })

  describe('more available than the queue has: vm-virtio#196, firecracker#3149 (InvalidAvailIdx)', () => {
    it.each(forgeriesOf('available-index'))('%s', (_, forged) => expectFound(forged))
  })

  describe('an index that the table does not have: openvmm#3136, zephyr#113343, RT-Thread#11326', () => {
    it.each(forgeriesOf('descriptor-index', 'descriptor-flags'))('%s', (_, forged) => expectFound(forged))

    if (packed) {
      it.each([8, 0x7fff, 0xffff])('the buffer id %i is the driver’s choice, and no index of anything', (id) => {
        const { queue, driver } = testQueue({ packed, size: 8 })
        driver.offer(chain().writable(4, { amend: { id } }))
        queue.next()!.complete(0)
        expect(driver.descriptor(0)).toMatchObject({ last: id })
      })
    }
  })

  describe('queue size 0, not a power of two, truncated, above the maximum: mvm#1860, CVE-2026-50626 (sddf#769), CVE-2017-17381 (QEMU)', () => {
    const sizes = [0, 32769, 65536, 65544, 2 ** 31, 2 ** 32, 2 ** 32 + 8, -8, 0.5, Number.NaN, ...(packed ? [] : [3, 12, 24575])]
    it.each(sizes)('%d entries', (size) => {
      const { queue, recorder } = make({ setup: { size } })
      expect(recorder.violations).toMatchObject([{ kind: 'queue-size', queue: 0 }])
      expect([queue.next(), queue.enableNotifications(), queue.reset()]).toEqual([undefined, false, undefined])
    })
  })

  describe('addresses that wrap, or end behind memory: CVE-2016-7422 (QEMU), CVE-2019-18960 (firecracker)', () => {
    it.each(forgeriesOf('descriptor-address'))('%s', (_, forged) => expectFound(forged))

    it('the last byte of memory is memory: firecracker#1296, cloud-hypervisor#2450', () => {
      const { queue, driver, memory } = make()
      const last = memory.regions.at(-1)!
      const end = last.guestAddress + last.size
      driver.offer(
        chain()
          .element({ writable: false, at: end - 1, length: 1 })
          .element({ writable: true, at: end - 16, length: 16 }),
      )
      const { readable, writable } = queue.next()!
      expect([readable.length, writable.length]).toEqual([1, 16])
    })

    it.each(['descriptorArea', 'driverArea', 'deviceArea'] as const)('the %s ends where memory ends, and not a byte later', (area) => {
      const { driver, memory } = make()
      const { guestAddress, size } = memory.regions.at(-1)!
      const bytes = packed ? { descriptorArea: 128, driverArea: 4, deviceArea: 4 } : { descriptorArea: 128, driverArea: 22, deviceArea: 72 }
      const at = guestAddress + size - bytes[area]
      const step = { descriptorArea: 16, driverArea: packed ? 4 : 2, deviceArea: 4 }[area]
      for (const [address, kinds] of [
        [at, []],
        [at + step, ['queue-address']],
      ] as const)
        expect(make({ driver, setup: { [area]: address } }).recorder.violations.map(({ kind }) => kind)).toEqual(kinds)
    })
  })

  describe('what was checked is read again: MigTD#935, #989, DPDK CVE-2020-14375, -14376, -14377, -14378', () => {
    it('descriptors, table and ring may change once the chain is taken', () => {
      const { queue, driver, memory } = make()
      const { placed } = driver.offer(chain().readable([1, 2, 3]).indirect().readable([4]).writable(6), packed ? undefined : {})
      const taken = queue.next()
      if (packed) return void expect(taken).toBeUndefined()
      for (let i = 0; i < driver.size; i++) driver.setDescriptor(i, { address: 2n ** 64n - 1n, length: 0xffff_ffff, flags: 0xffff })
      memory.poke(placed.table!, new Uint8Array(32).fill(0xff))
      const bytes = new Uint8Array(4)
      taken!.readable.copyTo(bytes)
      taken!.writable.fill(9)
      taken!.complete()
      expect([[...bytes], driver.descriptor(0).flags]).toEqual([[1, 2, 3, 4], 0xffff])
      memory.checkGuards()
    })

    it('a header is a copy: what the driver writes over it later is not seen', () => {
      const { queue, driver, memory } = make()
      const { placed } = driver.offer(chain().readable([1, 0, 2, 0]).writable(1))
      const header = queue.next()!.readable.struct(new PvirtqEventSuppress())
      memory.poke(placed.elements[0]!.at as number, Uint8Array.of(0xff, 0xff, 0xff, 0xff))
      expect([header.desc, header.flags]).toEqual([1, 2])
    })

    it('each word of a descriptor is loaded once: the second value of one that changes is never used', () => {
      const { queue, driver, memory } = make()
      const { placed } = driver.offer(chain().readable(4).writable(8))
      const taken = queue.next()!
      for (const { at } of placed.elements) memory.poke(at as number, new Uint8Array(4))
      for (let i = 0; i < 2; i++) driver.setDescriptor(i, { length: 0xffff_ffff })
      expect([taken.readable.length, taken.writable.length, taken.writable.segments]).toEqual([4, 8, 1])
    })
  })

  describe('no limit of what is in flight: CVE-2016-5403 (QEMU)', () => {
    it('as many chains are out as the queue has entries, whatever the driver does', () => {
      const { queue, driver, recorder } = make({ size: 4 })
      for (let i = 0; i < 4; i++) driver.offer(chain().writable(1))
      const taken = Array.from({ length: 4 }, () => queue.next())
      expect(taken).not.toContain(undefined)
      const { allocations } = queue.inspect()
      if ('offerHeads' in driver) (driver as unknown as { offerHeads(...heads: number[]): void }).offerHeads(0, 1, 2, 3)
      // All over again in the next round, with ids that are free.
      else for (let i = 0; i < 4; i++) driver.setDescriptor(i, { flags: VIRTQ_DESC_F_USED, id: 100 + i })
      expect(queue.next()).toBeUndefined()
      expect(recorder.violations).toMatchObject([{ kind: 'available-index' }])
      // There is one object for the chain that cannot be, and room for its pieces; whatever comes, there is not another one.
      for (let i = 0; i < 10; i++) queue.next()
      expect(queue.inspect().allocations - allocations).toBeLessThanOrEqual(2)
    })

    it('nothing is allocated by what descriptors claim', () => {
      const { queue, driver, memory } = make({ size: 4, maxChainLength: 65536 })
      const { guestAddress, size } = memory.regions[0]!
      const before = process.memoryUsage().arrayBuffers
      const claims = chain()
      for (let i = 0; i < 4; i++) claims.element({ writable: true, at: guestAddress, length: size })
      driver.offer(claims)
      queue.next()!.complete(0)
      expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1 << 20)
    })
  })

  describe('descriptors without bytes: CVE-2016-6490 (QEMU)', () => {
    it('have no pieces, and end', () => {
      const { queue, driver } = make()
      driver.offer(chain().readable(0).readable(0).writable(0))
      const { readable, writable } = queue.next()!
      expect([readable.length, readable.segments, writable.length, writable.segments]).toEqual([0, 0, 0, 0])
    })

    it('count, and so a chain of them is found to be too long', () => {
      const { queue, driver, recorder } = make({ maxChainLength: 20 })
      const empty = chain().indirect()
      for (let i = 0; i < 21; i++) empty.readable(0)
      driver.offer(empty)
      expect(queue.next()).toBeUndefined()
      expect(recorder.violations).toMatchObject([{ kind: 'chain-length' }])
    })
  })

  describe('a used length that is too large (CVE-2024-8612, QEMU) or too small (cloud-hypervisor#8066, libkrun#701, firecracker#2364, renode#640)', () => {
    const lengthOf = (work: (chain: Chain) => void): number => {
      const { queue, driver } = make()
      driver.offer(chain().readable(4).writable(16).writable(16))
      work(queue.next()!)
      return driver.used()!.written
    }

    it('is what was written, where the device says nothing', () => {
      expect(lengthOf((taken) => taken.complete())).toBe(0)
      expect(
        lengthOf((taken) => {
          taken.writable.copyFrom(new Uint8Array(20))
          taken.complete()
        }),
      ).toBe(20)
    })

    it('is never more than there is room for', () => {
      expect(
        lengthOf((taken) => {
          expect(() => taken.complete(33)).toThrow(RangeError)
          taken.complete(32)
        }),
      ).toBe(32)
    })

    it('tells of no byte that nobody wrote', () => {
      const { queue, driver } = make()
      driver.offer(chain().writable(8))
      const taken = queue.next()!
      taken.writable.putAt(4, Uint8Array.of(1))
      taken.complete()
      expect(driver.used()!.written).toBe(0)
    })
  })

  describe('use after return, return twice: CVE-2021-3748, CVE-2022-26353, CVE-2022-26354 (QEMU)', () => {
    it('a chain that is complete cannot be read, written or completed', () => {
      const { queue, driver, memory } = make()
      driver.offer(chain().readable(4).writable(8))
      const taken = queue.next()!
      const { readable, writable } = taken
      taken.complete(0)
      memory.settle()
      const uses = [
        () => taken.complete(0),
        () => readable.copyTo(new Uint8Array(4)),
        () => writable.fill(1),
        () => writable.copyFrom(Uint8Array.of(1)),
        () => writable.bytes(0),
        () => writable.piece(),
        () => writable.putAt(0, Uint8Array.of(1)),
        () => taken.storage(1),
        () => queue.putBack(taken),
      ]
      for (const use of uses) expect(use).toThrow(Error)
      expect([driver.drain().length, memory.changes()]).toEqual([1, []])
    })

    it('a cursor of the last request does nothing to the next one, which has the same object', () => {
      const { queue, driver } = make()
      driver.offer(chain().writable(8))
      const first = queue.next()!
      const { writable, generation } = first
      first.complete(0)
      driver.used()
      driver.offer(chain().writable(8))
      const second = queue.next()!
      expect([second, second.generation === generation]).toEqual([first, false])
      expect(() => writable.fill(1)).toThrow(Error)
      second.complete()
      expect(driver.used()!.written).toBe(0)
    })

    it('after a reset nothing that is done to a chain is done to memory', () => {
      const { queue, driver, memory } = make()
      driver.offer(chain().writable(8))
      const taken = queue.next()!
      queue.reset()
      memory.settle()
      taken.writable.fill(1)
      taken.complete()
      expect([memory.changes(), taken.cancelled]).toEqual([[], true])
    })
  })

  describe('event index at the wrap: virtio-drivers queue.rs:365, cloud-hypervisor#897, openvmm#4267, hermit#1274', () => {
    const size = packed ? 5 : 4
    const positions = packed ? [0x8000, 0x8003, 0x0000, 0x0004] : [0, 0x7ffe, 0x8000, 0xfffd, 0xffff]

    it.each(positions)('from position %i: whoever asks for an entry is told of it, exactly then', (start) => {
      for (let wanted = 1; wanted <= size; wanted++) {
        for (let batch = 1; batch <= size; batch++) {
          const { queue, driver, recorder } = make({ size, eventIndex: true, position: { available: start, used: start } })
          // One more, as a restored queue tells once in any case.
          driver.offer(chain().writable(1))
          queue.next()!.complete(0)
          driver.used()
          recorder.clear()
          driver.ask(wanted)
          for (let i = 0; i < batch; i++) driver.put(chain().writable(1))
          driver.publish()
          queue.cork()
          for (let i = 0; i < batch; i++) queue.next()!.complete(0)
          queue.uncork()
          expect(recorder.notifications, `${wanted} of ${batch}`).toBe(wanted <= batch ? 1 : 0)
        }
      }
    })

    it('an index that is a number of the host wraps like one of the ring: arcbox#210', () => {
      const { queue, driver, recorder } = make({ size, eventIndex: true })
      for (let i = 0; i < 70_000; i++) {
        driver.offer(chain().writable(1))
        const taken = queue.next()
        if (taken === undefined) throw new Error(`chain ${i} was not found`)
        taken.complete(0)
        if (driver.used() === undefined) throw new Error(`chain ${i} did not come back`)
      }
      expect([recorder.notifications, recorder.violations]).toEqual([70_000, []])
    })
  })
})

describe('a packed device queue', () => {
  it('reads event offset and flags in one load, so that they belong together: libblkio, Linux snapshot.u32', () => {
    const { queue, driver, memory } = testQueue({ packed: true, eventIndex: true })
    driver.offer(chain().writable(1))
    const taken = queue.next()!
    const { driverArea } = driver.setup
    const loads: number[] = []
    const { load } = Atomics
    vi.spyOn(Atomics, 'load').mockImplementation(((array: Uint32Array, index: number) => {
      const region = memory.regions[0]!
      const address = array.byteOffset + index * array.BYTES_PER_ELEMENT - region.u8.byteOffset + region.guestAddress
      if (address >= driverArea && address < driverArea + PvirtqEventSuppress.size) loads.push(array.BYTES_PER_ELEMENT)
      return load(array, index)
    }) as typeof Atomics.load)
    taken.complete(0)
    expect(loads).toEqual([4])
  })

  it('is really packed where that is negotiated: cloud-hypervisor#2836', () => {
    const { queue, driver } = testQueue({ packed: true }) as { queue: ReturnType<typeof testQueue>['queue']; driver: PackedFakeDriver }
    driver.offer(chain().writable(1))
    queue.next()!.complete(1)
    expect([queue.inspect().format, driver.descriptor(0).flags & VIRTQ_DESC_F_USED, driver.descriptor(0).flags & VIRTQ_DESC_F_NEXT]).toEqual([
      'packed',
      VIRTQ_DESC_F_USED,
      0,
    ])
  })
})
