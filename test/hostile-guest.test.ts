/**
 * A block device on its generated skeleton over MMIO, and a guest that breaks every rule of the ring. What it gets is a typed violation and DEVICE_NEEDS_RESET;
 * the process and the device beside it go on.
 */

import { MmioDevice } from 'virtgen/mmio'
import { VirtioBlkReqHeader } from 'virtgen/parts/blk'
import { type DeviceRequest, GuestMemory, type Outcome, PARKED, type Violation, type ViolationKind, type VirtioDevice } from 'virtgen/runtime'
import { BlkDevice, type BlkGetIdRequest, type BlkReadRequest, type BlkWriteRequest } from 'virtgen/skeleton/blk'
import { CryptoDevice } from 'virtgen/skeleton/crypto'
import { EntropyDevice, type EntropyReadRequest } from 'virtgen/skeleton/entropy'
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
import { ACKNOWLEDGE, DEVICE_NEEDS_RESET, DRIVER, DRIVER_OK, FEATURES_OK, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_VERSION_1 } from 'virtgen/wire/content'
import {
  VIRTIO_CRYPTO_ERR,
  VIRTIO_CRYPTO_HASH,
  VIRTIO_CRYPTO_HASH_DESTROY_SESSION,
  VIRTIO_CRYPTO_MAC_DESTROY_SESSION,
  VIRTIO_CRYPTO_OK,
  VIRTIO_CRYPTO_SERVICE_HASH,
} from 'virtgen/wire/crypto'
import { VIRTQ_DESC_F_INDIRECT, VIRTQ_DESC_F_NEXT, VIRTQ_DESC_F_WRITE, VirtqDesc } from 'virtgen/wire/split-ring'
import { virtio_mmio } from 'virtgen/wire/transport-mmio'
import { beforeEach, describe, expect, it } from 'vitest'
import { RawRing } from './support/raw-ring.ts'

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
const areas = { blk: 0x1_0000, entropy: 0x2_0000 }
const headers = 0x4_0000
const payloads = 0x8_0000

/** What a guest's driver does, right or wrong. */
class Guest {
  readonly ring: RawRing
  readonly violations: Violation[] = []
  readonly errors: unknown[] = []
  readonly slot: MmioDevice

  constructor(memory: GuestMemory, device: VirtioDevice, base: number) {
    this.ring = new RawRing(memory, queueSize, base)
    this.slot = new MmioDevice(device, {
      memory,
      interrupt: () => {},
      onViolation: (violation) => this.violations.push(violation),
      onError: (error) => this.errors.push(error),
    })
  }

  set(register: keyof typeof virtio_mmio, value: number): void {
    this.slot.write(virtio_mmio[register].offset, 4, value)
  }
  get status(): number {
    return this.slot.read(virtio_mmio.Status.offset, 4)
  }

  start(features: readonly number[] = [], size = queueSize, queue = 0): void {
    this.set('Status', 0)
    this.set('Status', ACKNOWLEDGE | DRIVER)
    for (const word of [0, 1]) {
      const bits = [VIRTIO_F_VERSION_1, VIRTIO_F_INDIRECT_DESC, ...features].filter((bit) => bit >> 5 === word)
      this.set('DriverFeaturesSel', word)
      this.set('DriverFeatures', bits.reduce((mask, bit) => mask | (1 << (bit & 31)), 0) >>> 0)
    }
    this.set('Status', ACKNOWLEDGE | DRIVER | FEATURES_OK)
    const { descriptorArea, driverArea, deviceArea } = this.ring.setup
    this.set('QueueSel', queue)
    this.set('QueueSize', size)
    this.set('QueueDescLow', descriptorArea)
    this.set('QueueDriverLow', driverArea)
    this.set('QueueDeviceLow', deviceArea)
    this.set('QueueReady', 1)
    this.set('Status', ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK)
  }

  notify(queue = 0): void {
    this.set('QueueNotify', queue)
  }

  /** Puts a request header at a place of its own; gives its address. */
  header(type: number, sector = 0, index = 0): number {
    const address = headers + index * VirtioBlkReqHeader.size
    this.ring.memory.write(address, VirtioBlkReqHeader.encode({ type, sector }))
    return address
  }

  byte(address: number): number {
    return (this.ring.memory.resolve(address, 1) as Uint8Array)[0] as number
  }
}

let memory: GuestMemory
let disk: Disk
let guest: Guest
let neighbour: Guest

