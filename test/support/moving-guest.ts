/** A guest that reads a disk wherever it is moved, and knows what it must get. */
import { VirtioBlkReqHeader } from 'virtgen/parts/blk'
import { type Outcome, PARKED, type Plain } from 'virtgen/runtime'
import { BlkDevice, type BlkReadRequest } from 'virtgen/skeleton/blk'
import { chain, type FakeDriver, type OfferedChain, type UsedChain } from 'virtgen/testing'
import { VIRTIO_BLK_F_MQ, VIRTIO_BLK_S_OK, VIRTIO_BLK_T_IN, virtio_blk_size } from 'virtgen/wire/blk'
import { type MakeDevice, MovingMachine, type Setting } from './moving-machine.ts'

export const queueCount = 2
/** Rounds in which everything that is out must come to its end. */
const mostRounds = 100

/** What a read of a sector gives. */
const contentOf = (sector: number): number => (sector % 251) + 1

/** The sector decides how a request is answered, so that one which is delivered again is answered in the same way: at once, by a promise, or by a parked request. */
const isAtOnce = (sector: number): boolean => sector % 4 === 0
const isPromised = (sector: number): boolean => sector % 4 === 1

/** A disk whose answers come when the test says so. */
export class MovingDisk extends BlkDevice {
  /** Requests that are out: each ends it. */
  readonly open: (() => void)[] = []
  /** A reset, of the device or of a queue, takes until `rest`. */
  takesLong = false
  readonly #resting: (() => void)[] = []
  /** What the device remembers: requests that have come. */
  served = 0

  constructor(queueSize: number, onError: (error: unknown) => void, queues: number = queueCount) {
    super({ features: [VIRTIO_BLK_F_MQ], queueSize, config: { capacity: 1000, num_queues: queues }, onError })
  }

  protected override read(request: BlkReadRequest): Outcome {
    this.served++
    const { sector } = request.header
    const fill = (): void => {
      request.writable.fill(contentOf(sector))
    }
    if (isAtOnce(sector)) {
      fill()
      return
    }
    if (isPromised(sector)) return new Promise<void>((resolve) => this.open.push(resolve)).then(fill)
    this.open.push(() => {
      fill()
      request.complete()
    })
    return PARKED
  }
  protected override write(): Outcome {}
  protected override flush(): Outcome {}
  protected override getId(): Outcome {}

  protected override resetting(): void | Promise<void> {
    return this.#reset()
  }
  protected override queueResetting(): void | Promise<void> {
    return this.#reset()
  }
  #reset(): void | Promise<void> {
    if (this.takesLong) return new Promise((resolve) => this.#resting.push(resolve))
  }
  /** Resets that go on are over. */
  rest(): void {
    for (const resolve of this.#resting.splice(0)) resolve()
  }

  override saveState(): Plain {
    return this.served
  }
  override restoreState(state: Plain): void {
    this.served = state as number
  }
}

export class MovingGuest extends MovingMachine<MovingDisk> {
  /** By chain, the sector that was asked for. */
  readonly #out = new Map<OfferedChain, number>()
  #nextSector = 0
  answered = 0
  /** Requests that were in flight when the guest was moved. */
  inFlight = 0

  constructor(setting: Setting, makeDisk: MakeDevice<MovingDisk> = (...options) => new MovingDisk(...options)) {
    super(setting, makeDisk)
  }

  /** Asks for sectors, as many as there is room for. */
  offer(index: number, count: number, indirect: boolean): void {
    const ring = this.rings[index]
    if (ring === undefined || !this.mayOffer) return
    for (let i = 0; i < count && ring.free >= 4; i++) {
      const sector = this.#nextSector++
      const spec = chain()
      if (indirect && ring.features.indirect) spec.indirect()
      spec.readable(VirtioBlkReqHeader.encode({ type: VIRTIO_BLK_T_IN, sector })).writable(100)
      spec.writable(virtio_blk_size.sector_bytes - 100).writable(1)
      this.#out.set(ring.put(spec), sector)
    }
    ring.publish()
  }

  protected override look(ring: FakeDriver): void {
    for (const used of ring.drain()) this.#check(used)
  }

  #check({ chain, writable, written }: UsedChain): void {
    const sector = this.#out.get(chain)
    if (sector === undefined) throw new Error('a request was answered that nobody waits for')
    this.#out.delete(chain)
    this.answered++
    const right = new Uint8Array(virtio_blk_size.sector_bytes + 1).fill(contentOf(sector))
    right[virtio_blk_size.sector_bytes] = VIRTIO_BLK_S_OK
    if (written !== right.length || !right.every((byte, i) => byte === writable[i]))
      throw new Error(`the answer to the request for sector ${sector} is ${written} bytes: ${writable.join(' ')}`)
  }

  /** "Wait until all buffers that are being processed have been used" (Device Suspend), also of those that another VMM has taken. */
  protected override suspended(): void {
    const state = JSON.stringify(this.subject.save())
    if (/"inFlight":\[[^\]]/.test(state)) throw new Error(`the device is suspended while requests are in flight: ${state}`)
  }

  override reset(): void {
    super.reset()
    this.#out.clear()
  }

  override resetQueue(index: number): boolean {
    const chains = this.rings[index]?.out ?? []
    if (!super.resetQueue(index)) return false
    for (const chain of chains) this.#out.delete(chain)
    return true
  }

  /** One of the requests that are out is answered. */
  finish(which: number): void {
    const { open } = this.device
    if (open.length > 0) open.splice(which % open.length, 1)[0]?.()
  }

  override move(): void {
    const { served, takesLong, open } = this.device
    this.inFlight += open.length
    super.move()
    this.device.takesLong = takesLong
    if (this.device.served < served) throw new Error(`the device has forgotten requests: it knows ${this.device.served}, and had ${served}`)
  }

  protected override hurry(disk: MovingDisk): void {
    for (const finish of disk.open.splice(0)) finish()
    disk.rest()
  }

  /** Everything comes to its end. @returns sectors that were asked for and of which nothing was heard, and what else the driver waits for */
  async end(): Promise<readonly (number | string)[]> {
    for (let round = 0; round < mostRounds; round++) {
      this.device.takesLong = false
      this.hurry(this.device)
      await this.turn()
      this.ask()
      this.resume()
      this.serve()
      if (this.#out.size === 0 && this.waits.length === 0) return []
    }
    return [...this.#out.values(), ...this.waits]
  }
}
