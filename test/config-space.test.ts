/** The configuration space as the device and, through a transport, the driver see it. */
import fc from 'fast-check'
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { VIRTIO_BLK_F_CONFIG_WCE, VirtioBlkConfig } from 'virtgen/wire/blk'
import { VirtqDesc } from 'virtgen/wire/split-ring'
import { describe, expect, it } from 'vitest'
import { type ConfigField, ConfigSpace } from '../runtime/config-space.ts'
import { restoreConfig, saveConfig } from '../runtime/config-state.ts'

const none = FeatureSet.empty
const fields: readonly ConfigField[] = [
  { name: 'first', offset: 0, width: 4, access: 'r' },
  { name: 'second', offset: 4, width: 2, access: 'rw' },
  { name: 'third', offset: 6, width: 1, access: 'w' },
  { name: 'fourth', offset: 7, width: 1, access: 'rw', writable: (features) => features.has(VIRTIO_BLK_F_CONFIG_WCE) },
  { name: 'fifth', offset: 8, width: 1, access: 'rc' },
]
const filled = (length: number): Uint8Array => Uint8Array.from({ length }, (_, index) => 0xf0 + index)
const space = (): ConfigSpace => new ConfigSpace(filled(10), fields)

describe('the driver reads a configuration space', () => {
  it('as unsigned little-endian numbers of 1, 2 and 4 bytes at any alignment', () => {
    expect(space().read(0, 4)).toBe(0xf3f2f1f0)
    expect(space().read(1, 4)).toBe(0xf4f3f2f1)
    expect(space().read(3, 2)).toBe(0xf4f3)
    expect(space().read(5, 1)).toBe(0xf5)
  })

  it('with zeros for write-only bytes and for those outside', () => {
    expect(space().read(4, 4)).toBe(0xf700f5f4)
    expect(space().read(9, 4)).toBe(0xf9)
    for (const offset of [10, 1000, 2 ** 40, -1, -4, 0.5, Number.NaN, Number.POSITIVE_INFINITY]) expect(space().read(offset, 4)).toBe(0)
    for (const width of [0, 3, 8, -1, Number.NaN]) expect(space().read(0, width)).toBe(0)
  })

  it('and clears what is cleared by reading', () => {
    const config = space()
    expect([config.read(8, 1), config.read(8, 1)]).toEqual([0xf8, 0])
  })
})

describe('the driver writes a configuration space', () => {
  it('where it may, and learns of every field that it wrote, also with the same value', () => {
    const config = space()
    expect(config.write(4, 2, 0x1234, none)).toEqual(['second'])
    expect(config.write(4, 2, 0x1234, none)).toEqual(['second'])
    expect(config.write(6, 1, 9, none)).toEqual(['third'])
    expect([...config.bytes.subarray(4, 7)]).toEqual([0x34, 0x12, 9])
  })

  it('over several fields at once, of which some stay', () => {
    const config = space()
    expect(config.write(2, 4, 0x44332211, none)).toEqual(['second'])
    expect([...config.bytes.subarray(0, 7)]).toEqual([0xf0, 0xf1, 0xf2, 0xf3, 0x33, 0x44, 0xf6])
    expect(config.write(5, 1, 0x155, none)).toEqual(['second'])
    expect(config.bytes[5]).toBe(0x55)
    expect(config.write(4, 4, 0xffffffff, none)).toEqual(['second', 'third'])
    expect([...config.bytes.subarray(0, 10)]).toEqual([0xf0, 0xf1, 0xf2, 0xf3, 0xff, 0xff, 0xff, 0xf7, 0xf8, 0xf9])
  })

  it('under the condition of the access', () => {
    const config = space()
    expect(config.write(7, 1, 1, none)).toEqual([])
    expect(config.write(7, 1, 1, FeatureSet.of(VIRTIO_BLK_F_CONFIG_WCE))).toEqual(['fourth'])
    expect(config.bytes[7]).toBe(1)
  })

  it('without effect on read-only bytes, padding, and places outside', () => {
    const config = space()
    for (const [offset, width] of [
      [0, 4],
      [8, 2],
      [10, 4],
      [-4, 4],
      [2 ** 53, 4],
      [4, 8],
      [4, 3],
      [4.5, 2],
    ] as const)
      expect(config.write(offset, width, 0x55555555, none)).toEqual([])
    expect(config.bytes).toEqual(filled(10))
  })

  it('to clear bits of another field with ones', () => {
    const clear = { name: 'clear', offset: 4, width: 4, access: 'rw', clears: 0 } as const
    const config = new ConfigSpace(Uint8Array.of(0xff, 0x0f, 0, 0x80, 0, 0, 0, 0), [{ name: 'pending', offset: 0, width: 4, access: 'r' }, clear])
    expect(config.write(4, 4, 0x8000_0101, none)).toEqual(['clear'])
    expect([...config.bytes]).toEqual([0xfe, 0x0e, 0, 0, 0, 0, 0, 0])
    expect(config.write(5, 1, 0x06, none)).toEqual(['clear'])
    expect([...config.bytes]).toEqual([0xfe, 0x08, 0, 0, 0, 0, 0, 0])
  })

  it('without any effect outside of writable fields, whatever it does', () => {
    const places = fc.record({
      offset: fc.integer({ min: -6, max: 14 }),
      width: fc.integer({ min: -1, max: 9 }),
      value: fc.integer({ max: 2 ** 32 }),
    })
    fc.assert(
      fc.property(fc.array(places), (writes) => {
        const config = space()
        for (const { offset, width, value } of writes) config.write(offset, width, value, none)
        expect([...config.bytes.subarray(0, 4), ...config.bytes.subarray(7)]).toEqual([...filled(10).subarray(0, 4), ...filled(10).subarray(7)])
      }),
    )
  })
})

