/** The allocator behind driver clients. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DriverError } from '../runtime/driver/host.ts'
import { type DmaBuffer, DriverMemory } from '../runtime/driver/memory.ts'
import { GuestMemory } from '../runtime/memory.ts'

const make = (address = 0x1000, length = 0x1000) => new DriverMemory(GuestMemory.of(new Uint8Array(0x4000)), address, length)

/** Says whether a piece finds a place between these, from 0x1000 to 0x2000. */
function hasRoom(buffers: readonly DmaBuffer[], length: number, alignment: number): boolean {
  const size = Math.ceil(length / 16) * 16
  for (let at = 0x1000; at + size <= 0x2000; at += Math.max(16, alignment))
    if (buffers.every((buffer) => at + size <= buffer.address || buffer.address + buffer.length <= at)) return true
  return false
}

describe('driver memory', () => {
  it('gives aligned pieces that do not overlap, inside its range, and joins what comes back', () => {
    const command = fc.oneof(
      fc.record({ kind: fc.constant('allocate' as const), length: fc.integer({ min: 1, max: 700 }), alignment: fc.constantFrom(1, 2, 16, 64, 256) }),
      fc.record({ kind: fc.constant('free' as const), which: fc.nat() }),
    )
    fc.assert(
      fc.property(fc.array(command, { maxLength: 100 }), (commands) => {
        const memory = make()
        const buffers: DmaBuffer[] = []
        for (const step of commands) {
          if (step.kind === 'free') {
            if (buffers.length > 0) memory.free(buffers.splice(step.which % buffers.length, 1)[0]!)
            continue
          }
          let buffer: DmaBuffer
          try {
            buffer = memory.allocate(step.length, step.alignment)
          } catch (error) {
            expect((error as DriverError).kind).toBe('memory')
            expect(hasRoom(buffers, step.length, step.alignment)).toBe(false)
            continue
          }
          expect(buffer.address % Math.max(16, step.alignment)).toBe(0)
          expect(buffer.length).toBe(step.length)
          expect(buffer.address >= 0x1000 && buffer.address + buffer.length <= 0x2000).toBe(true)
          expect(buffer.bytes.every((byte) => byte === 0)).toBe(true)
          for (const other of buffers)
            expect(buffer.address + buffer.length <= other.address || other.address + other.length <= buffer.address).toBe(true)
          buffer.bytes.fill(0xaa)
          buffers.push(buffer)
        }
        for (const buffer of buffers) memory.free(buffer)
        expect(memory.available).toBe(0x1000)
        expect(memory.allocate(0x1000).address).toBe(0x1000)
      }),
    )
  })

  it('says so when there is nothing left', () => {
    const memory = make()
    memory.allocate(0xff0)
    expect(() => memory.allocate(17)).toThrow(new DriverError('memory', 'there are no 17 bytes left of the 4096 bytes of driver memory'))
    expect(memory.allocate(16).length).toBe(16)
  })

  it('says it with undefined to whom it is no error, until enough comes back', () => {
    const memory = make()
    const [first, second] = [memory.allocate(0x800), memory.allocate(0x7e0)]
    expect([memory.tryAllocate(0x30), memory.tryAllocate(0x21), memory.tryAllocate(0x20, 64)?.address]).toEqual([undefined, undefined, undefined])
    expect(memory.tryAllocate(0x20)?.address).toBe(0x1fe0)
    memory.free(first)
    expect(memory.tryAllocate(0x800)?.address).toBe(0x1000)
    memory.free(second)
    expect(memory.tryAllocate(0x7e0)?.address).toBe(0x1800)
  })

  it('gives nothing that was unplugged, and gives it when it is back', () => {
    const guest = new GuestMemory([{ guestAddress: 0x1000, size: 0x1000, source: new Uint8Array(0x1000) }])
    const memory = new DriverMemory(guest, 0x1000, 0x1000)
    guest.replace([{ guestAddress: 0x8000, size: 0x1000, source: new Uint8Array(0x1000) }])
    expect(memory.tryAllocate(16)).toBeUndefined()
    expect(() => memory.allocate(16)).toThrow(DriverError)
    guest.replace([{ guestAddress: 0x1000, size: 0x1000, source: new Uint8Array(0x1000) }])
    expect([memory.tryAllocate(0x1000)?.address, memory.available]).toEqual([0x1000, 0])
  })

  it('does not give out address 0', () => {
    const memory = make(0, 0x100)
    expect(memory.allocate(16).address).toBe(16)
  })

  it('refuses wrong calls', () => {
    const memory = make()
    for (const length of [0, -1, 1.5, Number.NaN]) expect(() => memory.allocate(length)).toThrow(RangeError)
    for (const alignment of [0, 3, -2, 0.5]) expect(() => memory.allocate(16, alignment)).toThrow(RangeError)
    expect(() => make(0x3000, 0x1001)).toThrow(RangeError)
    expect(() => make(0, 0)).toThrow(RangeError)
    const buffer = memory.allocate(16)
    expect(() => make().free(buffer)).toThrow('not one of this memory')
    memory.free(buffer)
    expect(() => memory.free(buffer)).toThrow('was freed before')
    expect(() => buffer.bytes).toThrow('was freed')
  })

  it('shows the bytes in place, also when the memory gets another buffer', () => {
    const source = { buffer: new ArrayBuffer(0x1000) }
    const memory = new DriverMemory(new GuestMemory([{ guestAddress: 0x8000, size: 0x1000, source }]), 0x8100, 0x100)
    const buffer = memory.allocate(20)
    const part = buffer.part(4, 3)
    part.bytes.set([1, 2, 3])
    expect([part.address, new Uint8Array(source.buffer)[0x106]]).toEqual([0x8104, 3])
    source.buffer = structuredClone(source.buffer, { transfer: [source.buffer] })
    expect([...buffer.bytes.subarray(4, 7)]).toEqual([1, 2, 3])
    for (const [offset, length] of [
      [0, 21],
      [-1, 2],
      [20, 1],
      [0, 0],
    ] as const)
      expect(() => buffer.part(offset, length)).toThrow(RangeError)
  })
})
