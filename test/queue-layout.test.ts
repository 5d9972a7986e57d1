/** Where the areas of a queue may lie, and how large a queue can be. */
import { describe, expect, it } from 'vitest'
import { createDriverQueue } from '../runtime/driver-queue.ts'
import { GuestMemory } from '../runtime/memory.ts'
import { negotiateQueueSize, placeQueue, queueLayout } from '../runtime/queue-layout.ts'

describe('the layout of a queue', () => {
  it('has the sizes and alignments of the tables in the text', () => {
    const { descriptorArea, driverArea, deviceArea } = queueLayout({ size: 8 })
    expect([descriptorArea, driverArea, deviceArea].map(({ size, alignment }) => [size, alignment])).toEqual([
      [16 * 8, 16],
      [6 + 2 * 8, 2],
      [6 + 8 * 8, 4],
    ])
    const packed = queueLayout({ size: 7, packed: true })
    expect([packed.descriptorArea, packed.driverArea, packed.deviceArea].map(({ size, alignment }) => [size, alignment])).toEqual([
      [16 * 7, 16],
      [4, 4],
      [4, 4],
    ])
  })

  it('puts areas and requests beside each other, none over another, and what each side writes into cache lines of its own', () => {
    for (const packed of [false, true])
      for (const size of packed ? [1, 7, 256, 1000, 32768] : [1, 2, 256, 32768])
        for (const requestSize of [0, 1, 16, 99]) {
          const layout = queueLayout({ size, packed, requestSize })
          const { descriptorArea, driverArea, deviceArea, requests } = layout
          const areas = [descriptorArea, driverArea, deviceArea, ...(requests ? [requests] : [])]
          let end = 0
          for (const area of areas) {
            expect(area.offset).toBeGreaterThanOrEqual(end)
            expect(area.offset % area.alignment).toBe(0)
            end = area.offset + area.size
          }
          expect(layout).toMatchObject({ queueSize: size, size: end })
          expect(Math.floor(deviceArea.offset / 64)).toBeGreaterThan(Math.floor((driverArea.offset + driverArea.size - 1) / 64))
          if (requestSize === 0) expect(requests).toBeUndefined()
          else expect([requests!.stride >= requestSize, requests!.stride % 8, requests!.size]).toEqual([true, 0, requests!.stride * size])
        }
  })

  it('is a place for a queue, wherever it begins', () => {
    for (const packed of [false, true]) {
      const layout = queueLayout({ size: 4, packed, requestSize: 10, requestAlignment: 128 })
      expect(layout.alignment).toBe(128)
      const memory = GuestMemory.of(new Uint8Array(0x1000), 0x4000)
      const setup = placeQueue(layout, 2, 0x4080)
      expect(setup).toMatchObject({ index: 2, size: 4, descriptorArea: 0x4080, deviceArea: 0x4080 + layout.deviceArea.offset })
      expect(() => createDriverQueue(memory, setup, { packed, notify() {}, fail() {} })).not.toThrow()
      expect(() => placeQueue(layout, 2, 0x4040)).toThrow(RangeError)
    }
  })

  it('is that of legacy interfaces with a Queue Align', () => {
    for (const queueAlign of [4, 64, 4096])
      for (const size of [1, 8, 256, 1024]) {
        const { descriptorArea, driverArea, deviceArea, size: whole, alignment } = queueLayout({ size, queueAlign })
        const upTo = (value: number) => Math.ceil(value / queueAlign) * queueAlign
        // The formula of the text, without its slip: ~qalign is ~(qalign - 1).
        expect([descriptorArea.offset, driverArea.offset]).toEqual([0, 16 * size])
        expect(deviceArea.offset).toBe(upTo(16 * size + 2 * (3 + size)))
        expect(whole).toBe(deviceArea.offset + upTo(2 * 3 + 8 * size))
        expect(alignment).toBe(Math.max(64, queueAlign))
      }
    expect(queueLayout({ size: 8, queueAlign: 4096, requestSize: 16 }).requests).toMatchObject({ offset: 8192, size: 128 })
    for (const queueAlign of [0, 2, 100, 1.5, -4096]) expect(() => queueLayout({ size: 8, queueAlign })).toThrow(RangeError)
    expect(() => queueLayout({ size: 8, packed: true, queueAlign: 4096 })).toThrow(RangeError)
  })

  it('is refused for what no queue can be', () => {
    for (const size of [0, 3, 65536, 1.5, -1]) expect(() => queueLayout({ size })).toThrow(RangeError)
    for (const size of [0, 32769, 1.5]) expect(() => queueLayout({ size, packed: true })).toThrow(RangeError)
    expect(() => queueLayout({ size: 4, requestSize: -1 })).toThrow(RangeError)
    expect(() => queueLayout({ size: 4, requestSize: 8, requestAlignment: 12 })).toThrow(RangeError)
  })
})

describe('the size of a queue', () => {
  it('is what is wanted and what the device has, downwards to a power of 2 where the ring is split', () => {
    for (const [max, wanted, split, packed] of [
      [256, 128, 128, 128],
      [256, 1000, 256, 256],
      [1000, 1024, 512, 1000],
      [7, 7, 4, 7],
      [1, 5, 1, 1],
      [0xffff_ffff, 100_000, 32768, 32768],
      [0, 8, 0, 0],
    ] as const) {
      expect(negotiateQueueSize(max, wanted), `${max}, ${wanted}`).toBe(split)
      expect(negotiateQueueSize(max, wanted, { packed: true }), `${max}, ${wanted}`).toBe(packed)
    }
  })

  it('must be wanted', () => {
    for (const wanted of [0, -1, 1.5, Number.NaN]) expect(() => negotiateQueueSize(8, wanted)).toThrow(RangeError)
  })
})
