/** A network with nothing in it but a gateway: enough for a guest to configure itself, to look names up and to find out that it is connected. */
import { checkInteger } from 'virtgen/codegen/v1/wire'
import type { NetBackend, NetCard } from '../backend.ts'
import { get16, get32, put16, put32, sum16 } from '../checksum.ts'
import { copyOf, ethernetHeader, etherType, ipProtocol, macBytes } from '../ethernet.ts'
import { macOf } from '../mac.ts'
import { DhcpServer, dhcpPort } from './dhcp.ts'
import { answerDns, dnsPort, type Lookup } from './dns.ts'
import { broadcastIp, type Datagram, type IpPacket, type IpReply, type Ipv4, ipFrame, ipOf, ipText, readIp, readUdp, udpFrame } from './ip.ts'

/** A UDP datagram of the guest; addresses as text. */
export interface GuestDatagram {
  readonly source: string
  readonly sourcePort: number
  readonly destination: string
  readonly port: number
  /** Good until the handler returns. */
  readonly payload: Uint8Array
}

export interface GatewayOptions {
  /** Of the gateway, which is DHCP, DNS server and router as well; `10.0.2.2` by default. */
  readonly address?: string
  /** Bits of the network's part of addresses, 8 to 30; 24 by default. */
  readonly prefix?: number
  /** `52:55:0a:00:02:02` by default. */
  readonly mac?: string
  /** The first address that guests get; `.15` of the network by default. Those behind it, up to the end of the network, follow. */
  readonly firstGuest?: string
  /** Of leases, in seconds; a day by default. */
  readonly leaseSeconds?: number
  /** What guests are told by DHCP; nothing by default. */
  readonly mtu?: number
  /** Names and their addresses. `gateway` is the gateway where nothing else is said. */
  readonly names?: Readonly<Record<string, string>>
  /** For all other names. Throws or rejects: the guest is told that the lookup has failed. */
  readonly resolve?: Lookup
  /**
   * Datagrams that are for nobody here, whatever their destination is.
   *
   * @param reply - sends one back, now or later, any number of times
   * @returns false where nobody listens: the guest is told so
   */
  // biome-ignore lint/suspicious/noConfusingVoidType: a function without a return statement is the common one
  readonly onDatagram?: (datagram: GuestDatagram, reply: (payload: Uint8Array) => void) => boolean | void
  /** What the card threw when it was given an answer that came later. */
  readonly onError?: (error: unknown) => void
}

const arp = { bytes: 28, hardware: 1, request: 1, reply: 2 } as const
const icmp = { echo: 8, echoReply: 0, unreachable: 3, noProtocol: 2, noPort: 3, header: 8 } as const
/** Of a packet that is not delivered, the header and so much of the payload is sent back. */
const quotedBytes = 28
const everybody = new Uint8Array(macBytes).fill(0xff)
const mostDatagram = 0xffff - 28
/** Names that are looked up at the same time, at most: those beyond get no answer, and are asked for again. */
const mostLookups = 64
const day = 86_400

/**
 * Answers ARP, DHCP, pings of the gateway, and DNS from a table and a callback. There is no TCP: connections are refused at once.
 *
 * @example
 * new Net(new Gateway({ names: { 'example.org': '93.184.216.34' } }))
 */
export class Gateway implements NetBackend {
  readonly #mac: Uint8Array
  readonly #address: Ipv4
  readonly #network: Ipv4
  readonly #mask: Ipv4
  readonly #dhcp: DhcpServer
  readonly #names: ReadonlyMap<string, string>
  readonly #options: GatewayOptions
  #card: NetCard | undefined
  #lookups = 0

