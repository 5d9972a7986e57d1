/** Any sequence of valid requests, whatever the driver and the device do meanwhile, keeps the two in step: each buffer is used once, and nothing is written by who has stopped. */
import fc from 'fast-check'
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { signalEventfd, VhostUserServer, whyNoSystem } from 'virtgen/linux'
import { VIRTIO_F_EVENT_IDX, VIRTIO_F_RING_PACKED, VIRTIO_F_VERSION_1 } from 'virtgen/wire/content'
import { describe, expect, it } from 'vitest'
import { HeldDevice } from './support/vhost-user-device.ts'
import { FrontEnd, FrontRing, type Piece, settle } from './support/vhost-user-front.ts'
import { atEnd, dataAt, endSessions, keepNothing, memorySize, synchronized } from './support/vhost-user-session.ts'

const rounds = Number(process.env.VIRTGEN_ROUNDS ?? 60)
const ringsAt = 0x2000_0000

/** One guest with one ring, over any number of connections. */
class Guest {
  readonly devices: HeldDevice[] = []
  readonly problems: unknown[] = []
  readonly server: VhostUserServer
  readonly features: FeatureSet
  front!: FrontEnd
  ring!: FrontRing<number>
  readonly pieces: Piece[] = []
  plugged: Piece | undefined
  isPlugged = false
  inflight: { value: { mmap_size: number; mmap_offset: number; num_queues: number; queue_size: number }; fd: number } | undefined
  /** Where the ring stands, while it is stopped. */
  base: number | undefined
  enabled = false
  holds = false
  /** Tokens that the device has. */
  readonly out = new Set<number>()
  next = 0

  constructor(features: FeatureSet, spin: number) {
    this.features = features
    this.server = new VhostUserServer({
      device: () => {
        const device = new HeldDevice({ queues: 1 })
        device.holds = this.holds
        this.devices.push(device)
        return device
      },
      spin,
      onError: (error) => this.problems.push(error),
      onProtocolError: (error) => this.problems.push(error),
      onViolation: (violation) => this.problems.push(violation),
    })
  }

  get device(): HeldDevice {
    return this.devices.at(-1)!
  }

  async begin(): Promise<void> {
    this.front = await this.#connected()
    const own = this.front
    this.pieces.push(own.piece(0, memorySize), own.piece(ringsAt, 0x1_0000))
    this.plugged = own.piece(0x4000_0000, 0x1_0000)
    const { reply, fds } = await own.ask('get_inflight_fd', { inflight: { mmap_size: 0, mmap_offset: 0, num_queues: 1, queue_size: 16 } })
    const { mmap_size, mmap_offset } = reply.inflight
    this.inflight = { value: { mmap_size, mmap_offset, num_queues: 1, queue_size: 16 }, fd: fds[0]! }
    this.ring = new FrontRing<number>(own, own.memoryOf([...this.pieces, this.plugged]), 0, 16, ringsAt)
    await this.#share()
    this.#start(this.features.has(VIRTIO_F_RING_PACKED) ? 0x8000_8000 : 0)
  }