beforeEach(() => {
  memory = GuestMemory.of(new Uint8Array(1 << 20))
  disk = new Disk({ features: [VIRTIO_BLK_F_DISCARD], config: { capacity: 1000, max_discard_seg: 1 }, queueSize })
  guest = new Guest(memory, disk, areas.blk)
  neighbour = new Guest(memory, new Noise({ queueSize }), areas.entropy)
  neighbour.start()
})

/** The device beside it still serves its guest. */
function expectNeighbourToServe(): void {
  memory.write(payloads, new Uint8Array(8))
  neighbour.ring.chain([0], [{ address: payloads, length: 8, writable: true }])
  const used = neighbour.ring.usedIndex
  neighbour.ring.offer(0)
  neighbour.notify()
  expect(neighbour.ring.usedIndex).toBe(used + 1)
  expect(guest.byte(payloads + 7)).toBe(0x55)
  expect(neighbour.status & DEVICE_NEEDS_RESET).toBe(0)
}

function expectViolation(kind: ViolationKind): void {
  expect(guest.violations.map((violation) => violation.kind)).toEqual([kind])
  expect(guest.status & DEVICE_NEEDS_RESET).toBe(DEVICE_NEEDS_RESET)
  expect([guest.errors, disk.log, guest.ring.usedIndex]).toEqual([[], [], 0])
  // Nothing more is served, until the guest resets the device.
  guest.notify()
  expect(guest.violations.length).toBe(1)
  expectNeighbourToServe()
}

function expectToWorkAfterReset(): void {
  guest.set('Status', 0)
  memory.write(areas.blk, new Uint8Array(areas.entropy - areas.blk))
  guest.ring.available = 0
  guest.start()
  guest.ring.chain(
    [0, 1],
    [
      { address: guest.header(VIRTIO_BLK_T_IN, 3), length: 16 },
      { address: payloads, length: 513, writable: true },
    ],
  )
  guest.ring.offer(0)
  guest.notify()
  expect([disk.log, guest.byte(payloads), guest.byte(payloads + 512), guest.ring.usedIndex]).toEqual([['read 3'], 0xaa, VIRTIO_BLK_S_OK, 1])
}

type Forgery = (ring: RawRing, header: number) => void

const forgeries: readonly [string, ViolationKind, Forgery][] = [
  [
    'a chain that loops',
    'descriptor-loop',
    (ring, address) => {
      ring.descriptor(0, { address, length: 16, flags: VIRTQ_DESC_F_NEXT, next: 1 })
      ring.descriptor(1, { address, length: 16, flags: VIRTQ_DESC_F_NEXT, next: 0 })
      ring.offer(0)
    },
  ],
  ['a buffer outside of memory', 'descriptor-address', (ring, address) => offerPair(ring, address, 1 << 20)],
  ['a buffer that ends outside of memory', 'descriptor-address', (ring, address) => offerPair(ring, address, (1 << 20) - 512)],
  [
    'an address near 2^64',
    'descriptor-address',
    (ring) => {
      ring.descriptor(0, { address: 0xffff_ffff_ffff_fff0n, length: 0x20 })
      ring.offer(0)
    },
  ],
  [
    'an indirect table inside an indirect table',
    'indirect-nested',
    (ring) => {
      ring.descriptor(0, { address: payloads, length: VirtqDesc.size, flags: VIRTQ_DESC_F_INDIRECT })
      ring.descriptor(0, { address: payloads, length: VirtqDesc.size, flags: VIRTQ_DESC_F_INDIRECT }, payloads)
      ring.offer(0)
    },
  ],
  [
    'a device-readable descriptor behind a device-writable one',
    'descriptor-order',
    (ring, address) => {
      ring.descriptor(0, { address: payloads, length: 1, flags: VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE, next: 1 })
      ring.descriptor(1, { address, length: 16 })
      ring.offer(0)
    },
  ],
  [
    'a next index out of range',
    'descriptor-index',
    (ring, address) => {
      ring.descriptor(0, { address, length: 16, flags: VIRTQ_DESC_F_NEXT, next: queueSize })
      ring.offer(0)
    },
  ],
  ['a head out of range', 'descriptor-index', (ring) => ring.offer(queueSize)],
  ['an available index that jumps', 'available-index', (ring) => ring.publish(queueSize + 1)],
  [
    'a request with no room for a status',
    'request-size',
    (ring, address) => {
      ring.descriptor(0, { address, length: 16 })
      ring.offer(0)
    },
  ],
]

