/**
 * A block device on its generated skeleton over MMIO, and a guest that breaks every rule of the ring, in either format. What it gets is a typed violation and
 * DEVICE_NEEDS_RESET; the process and the device beside it go on.
 */

import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { MmioDevice } from 'virtgen/mmio'
import { VirtioBlkReqHeader } from 'virtgen/parts/blk'
import { createDeviceQueue, type DeviceRequest, type Outcome, PARKED, type ViolationKind, type VirtioDevice } from 'virtgen/runtime'
import { BlkDevice, type BlkGetIdRequest, type BlkReadRequest, type BlkWriteRequest } from 'virtgen/skeleton/blk'
import { CryptoDevice } from 'virtgen/skeleton/crypto'
import { EntropyDevice, type EntropyReadRequest } from 'virtgen/skeleton/entropy'
import { type ChainSpec, chain, type FakeDriver, fakeDriver, forgedChains, type QueueNeeds, Recorder, TestMemory } from 'virtgen/testing'
import {
  VIRTIO_BLK_F_DISCARD,
  VIRTIO_BLK_S_IOERR,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_S_UNSUPP,
  VIRTIO_BLK_T_DISCARD,
  VIRTIO_BLK_T_FLUSH,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
} from 'virtgen/wire/blk'
import {
  ACKNOWLEDGE,
  DEVICE_NEEDS_RESET,
  DRIVER,
  DRIVER_OK,
  FEATURES_OK,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_VERSION_1,
} from 'virtgen/wire/content'
import {
  VIRTIO_CRYPTO_ERR,
  VIRTIO_CRYPTO_HASH,
  VIRTIO_CRYPTO_HASH_DESTROY_SESSION,
  VIRTIO_CRYPTO_MAC_DESTROY_SESSION,
  VIRTIO_CRYPTO_OK,
  VIRTIO_CRYPTO_SERVICE_HASH,
} from 'virtgen/wire/crypto'
import { virtio_mmio } from 'virtgen/wire/transport-mmio'
import { beforeEach, describe, expect, it } from 'vitest'
import { ringFormats } from './support/ring-formats.ts'

class Disk extends BlkDevice {
  readonly log: string[] = []
  parks = false
  readonly parked: BlkReadRequest[] = []
  onWrite: (() => void) | undefined

  protected override read(request: BlkReadRequest): Outcome {
    this.log.push(`read ${request.header.sector}`)
    if (this.parks) {
      this.parked.push(request)
      return PARKED
    }
    request.writable.fill(0xaa)
  }
  protected override write({ header, readable }: BlkWriteRequest): Outcome {
    this.onWrite?.()
    this.log.push(`write ${header.sector}, ${readable.length} bytes`)
  }
  protected override flush(_request: DeviceRequest): Outcome {
    throw new Error('the disk is on fire')
  }
  protected override getId(_request: BlkGetIdRequest): Outcome {}
  protected override discard(): Outcome {
    this.log.push('discard')
  }
}

class Noise extends EntropyDevice {
  protected override read({ writable }: EntropyReadRequest): Outcome {
    writable.fill(0x55)
  }
}

const queueSize = 1024
const header = (type: number, sector = 0): Uint8Array => VirtioBlkReqHeader.encode({ type, sector })
const read = (sector: number): ChainSpec => chain().readable(header(VIRTIO_BLK_T_IN, sector)).writable(512).writable(1)

interface Setting extends QueueNeeds {
  readonly features?: readonly number[]
  readonly queue?: number
}

