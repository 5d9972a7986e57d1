/** IPv4 (RFC 791) and UDP (RFC 768) packets, as far as a gateway needs them. */
import { get16, get32, put16, put32, sum16 } from '../checksum.ts'
import { ethernetHeader, ipProtocol, macBytes } from '../ethernet.ts'

/** An address as an unsigned number. */
export type Ipv4 = number

export const broadcastIp: Ipv4 = 0xffff_ffff
const ipHeader = 20
const udpHeader = 8
const fragmentBits = 0x3fff
const timeToLive = 64

/**
 * @throws TypeError for what is no address like `10.0.2.2`
 */
export function ipOf(text: string): Ipv4 {
  const parts = /^\d{1,3}(\.\d{1,3}){3}$/.test(text) ? text.split('.').map(Number) : []
  if (parts.length !== 4 || parts.some((part) => part > 255)) throw new TypeError(`not an address like 10.0.2.2: ${JSON.stringify(text)}`)
  return parts.reduce((address, part) => address * 256 + part, 0)
}

export function ipText(address: Ipv4): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 0xff).join('.')
}

/** An IPv4 packet: where it came from, and what it carries. Views of the frame. */
export interface IpPacket {
  readonly source: Ipv4
  readonly destination: Ipv4
  readonly protocol: number
  readonly payload: Uint8Array
  /** Header and payload. */
  readonly bytes: Uint8Array
}

/** The packet in an Ethernet frame; undefined for what is none, or a fragment of one. */
export function readIp(frame: Uint8Array): IpPacket | undefined {
  const bytes = frame.subarray(ethernetHeader)
  if (bytes.length < ipHeader || bytes[0]! >>> 4 !== 4) return undefined
  const header = (bytes[0]! & 0xf) * 4
  const length = get16(bytes, 2)
  if (header < ipHeader || length < header || length > bytes.length) return undefined
  if ((get16(bytes, 6) & fragmentBits) !== 0 || sum16(bytes, 0, header) !== 0xffff) return undefined
  return {
    source: get32(bytes, 12),
    destination: get32(bytes, 16),
    protocol: bytes[9]!,
    payload: bytes.subarray(header, length),
    bytes: bytes.subarray(0, length),
  }
}

/** Where a frame goes, and what it carries. */
export interface IpReply {
  readonly mac: Uint8Array
  readonly source: Ipv4
  readonly destination: Ipv4
  readonly protocol: number
}

/** A frame with an IPv4 packet; `write` fills in the payload, which is all zeroes before. */
export function ipFrame(
  from: Uint8Array,
  { mac, source, destination, protocol }: IpReply,
  length: number,
  write: (payload: Uint8Array) => void,
): Uint8Array {
  const frame = new Uint8Array(ethernetHeader + ipHeader + length)
  frame.set(mac)
  frame.set(from, macBytes)
  put16(frame, 2 * macBytes, 0x0800)
  const ip = frame.subarray(ethernetHeader)
  ip[0] = 0x45
  put16(ip, 2, ip.length)
  ip[8] = timeToLive
  ip[9] = protocol
  put32(ip, 12, source)
  put32(ip, 16, destination)
  put16(ip, 10, ~sum16(ip, 0, ipHeader) & 0xffff)
  write(ip.subarray(ipHeader))
  return frame
}

export interface Datagram {
  readonly sourcePort: number
  readonly port: number
  readonly payload: Uint8Array
}

/** The UDP datagram that a packet carries; undefined for what is none. */
export function readUdp({ payload }: IpPacket): Datagram | undefined {
  if (payload.length < udpHeader) return undefined
  const length = get16(payload, 4)
  if (length < udpHeader || length > payload.length) return undefined
  return { sourcePort: get16(payload, 0), port: get16(payload, 2), payload: payload.subarray(udpHeader, length) }
}

export function udpFrame(from: Uint8Array, to: Omit<IpReply, 'protocol'>, { sourcePort, port, payload }: Datagram): Uint8Array {
  const length = udpHeader + payload.length
  return ipFrame(from, { ...to, protocol: ipProtocol.udp }, length, (udp) => {
    put16(udp, 0, sourcePort)
    put16(udp, 2, port)
    put16(udp, 4, length)
    udp.set(payload, udpHeader)
    const pseudo = new Uint8Array(12)
    put32(pseudo, 0, to.source)
    put32(pseudo, 4, to.destination)
    put16(pseudo, 8, ipProtocol.udp)
    put16(pseudo, 10, length)
    put16(udp, 6, ~sum16(udp, 0, length, sum16(pseudo, 0, pseudo.length)) & 0xffff || 0xffff)
  })
}
