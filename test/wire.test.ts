/** The generated accessors as their users see them, on structs of the block device and the rings. */
import fc from 'fast-check'
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { VirtioBlkReqReadable, VirtioBlkReqWritable } from 'virtgen/parts/blk'
import * as blk from 'virtgen/wire/blk'
import { VIRTIO_F_EVENT_IDX, VIRTIO_F_VERSION_1 } from 'virtgen/wire/content'
import { PvirtqEventSuppress } from 'virtgen/wire/packed-ring'
import { VirtqAvail, VirtqDesc } from 'virtgen/wire/split-ring'
import { virtio_mmio } from 'virtgen/wire/transport-mmio'
import { virtio_pci_legacy_header } from 'virtgen/wire/transport-pci'
import { describe, expect, it } from 'vitest'

const view = (length: number): DataView => new DataView(new ArrayBuffer(length))

describe('an accessor', () => {
  it('reads and writes the bytes at its place and no others', () => {
    const bytes = view(40)
    const first = new VirtqDesc().at(bytes, 0)
    const second = new VirtqDesc().at(bytes, VirtqDesc.size)
    second.addr = 0x1234_5678_9abc
    second.len = 0xffff_ffff
    second.flags = 3
    second.next = 7
    expect([first.addr, first.len, first.flags, first.next]).toEqual([0, 0, 0, 0])
    expect(Buffer.from(bytes.buffer, 16, 16).toString('hex')).toBe('bc9a785634120000ffffffff03000700')
  })

  it('walks a table with one object', () => {
    const bytes = view(4 * VirtqDesc.size)
    for (let i = 0; i < 4; i++) bytes.setUint16(i * VirtqDesc.size + VirtqDesc.offsetOf.next, i + 1, true)
    const cursor = new VirtqDesc()
    expect([0, 1, 2, 3].map((i) => cursor.at(bytes, i * VirtqDesc.size).next)).toEqual([1, 2, 3, 4])
  })

  it('refuses a place that is not inside the view', () => {
    expect(() => new VirtqDesc().at(view(16), 1)).toThrow('VirtqDesc needs 16 bytes, 15 at offset 1 of 16 bytes are too few')
    expect(() => new VirtqDesc().at(view(16), -1)).toThrow(RangeError)
    expect(() => new VirtqDesc().at(view(32), 0, 8)).toThrow(RangeError)
  })

  it('refuses values that do not fit, with the member, the value and the range', () => {
    const desc = new VirtqDesc().at(view(16))
    expect(() => {
      desc.flags = 0x1_0000
    }).toThrow('VirtqDesc.flags must be an integer from 0 to 65535, not 65536')
    for (const wrong of [-1, 1.5, Number.NaN, 2 ** 53]) {
      expect(() => {
        desc.addr = wrong
      }).toThrow(RangeError)
    }
    expect(() => {
      desc.len = '4' as never
    }).toThrow(TypeError)
    expect([desc.addr, desc.len, desc.flags]).toEqual([0, 0, 0])
  })

  it('reads a 64-bit number of 2^53 or more as one above Number.MAX_SAFE_INTEGER', () => {
    const bytes = view(16)
    bytes.setBigUint64(0, 2n ** 53n, true)
    expect(new VirtqDesc().at(bytes).addr).toBeGreaterThan(Number.MAX_SAFE_INTEGER)
    bytes.setBigUint64(0, 2n ** 64n - 1n, true)
    expect(new VirtqDesc().at(bytes).addr).toBe(2 ** 64)
  })

  it('splits bit-fields, least significant first', () => {
    const suppress = new PvirtqEventSuppress().at(view(4))
    suppress.desc_desc_event_off = 0x7abc
    suppress.desc_desc_event_wrap = 1
    suppress.flags_desc_event_flags = 2
    expect(Buffer.from(suppress.$view.buffer).toString('hex')).toBe('bcfa0200')
    expect(() => {
      suppress.desc_desc_event_off = 0x8000
    }).toThrow('from 0 to 32767, not 32768')
    expect(suppress.desc_desc_event_wrap).toBe(1)
  })

  it('reaches into nested structs', () => {
    const config = new blk.VirtioBlkConfig().at(view(96))
    config.geometry.heads = 16
    config.topology.opt_io_size = 128
    expect(config.$view.getUint8(18)).toBe(16)
    expect(config.$view.getUint32(28, true)).toBe(128)
  })
})