describe.each(ringFormats)('a guest with $format rings', ({ format, packed }) => {
  const ringFeatures = FeatureSet.of(VIRTIO_F_VERSION_1, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_RING_PACKED)

  /** What a guest's driver does, right or wrong. */
  class Guest {
    readonly recorder = new Recorder()
    readonly slot: MmioDevice
    driver!: FakeDriver
    #queue = 0

    constructor(device: VirtioDevice, maxChainLength?: number | 'strict') {
      this.slot = new MmioDevice(device, {
        memory,
        ringFeatures,
        createQueue: createDeviceQueue,
        interrupt: () => {},
        onViolation: this.recorder.fail,
        onError: this.recorder.error,
        ...(maxChainLength !== undefined && { maxChainLength }),
      })
    }

    set(register: keyof typeof virtio_mmio, value: number): void {
      this.slot.write(virtio_mmio[register].offset, 4, value)
    }
    get status(): number {
      return this.slot.read(virtio_mmio.Status.offset, 4)
    }
    get kinds(): ViolationKind[] {
      return this.recorder.violations.map(({ kind }) => kind)
    }

    start({ features = [], size = queueSize, queue = 0, indirect = true }: Setting = {}): void {
      this.#queue = queue
      this.driver = fakeDriver(memory, { packed, size: Math.max(size, 1), index: queue, indirect, notify: () => this.notify() })
      const accepted = FeatureSet.of(
        VIRTIO_F_VERSION_1,
        ...features,
        ...(indirect ? [VIRTIO_F_INDIRECT_DESC] : []),
        ...(packed ? [VIRTIO_F_RING_PACKED] : []),
      )
      this.set('Status', 0)
      this.set('Status', ACKNOWLEDGE | DRIVER)
      for (const word of [0, 1]) {
        this.set('DriverFeaturesSel', word)
        this.set('DriverFeatures', accepted.word(word))
      }
      this.set('Status', ACKNOWLEDGE | DRIVER | FEATURES_OK)
      const { descriptorArea, driverArea, deviceArea } = this.driver.setup
      this.set('QueueSel', queue)
      this.set('QueueSize', size)
      this.set('QueueDescLow', descriptorArea)
      this.set('QueueDriverLow', driverArea)
      this.set('QueueDeviceLow', deviceArea)
      this.set('QueueReady', 1)
      this.set('Status', ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK)
    }

    notify(): void {
      this.set('QueueNotify', this.#queue)
    }
  }

  let memory: TestMemory
  let disk: Disk
  let guest: Guest
  let neighbour: Guest

  beforeEach(() => {
    const regions = [0, 1].map((i) => ({ guestAddress: i << 20, size: 1 << 20 }))
    memory = new TestMemory({ regions })
    disk = new Disk({ features: [VIRTIO_BLK_F_DISCARD], config: { capacity: 1000, max_discard_seg: 1 }, queueSize })
    guest = new Guest(disk)
    neighbour = new Guest(new Noise({ queueSize }))
    neighbour.start()
  })

  /** The device beside it still serves its guest. */
  function expectNeighbourToServe(): void {
    neighbour.driver.offer(chain().writable(8))
    expect([...neighbour.driver.used()!.bytes]).toEqual(Array(8).fill(0x55))
    expect(neighbour.status & DEVICE_NEEDS_RESET).toBe(0)
  }

  function expectViolation(kind: ViolationKind): void {
    expect(guest.kinds).toEqual([kind])
    expect(guest.status & DEVICE_NEEDS_RESET).toBe(DEVICE_NEEDS_RESET)
    expect([guest.recorder.errors, disk.log]).toEqual([[], []])
    // Nothing more is served, until the guest resets the device.
    guest.notify()
    expect(guest.kinds.length).toBe(1)
    expectNeighbourToServe()
  }

  function expectToWorkAfterReset(): void {
    guest.start()
    guest.driver.offer(read(3))
    const { bytes } = guest.driver.used()!
    expect([disk.log, bytes[0], bytes[512]]).toEqual([['read 3'], 0xaa, VIRTIO_BLK_S_OK])
  }

  describe('that makes', () => {
    const forged = forgedChains.filter(({ violation, before }) => violation[format] !== undefined && before === undefined)

    it.each(forged)('$title: the device needs a reset, and serves on after it', ({ violation, needs = {}, forge }) => {
      guest = new Guest(disk, needs.maxChainLength)
      guest.start({ size: 8, ...needs })
      forge(guest.driver)
      expectViolation(violation[format]!)
      memory.checkGuards()
      expectToWorkAfterReset()
    })

    it('a request with no room for a status: request-size', () => {
      guest.start()
      guest.driver.offer(chain().readable(header(VIRTIO_BLK_T_IN)))
      expectViolation('request-size')
      expectToWorkAfterReset()
    })

    it('a queue of size zero: queue-size', () => {
      guest.start({ size: 0 })
      expect(guest.kinds).toEqual(['queue-size'])
      expect(guest.status & DEVICE_NEEDS_RESET).toBe(DEVICE_NEEDS_RESET)
      expectNeighbourToServe()
      expectToWorkAfterReset()
    })

    it('violations stop the batch they stand in: what came before is answered, what comes behind is not taken', () => {
      guest.start()
      guest.driver.put(read(1))
      const { id } = guest.driver.put(chain().readable(header(VIRTIO_BLK_T_IN, 2)))
      guest.driver.put(read(3))
      guest.driver.publish()
      expect([disk.log, guest.recorder.violations]).toMatchObject([['read 1'], [{ kind: 'request-size', head: id }]])
      expect(guest.driver.drain()).toHaveLength(1)
      expectNeighbourToServe()
    })
  })

  describe('whose request is not as it should be', () => {
    /** Gives the last byte of the device-writable part. */
    const send = (spec: ChainSpec): number => {
      guest.driver.offer(spec)
      expect(guest.kinds).toEqual([])
      return guest.driver.used()!.writable.at(-1)!
    }
    const head = (type: number, sector = 0) => chain().readable(header(type, sector))

    beforeEach(() => guest.start({ features: [VIRTIO_BLK_F_DISCARD] }))

    it.each([
      ['a header that is too short', () => chain().readable(header(VIRTIO_BLK_T_IN).subarray(1))],
      ['a read that is no whole sectors', () => head(VIRTIO_BLK_T_IN).writable(511)],
      ['a write that is no whole sectors', () => head(VIRTIO_BLK_T_OUT).readable(100)],
      ['a read with device-readable data', () => head(VIRTIO_BLK_T_IN).readable(512)],
      ['a discard without a segment', () => head(VIRTIO_BLK_T_DISCARD)],
      ['a discard with too many', () => head(VIRTIO_BLK_T_DISCARD).readable(32)],
      ['a discard with half a segment', () => head(VIRTIO_BLK_T_DISCARD).readable(24)],
      [
        'a sector beyond 2^53',
        () => {
          const bytes = header(VIRTIO_BLK_T_IN)
          bytes.fill(0xff, VirtioBlkReqHeader.offsetOf.sector)
          return chain().readable(bytes).writable(512)
        },
      ],
    ])('%s: answered with the status for failures, unseen by the device', (_, spec) => {
      expect([send(spec().writable(1)), disk.log]).toEqual([VIRTIO_BLK_S_IOERR, []])
    })

    it('is answered so too when its handler throws', () => {
      expect(send(head(VIRTIO_BLK_T_FLUSH).writable(1))).toBe(VIRTIO_BLK_S_IOERR)
    })

    it('is unsupported when nobody knows its type', () => {
      expect(send(head(0x7777).writable(1))).toBe(VIRTIO_BLK_S_UNSUPP)
    })

    it('keeps the header that was checked, whatever the guest makes of it meanwhile', () => {
      const at = memory.allocate(16)
      disk.onWrite = () => memory.poke(at, new Uint8Array(16).fill(0xff))
      expect(send(chain().readable(header(VIRTIO_BLK_T_OUT, 5), { at }).readable(512).writable(1))).toBe(VIRTIO_BLK_S_OK)
      expect(disk.log).toEqual(['write 5, 512 bytes'])
    })
  })

  describe('three hundred parked requests', () => {
    const count = 300
    function park(): void {
      for (let i = 0; i < count; i++) guest.driver.put(read(i))
      guest.driver.publish()
      expect(disk.parked.length).toBe(count)
    }

    beforeEach(() => {
      disk.parks = true
      guest.start()
    })

    it('are completed in any order, by the same objects in every round', () => {
      park()
      const first = new Set(disk.parked)
      for (let round = 0; round < 5; round++) {
        const shuffled = disk.parked.splice(0).sort((a, b) => ((a.header.sector * 7919) % count) - ((b.header.sector * 7919) % count))
        const sectors = shuffled.map((request) => request.header.sector)
        for (const request of shuffled) {
          request.writable.fill(request.header.sector & 0xff)
          request.complete()
        }
        expect(guest.driver.drain().map(({ bytes }) => [bytes[0], bytes[511], bytes[512]])).toEqual(
          sectors.map((sector) => [sector & 0xff, sector & 0xff, VIRTIO_BLK_S_OK]),
        )
        park()
        expect(disk.parked.every((request) => first.has(request))).toBe(true)
      }
      expect(guest.kinds).toEqual([])
    })

    it('write nothing after a reset', () => {
      park()
      for (const request of disk.parked.splice(0, 100)) request.complete()
      guest.set('Status', 0)
      expect(guest.status).toBe(0)
      memory.settle()
      for (const request of disk.parked) {
        expect(request.cancelled).toBe(true)
        request.writable.fill(0x77)
        request.complete()
      }
      expect([memory.changes(), guest.kinds, guest.recorder.errors]).toEqual([[], [], []])
    })
  })

  describe('that chooses the length or the layout of replies', () => {
    class Hasher extends CryptoDevice {
      calls = 0
      protected override hash(): Outcome {
        this.calls++
      }
      protected override createHashSession(): Outcome {}
      protected override destroyHashSession(): Outcome {
        this.calls++
      }
    }

    let hasher: Hasher

    function start(queue: number): void {
      hasher = new Hasher({ config: { max_dataqueues: 1, crypto_services: 1 << VIRTIO_CRYPTO_SERVICE_HASH }, queueSize })
      guest = new Guest(hasher)
      guest.start({ queue })
    }

    /** Sends little-endian words; gives the last byte of the reply. */
    function send(words: readonly number[], length: number, room: number): number {
      const bytes = new Uint8Array(length)
      const view = new DataView(bytes.buffer)
      for (const [index, word] of words.entries()) view.setUint32(index * 4, word, true)
      guest.driver.offer(chain().readable(bytes).writable(room))
      expect([guest.kinds, guest.recorder.errors]).toEqual([[], []])
      return guest.driver.used()!.writable.at(-1)!
    }

    it.each([
      [16, 17, VIRTIO_CRYPTO_OK],
      [17, 17, VIRTIO_CRYPTO_ERR],
      [0xffff_ffff, 17, VIRTIO_CRYPTO_ERR],
      [0xf000_0000, 0x1_0000, VIRTIO_CRYPTO_ERR],
      [0x1_0001, 0x1_0002, VIRTIO_CRYPTO_ERR],
    ])('%i bytes are asked for in room for %i', (length, room, status) => {
      start(0)
      const before = process.memoryUsage().arrayBuffers
      const last = send([VIRTIO_CRYPTO_HASH, 0, 0, 0, 0, 0, 0, length], 72, room)
      expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1 << 20)
      expect([last, hasher.calls]).toEqual([status, status === VIRTIO_CRYPTO_OK ? 1 : 0])
    })

    it.each([
      [72, VIRTIO_CRYPTO_HASH_DESTROY_SESSION, VIRTIO_CRYPTO_OK],
      [71, VIRTIO_CRYPTO_HASH_DESTROY_SESSION, VIRTIO_CRYPTO_ERR],
      [73, VIRTIO_CRYPTO_HASH_DESTROY_SESSION, VIRTIO_CRYPTO_ERR],
      [72, VIRTIO_CRYPTO_MAC_DESTROY_SESSION, VIRTIO_CRYPTO_ERR],
    ])('a request of %i bytes, %i, has a shorter reply than others of its queue, also when it is refused', (length, opcode, status) => {
      start(1)
      expect([send([opcode], length, 1), hasher.calls]).toEqual([status, status === VIRTIO_CRYPTO_OK ? 1 : 0])
    })
  })
})
