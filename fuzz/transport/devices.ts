/** The devices behind a transport under test: generated skeletons, and one by hand. */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { VirtioBlkReqHeader } from 'virtgen/parts/blk'
import { BlkDevice } from 'virtgen/skeleton/blk'
import { ConsoleDevice } from 'virtgen/skeleton/console'
import { EntropyDevice } from 'virtgen/skeleton/entropy'
import { NetDevice } from 'virtgen/skeleton/net'
import {
  VIRTIO_BLK_F_CONFIG_WCE,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_F_MQ,
  VIRTIO_BLK_T_FLUSH,
  VIRTIO_BLK_T_GET_ID,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
} from 'virtgen/wire/blk'
import { VIRTIO_CONSOLE_F_EMERG_WRITE, VIRTIO_CONSOLE_F_SIZE } from 'virtgen/wire/console'
import { VIRTIO_NET_F_MAC, VIRTIO_NET_F_MRG_RXBUF, VIRTIO_NET_F_STATUS } from 'virtgen/wire/net'
import type { Chain } from '../../runtime/chain.ts'
import { ConfigSpace } from '../../runtime/config-space.ts'
import { type DeviceHost, VirtioDevice } from '../../runtime/device.ts'
import type { Outcome } from '../../runtime/request/outcome.ts'
import { type ChainDescription, chain } from '../../runtime/testing/chain.ts'
import type { Random } from '../random.ts'
import { Mischief, type Temper } from './temper.ts'

/** A device under test with what it takes to use it. */
export interface Kind {
  make(temper: Temper, options: KindOptions): FuzzedDevice
  /** Bytes of the configuration space after a reset, by their offsets; of the others it leaves what there was. */
  readonly afterReset?: readonly (readonly [offset: number, byte: number])[]
  /** A chain as the queue of that index expects it. */
  request(random: Random, queue: number): ChainDescription
}

export interface KindOptions {
  readonly queueSize: number
  readonly onError: (error: unknown) => void
}

/** A device that now and then does something by itself. */
export type FuzzedDevice = VirtioDevice & { act(random: Random): void }

class Disk extends BlkDevice {
  readonly #temper: Temper

  constructor(temper: Temper, options: KindOptions) {
    super({ ...options, features: [VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_CONFIG_WCE, VIRTIO_BLK_F_MQ], config: { capacity: 64, num_queues: 3 } })
    this.#temper = temper
  }
  act(): void {}
  protected override read(request: object): Outcome {
    return this.#temper.request(request)
  }
  protected override write(request: object): Outcome {
    return this.#temper.request(request)
  }
  protected override flush(request: object): Outcome {
    return this.#temper.request(request)
  }
  protected override getId(request: object): Outcome {
    return this.#temper.request(request)
  }
  protected override activated(): void {
    this.#temper.visit('activated')
  }
  protected override resetting(): void | Promise<void> {
    return this.#temper.rest('resetting')
  }
  protected override queueResetting(): void | Promise<void> {
    return this.#temper.rest('queueResetting')
  }
  override configWritten(field: string): void {
    this.#temper.visit(`${field} written`)
  }
}

class Card extends NetDevice {
  readonly #temper: Temper

  constructor(temper: Temper, options: KindOptions) {
    super({ ...options, features: [VIRTIO_NET_F_MAC, VIRTIO_NET_F_STATUS, VIRTIO_NET_F_MRG_RXBUF] })
    this.#temper = temper
  }
  act(random: Random): void {
    if (this.host !== undefined) this.sendPacket(0, {}, new Uint8Array(random.below(100)))
  }
  protected override transmit(request: object): Outcome {
    return this.#temper.request(request)
  }
  protected override eventBuffersAvailable(): void {
    this.#temper.visit('buffers')
  }
  protected override resetting(): void | Promise<void> {
    return this.#temper.rest('resetting')
  }
  protected override queueResetting(): void | Promise<void> {
    return this.#temper.rest('queueResetting')
  }
}

class Terminal extends ConsoleDevice {
  readonly #temper: Temper

  constructor(temper: Temper, options: KindOptions) {
    super({ ...options, features: [VIRTIO_CONSOLE_F_SIZE, VIRTIO_CONSOLE_F_EMERG_WRITE], config: { cols: 80, rows: 25 } })
    this.#temper = temper
  }
  act(random: Random): void {
    if (random.oneIn(2)) {
      this.config.update((fields) => {
        fields.cols = random.below(200)
      })
    } else if (this.host !== undefined) this.sendInput(0, new Uint8Array(random.below(40)))
  }
  protected override output(request: object): Outcome {
    return this.#temper.request(request)
  }
  protected override eventBuffersAvailable(): void {
    // Tells at once, inside of the notification.
    if (this.#temper.answers()) this.sendInput(0, Uint8Array.of(1, 2, 3))
    this.#temper.visit('buffers')
  }
  override configWritten(field: string): void {
    this.#temper.visit(`${field} written`)
  }
}

class Noise extends EntropyDevice {
  readonly #temper: Temper