  async #connected(): Promise<FrontEnd> {
    const front = new FrontEnd((fd) => this.server.adopt(fd))
    atEnd(() => front.close())
    await front.negotiate([0, 1, 3, 5, 9, 12, 13, 15], this.features)
    return front
  }

  async #share(): Promise<void> {
    const { value, fd } = this.inflight!
    expect(await this.front.done('set_inflight_fd', { inflight: value }, [fd])).toBe(true)
    const pieces = this.isPlugged ? [...this.pieces, this.plugged!] : this.pieces
    expect(await this.front.done('set_mem_table', ...this.front.table(pieces))).toBe(true)
  }

  #start(base: number): void {
    this.ring.start(this.pieces[1]!, base)
    this.base = undefined
    this.enabled = true
  }

  // ---- What may happen

  async add(count: number): Promise<void> {
    for (let each = 0; each < count; each++) {
      const token = this.next
      const address = this.isPlugged && token % 3 === 0 ? 0x4000_0000 + (token % 256) * 64 : dataAt + (token % 256) * 64
      if (!this.ring.queue.add([{ address: dataAt - 64, length: 16 }], [{ address, length: 64 }], token)) break
      this.out.add(token)
      this.next++
    }
    this.ring.queue.publish()
  }

  async complete(): Promise<void> {
    for (let token = this.ring.queue.completed(); token !== undefined; token = this.ring.queue.completed())
      expect(this.out.delete(token), `token ${token} comes once`).toBe(true)
  }

  async stop(): Promise<void> {
    if (this.base !== undefined) return
    const stopped = this.ring.stop()
    await settle(2)
    this.#finishAll()
    this.base = await stopped
  }

  #finishAll(): void {
    for (const device of this.devices) device.finish()
  }

  async restart(): Promise<void> {
    if (this.base !== undefined) this.#start(this.base)
  }

  /** What nobody may write to now stays as it is, whatever is kicked. */
  async restsWhileStopped(): Promise<void> {
    if (this.base === undefined) return
    const bytes = this.pieces.map(({ mapping }) => mapping.windows[0]!)
    const before = bytes.map((window) => window.slice())
    signalEventfd(this.ring.kick)
    await settle(4)
    for (const [index, window] of bytes.entries()) expect(Buffer.compare(window, before[index]!)).toBe(0)
  }

  async enable(enabled: boolean): Promise<void> {
    if (this.base !== undefined) return
    expect(await this.front.done('set_vring_enable', { state: { index: 0, num: Number(enabled) } })).toBe(true)
    this.enabled = enabled
  }

  async hold(holds: boolean): Promise<void> {
    this.holds = this.device.holds = holds
  }

  async finish(count: number, last: boolean): Promise<void> {
    this.device.finish(Math.min(count, this.device.held.length), last)
  }

  /** Memory is told of anew, as QEMU does at any change; what the ring lies in may move in the guest. */
  async table(): Promise<void> {
    const pieces = this.isPlugged ? [...this.pieces, this.plugged!] : this.pieces
    const done = this.front.done('set_mem_table', ...this.front.table(pieces))
    await settle(2)
    this.#finishAll()
    expect(await done).toBe(true)
  }

  async plug(): Promise<void> {
    // Buffers there would be outside.
    if (this.isPlugged && [...this.out].some((token) => token % 3 === 0)) return
    const { region, fd } = this.plugged!
    const done = this.isPlugged
      ? this.front.done('rem_mem_reg', { mem_reg: { region } })
      : this.front.done('add_mem_reg', { mem_reg: { region } }, [fd])
    await settle(2)
    this.#finishAll()
    expect(await done).toBe(true)
    this.isPlugged = !this.isPlugged
  }

  async eventfds(): Promise<void> {
    this.ring.setCall()
    this.ring.setError()
    if (this.base === undefined) this.ring.setKick()
    if (this.base === undefined) signalEventfd(this.ring.kick)
    await synchronized(this.front)
  }

  async repeat(): Promise<void> {
    this.front.setFeatures(this.features)
    this.device.config.update(() => undefined)
    const { reply } = await this.front.ask('get_config', { config: { offset: 0, size: 16, flags: 0, payload: new Uint8Array(16) } })
    expect(reply.config!.payload.length).toBe(16)
  }

  /** The connection breaks, with whatever is at work, and there is another one. */
  async reconnect(): Promise<void> {
    const { base, enabled, front } = this
    front.socket.close()
    await settle(2)
    this.front = await this.#connected()
    this.ring.front = this.front
    const shared = this.#share()
    await settle(2)
    this.#finishAll()
    await shared
    if (base !== undefined) return
    this.#start(this.#usedIndex)
    if (!enabled) await this.enable(false)
  }

  /** What a front-end tells that cannot ask any more; with an inflight area nobody believes it in packed rings. */
  get #usedIndex(): number {
    if (this.features.has(VIRTIO_F_RING_PACKED)) return 0x8000_8000
    const { deviceArea } = this.ring.setup
    return new DataView(this.pieces[1]!.mapping.windows[0]!.buffer).getUint16(deviceArea - ringsAt + 2, true)
  }

  /** In the end all comes back. */
  async end(): Promise<void> {
    await this.hold(false)
    await this.restart()
    await this.enable(true)
    for (let turn = 0; turn < 400 && this.out.size > 0; turn++) {
      this.#finishAll()
      await settle(1)
      await this.complete()
    }
    expect([...this.out]).toEqual([])
    const closing = this.server.close()
    this.front.close()
    await closing
    expect(this.problems).toEqual([])
  }
}