describe('a struct whose layout depends on the negotiation', () => {
  const layout = (...features: number[]) => VirtqAvail.layout({ features: FeatureSet.of(...features), queueSize: 4 })

  it('has its conditional members where and when they are there', () => {
    expect(layout().$size).toBe(12)
    expect(layout(VIRTIO_F_EVENT_IDX)).toMatchObject({ $size: 14, used_event: 12 })
    const avail = new VirtqAvail(layout(VIRTIO_F_EVENT_IDX)).at(view(14))
    avail.used_event = 0x1234
    avail.set_ring(3, 9)
    expect(Buffer.from(avail.$view.buffer).toString('hex')).toBe('00000000000000000000' + '0900' + '3412')
  })

  it('reads an absent member as undefined and refuses to write it, naming the condition', () => {
    const avail = new VirtqAvail(layout()).at(view(12))
    expect(avail.used_event).toBeUndefined()
    expect(() => {
      avail.used_event = 1
    }).toThrow('VirtqAvail.used_event is not there: it exists only with VIRTIO_F_EVENT_IDX')
    expect(VirtqAvail.decode(new Uint8Array(12), { features: FeatureSet.empty, queueSize: 4 })).toEqual({ flags: 0, idx: 0, ring: [0, 0, 0, 0] })
  })

  it('refuses arrays of another length than the layout has', () => {
    expect(() => VirtqAvail.encode({ ring: [1, 2, 3] }, { features: FeatureSet.empty, queueSize: 4 })).toThrow(
      'VirtqAvail.ring must have 4 elements, not 3',
    )
  })
})

describe('a struct with an open member', () => {
  it('takes all that is left, and finds what follows from the end', () => {
    const writable = VirtioBlkReqWritable.encode({ data: Uint8Array.of(1, 2, 3), status: blk.VIRTIO_BLK_S_UNSUPP })
    expect([...writable]).toEqual([1, 2, 3, 2])
    expect(VirtioBlkReqWritable.decode(writable)).toEqual({ data: Uint8Array.of(1, 2, 3), status: 2 })
    expect(VirtioBlkReqWritable.decode(Uint8Array.of(1))).toEqual({ data: new Uint8Array(0), status: 1 })
    expect(() => VirtioBlkReqWritable.decode(new Uint8Array(0))).toThrow(RangeError)
  })

  it('gives views of payload, not copies', () => {
    const bytes = view(20)
    const request = new VirtioBlkReqReadable().at(bytes)
    request.data[0] = 42
    expect(bytes.getUint8(16)).toBe(42)
  })
})

describe('a chapter', () => {
  it('says what a set of features lacks', () => {
    const set = FeatureSet.of(blk.VIRTIO_BLK_F_ZONED)
    expect(blk.checkFeatures(set)).toEqual([{ feature: 'VIRTIO_BLK_F_ZONED', requires: 'VIRTIO_F_VERSION_1' }])
    expect(blk.checkFeatures(set.with(VIRTIO_F_VERSION_1))).toEqual([])
  })

  it('has its registers by name', () => {
    expect(virtio_mmio.MagicValue).toEqual({ offset: 0, width: 4, access: 'r', value: 0x74726976 })
    expect(virtio_mmio.QueueDescHigh).toMatchObject({ offset: 0x84, bank: ['QueueSel'], pair: { name: 'QueueDesc', low: 'QueueDescLow' } })
  })

  it('knows registers that move', () => {
    const { config, isr_status } = virtio_pci_legacy_header
    expect([0, 1].map((msix) => config.at({ caller: { msix } }))).toEqual([20, 24])
    expect([config.offset, isr_status.offset]).toEqual([-1, 19])
  })
})

describe('decode and encode', () => {
  it('are the inverse of each other for every byte string of a fixed struct without reserved members', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
        bytes.fill(0, 6, 8) // addresses up to 2^48, which a number holds
        expect(VirtqDesc.encode(VirtqDesc.decode(bytes))).toEqual(bytes)
      }),
    )
  })

  it('write zero for what is missing', () => {
    expect(Buffer.from(blk.VirtioBlkConfig.encode({ capacity: 1 })).toString('hex')).toBe(`01${'00'.repeat(95)}`)
  })
})
