/** Addresses of Ethernet: 6 bytes, as text `52:54:00:12:34:56`. */
import { macBytes } from './ethernet.ts'

interface Host {
  readonly crypto: { getRandomValues(into: Uint8Array): unknown }
}

/** The lowest bits of the first byte: a group of receivers; not given out by IEEE. */
const group = 0x01
const local = 0x02

/** An address of nobody else, as far as chance can tell. */
export function randomMac(): Uint8Array {
  const mac = new Uint8Array(macBytes)
  const { crypto } = globalThis as unknown as Host
  crypto.getRandomValues(mac)
  mac[0] = (mac[0]! & ~group) | local
  return mac
}

/**
 * @param mac - 6 bytes, or their hexadecimal digits with colons or dashes between them
 * @throws TypeError for what is no address, RangeError for one that no card can have: zero, or that of a group
 */
export function macOf(mac: string | Uint8Array): Uint8Array {
  const bytes = typeof mac === 'string' ? parse(mac) : Uint8Array.from(mac)
  if (bytes.length !== macBytes) throw new TypeError(`an address has ${macBytes} bytes, not ${bytes.length}`)
  if (!isCardAddress(bytes)) throw new RangeError(`${macText(bytes)} is not the address of one card`)
  return bytes
}

/** One card can have it. */
export function isCardAddress(mac: Uint8Array): boolean {
  return (mac[0]! & group) === 0 && mac.some((byte) => byte !== 0)
}

export function macText(mac: Uint8Array): string {
  return Array.from(mac, (byte) => byte.toString(16).padStart(2, '0')).join(':')
}

/** As a number, for comparing. */
export function macKey(bytes: Uint8Array, at = 0): number {
  let key = 0
  for (let i = 0; i < macBytes; i++) key = key * 256 + bytes[at + i]!
  return key
}

export function isGroup(bytes: Uint8Array, at = 0): boolean {
  return (bytes[at]! & group) !== 0
}

function parse(text: string): Uint8Array {
  if (!/^[0-9a-f]{2}([:-][0-9a-f]{2}){5}$/i.test(text)) throw new TypeError(`not an address like 52:54:00:12:34:56: ${JSON.stringify(text)}`)
  return Uint8Array.from(text.split(/[:-]/), (digits) => Number.parseInt(digits, 16))
}