  constructor(temper: Temper, options: KindOptions) {
    super(options)
    this.#temper = temper
  }
  act(): void {}
  protected override read(request: object): Outcome {
    return this.#temper.request(request)
  }
}

/** No skeleton: what the contract of `VirtioDevice` lets an author do, and configuration fields of every sort. */
class Box extends VirtioDevice {
  /** That of a device type which there can be behind the legacy interface of PCI as well. */
  readonly id = 9
  override readonly offered = FeatureSet.of(0, 5, 23, 50, 70, 127)
  override readonly queueSizes: readonly number[]
  override readonly config = new ConfigSpace(
    Uint8Array.from({ length: 21 }, (_, i) => i + 1),
    [
      { name: 'fixed', offset: 0, width: 4, access: 'r' },
      { name: 'free', offset: 4, width: 4, access: 'rw' },
      { name: 'reset', offset: 8, width: 2, access: 'rw', reset: 0x1234 },
      { name: 'once', offset: 10, width: 1, access: 'rc', reset: 7 },
      { name: 'secret', offset: 11, width: 1, access: 'w' },
      { name: 'conditional', offset: 12, width: 1, access: 'rw', writable: (features) => features.has(5), reset: 3 },
      { name: 'flags', offset: 13, width: 1, access: 'r', reset: 0xff },
      { name: 'clear', offset: 14, width: 1, access: 'w', clears: 13 },
    ],
  )
  override readonly sharedMemory = [
    { id: 1, length: 0x1000, bytes: new Uint8Array(0x1000) },
    { id: 2, length: 0x10 },
  ]
  readonly #temper: Temper
  readonly #onError: (error: unknown) => void
  readonly #held: Chain[] = []
  #host: DeviceHost | undefined

  constructor(temper: Temper, { queueSize, onError }: KindOptions) {
    super()
    this.#temper = temper
    this.#onError = onError
    this.queueSizes = [queueSize, 0, 3, 1, queueSize]
  }

  override accepts(): boolean {
    return this.#temper.accepts()
  }
  override activate(host: DeviceHost): void {
    this.#host = host
    this.#temper.visit('activate')
  }
  override queueNotified(index: number): void {
    this.#temper.visit('queueNotified')
    const queue = this.#host?.queue(index)
    for (let budget = queue?.size ?? 0; budget > 0; budget--) {
      const next = queue?.next()
      if (next === undefined) return
      if (this.#temper.answers()) next.complete(next.writable.length > 0 ? 1 : 0)
      else this.#held.push(next)
    }
    this.#host?.serveLater(index)
  }
  override queueReset(): void | Promise<void> {
    return this.#temper.rest('queueReset')
  }
  override configWritten(field: string): void {
    this.#temper.visit(`${field} written`)
  }
  override reset(): void | Promise<void> {
    this.#host = undefined
    this.#release()
    return this.#temper.rest('reset')
  }
  act(random: Random): void {
    const what = random.below(4)
    if (what === 0) this.#host?.configChanged()
    else if (what === 1) this.#host?.serveLater(random.below(6))
    else this.#release()
  }
  #release(): void {
    for (const held of this.#held.splice(0)) {
      try {
        held.complete(0)
      } catch (error) {
        this.#onError(error)
      }
    }
  }
}

const blkHeader = (type: number, sector: number): Uint8Array => VirtioBlkReqHeader.encode({ type, sector })
/** Of a packet, with num_buffers. */
const netHeaderLength = 12

const disk: Kind = {
  make: (temper, options) => new Disk(temper, options),
  request: (random) => {
    const type = random.pick([VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_GET_ID])
    const begun = chain().readable(blkHeader(type, random.below(64)))
    if (type === VIRTIO_BLK_T_IN) begun.writable(512)
    else if (type === VIRTIO_BLK_T_OUT) begun.readable(512)
    else if (type === VIRTIO_BLK_T_GET_ID) begun.writable(20)
    return begun.writable(1)
  },
}

const card: Kind = {
  make: (temper, options) => new Card(temper, options),
  request: (random, queue) =>
    queue === 0 ? chain().writable(random.between(netHeaderLength, 120)) : chain().readable(netHeaderLength).readable(random.between(1, 100)),
}

const terminal: Kind = {
  make: (temper, options) => new Terminal(temper, options),
  request: (random, queue) => (queue === 0 ? chain().writable(random.between(1, 40)) : chain().readable(random.between(1, 40))),
}

const noise: Kind = {
  make: (temper, options) => new Noise(temper, options),
  request: (random) => chain().writable(random.between(1, 64)),
}

const box: Kind = {
  make: (temper, options) => new Box(temper, options),
  afterReset: [
    [8, 0x34],
    [9, 0x12],
    [10, 7],
    [12, 3],
    [13, 0xff],
  ],
  request: (random) => (random.oneIn(2) ? chain().writable(random.between(1, 64)) : chain().readable(random.between(1, 64)).writable(8)),
}

export const kinds: readonly Kind[] = [disk, card, terminal, noise, box]

/** What a device may report: what it did on purpose, and what the runtime says to wrong calls: a request completed once more, a status that is none. */
export function isExpected(error: unknown): boolean {
  return error instanceof Mischief || (error instanceof Error && /complete|status must be/.test(error.message))
}
