/** Buffers whose addresses differ in the upper 32 bits alone, or by so much that a difference of 32 bits says nothing. */
import { createDeviceQueue, GuestMemory } from 'virtgen/runtime'
import { VIRTQ_DESC_F_NEXT, VirtqAvail, VirtqDesc } from 'virtgen/wire/split-ring'
import { describe, expect, it } from 'vitest'

const ringAt = 0x10_0000
const setup = { index: 0, size: 4, descriptorArea: ringAt, driverArea: ringAt + 0x1000, deviceArea: ringAt + 0x2000 }

/** A region for the ring, and one of 768 MiB that begins below 4 GiB and ends above. The host gives it pages only where they are written. */
function setUp() {
  const low = new Uint8Array(0x20_0000)
  const high = new Uint8Array(0x3000_0000)
  const memory = new GuestMemory([
    { guestAddress: 0, size: low.length, source: low },
    { guestAddress: 0xf000_0000, size: high.length, source: high },
  ])
  const kinds: string[] = []
  const queue = createDeviceQueue(memory, setup, { notify: () => {}, fail: ({ kind }) => kinds.push(kind) })
  const view = new DataView(low.buffer)
  let index = 0
  /** Makes a chain of buffers of 16 bytes available. */
  const offer = (...addresses: number[]) => {
    addresses.forEach((address, i) => {
      const at = setup.descriptorArea + i * VirtqDesc.size
      view.setBigUint64(at, BigInt(address), true)
      view.setUint32(at + 8, 16, true)
      view.setUint16(at + 12, i < addresses.length - 1 ? VIRTQ_DESC_F_NEXT : 0, true)
      view.setUint16(at + 14, i + 1, true)
    })
    view.setUint16(setup.driverArea + VirtqAvail.offsetOf.ring + 2 * (index % setup.size), 0, true)
    view.setUint16(setup.driverArea + VirtqAvail.offsetOf.idx, ++index, true)
    return queue.next()
  }
  return { memory, high, kinds, offer }
}

describe('a device queue', () => {
  it('reads buffers on both sides of 4 GiB, and one across', () => {
    const { high, offer } = setUp()
    const addresses = [0xf000_1000, 0xffff_fff8, 0x1_0000_1000, 0x1_1fff_fff0]
    for (const [i, address] of addresses.entries()) high.fill(i + 1, address - 0xf000_0000, address - 0xf000_0000 + 16)
    for (let round = 0; round < 3; round++) {
      const chain = offer(...addresses)!
      const bytes = new Uint8Array(64)
      expect([chain.readable.copyTo(bytes), [...bytes.filter((_, i) => i % 16 === 0)]]).toEqual([64, [1, 2, 3, 4]])
      chain.complete()
    }
  })

  it.each([0x1000_0000, 0x1_f000_0000, 0x1_2000_0000, 2 ** 52 + 0xf000_0000])('refuses a buffer at %i behind one that is there', (address) => {
    const { kinds, offer } = setUp()
    for (let round = 0; round < 3; round++) offer(0xf000_1000)!.complete()
    expect([offer(address), kinds]).toEqual([undefined, ['descriptor-address']])
  })

  it.each([0x1000_0000, 0x1_f000_0000])('gives zeros where memory at %i was taken away, whatever was copied before', (address) => {
    const { memory, high, offer } = setUp()
    high.fill(7, 0, 0x2000)
    const regions = memory.regions.map(({ guestAddress, size, u8 }) => ({ guestAddress, size, source: u8 }))
    memory.replace([...regions, { guestAddress: address, size: 4096, source: new Uint8Array(4096).fill(9) }])
    const chain = offer(0xf000_1000, address)!
    memory.replace(regions)
    const bytes = new Uint8Array(32).fill(1)
    for (let round = 0; round < 3; round++) expect([chain.readable.rewind().copyTo(bytes), bytes[0], bytes[16], bytes[31]]).toEqual([32, 7, 0, 0])
  })
})