function offerPair(ring: RawRing, address: number, payload: number): void {
  ring.chain(
    [0, 1],
    [
      { address, length: 16 },
      { address: payload, length: 513, writable: true },
    ],
  )
  ring.offer(0)
}

describe('a guest that makes', () => {
  it.each(forgeries)('%s: %s', (_, kind, forge) => {
    guest.start()
    forge(guest.ring, guest.header(VIRTIO_BLK_T_IN))
    guest.notify()
    expectViolation(kind)
    expectToWorkAfterReset()
  })

  it('a queue of size zero: queue-size', () => {
    guest.start([], 0)
    expect(guest.violations.map(({ kind }) => kind)).toEqual(['queue-size'])
    expect(guest.status & DEVICE_NEEDS_RESET).toBe(DEVICE_NEEDS_RESET)
    expectNeighbourToServe()
    expectToWorkAfterReset()
  })

  it('violations stop the batch they stand in: what came before is answered, what comes behind is not taken', () => {
    guest.start()
    offerPair(guest.ring, guest.header(VIRTIO_BLK_T_IN, 1), payloads)
    guest.ring.descriptor(2, { address: guest.header(VIRTIO_BLK_T_IN, 2, 1), length: 16 })
    guest.ring.chain(
      [3, 4],
      [
        { address: guest.header(VIRTIO_BLK_T_IN, 3, 2), length: 16 },
        { address: payloads, length: 513, writable: true },
      ],
    )
    guest.ring.offer(2, 3)
    guest.notify()
    expect([disk.log, guest.violations.map(({ kind, head }) => [kind, head])]).toEqual([['read 1'], [['request-size', 2]]])
    expect(guest.ring.usedIndex).toBe(1)
    expectNeighbourToServe()
  })
})

describe('a request that is not as it should be', () => {
  const send = (...buffers: { address: number; length: number; writable?: boolean }[]): number => {
    guest.ring.chain(
      buffers.map((_, i) => i),
      buffers,
    )
    memory.write(payloads, new Uint8Array(1024).fill(0xee))
    guest.ring.offer(0)
    guest.notify()
    expect([guest.violations, guest.ring.usedIndex]).toEqual([[], 1])
    return guest.byte(payloads + 1023)
  }
  const status = { address: payloads + 1023, length: 1, writable: true }

  beforeEach(() => guest.start([VIRTIO_BLK_F_DISCARD]))

  it.each([
    ['a header that is too short', () => [{ address: guest.header(VIRTIO_BLK_T_IN), length: 15 }, status]],
    [
      'a read that is no whole sectors',
      () => [{ address: guest.header(VIRTIO_BLK_T_IN), length: 16 }, { address: payloads, length: 511, writable: true }, status],
    ],
    ['a write that is no whole sectors', () => [{ address: guest.header(VIRTIO_BLK_T_OUT), length: 16 }, { address: payloads, length: 100 }, status]],
    ['a read with device-readable data', () => [{ address: guest.header(VIRTIO_BLK_T_IN), length: 16 }, { address: payloads, length: 512 }, status]],
    ['a discard without a segment', () => [{ address: guest.header(VIRTIO_BLK_T_DISCARD), length: 16 }, status]],
    [
      'a discard with too many',
      () => [{ address: guest.header(VIRTIO_BLK_T_DISCARD), length: 16 }, { address: areas.entropy + 0x8000, length: 32 }, status],
    ],
    ['a discard with half a segment', () => [{ address: guest.header(VIRTIO_BLK_T_DISCARD), length: 16 }, { address: payloads, length: 24 }, status]],
    [
      'a sector beyond 2^53',
      () => {
        const address = guest.header(VIRTIO_BLK_T_IN)
        memory.write(address + VirtioBlkReqHeader.offsetOf.sector, new Uint8Array(8).fill(0xff))
        return [{ address, length: 16 }, { address: payloads, length: 512, writable: true }, status]
      },
    ],
  ])('%s: answered with the status for failures, unseen by the device', (_, buffers) => {
    expect([send(...buffers()), disk.log]).toEqual([VIRTIO_BLK_S_IOERR, []])
  })

  it('is answered so too when its handler throws', () => {
    expect(send({ address: guest.header(VIRTIO_BLK_T_FLUSH), length: 16 }, status)).toBe(VIRTIO_BLK_S_IOERR)
  })

  it('is unsupported when nobody knows its type', () => {
    expect(send({ address: guest.header(0x7777), length: 16 }, status)).toBe(VIRTIO_BLK_S_UNSUPP)
  })

  it('keeps the header that was checked, whatever the guest makes of it meanwhile', () => {
    const address = guest.header(VIRTIO_BLK_T_OUT, 5)
    disk.onWrite = () => void memory.write(address, new Uint8Array(16).fill(0xff))
    expect(send({ address, length: 16 }, { address: payloads, length: 512 }, status)).toBe(VIRTIO_BLK_S_OK)
    expect(disk.log).toEqual(['write 5, 512 bytes'])
  })
})

