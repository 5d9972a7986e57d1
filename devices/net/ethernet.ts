/** Where things stand in an Ethernet frame (IEEE 802.3, 802.1Q), and in the IP packet in it. */
import { get16 } from './checksum.ts'

export const macBytes = 6
/** Destination, source, type. */
export const ethernetHeader = 14
/** The type that ends the header. */
export const typeBytes = 2
/** A tag of 802.1Q. */
export const tagBytes = 4

export const etherType = { ipv4: 0x0800, arp: 0x0806, vlan: 0x8100, ipv6: 0x86dd, serviceVlan: 0x88a8 } as const
export const ipProtocol = { icmp: 1, tcp: 6, udp: 17 } as const

const typeAt = 2 * macBytes

/** A copy, also of a Buffer of Node, whose `slice` makes none. */
export function copyOf(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes)
}
const mostTags = 2

/** The outermost VLAN of a frame; undefined for one without a tag. */
export function vlanOf(frame: Uint8Array): number | undefined {
  if (frame.length < ethernetHeader + tagBytes || get16(frame, typeAt) !== etherType.vlan) return undefined
  return get16(frame, typeAt + 2) & 0xfff
}

/** Where the type of what the frame carries stands, behind all tags. */
export function typeOffset(frame: Uint8Array): number {
  let at = typeAt
  for (let tags = 0; tags < mostTags && at + tagBytes + typeBytes <= frame.length; tags++, at += tagBytes) {
    const type = get16(frame, at)
    if (type !== etherType.vlan && type !== etherType.serviceVlan) break
  }
  return at
}
