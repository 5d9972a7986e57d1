/** What is copied between guest memory and arrays of our user arrives, at any alignment, of any length, through arrays that come again and ones that do not. */
import fc from 'fast-check'
import { createDeviceQueue, GuestMemory } from 'virtgen/runtime'
import { VIRTQ_DESC_F_WRITE, VirtqAvail, VirtqDesc } from 'virtgen/wire/split-ring'
import { describe, expect, it } from 'vitest'

const setup = { index: 0, size: 4, descriptorArea: 0x1000, driverArea: 0x2000, deviceArea: 0x3000 }
const buffersAt = 0x4000
/** The last bytes are no whole word of 32 or 64 bits. */
const memoryBytes = buffersAt + 1031

function setUp() {
  const bytes = new Uint8Array(memoryBytes)
  const view = new DataView(bytes.buffer)
  const fail = () => expect.unreachable()
  const queue = createDeviceQueue(new GuestMemory([{ guestAddress: 0, size: memoryBytes, source: bytes }]), setup, { notify: () => {}, fail })
  let index = 0
  /** Makes one buffer available. */
  const offer = (address: number, length: number, isWritable: boolean) => {
    view.setBigUint64(setup.descriptorArea, BigInt(address), true)
    view.setUint32(setup.descriptorArea + VirtqDesc.offsetOf.len, length, true)
    view.setUint16(setup.descriptorArea + VirtqDesc.offsetOf.flags, isWritable ? VIRTQ_DESC_F_WRITE : 0, true)
    view.setUint16(setup.driverArea + VirtqAvail.offsetOf.ring + 2 * (index % setup.size), 0, true)
    index = (index + 1) & 0xffff
    view.setUint16(setup.driverArea + VirtqAvail.offsetOf.idx, index, true)
    return queue.next()!
  }
  return { bytes, offer }
}

/** Arrays with whatever beginning, so many that some are forgotten before they come again. */
const arrays = [0, 0, 0, 4, 1, 8].map((byteOffset) => new Uint8Array(new ArrayBuffer(1104), byteOffset, 1094))
const pattern = (length: number, seed: number) => Uint8Array.from({ length }, (_, i) => seed + i * 31)

const copy = fc.record({
  array: fc.nat(arrays.length - 1),
  /** Copies through one array come one after the other. */
  times: fc.integer({ min: 1, max: 4 }),
  at: fc.nat(16),
  length: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 600 })),
  place: fc.nat(24),
  seed: fc.nat(255),
  /** The buffer ends where memory does. */
  isLast: fc.boolean(),
})

describe('bytes that are copied', () => {
  it('out of a buffer are those of the guest', () => {
    const { bytes, offer } = setUp()
    fc.assert(
      fc.property(fc.array(copy, { minLength: 1, maxLength: 8 }), (copies) => {
        for (const { array, times, at, length, place, seed, isLast } of copies)
          for (let time = 0; time < times; time++) {
            const address = isLast ? memoryBytes - length : buffersAt + place
            const content = pattern(length, seed + time)
            bytes.set(content, address)
            const target = arrays[array]!.fill(0)
            const chain = offer(address, length, false)
            expect(chain.readable.copyTo(target, at, at + length)).toBe(length)
            chain.complete()
            expect(target.subarray(at, at + length)).toEqual(content)
            expect([target[at - 1] ?? 0, target[at + length]]).toEqual([0, 0])
          }
      }),
    )
  })

  it('into a buffer are those of the device', () => {
    const { bytes, offer } = setUp()
    fc.assert(
      fc.property(fc.array(copy, { minLength: 1, maxLength: 8 }), (copies) => {
        for (const { array, times, at, length, place, seed, isLast } of copies)
          for (let time = 0; time < times; time++) {
            const address = isLast ? memoryBytes - length : buffersAt + place
            bytes.fill(0, buffersAt)
            const content = pattern(length, seed + time)
            arrays[array]!.set(content, at)
            const chain = offer(address, length, true)
            expect(chain.writable.copyFrom(arrays[array]!, at, at + length)).toBe(length)
            chain.complete(length)
            expect(bytes.subarray(address, address + length)).toEqual(content)
            expect([bytes[address - 1], bytes[address + length] ?? 0]).toEqual([0, 0])
          }
      }),
    )
  })
})