describe('the device changes a configuration space', () => {
  it('consistently: the generation grows and the driver is told once, after the bytes have changed', () => {
    const config = new ConfigSpace(new Uint8Array(VirtioBlkConfig.size), [], new VirtioBlkConfig())
    const told: [number, number][] = []
    config.onChange = () => told.push([config.generation, config.read(VirtioBlkConfig.offsetOf.capacity, 4)])
    config.update((block) => {
      block.capacity = 77
      block.size_max = 5
    })
    expect(told).toEqual([[1, 77]])
    expect(config.fields?.size_max).toBe(5)
  })

  it('through the bytes where there is no accessor', () => {
    const config = space()
    config.update((bare) => bare.$view.setUint8(9, 1))
    expect([config.fields, config.read(9, 1), config.generation]).toEqual([undefined, 1, 1])
  })

  it('and tells the driver also when the change fails half-way', () => {
    const config = space()
    let told = 0
    config.onChange = () => told++
    expect(() =>
      config.update(() => {
        throw new Error('half-way')
      }),
    ).toThrow('half-way')
    expect([told, config.generation]).toEqual([1, 1])
  })

  it('with a generation of 32 bits that wraps', () => {
    const config = space()
    restoreConfig(config, saveConfig(config), 0xffff_ffff)
    config.update(() => {})
    expect(config.generation).toBe(0)
  })
})

describe('a configuration space', () => {
  it('keeps bytes of its own', () => {
    const bytes = filled(4)
    const config = new ConfigSpace(bytes)
    bytes[0] = 0
    expect(config.read(0, 1)).toBe(0xf0)
    expect(ConfigSpace.empty().length).toBe(0)
    expect(ConfigSpace.empty()).not.toBe(ConfigSpace.empty())
  })

  it('holds what is given by the names of members, as `encode` would write it', () => {
    const values = { capacity: 2 ** 40, geometry: { heads: 3, sectors: 63 }, writeback: 1 }
    const config = new ConfigSpace(new Uint8Array(VirtioBlkConfig.size), [], new VirtioBlkConfig(), values)
    expect(config.bytes).toEqual(VirtioBlkConfig.encode(values as never))
    expect(() => new ConfigSpace(new Uint8Array(VirtioBlkConfig.size), [], new VirtioBlkConfig(), { num_queues: 65_536 })).toThrow(
      'num_queues must be an integer from 0 to 65535, not 65536',
    )
    expect(() => new ConfigSpace(new Uint8Array(4), [], new VirtioBlkConfig(), values)).toThrow(RangeError)
  })

  it('survives saving and restoring, with the generation, and tells nobody', () => {
    const config = space()
    const other = new ConfigSpace(new Uint8Array(10), fields)
    other.onChange = () => expect.unreachable()
    restoreConfig(other, saveConfig(config), 5)
    expect(other.bytes).toEqual(config.bytes)
    expect(other.generation).toBe(5)
    expect(saveConfig(config)).toBe('f0f1f2f3f4f5f6f7f8f9')
  })

  it('refuses what it has not saved', () => {
    for (const wrong of ['', 'f0', 'g0f1f2f3f4f5f6f7f8f9', 7 as never, undefined as never]) {
      const config = space()
      expect(() => restoreConfig(config, wrong)).toThrow('config must be 20 hexadecimal digits, for a configuration space of 10 bytes')
      expect(config.bytes).toEqual(filled(10))
    }
    expect(() => restoreConfig(space(), saveConfig(space()), -1)).toThrow(RangeError)
  })

  it('refuses fields and accessors that do not lie in its bytes', () => {
    expect(() => new ConfigSpace(new Uint8Array(2), fields)).toThrow('first, 4 bytes at 0, does not lie in a configuration space of 2 bytes')
    expect(() => new ConfigSpace(new Uint8Array(2), [], new VirtqDesc())).toThrow('VirtqDesc needs 16 bytes')
  })
})

describe('a reset of the device', () => {
  it('gives fields their value after reset, and the others stay', () => {
    const config = new ConfigSpace(filled(8), [
      { name: 'default', offset: 1, width: 4, access: 'rw', reset: 0x01020304 },
      { name: 'other', offset: 5, width: 2, access: 'rw' },
    ])
    let told = 0
    config.onChange = () => told++
    config.reset()
    expect([...config.bytes]).toEqual([0xf0, 4, 3, 2, 1, 0xf5, 0xf6, 0xf7])
    expect([config.generation, told]).toEqual([1, 0])
    config.reset()
    expect(config.generation).toBe(1)
  })
})
