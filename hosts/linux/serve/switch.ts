/** Joins guests as a switch does: a frame goes where its address was last seen, and to everybody where it was not. */
import type { NetBackend, NetCard, Offload } from 'virtgen/devices/net'

const addressBytes = 6
/** Addresses that are remembered, at most: a guest can make up as many as it likes. The one that was noted first is forgotten. */
const mostAddresses = 4096

/** One place of a switch, for one card after the other. */
export class SwitchPort implements NetBackend {
  /** What a guest cannot take is done by its card. */
  readonly takes = { checksum: true, tcp4: true, tcp6: true, ecn: true }
  readonly #switch: Switch
  card: NetCard | undefined

  constructor(parent: Switch) {
    this.#switch = parent
  }

  attach(card: NetCard): void {
    this.card = card
  }
  send(frame: Uint8Array, offload?: Offload): void {
    this.#switch.$forward(this, frame, offload)
  }
}

/** Frames that a guest has no room for are dropped there, and counted by its card: one slow guest stops nobody. */
export class Switch {
  readonly #ports: SwitchPort[] = []
  readonly #seen = new Map<number, SwitchPort>()

  port(): SwitchPort {
    const port = new SwitchPort(this)
    this.#ports.push(port)
    return port
  }

  /** @internal */
  $forward(from: SwitchPort, frame: Uint8Array, offload: Offload | undefined): void {
    this.#learn(addressAt(frame, addressBytes), from)
    // The lowest bit of the first byte: a group of receivers.
    const to = (frame[0]! & 1) === 0 ? this.#seen.get(addressAt(frame, 0)) : undefined
    if (to === undefined) {
      for (const port of this.#ports) if (port !== from) port.card?.receive(frame, offload)
    } else if (to !== from) to.card?.receive(frame, offload)
  }

  #learn(address: number, port: SwitchPort): void {
    if (this.#seen.get(address) === port) return
    this.#seen.delete(address)
    if (this.#seen.size >= mostAddresses) {
      const [oldest] = this.#seen.keys()
      this.#seen.delete(oldest as number)
    }
    this.#seen.set(address, port)
  }
}

function addressAt(frame: Uint8Array, at: number): number {
  let address = 0
  for (let i = 0; i < addressBytes; i++) address = address * 256 + frame[at + i]!
  return address
}
