/**
 * What went wrong in other implementations of virtio, and must not go wrong here: around the queues. Constants, byte order, negotiation, registers, lengths in requests. See
 * device-queue.test.ts for what is not here.
 */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { MmioDevice } from 'virtgen/mmio'
import { createDeviceQueue, type Outcome } from 'virtgen/runtime'
import { CryptoDevice } from 'virtgen/skeleton/crypto'
import { NetDevice } from 'virtgen/skeleton/net'
import { chain, fakeDriver, Recorder, TestMemory, testDevice } from 'virtgen/testing'
import {
  ACKNOWLEDGE,
  DEVICE_NEEDS_RESET,
  DRIVER,
  DRIVER_OK,
  deviceIds,
  FEATURES_OK,
  features as reservedFeatures,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_VERSION_1,
} from 'virtgen/wire/content'
import {
  VIRTIO_CRYPTO_CIPHER_ENCRYPT,
  VIRTIO_CRYPTO_ERR,
  VIRTIO_CRYPTO_OK,
  VIRTIO_CRYPTO_SERVICE_CIPHER,
  VIRTIO_CRYPTO_SYM_OP_CIPHER,
} from 'virtgen/wire/crypto'
import {
  VIRTIO_NET_CTRL_MQ,
  VIRTIO_NET_CTRL_MQ_RSS_CONFIG,
  VIRTIO_NET_ERR,
  VIRTIO_NET_F_CTRL_VQ,
  VIRTIO_NET_F_MQ,
  VIRTIO_NET_F_RSS,
  VIRTIO_NET_OK,
  VirtioNetHdr,
} from 'virtgen/wire/net'
import { virtio_mmio } from 'virtgen/wire/transport-mmio'
import { pci_device_id, pci_transitional_device_id, VirtioPciCap64 } from 'virtgen/wire/transport-pci'
import { beforeEach, describe, expect, it } from 'vitest'
import { DummyDevice, useAll } from '../support/dummy-device.ts'
import { ringFormats } from '../support/ring-formats.ts'

describe('constants that are wrong or drift', () => {
  it('5 is the traditional memory balloon, 13 the other one: rcore virtio-drivers transport/mod.rs:254', () => {
    expect([deviceIds.balloon, deviceIds['memory-balloon']]).toEqual([5, 13])
    const ids = Object.values(deviceIds)
    expect(new Set(ids).size).toBe(ids.length)
  })

  it('a network device is 0x1041 on PCI, or 0x1000: arceos#152', () => {
    const { pci_device_id_base } = pci_device_id
    const { transitional_net, transitional_blk, transitional_balloon, transitional_entropy, transitional_p9 } = pci_transitional_device_id
    expect([pci_device_id_base + deviceIds.net, pci_device_id_base + deviceIds.blk]).toEqual([0x1041, 0x1042])
    expect([transitional_net, transitional_blk, transitional_balloon, transitional_entropy, transitional_p9]).toEqual([
      0x1000, 0x1001, 0x1002, 0x1005, 0x1009,
    ])
  })

  it('no feature bit is there twice: firecracker#5110, cloud-hypervisor#2661', () => {
    const bits = reservedFeatures.map(({ bit }) => bit)
    expect(new Set(bits).size).toBe(bits.length)
    expect([VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX, VIRTIO_F_VERSION_1, VIRTIO_F_RING_PACKED]).toEqual([28, 29, 32, 34])
  })
})

describe('byte order', () => {
  it('num_buffers of a packet is little-endian: v86 virtio_net.js:194', () => {
    const bytes = VirtioNetHdr.encode({ num_buffers: 1 }, { features: FeatureSet.of(VIRTIO_F_VERSION_1) })
    expect([...bytes.subarray(10, 12)]).toEqual([1, 0])
  })

  it('the upper halves of 64-bit capabilities are little-endian: virtio-spec#196', () => {
    const bytes = VirtioPciCap64.encode({ offset_hi: 1, length_hi: 2 })
    expect([...bytes.subarray(16)]).toEqual([1, 0, 0, 0, 2, 0, 0, 0])
  })
})

