/** A kernel's image (bzImage) with the kernel in it as it is, instead of compressed: unpacking it costs the guest two seconds, and us half of one. */
import { execFileSync } from 'node:child_process'

/** Offsets in the header, and in the structures of ELF. Linux's Documentation/arch/x86/boot.rst; the ELF specification. */
const header = { setupSectors: 0x1f1, paragraphs: 0x1f4, magic: 0x202, payload: 0x248, payloadLength: 0x24c }
const elf = { class: 4, entry: 24, segments: 28, segmentSize: 42, segmentCount: 44 }
const segment = { type: 0, offset: 4, address: 12, length: 16 }
const headerMagic = 0x53726448
const elfMagic = 0x464c457f
const class32 = 1
const loadable = 1
const sectorSize = 512
const paragraphSize = 16
/** Where the part after the setup is loaded. */
const loadedAt = 0x100000

/**
 * @param image - compressed with xz, as Debian's are
 * @param programs - what unpacks xz, the first that works is taken
 * @throws Error where none does, or the image is of another kind
 */
export function unpackedKernel(image: Buffer, programs: readonly (readonly string[])[]): Buffer {
  if (image.readUInt32LE(header.magic) !== headerMagic) throw new Error('the kernel is no bzImage')
  const setup = Buffer.from(image.subarray(0, ((image[header.setupSectors] || 4) + 1) * sectorSize))
  const payload = setup.length + image.readUInt32LE(header.payload)
  const kernel = flat(unpack(image.subarray(payload, payload + image.readUInt32LE(header.payloadLength)), programs))
  const body = Buffer.alloc(moverSize + kernel.bytes.length + (-kernel.bytes.length & (paragraphSize - 1)))
  moverCode(kernel, loadedAt + moverSize).copy(body)
  kernel.bytes.copy(body, moverSize)
  setup.writeUInt32LE(body.length / paragraphSize, header.paragraphs)
  return Buffer.concat([setup, body])
}

function unpack(payload: Buffer, programs: readonly (readonly string[])[]): Buffer {
  const reasons: string[] = []
  for (const [program = '', ...args] of programs)
    try {
      // The length of what it unpacks to is behind the stream.
      return execFileSync(program, args, { input: payload.subarray(0, -4), maxBuffer: 2 ** 28, stdio: ['pipe', 'pipe', 'pipe'] })
    } catch (error) {
      reasons.push(String(error))
    }
  throw new Error(`the kernel cannot be unpacked:\n${reasons.join('\n')}`)
}

interface FlatKernel {
  /** A multiple of four. */
  readonly bytes: Buffer
  /** Where the bytes belong, and where the kernel begins: physical. */
  readonly address: number
  readonly entry: number
}

/** The loadable segments, each at its distance from the first. */
function flat(file: Buffer): FlatKernel {
  if (file.readUInt32LE(0) !== elfMagic || file[elf.class] !== class32) throw new Error('the kernel is no ELF file of 32 bits')
  const segments = Array.from({ length: file.readUInt16LE(elf.segmentCount) }, (_, index) => {
    const at = file.readUInt32LE(elf.segments) + index * file.readUInt16LE(elf.segmentSize)
    const read = (offset: number): number => file.readUInt32LE(at + offset)
    return { type: read(segment.type), offset: read(segment.offset), address: read(segment.address), length: read(segment.length) }
  }).filter(({ type }) => type === loadable)
  const address = Math.min(...segments.map((each) => each.address))
  const end = Math.max(...segments.map((each) => each.address + each.length))
  const bytes = Buffer.alloc(end - address + (-(end - address) & 3))
  for (const each of segments) file.copy(bytes, each.address - address, each.offset, each.offset + each.length)
  return { bytes, address, entry: file.readUInt32LE(elf.entry) }
}

const moverSize = 64

/** Moves the kernel to its place, from its end on as the two may overlap, and begins it: interrupts are off, segments flat, and ESI has the address of what the setup found. */
function moverCode({ bytes, address, entry }: FlatKernel, from: number): Buffer {
  const word = (value: number): number[] => [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24]
  const last = bytes.length - 4
  return Buffer.from([
    ...[0x89, 0xf2], // mov edx, esi
    ...[0xb9, ...word(bytes.length / 4)], // mov ecx, words
    ...[0xbe, ...word(from + last)], // mov esi, from
    ...[0xbf, ...word(address + last)], // mov edi, to
    ...[0xfd, 0xf3, 0xa5, 0xfc], // std; rep movsd; cld
    ...[0x89, 0xd6, 0x31, 0xdb], // mov esi, edx; xor ebx, ebx
    ...[0xb8, ...word(entry), 0xff, 0xe0], // mov eax, entry; jmp eax
  ])
}