  /** @throws TypeError or RangeError for an option that cannot be */
  constructor(options: GatewayOptions = {}) {
    const { address = '10.0.2.2', prefix = 24, mac = '52:55:0a:00:02:02', leaseSeconds = day, mtu, names = {} } = options
    this.#options = options
    this.#mac = macOf(mac)
    this.#address = ipOf(address)
    this.#mask = (0xffff_ffff << (32 - checkInteger(prefix, 8, 30, 'prefix'))) >>> 0
    this.#network = (this.#address & this.#mask) >>> 0
    const last = this.#network + (~this.#mask >>> 0) - 1
    const first = options.firstGuest === undefined ? Math.min(this.#network + 15, last) : ipOf(options.firstGuest)
    const isThere = first > this.#network && first <= last && !(first === last && first === this.#address)
    if (!isThere) throw new RangeError(`firstGuest must be an address from ${ipText(this.#network + 1)} to ${ipText(last)}, not ${ipText(first)}`)
    this.#dhcp = new DhcpServer({
      address: this.#address,
      mask: this.#mask,
      first,
      count: Math.min(last - first + 1, 0xffff),
      leaseSeconds: checkInteger(leaseSeconds, 1, 0xffff_ffff, 'leaseSeconds'),
      mtu: mtu === undefined ? undefined : checkInteger(mtu, 68, 0xffff, 'mtu'),
    })
    this.#names = new Map(Object.entries({ gateway: address, ...names }).map(([name, its]) => [name.toLowerCase(), ipText(ipOf(its))]))
  }

  attach(card: NetCard): void {
    this.#card = card
  }

  send(frame: Uint8Array): void {
    if (frame.length < ethernetHeader) return
    const type = get16(frame, 2 * macBytes)
    if (type === etherType.arp) this.#arp(frame)
    else if (type === etherType.ipv4) this.#ip(frame)
  }

  /** Sends a datagram to the guest, from any address; the guest must be at `destination`, with its address of Ethernet that of the card. */
  sendDatagram({ source, sourcePort, destination, port, payload }: GuestDatagram): void {
    const to = { mac: this.#card?.mac ?? everybody, source: ipOf(source), destination: ipOf(destination) }
    this.#sendUdp(to, { sourcePort: checkPort(sourcePort), port: checkPort(port), payload })
  }

  #arp(frame: Uint8Array): void {
    const request = frame.subarray(ethernetHeader)
    // Ethernet and IPv4, with the lengths of their addresses.
    const isRequest =
      request.length >= arp.bytes && get32(request, 0) === ((arp.hardware << 16) | etherType.ipv4) && get32(request, 4) === 0x0604_0001
    if (!isRequest || get32(request, 24) !== this.#address) return
    const reply = new Uint8Array(ethernetHeader + arp.bytes)
    const sender = copyOf(request.subarray(8, 8 + macBytes))
    reply.set(sender)
    reply.set(this.#mac, macBytes)
    put16(reply, 2 * macBytes, etherType.arp)
    const body = reply.subarray(ethernetHeader)
    body.set(request.subarray(0, 6))
    put16(body, 6, arp.reply)
    body.set(this.#mac, 8)
    put32(body, 14, this.#address)
    body.set(sender, 18)
    body.set(request.subarray(14, 18), 24)
    this.#give(reply)
  }

  #ip(frame: Uint8Array): void {
    const packet = readIp(frame)
    if (packet === undefined) return
    const from = copyOf(frame.subarray(macBytes, 2 * macBytes))
    if (packet.protocol === ipProtocol.udp) this.#udp(packet, from)
    else if (packet.protocol === ipProtocol.icmp) this.#icmp(packet, from)
    else this.#unreachable(packet, from, icmp.noProtocol)
  }

  #icmp(packet: IpPacket, mac: Uint8Array): void {
    const { payload } = packet
    const isEcho = packet.destination === this.#address && payload.length >= icmp.header && payload[0] === icmp.echo && payload[1] === 0
    if (isEcho && sum16(payload, 0, payload.length) === 0xffff)
      this.#sendIcmp(packet, mac, payload.length, (reply) => {
        reply.set(payload)
        reply[0] = icmp.echoReply
      })
  }

  #udp(packet: IpPacket, mac: Uint8Array): void {
    const datagram = readUdp(packet)
    if (datagram === undefined) return
    if (datagram.port === dhcpPort.server && (packet.destination === broadcastIp || packet.destination === this.#address)) {
      const reply = this.#dhcp.answer(datagram.payload)
      if (reply === undefined) return
      const to = { mac: reply.mac ?? everybody, source: this.#address, destination: reply.destination }
      this.#sendUdp(to, { sourcePort: dhcpPort.server, port: dhcpPort.client, payload: reply.message })
    } else if (datagram.port === dnsPort && packet.destination === this.#address) this.#dns(packet, mac, datagram)
    else this.#otherDatagram(packet, mac, datagram)
  }

  #dns(packet: IpPacket, mac: Uint8Array, datagram: Datagram): void {
    if (this.#lookups >= mostLookups) return
    const send = (payload: Uint8Array | undefined): void => {
      if (payload !== undefined) this.#sendUdp(replyTo(packet, mac), { sourcePort: datagram.port, port: datagram.sourcePort, payload })
    }
    // The query is the caller's; it is looked at again when the name is known.
    const answer = answerDns(copyOf(datagram.payload), (name) => this.#names.get(name) ?? this.#options.resolve?.(name))
    if (!(answer instanceof Promise)) {
      send(answer)
      return
    }
    this.#lookups++
    const ended = (): void => {
      this.#lookups--
    }
    void answer.then(send).then(ended, (error) => {
      ended()
      this.#options.onError?.(error)
    })
  }

  #otherDatagram(packet: IpPacket, mac: Uint8Array, { sourcePort, port, payload }: Datagram): void {
    const { source, destination } = packet
    const to = replyTo(packet, mac)
    const reply = (answer: Uint8Array): void => this.#sendUdp(to, { sourcePort: port, port: sourcePort, payload: answer })
    const datagram = { source: ipText(source), sourcePort, destination: ipText(destination), port, payload }
    const { onDatagram = () => false } = this.#options
    if (onDatagram(datagram, reply) === false) this.#unreachable(packet, mac, icmp.noPort)
  }

  /** RFC 1122, 3.2.2: not for what everybody, a group or nobody has got. */
  #unreachable(packet: IpPacket, mac: Uint8Array, code: number): void {
    const { destination, source } = packet
    const isOne = destination >>> 28 < 0xe && destination !== (this.#network | ~this.#mask) >>> 0 && source !== 0
    if (!isOne) return
    const quoted = packet.bytes.subarray(0, packet.bytes.length - packet.payload.length + quotedBytes)
    this.#sendIcmp(packet, mac, icmp.header + quoted.length, (reply) => {
      reply.set([icmp.unreachable, code])
      reply.set(quoted, icmp.header)
    })
  }

  #sendIcmp(packet: IpPacket, mac: Uint8Array, length: number, write: (message: Uint8Array) => void): void {
    const to = { ...replyTo(packet, mac), protocol: ipProtocol.icmp }
    const frame = ipFrame(this.#mac, to, length, (message) => {
      write(message)
      put16(message, 2, 0)
      put16(message, 2, ~sum16(message, 0, message.length) & 0xffff)
    })
    this.#give(frame)
  }

  /** @throws RangeError for more than a datagram carries */
  #sendUdp(to: Omit<IpReply, 'protocol'>, datagram: Datagram): void {
    checkInteger(datagram.payload.length, 0, mostDatagram, 'bytes of a datagram')
    this.#give(udpFrame(this.#mac, to, datagram))
  }

  #give(frame: Uint8Array): void {
    this.#card?.receive(frame)
  }
}

function replyTo({ source, destination }: IpPacket, mac: Uint8Array): Omit<IpReply, 'protocol'> {
  return { mac, source: destination, destination: source }
}

function checkPort(port: number): number {
  return checkInteger(port, 1, 0xffff, 'port')
}