const live = ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK

describe('registers', () => {
  let memory: TestMemory
  let device: DummyDevice
  let recorder: Recorder
  let mmio: MmioDevice
  const get = (register: keyof typeof virtio_mmio): number => mmio.read(virtio_mmio[register].offset, 4)
  const set = (register: keyof typeof virtio_mmio, value: number): void => mmio.write(virtio_mmio[register].offset, 4, value)

  function negotiate(...bits: readonly number[]): number {
    set('Status', ACKNOWLEDGE | DRIVER)
    const features = FeatureSet.of(...bits)
    for (let word = 0; word < 4; word++) {
      set('DriverFeaturesSel', word)
      set('DriverFeatures', features.word(word))
    }
    set('Status', ACKNOWLEDGE | DRIVER | FEATURES_OK)
    return get('Status')
  }

  function open(index: number, size: number, packed = false): ReturnType<typeof fakeDriver> {
    const driver = fakeDriver(memory, { packed, size: 4, index, notify: () => set('QueueNotify', index) })
    set('QueueSel', index)
    set('QueueSize', size)
    set('QueueDescLow', driver.setup.descriptorArea)
    set('QueueDriverLow', driver.setup.driverArea)
    set('QueueDeviceLow', driver.setup.deviceArea)
    set('QueueReady', 1)
    return driver
  }

  beforeEach(() => {
    memory = new TestMemory()
    device = new DummyDevice()
    device.onQueue = useAll
    recorder = new Recorder()
    mmio = new MmioDevice(device, {
      memory,
      ringFeatures: FeatureSet.of(VIRTIO_F_VERSION_1, VIRTIO_F_RING_PACKED),
      createQueue: createDeviceQueue,
      interrupt: () => {},
      onViolation: recorder.fail,
      onError: recorder.error,
    })
  })

  describe('feature bits at the ends of words: Tock mmio.rs:281 (bit 15 and above), v86 virtio.js:1011 (31 and 63), cloud-hypervisor#7423 (pages above 1)', () => {
    const bits = [0, 15, 16, 31, 33, 63, 64, 95, 96, 127]

    it.each(bits)('bit %i is offered, accepted and there', (bit) => {
      device.offered = FeatureSet.of(...bits)
      set('DeviceFeaturesSel', bit >> 5)
      expect((get('DeviceFeatures') >>> (bit & 31)) & 1).toBe(1)
      expect(negotiate(VIRTIO_F_VERSION_1, bit) & FEATURES_OK).toBe(FEATURES_OK)
      set('Status', live)
      expect(bits.filter((each) => device.host!.features.has(each))).toEqual([bit])
    })

    it.each([4, 31, 0x8000_0000, 0xffff_ffff])('words from number %i on do not exist', (word) => {
      set('DeviceFeaturesSel', word)
      set('DriverFeaturesSel', word)
      set('DriverFeatures', 0xffff_ffff)
      expect([get('DeviceFeatures'), negotiate(VIRTIO_F_VERSION_1) & FEATURES_OK]).toEqual([0, FEATURES_OK])
    })
  })

  describe('negotiation', () => {
    it('VIRTIO_F_VERSION_1 must be accepted, and can be: virtio-drivers#196', () => {
      expect([negotiate() & FEATURES_OK, negotiate(VIRTIO_F_VERSION_1) & FEATURES_OK]).toEqual([0, FEATURES_OK])
    })

    it('DriverFeatures is write-only, so that a word is what was written last: zephyr#115150', () => {
      set('Status', ACKNOWLEDGE | DRIVER)
      set('DriverFeaturesSel', 1)
      set('DriverFeatures', 1)
      expect(get('DriverFeatures')).toBe(0)
      set('DriverFeatures', get('DriverFeatures') | 4)
      set('Status', ACKNOWLEDGE | DRIVER | FEATURES_OK)
      expect(get('Status') & FEATURES_OK).toBe(0)
    })

    it('what was not offered is not accepted: cloud-hypervisor#1565, #2836', () => {
      const reserved = [VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX, 1, 126]
      for (const bit of reserved) {
        expect(negotiate(VIRTIO_F_VERSION_1, bit) & FEATURES_OK, `${bit}`).toBe(0)
        set('Status', 0)
      }
    })

    it('a packed ring is packed where it is negotiated, and split where it is not: cloud-hypervisor#2833, kata#8633', () => {
      for (const { packed } of ringFormats) {
        negotiate(VIRTIO_F_VERSION_1, ...(packed ? [VIRTIO_F_RING_PACKED] : []))
        const driver = open(0, 4, packed)
        set('Status', live)
        driver.offer(chain().writable(4))
        expect([...driver.used()!.bytes], `packed: ${packed}`).toEqual([0xaa, 0xaa, 0xaa, 0xaa])
        expect(recorder.violations).toEqual([])
        set('Status', 0)
      }
    })
  })

  describe('DRIVER_OK is an edge: v86 virtio.js:439', () => {
    it('the device begins when the bit comes, and once', () => {
      negotiate(VIRTIO_F_VERSION_1)
      expect(device.log).toEqual([])
      set('Status', live)
      set('Status', live)
      expect(device.log).toEqual(['activate'])
    })

    it('status is 8 bits, whatever is written above them: zephyr#117015', () => {
      negotiate(VIRTIO_F_VERSION_1)
      set('Status', (0xdead_0000 | live) >>> 0)
      expect(get('Status')).toBe(live)
    })
  })

  describe('queue numbers out of range: CVE-2011-2512 (QEMU, a negative one), cloud-hypervisor#7917', () => {
    it.each([1, 3, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff])(
      'queue %i does not exist: reads are 0, writes and notifications do nothing',
      (queue) => {
        negotiate(VIRTIO_F_VERSION_1)
        open(queue, 4)
        expect([get('QueueSizeMax'), get('QueueReady')]).toEqual([0, 0])
        set('Status', live)
        set('QueueNotify', queue)
        set('QueueReady', 0)
        expect([device.log, recorder.violations, recorder.errors]).toEqual([['activate'], [], []])
      },
    )

    it('the queues beside are as they were', () => {
      negotiate(VIRTIO_F_VERSION_1)
      open(0xffff_ffff, 4)
      const driver = open(0, 4)
      set('Status', live)
      driver.offer(chain().writable(4))
      expect(driver.used()!.written).toBe(4)
    })
  })

  describe('queue sizes that are 0, or 0 in 16 bits, or too many: mvm#1860, CVE-2026-50626 (sddf#769), CVE-2017-17381 (QEMU)', () => {
    it.each([0, 16, 0x1_0000, 0x1_0004, 0x8000_0004, 0xffff_ffff])('%i entries', (size) => {
      negotiate(VIRTIO_F_VERSION_1)
      const driver = open(0, size)
      set('Status', live)
      driver.offer(chain().writable(4))
      expect(recorder.violations).toMatchObject([{ kind: 'queue-size', queue: 0 }])
      expect(get('Status') & DEVICE_NEEDS_RESET).toBe(DEVICE_NEEDS_RESET)
      expect(memory.changes()).toEqual([])
    })
  })

  it('a kick before the queue is ready is not lost: rust-vmm/vhost#247', () => {
    negotiate(VIRTIO_F_VERSION_1)
    const early = fakeDriver(memory, { size: 4, notify: () => set('QueueNotify', 0) })
    set('Status', live)
    early.offer(chain().writable(4))
    expect(early.used()).toBeUndefined()
    set('QueueSel', 0)
    set('QueueSize', 4)
    set('QueueDescLow', early.setup.descriptorArea)
    set('QueueDriverLow', early.setup.driverArea)
    set('QueueDeviceLow', early.setup.deviceArea)
    set('QueueReady', 1)
    expect(early.used()!.written).toBe(4)
  })
})

