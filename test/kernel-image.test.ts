/** What the guests of the examples boot: a kernel unpacked ahead. */
import { describe, expect, it } from 'vitest'
import { unpackedKernel } from '../examples/v86/guest/kernel-image.ts'

const setupSectors = 2
const setupLength = (setupSectors + 1) * 512
const first = { address: 0x1000000, bytes: Buffer.from('the text') }
const second = { address: 0x1000020, bytes: Buffer.from('the data') }
/** Stands for what unpacks. */
const asItIs = [['cat']]

/** An ELF file of 32 bits with two segments to load, and one of another kind. */
function kernelFile(): Buffer {
  const segments = [first, second, { address: 0, bytes: Buffer.alloc(0) }]
  const file = Buffer.alloc(52 + 32 * segments.length)
  file.write('\x7fELF\x01', 'latin1')
  file.writeUInt32LE(first.address, 24)
  file.writeUInt32LE(52, 28)
  file.writeUInt16LE(32, 42)
  file.writeUInt16LE(segments.length, 44)
  let offset = file.length
  for (const [index, { address, bytes }] of segments.entries()) {
    for (const [word, value] of [address === 0 ? 4 : 1, offset, 0, address, bytes.length].entries())
      file.writeUInt32LE(value, 52 + 32 * index + 4 * word)
    offset += bytes.length
  }
  return Buffer.concat([file, first.bytes, second.bytes])
}

function imageOf(file: Buffer): Buffer {
  const setup = Buffer.alloc(setupLength)
  setup[0x1f1] = setupSectors
  setup.write('HdrS', 0x202)
  setup.writeUInt32LE(16, 0x248)
  setup.writeUInt32LE(file.length + 4, 0x24c)
  return Buffer.concat([setup, Buffer.alloc(16), file, Buffer.alloc(4)])
}

describe('a kernel unpacked ahead', () => {
  it('has its segments at their distances, behind what moves them to their place', () => {
    const image = unpackedKernel(imageOf(kernelFile()), asItIs)
    const flat = image.subarray(setupLength + 64)
    expect(flat.subarray(0, 8).toString()).toBe('the text')
    expect(flat.subarray(0x20, 0x28).toString()).toBe('the data')
    expect(flat.subarray(8, 0x20).every((byte) => byte === 0)).toBe(true)
    const mover = image.subarray(setupLength)
    expect(mover.readUInt32LE(3)).toBe(0x28 / 4)
    expect(mover.readUInt32LE(8)).toBe(0x100000 + 64 + 0x28 - 4)
    expect(mover.readUInt32LE(13)).toBe(first.address + 0x28 - 4)
  })

  it('says its new length in paragraphs, which loaders copy', () => {
    const image = unpackedKernel(imageOf(kernelFile()), asItIs)
    expect(image.readUInt32LE(0x1f4) * 16).toBe(image.length - setupLength)
  })

  it('takes the first program that works', () => {
    const programs = [['there-is-no-such-program'], ['false'], ...asItIs]
    expect(unpackedKernel(imageOf(kernelFile()), programs)).toEqual(unpackedKernel(imageOf(kernelFile()), asItIs))
  })

  it('is refused where none does, or the image is of another kind', () => {
    expect(() => unpackedKernel(imageOf(kernelFile()), [['false']])).toThrow('cannot be unpacked')
    expect(() => unpackedKernel(Buffer.alloc(4096), asItIs)).toThrow('no bzImage')
    expect(() => unpackedKernel(imageOf(Buffer.alloc(256)), asItIs)).toThrow('no ELF file of 32 bits')
  })
})
