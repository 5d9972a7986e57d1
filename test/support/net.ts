/** Frames and networks for tests of net. What is expected is computed here, from the RFCs, and with nothing of devices/net. */
import type { NetBackend, NetCard, Offload, OffloadSupport } from 'virtgen/devices/net'

/** A backend that keeps what it is sent. */
export class Sink implements NetBackend {
  readonly takes: OffloadSupport
  readonly frames: Uint8Array[] = []
  readonly offloads: (Offload | undefined)[] = []
  /** What the next `send` comes to. */
  result: () => void | Promise<void> = () => {}
  resumed = 0
  card!: NetCard

  constructor(takes: OffloadSupport = {}) {
    this.takes = takes
  }
  attach(card: NetCard): void {
    this.card = card
  }
  send(frame: Uint8Array, offload?: Offload): void | Promise<void> {
    this.frames.push(frame.slice())
    this.offloads.push(offload)
    return this.result()
  }
  resume(): void {
    this.resumed++
  }
}

const hex = (text: string): number[] => text.split(/[:.]/).map((part) => Number.parseInt(part, text.includes(':') ? 16 : 10))
export const mac = (text: string): Uint8Array => Uint8Array.from(hex(text))

const u16 = (value: number): number[] => [(value >> 8) & 0xff, value & 0xff]
const u32 = (value: number): number[] => [...u16(value >>> 16), ...u16(value & 0xffff)]

/** RFC 1071, word by word with BigInt: slow, and not how the implementation does it. */
export function referenceChecksum(...parts: readonly ArrayLike<number>[]): number {
  const bytes = parts.flatMap((part) => Array.from(part))
  if (bytes.length % 2 === 1) bytes.push(0)
  let sum = 0n
  for (let at = 0; at < bytes.length; at += 2) sum += BigInt((bytes[at] as number) * 256 + (bytes[at + 1] as number))
  // 2^16 is 1 modulo 2^16 - 1; all ones stand for zero, except in a sum of nothing but zeroes.
  const modulo = sum === 0n ? 0n : ((sum - 1n) % 0xffffn) + 1n
  return Number(0xffffn - modulo)
}

export interface Segment {
  readonly version: 4 | 6
  readonly source?: string
  readonly destination?: string
  readonly sourcePort?: number
  readonly port?: number
  readonly sequence?: number
  readonly flags?: number
  readonly identification?: number
  readonly payload: Uint8Array
  /** Bytes of options of the TCP header; a multiple of 4. */
  readonly options?: number
  readonly vlan?: number
  /** Leaves the checksum of TCP to the device. */
  readonly partial?: boolean
  readonly to?: string
  readonly from?: string
}

export const addresses = { 4: ['10.0.2.15', '93.184.216.34'], 6: ['fd:0:0:0:0:0:0:1:0:0:0:0:0:0:0:f', '20:1:d:b8:0:0:0:0:0:0:0:0:0:0:0:5'] } as const

/** A TCP segment in an Ethernet frame, complete unless `partial`. */
export function tcpFrame(segment: Segment): { frame: Uint8Array; checksumStart: number; headerLength: number } {
  const { version, payload, options = 0, partial = false, identification = 7 } = segment
  const [source, destination] = [segment.source ?? addresses[version][0], segment.destination ?? addresses[version][1]].map(hex) as [
    number[],
    number[],
  ]
  const length = 20 + options + payload.length
  const header = [
    ...u16(segment.sourcePort ?? 40_000),
    ...u16(segment.port ?? 80),
    ...u32(segment.sequence ?? 1000),
    ...u32(77),
    ((20 + options) / 4) << 4,
    segment.flags ?? 0x10,
    ...u16(0xffff),
    ...[0, 0, 0, 0],
    ...new Array<number>(options).fill(1),
  ]
  const pseudo = version === 4 ? [...source, ...destination, 0, 6, ...u16(length)] : [...source, ...destination, ...u32(length), 0, 0, 0, 6]
  const sum = partial ? 0xffff - referenceChecksum(pseudo) : referenceChecksum(pseudo, header, payload)
  header.splice(16, 2, ...u16(sum))
  const ip =
    version === 4
      ? [0x45, 0, ...u16(20 + length), ...u16(identification), 0x40, 0, 64, 6, 0, 0, ...source, ...destination]
      : [0x60, 0, 0, 0, ...u16(length), 6, 64, ...source, ...destination]
  if (version === 4) ip.splice(10, 2, ...u16(referenceChecksum(ip)))
  const ethernet = [...hex(segment.to ?? '52:54:0:0:0:2'), ...hex(segment.from ?? '52:54:0:0:0:1')]
  if (segment.vlan !== undefined) ethernet.push(0x81, 0, ...u16(segment.vlan))
  ethernet.push(...u16(version === 4 ? 0x0800 : 0x86dd))
  const head = [...ethernet, ...ip, ...header]
  const frame = new Uint8Array(head.length + payload.length)
  frame.set(head)
  frame.set(payload, head.length)
  return { frame, checksumStart: ethernet.length + ip.length, headerLength: head.length }
}

/** A frame of a type that nothing looks into. */
export function plainFrame(length: number, { to = '52:54:0:0:0:2', from = '52:54:0:0:0:1', seed = 0 } = {}): Uint8Array {
  const frame = Uint8Array.from({ length }, (_, i) => (i * 7 + seed * 13 + (i >> 8)) & 0xff)
  frame.set([...hex(to), ...hex(from), 0x88, 0xb5].slice(0, length))
  return frame
}

export const bytesOf = (length: number, seed = 1): Uint8Array => Uint8Array.from({ length }, (_, i) => (i * 31 + seed + (i >> 7)) & 0xff)