describe.each(ringFormats)('lengths that stand in requests, in $format rings', ({ packed }) => {
  /** A test of the whole catalogue of requests with wrong lengths is test/malformed.test.ts. */
  it('an indirection table that is longer than the request: CVE-2024-6505 (QEMU)', async () => {
    class Net extends NetDevice {
      calls = 0
      protected override transmit(): Outcome {}
      protected override setVqPairs(): Outcome {}
      protected override setRss(): Outcome {
        this.calls++
      }
    }
    const config = { max_virtqueue_pairs: 1, rss_max_indirection_table_length: 128, rss_max_key_size: 40 }
    const net = testDevice(new Net({ features: [VIRTIO_NET_F_CTRL_VQ, VIRTIO_NET_F_MQ, VIRTIO_NET_F_RSS], config }), { packed })
    // Class, command, types, mask, queue, table of 8, queues, length of the key, key.
    const request = new Uint8Array(1 + 1 + 4 + 2 + 2 + 8 * 2 + 2 + 1 + 40)
    const view = new DataView(request.buffer)
    view.setUint8(0, VIRTIO_NET_CTRL_MQ)
    view.setUint8(1, VIRTIO_NET_CTRL_MQ_RSS_CONFIG)
    view.setUint8(28, 40)
    for (const [mask, status] of [
      [7, VIRTIO_NET_OK],
      [15, VIRTIO_NET_ERR],
      [0x7fff, VIRTIO_NET_ERR],
      [0xffff, VIRTIO_NET_ERR],
    ] as const) {
      view.setUint16(6, mask, true)
      const { bytes } = await net.request(chain().readable(request).writable(1), 2)
      expect([...bytes], `mask ${mask}`).toEqual([status])
    }
    expect([net.device.calls, net.recorder.violations]).toEqual([1, []])
  })

  it('data that are longer than the request, or than the room for the answer: CVE-2023-3180 (QEMU)', async () => {
    class Cipher extends CryptoDevice {
      calls = 0
      protected override createCipherSession(): Outcome {}
      protected override destroyCipherSession(): Outcome {}
      protected override cipherDecrypt(): Outcome {}
      protected override cipherEncrypt(): Outcome {
        this.calls++
      }
    }
    const config = { max_dataqueues: 1, crypto_services: 1 << VIRTIO_CRYPTO_SERVICE_CIPHER }
    const cipher = testDevice(new Cipher({ config }), { packed })
    // A header of 72 bytes and the source.
    const request = new Uint8Array(72 + 16)
    const view = new DataView(request.buffer)
    view.setUint32(0, VIRTIO_CRYPTO_CIPHER_ENCRYPT, true)
    view.setUint32(64, VIRTIO_CRYPTO_SYM_OP_CIPHER, true)
    for (const [iv, source, target, status] of [
      [0, 16, 16, VIRTIO_CRYPTO_OK],
      [0, 17, 16, VIRTIO_CRYPTO_ERR],
      [0, 0xffff_ffff, 16, VIRTIO_CRYPTO_ERR],
      [0, 16, 17, VIRTIO_CRYPTO_ERR],
      [0, 16, 0xffff_ffff, VIRTIO_CRYPTO_ERR],
      [0xffff_ffff, 16, 16, VIRTIO_CRYPTO_ERR],
      [0xffff_fff0, 0x20, 16, VIRTIO_CRYPTO_ERR],
    ] as const) {
      view.setUint32(24, iv, true)
      view.setUint32(28, source, true)
      view.setUint32(32, target, true)
      const { writable } = await cipher.request(chain().readable(request).writable(17), 0)
      expect(writable.at(-1), `${iv}, ${source}, ${target}`).toBe(status)
    }
    expect([cipher.device.calls, cipher.recorder.violations]).toEqual([1, []])
  })
})