type Step = (guest: Guest) => Promise<void>
const named = (name: string, step: Step): Step => Object.assign(step, { toString: () => name })
const step = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: 1, max: 8 }).map((count) => named(`add ${count}`, (guest) => guest.add(count))) },
  { weight: 4, arbitrary: fc.constant(named('complete', (guest) => guest.complete())) },
  { weight: 2, arbitrary: fc.boolean().map((holds) => named(`hold ${holds}`, (guest) => guest.hold(holds))) },
  {
    weight: 3,
    arbitrary: fc
      .tuple(fc.integer({ min: 1, max: 4 }), fc.boolean())
      .map(([count, last]) => named(`finish ${count} ${last}`, (guest) => guest.finish(count, last))),
  },
  { weight: 2, arbitrary: fc.constant(named('stop', (guest) => guest.stop())) },
  { weight: 2, arbitrary: fc.constant(named('rests', (guest) => guest.restsWhileStopped())) },
  { weight: 2, arbitrary: fc.constant(named('restart', (guest) => guest.restart())) },
  { weight: 2, arbitrary: fc.boolean().map((enabled) => named(`enable ${enabled}`, (guest) => guest.enable(enabled))) },
  { weight: 1, arbitrary: fc.constant(named('table', (guest) => guest.table())) },
  { weight: 2, arbitrary: fc.constant(named('plug', (guest) => guest.plug())) },
  { weight: 1, arbitrary: fc.constant(named('eventfds', (guest) => guest.eventfds())) },
  { weight: 1, arbitrary: fc.constant(named('repeat', (guest) => guest.repeat())) },
  { weight: 1, arbitrary: fc.constant(named('reconnect', (guest) => guest.reconnect())) },
  { weight: 3, arbitrary: fc.constant(named('settle', () => settle(3))) },
)

describe.skipIf(whyNoSystem() !== undefined)('whatever a front-end asks for, in any order', () => {
  keepNothing()

  it.each([
    ['split', FeatureSet.of(VIRTIO_F_VERSION_1), 0],
    ['split, with EVENT_IDX', FeatureSet.of(VIRTIO_F_VERSION_1, VIRTIO_F_EVENT_IDX), 0],
    ['split, spinning', FeatureSet.of(VIRTIO_F_VERSION_1, VIRTIO_F_EVENT_IDX), 200],
    ['packed', FeatureSet.of(VIRTIO_F_VERSION_1, VIRTIO_F_RING_PACKED), 0],
    ['packed, spinning, with EVENT_IDX', FeatureSet.of(VIRTIO_F_VERSION_1, VIRTIO_F_RING_PACKED, VIRTIO_F_EVENT_IDX), 200],
  ])('%s: each buffer is used once', async (_, features, spin) => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 40, size: 'max' }), async (steps) => {
        const guest = new Guest(features, spin)
        await guest.begin()
        try {
          for (const step of steps) await step(guest)
          await guest.end()
        } finally {
          await endSessions()
        }
      }),
      { numRuns: rounds },
    )
  })
})