describe('three hundred parked requests', () => {
  const count = 300
  function park(): void {
    for (let i = 0; i < count; i++) {
      const address = guest.header(VIRTIO_BLK_T_IN, i, i)
      guest.ring.chain(
        [2 * i, 2 * i + 1],
        [
          { address, length: 16 },
          { address: payloads + i * 1024, length: 513, writable: true },
        ],
      )
      guest.ring.put(2 * i)
    }
    guest.ring.publish()
    guest.notify()
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
      for (const request of shuffled) {
        request.writable.fill(request.header.sector & 0xff)
        request.complete()
      }
      for (const i of [0, 1, 100, count - 1]) expect([guest.byte(payloads + i * 1024), guest.byte(payloads + i * 1024 + 512)]).toEqual([i & 0xff, 0])
      expect(guest.ring.usedIndex).toBe((round + 1) * count)
      park()
      expect(disk.parked.every((request) => first.has(request))).toBe(true)
    }
    expect(guest.violations).toEqual([])
  })

  it('write nothing after a reset', () => {
    park()
    for (const request of disk.parked.splice(0, 100)) request.complete()
    guest.set('Status', 0)
    expect(guest.status).toBe(0)
    const before = (memory.resolve(0, 1 << 20) as Uint8Array).slice()
    for (const request of disk.parked) {
      expect(request.cancelled).toBe(true)
      request.writable.fill(0x77)
      request.complete()
    }
    expect(memory.resolve(0, 1 << 20)).toEqual(before)
    expect([guest.violations, guest.errors]).toEqual([[], []])
  })
})

describe('replies whose length or layout the driver chooses', () => {
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
    guest = new Guest(memory, hasher, areas.blk)
    guest.start([], queueSize, queue)
  }

  /** Sends little-endian words; 0xee is what the device leaves alone. */
  function send(queue: number, words: readonly number[], length: number, room: number): void {
    const bytes = new Uint8Array(length)
    const view = new DataView(bytes.buffer)
    for (const [index, word] of words.entries()) view.setUint32(index * 4, word, true)
    memory.write(headers, bytes)
    memory.write(payloads, new Uint8Array(room).fill(0xee))
    guest.ring.chain(
      [0, 1],
      [
        { address: headers, length },
        { address: payloads, length: room, writable: true },
      ],
    )
    guest.ring.offer(0)
    guest.notify(queue)
    expect([guest.violations, guest.errors, guest.ring.usedIndex]).toEqual([[], [], 1])
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
    send(0, [VIRTIO_CRYPTO_HASH, 0, 0, 0, 0, 0, 0, length], 72, room)
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1 << 20)
    expect([guest.byte(payloads + room - 1), hasher.calls]).toEqual([status, status === VIRTIO_CRYPTO_OK ? 1 : 0])
  })

  it.each([
    [72, VIRTIO_CRYPTO_HASH_DESTROY_SESSION, VIRTIO_CRYPTO_OK],
    [71, VIRTIO_CRYPTO_HASH_DESTROY_SESSION, VIRTIO_CRYPTO_ERR],
    [73, VIRTIO_CRYPTO_HASH_DESTROY_SESSION, VIRTIO_CRYPTO_ERR],
    [72, VIRTIO_CRYPTO_MAC_DESTROY_SESSION, VIRTIO_CRYPTO_ERR],
  ])('a request of %i bytes, %i, has a shorter reply than others of its queue, also when it is refused', (length, opcode, status) => {
    start(1)
    send(1, [opcode], length, 1)
    expect([guest.byte(payloads), hasher.calls]).toEqual([status, status === VIRTIO_CRYPTO_OK ? 1 : 0])
  })
})
