/** TCP segmentation in software: what a card does for a guest that sends more than a segment at once. */
import type { Offload, Segmentation } from './backend.ts'
import { fold, get16, get32, put16, put32, sum16 } from './checksum.ts'
import { etherType, ipProtocol, typeOffset } from './ethernet.ts'

/** Of the TCP header, RFC 9293: where its members stand. */
const tcp = { sequence: 4, dataOffset: 12, flags: 13, checksum: 16, least: 20 } as const
const tcpFlag = { fin: 0x01, push: 0x08, cwr: 0x80 } as const
/** Of the IPv4 header, RFC 791. */
const ipv4 = { length: 2, identification: 4, protocol: 9, checksum: 10, least: 20 } as const
/** Of the IPv6 header, RFC 8200. */
const ipv6 = { length: 4, size: 40 } as const
/**
 * Segments smaller than this are refused: each costs a frame of its own. It is the least that Linux sends (TCP_MIN_SND_MSS).
 */
const leastSize = 48

/**
 * Cuts a frame into segments, each complete.
 *
 * @param emit - gets one after the other, in the same array
 * @returns false for what is no such frame; nothing was emitted then
 */
export function segment(frame: Uint8Array, offload: Offload, { protocol, size }: Segmentation, emit: (segment: Uint8Array) => void): boolean {
  const { checksumStart: transport } = offload
  const network = networkOf(frame, offload, protocol)
  if (network === undefined || size < leastSize) return false
  const payload = tcpHeaderEnd(frame, transport)
  const total = frame.length - transport
  if (payload === undefined || payload === frame.length || total > 0xffff) return false
  const piece = new Uint8Array(payload + Math.min(size, frame.length - payload))
  piece.set(frame.subarray(0, payload))
  const flags = frame[transport + tcp.flags]!
  const sequence = get32(frame, transport + tcp.sequence)
  // The sum of the pseudo header, without the length that is in it.
  const addresses = get16(frame, transport + tcp.checksum) + (~total & 0xffff)
  for (let at = payload, index = 0; at < frame.length; at += size, index++) {
    const end = Math.min(at + size, frame.length)
    const bytes = piece.subarray(0, payload + end - at)
    bytes.set(frame.subarray(at, end), payload)
    putNetworkLength(bytes, frame, network, protocol, index)
    put32(bytes, transport + tcp.sequence, (sequence + at - payload) >>> 0)
    const only = (end < frame.length ? tcpFlag.fin | tcpFlag.push : 0) | (index > 0 ? tcpFlag.cwr : 0)
    bytes[transport + tcp.flags] = flags & ~only
    put16(bytes, transport + tcp.checksum, fold(addresses + bytes.length - transport))
    put16(bytes, transport + tcp.checksum, ~sum16(bytes, transport, bytes.length) & 0xffff)
    emit(bytes)
  }
  return true
}

/** Where the TCP header that begins at `start` ends, in bytes from the start of the frame; undefined where it is too short, or not all there. */
export function tcpHeaderEnd(frame: Uint8Array, start: number): number | undefined {
  const end = start + ((frame[start + tcp.dataOffset] ?? 0) >>> 4) * 4
  return end < start + tcp.least || end > frame.length ? undefined : end
}

/** Where the IP header stands; undefined where the frame is not what it is said to be. */
function networkOf(frame: Uint8Array, { checksumStart, checksumOffset }: Offload, protocol: 'tcp4' | 'tcp6'): number | undefined {
  const type = typeOffset(frame)
  const network = type + 2
  if (checksumOffset !== tcp.checksum || checksumStart + tcp.least > frame.length) return undefined
  if (protocol === 'tcp4') {
    const length = (frame[network]! & 0xf) * 4
    const isTcp = get16(frame, type) === etherType.ipv4 && frame[network]! >>> 4 === 4 && frame[network + ipv4.protocol] === ipProtocol.tcp
    return isTcp && length >= ipv4.least && network + length === checksumStart ? network : undefined
  }
  // Extension headers may stand between the two; each segment gets them.
  const isIpv6 = get16(frame, type) === etherType.ipv6 && frame[network]! >>> 4 === 6
  return isIpv6 && network + ipv6.size <= checksumStart ? network : undefined
}

function putNetworkLength(bytes: Uint8Array, frame: Uint8Array, network: number, protocol: 'tcp4' | 'tcp6', index: number): void {
  if (protocol === 'tcp6') {
    put16(bytes, network + ipv6.length, bytes.length - network - ipv6.size)
    return
  }
  put16(bytes, network + ipv4.length, bytes.length - network)
  put16(bytes, network + ipv4.identification, (get16(frame, network + ipv4.identification) + index) & 0xffff)
  put16(bytes, network + ipv4.checksum, 0)
  put16(bytes, network + ipv4.checksum, ~sum16(bytes, network, network + (bytes[network]! & 0xf) * 4) & 0xffff)
}
