/** A guest that receives packets wherever it is moved, and knows which ones must come. */
import type { Outcome, Plain } from 'virtgen/runtime'
import { NetDevice } from 'virtgen/skeleton/net'
import { chain, type FakeDriver } from 'virtgen/testing'
import { VIRTIO_NET_F_MRG_RXBUF } from 'virtgen/wire/net'
import { MovingMachine, type Setting } from './moving-machine.ts'

const receiveQueue = 0
/** With num_buffers, which are its last two bytes. */
const headerLength = 12
const bufferLength = 300
const mostRounds = 100

/** A packet begins with its number; all other bytes are those of the number as well. */
function packetOf(number: number, length: number): Uint8Array {
  return new Uint8Array(length).fill(number)
}

interface Waiting {
  readonly number: number
  readonly length: number
}

/** A card that sends as soon as it can what has arrived. */
export class MovingCard extends NetDevice {
  /** Packets that wait for buffers. */
  #waiting: Waiting[] = []
  #next = 0

  constructor(queueSize: number, onError: (error: unknown) => void) {
    super({ features: [VIRTIO_NET_F_MRG_RXBUF], queueSize, onError })
  }

  /** A packet arrives. */
  arrive(length: number): void {
    this.#waiting.push({ number: this.#next++, length })
    this.#send()
  }

  #send(): void {
    for (let packet = this.#waiting[0]; packet !== undefined && this.host !== undefined; packet = this.#waiting[0]) {
      if (this.sendPacket(receiveQueue, {}, packetOf(packet.number, packet.length)) === undefined) return
      this.#waiting.shift()
    }
  }

  protected override eventBuffersAvailable(): void {
    this.#send()
  }
  protected override transmit(): Outcome {}

  override saveState(): Plain {
    return { next: this.#next, waiting: this.#waiting.map(({ number, length }) => ({ number, length })) }
  }
  override restoreState(state: Plain): void {
    const { next, waiting } = state as unknown as { next: number; waiting: Waiting[] }
    this.#next = next
    this.#waiting = [...waiting]
  }
}

export class ReceivingGuest extends MovingMachine<MovingCard> {
  #arrived = 0
  /** What is left to come of the packet that has begun. */
  #buffers = 0
  #packet: number[] = []
  readonly #lengths: number[] = []
  received = 0

  constructor(setting: Setting) {
    super(setting, (...options) => new MovingCard(...options))
  }

  arrive(length: number): void {
    this.#arrived++
    this.#lengths.push(length)
    this.device.arrive(length)
  }

  /** Gives buffers, as many as there is room for. */
  offer(count: number): void {
    const ring = this.rings[receiveQueue]
    if (ring === undefined || !this.mayOffer) return
    for (let i = 0; i < count && ring.free >= 2; i++)
      ring.put(
        chain()
          .writable(100)
          .writable(bufferLength - 100),
      )
    ring.publish()
  }

  protected override look(ring: FakeDriver): void {
    for (const { writable, written } of ring.drain()) {
      const bytes = writable.subarray(0, written)
      if (this.#buffers === 0) {
        this.#buffers = bytes[headerLength - 2]! + bytes[headerLength - 1]! * 256
        this.#packet = [...bytes.subarray(headerLength)]
      } else this.#packet.push(...bytes)
      if (--this.#buffers === 0) this.#check()
    }
  }

  #check(): void {
    const number = this.received++
    const right = packetOf(number, this.#lengths[number]!)
    if (right.length !== this.#packet.length || !right.every((byte, i) => byte === this.#packet[i]))
      throw new Error(`packet ${number} should be ${right.length} bytes of ${number % 256}: ${this.#packet.length} bytes: ${this.#packet.join(' ')}`)
  }

  protected override hurry(card: MovingCard): void {
    card.arrive(50)
  }

  /** Everything comes to its end. @returns how many packets did not arrive, and what else the driver waits for */
  async end(): Promise<readonly (number | string)[]> {
    for (let round = 0; round < mostRounds; round++) {
      this.offer(4)
      await this.turn()
      this.ask()
      this.resume()
      this.serve()
      if (this.received === this.#arrived && this.waits.length === 0) return []
    }
    return [this.#arrived - this.received, ...this.waits]
  }
}
