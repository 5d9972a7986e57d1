/** Which receive queue a frame goes to. VIRTIO 1.4, Network Device / Control Virtqueue / Automatic receive steering in multiqueue mode. */
import { get16, get32 } from './checksum.ts'
import { etherType, ipProtocol, typeOffset } from './ethernet.ts'

/** Flows that are told apart; a power of 2. Two of them may share an entry: best effort, as a card does it. */
const entries = 1024

/** Remembers on which transmit queue the driver sends each flow. */
export class Steering {
  /** Pairs of queues that the driver uses. */
  #pairs = 1
  /** Flows that were not seen yet go to the first pair alone. */
  #onlyLearnt = false
  /** For each hash: the pair, counted from 1; 0 for none. */
  readonly #learnt = new Uint16Array(entries)

  get pairs(): number {
    return this.#pairs
  }

  /** Begins anew, with so many pairs. */
  use(pairs: number): void {
    this.#pairs = pairs
    this.#onlyLearnt = false
    this.#learnt.fill(0)
  }

  /** Begins anew, where nobody says how many of these pairs the driver uses: it uses the first, and those that it sends on. */
  follow(pairs: number): void {
    this.use(pairs)
    this.#onlyLearnt = true
  }

  /** The driver has sent this on a queue of that pair, counted from 0. */
  learn(frame: Uint8Array, pair: number): void {
    if (this.#pairs > 1) this.#learnt[flowHash(frame) % entries] = pair + 1
  }

  /** The pair, from 0, whose receive queue the frame goes to. */
  pick(frame: Uint8Array): number {
    if (this.#pairs === 1) return 0
    const hash = flowHash(frame)
    const learnt = this.#learnt[hash % entries]!
    if (learnt > 0 && learnt <= this.#pairs) return learnt - 1
    return this.#onlyLearnt ? 0 : hash % this.#pairs
  }
}

const ipv4Size = 20
const ipv6Size = 40
/** More fragments, or an offset: the first fragment has ports and the others have none. */
const fragmentBits = 0x3fff

/** The same for both directions of a flow; 0 for what is no IP. */
export function flowHash(frame: Uint8Array): number {
  const type = typeOffset(frame)
  const network = type + 2
  if (frame.length < network + ipv4Size) return 0
  const kind = get16(frame, type)
  if (kind === etherType.ipv4) {
    const protocol = frame[network + 9]!
    const ports = (get16(frame, network + 6) & fragmentBits) === 0 ? portsAt(frame, network + (frame[network]! & 0xf) * 4, protocol) : 0
    return mix(get32(frame, network + 12) ^ get32(frame, network + 16) ^ ports ^ protocol)
  }
  if (kind !== etherType.ipv6 || frame.length < network + ipv6Size) return 0
  let addresses = 0
  for (let at = network + 8; at < network + ipv6Size; at += 4) addresses ^= get32(frame, at)
  const protocol = frame[network + 6]!
  return mix(addresses ^ portsAt(frame, network + ipv6Size, protocol) ^ protocol)
}

function portsAt(frame: Uint8Array, at: number, protocol: number): number {
  if ((protocol !== ipProtocol.tcp && protocol !== ipProtocol.udp) || at + 4 > frame.length) return 0
  return (get16(frame, at) ^ get16(frame, at + 2)) << 8
}

/** Spreads what differs in a few bits over all of them. */
function mix(value: number): number {
  let hash = Math.imul(value ^ (value >>> 16), 0x45d9_f3b)
  hash = Math.imul(hash ^ (hash >>> 16), 0x45d9_f3b)
  return (hash ^ (hash >>> 16)) >>> 0
}
