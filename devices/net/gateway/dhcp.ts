/** A server of addresses: RFC 2131, its options RFC 2132. */
import { checkInteger } from 'virtgen/codegen/v1/wire'
import { get16, get32, put16, put32 } from '../checksum.ts'
import { copyOf, macBytes } from '../ethernet.ts'
import { isCardAddress, macKey } from '../mac.ts'
import { broadcastIp, type Ipv4 } from './ip.ts'

export const dhcpPort = { server: 67, client: 68 } as const

/** The fixed part of a message, and where its members stand. */
const at = { op: 0, hardware: 1, hardwareLength: 2, id: 4, flags: 10, client: 12, your: 16, server: 20, mac: 28, cookie: 236, options: 240 } as const
const op = { request: 1, reply: 2 } as const
const ethernet = 1
const broadcastFlag = 0x8000
const cookie = 0x6382_5363
/** Shorter replies are not taken by all clients, as BOOTP had no shorter ones. */
const leastReply = 300

const option = { pad: 0, mask: 1, router: 3, dns: 6, mtu: 26, requested: 50, lease: 51, type: 53, server: 54, end: 255 } as const
const type = { discover: 1, offer: 2, request: 3, decline: 4, ack: 5, nak: 6, release: 7, inform: 8 } as const

export interface DhcpOptions {
  /** The server, which is router and DNS server as well. */
  readonly address: Ipv4
  readonly mask: Ipv4
  /** The first address to give, and how many: at least one that is not the server's. */
  readonly first: Ipv4
  readonly count: number
  readonly leaseSeconds: number
  readonly mtu: number | undefined
}

export interface DhcpReply {
  readonly message: Uint8Array
  readonly destination: Ipv4
  /** Undefined: everybody. */
  readonly mac: Uint8Array | undefined
}

export class DhcpServer {
  readonly #options: DhcpOptions
  /** Addresses by those who have them, the one that was asked for longest ago first. */
  readonly #leases = new Map<number, Ipv4>()
  /** How many of the addresses were given at least once, or are ours. */
  #begun = 0
  /** Given back. */
  readonly #released: Ipv4[] = []
  /** Somebody else seems to have them: the last ones to be given. */
  readonly #declined: Ipv4[] = []

  constructor(options: DhcpOptions) {
    this.#options = options
    checkInteger(options.count, 1, 0xffff, 'count')
  }

  /** What to answer to a message; nothing to most that are none. */
  answer(message: Uint8Array): DhcpReply | undefined {
    if (message.length < at.options || message[at.op] !== op.request || get32(message, at.cookie) !== cookie) return undefined
    const mac = message.subarray(at.mac, at.mac + macBytes)
    if (message[at.hardware] !== ethernet || message[at.hardwareLength] !== macBytes || !isCardAddress(mac)) return undefined
    const options = readOptions(message)
    const server = addressIn(options, option.server)
    if (server !== undefined && server !== this.#options.address) return undefined
    const client = get32(message, at.client)
    switch (options.get(option.type)?.[0]) {
      case type.discover:
        return this.#reply(message, type.offer, this.#leaseFor(mac))
      case type.request: {
        const wanted = addressIn(options, option.requested) ?? client
        const address = this.#leaseFor(mac)
        return wanted === address ? this.#reply(message, type.ack, address) : this.#reply(message, type.nak, 0)
      }
      case type.inform:
        return client === 0 ? undefined : this.#reply(message, type.ack, 0)
      case type.decline:
        this.#end(mac, this.#declined)
        return undefined
      case type.release:
        this.#end(mac, this.#released)
        return undefined
      default:
        return undefined
    }
  }

  /** The address that a card has, or one that is free. Where there is none, that of the card that was not heard of longest. A guest may ask for any number of cards. */
  #leaseFor(mac: Uint8Array): Ipv4 {
    const key = macKey(mac)
    const lease = this.#leases.get(key) ?? this.#released.pop() ?? this.#fresh() ?? this.#declined.shift() ?? this.#takeOldest()
    this.#leases.delete(key)
    this.#leases.set(key, lease)
    return lease
  }

  /** An address that nobody has had. */
  #fresh(): Ipv4 | undefined {
    const { first, count, address } = this.#options
    if (first + this.#begun === address) this.#begun++
    return this.#begun < count ? first + this.#begun++ : undefined
  }

  /** There is one: all addresses are given. */
  #takeOldest(): Ipv4 {
    const [[key, lease] = []] = this.#leases
    this.#leases.delete(key as number)
    return lease as Ipv4
  }

  #end(mac: Uint8Array, to: Ipv4[]): void {
    const key = macKey(mac)
    const lease = this.#leases.get(key)
    if (lease !== undefined) to.push(lease)
    this.#leases.delete(key)
  }

  #reply(request: Uint8Array, kind: number, your: Ipv4): DhcpReply {
    const { address, mask, leaseSeconds, mtu } = this.#options
    const client = get32(request, at.client)
    const options: number[] = [option.type, 1, kind, option.server, 4, ...word(address)]
    if (kind !== type.nak) {
      if (your !== 0) options.push(option.lease, 4, ...word(leaseSeconds))
      options.push(option.mask, 4, ...word(mask), option.router, 4, ...word(address), option.dns, 4, ...word(address))
      if (mtu !== undefined) options.push(option.mtu, 2, mtu >>> 8, mtu & 0xff)
    }
    const message = new Uint8Array(Math.max(leastReply, at.options + options.length + 1))
    message.set([op.reply, ethernet, macBytes, 0])
    message.set(request.subarray(at.id, at.id + 4), at.id)
    put16(message, at.flags, get16(request, at.flags))
    put32(message, at.client, kind === type.nak ? 0 : client)
    put32(message, at.your, your)
    put32(message, at.server, address)
    const mac = copyOf(request.subarray(at.mac, at.mac + macBytes))
    message.set(mac, at.mac)
    put32(message, at.cookie, cookie)
    message.set([...options, option.end], at.options)
    // RFC 2131, 4.1: who has no address yet, and says that it cannot be told one by one, is told with everybody.
    if (kind !== type.nak && client !== 0) return { message, destination: client, mac }
    const toAll = kind === type.nak || (get16(request, at.flags) & broadcastFlag) !== 0
    return { message, destination: toAll ? broadcastIp : your, mac: toAll ? undefined : mac }
  }
}

/** The first option of each kind. */
function readOptions(message: Uint8Array): Map<number, Uint8Array> {
  const options = new Map<number, Uint8Array>()
  for (let i = at.options as number; i < message.length && message[i] !== option.end; ) {
    const code = message[i]!
    if (code === option.pad) {
      i++
      continue
    }
    const length = message[i + 1] ?? 0
    const value = message.subarray(i + 2, i + 2 + length)
    if (value.length < length) break
    if (!options.has(code)) options.set(code, value)
    i += 2 + length
  }
  return options
}

function addressIn(options: Map<number, Uint8Array>, code: number): Ipv4 | undefined {
  const value = options.get(code)
  return value?.length === 4 ? get32(value, 0) : undefined
}

function word(value: number): number[] {
  return [value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff]
}
