/** A front-end in the same process as the back-end: it sends whatever a test says, and plays the driver in memory that both have mapped. */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import {
  closeFd,
  createEventfd,
  createMemfd,
  drainEventfd,
  type Mapping,
  mapShared,
  Poller,
  signalEventfd,
  socketPair,
  UnixSocket,
} from 'virtgen/linux'
import { type Context, vhost_user } from 'virtgen/protocol/vhost-user'
import { createDriverQueue, type DriverQueue, GuestMemory, placeQueue, type QueueSetup, queueLayout } from 'virtgen/runtime'
import { VIRTIO_F_RING_PACKED, VIRTIO_F_VERSION_1 } from 'virtgen/wire/content'
import { VHOST_USER_F_PROTOCOL_FEATURES, type VhostUserMemoryRegionValue } from 'virtgen/wire/vhost-user'
import { ReplyReader } from '../../hosts/linux/vhost-user/message-reader.ts'
import { encodeRequest, isAnswered, type RequestMessage } from '../../hosts/linux/vhost-user/messages.ts'

type Name = keyof typeof vhost_user

/** What of the guest's memory there is. */
export interface Piece {
  readonly fd: number
  readonly mapping: Mapping
  readonly region: VhostUserMemoryRegionValue
}

/** User addresses are not guest addresses. */
const userBase = 0x7f00_0000_0000

export const settle = async (turns = 4): Promise<void> => {
  for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve))
}

export class FrontEnd {
  readonly socket: UnixSocket
  readonly #replies: ReplyReader
  readonly #awaited: { message: RequestMessage; context: Context; resolve(reply: unknown): void; reject(error: Error): void }[] = []
  features = FeatureSet.of(VHOST_USER_F_PROTOCOL_FEATURES)
  protocolFeatures = 0
  closed = false
  readonly fds = new Set<number>()
  readonly pieces: Piece[] = []

  /**
   * @param adopt - takes the other end
   * @param socket - one that is connected already
   */
  constructor(adopt: (fd: number) => void, socket?: UnixSocket) {
    const [ours, theirs] = socket === undefined ? socketPair() : []
    this.socket = socket ?? new UnixSocket(Poller.shared, ours!)
    this.#replies = new ReplyReader(() => this.#awaited[0])
    this.socket.onClose = () => {
      this.closed = true
      for (const { reject, message } of this.#awaited.splice(0)) reject(new Error(`closed while ${message.name} was waiting`))
    }
    this.socket.onReadable = () => this.#read()
    if (theirs !== undefined) adopt(theirs)
  }

  get context(): Context {
    return { features: this.features, caller: { protocol_features: this.protocolFeatures, postcopy: 0 } }
  }

  #read(): void {
    for (let found = this.#replies.read(this.socket); found !== undefined; found = this.#replies.read(this.socket)) {
      const next = this.#awaited.shift()
      if (found instanceof Error) {
        next?.reject(found)
        return
      }
      for (const fd of found.fds) this.fds.add(fd)
      next?.resolve({ ...found })
    }
  }

  /** Sends a request and waits for nothing. */
  send<N extends Name>(name: N, value: Parameters<(typeof vhost_user)[N]['encode']>[0], fds: readonly number[] = []): void {
    this.socket.send(encodeRequest(vhost_user[name], value as never, this.context), fds)
  }

  /** Its bytes. */
  encoded<N extends Name>(name: N, value: Parameters<(typeof vhost_user)[N]['encode']>[0], needReply = false): Uint8Array {
    return encodeRequest(vhost_user[name], value as never, this.context, needReply)
  }

  /** Sends a request and waits for its reply, or for the acknowledgement. */
  ask<N extends Name>(name: N, value: Parameters<(typeof vhost_user)[N]['encode']>[0] = {}, fds: readonly number[] = []): Promise<ReplyOf<N>> {
    const { context } = this
    const entry = vhost_user[name]
    const bytes = encodeRequest(entry, value as never, context, !entry.answers(context as never))
    const request = entry.request(context as never)
    request.at(new DataView(bytes.buffer, bytes.byteOffset, bytes.length))
    const message = { name, entry, request, needReply: true, bytes, fds: [] } as unknown as RequestMessage
    if (!isAnswered(message, context)) throw new Error(`${name} has no answer`)
    return new Promise((resolve, reject) => {
      this.#awaited.push({ message, context, resolve: resolve as (reply: unknown) => void, reject })
      this.socket.send(bytes, fds)
    })
  }

  /** Whether a request was done. */
  async done<N extends Name>(name: N, value: Parameters<(typeof vhost_user)[N]['encode']>[0] = {}, fds: readonly number[] = []): Promise<boolean> {
    const { reply } = (await this.ask(name, value, fds)) as unknown as { reply: { result: bigint } }
    return reply.result === 0n
  }

  // ---- Features

  /** As front-ends begin. */
  async negotiate(protocolFeatures: readonly number[] | undefined, features: FeatureSet = FeatureSet.of(VIRTIO_F_VERSION_1)): Promise<void> {
    await this.ask('get_features')
    const offered = Number((await this.ask('get_protocol_features')).reply.protocol_features)
    this.protocolFeatures = protocolFeatures === undefined ? offered : protocolFeatures.reduce((bits, bit) => bits + 2 ** bit, 0)
    this.send('set_protocol_features', { protocol_features: BigInt(this.protocolFeatures) })
    this.send('set_owner', {})
    this.setFeatures(features)
  }

  setFeatures(features: FeatureSet): void {
    this.features = features.with(VHOST_USER_F_PROTOCOL_FEATURES)
    this.send('set_features', { features: BigInt(this.features.toString()) })
  }

  // ---- Memory

  /** Memory of this process that it is about to share. */
  piece(guestAddress: number, size: number, userAddress = userBase + guestAddress): Piece {
    const fd = this.keep(createMemfd('guest', size))
    const mapping = mapShared(fd, { size })
    const piece = { fd, mapping, region: { guest_address: guestAddress, size, user_address: userAddress, mmap_offset: 0 } }
    this.pieces.push(piece)
    return piece
  }

  memoryOf(pieces: readonly Piece[]): GuestMemory {
    return new GuestMemory(
      pieces.map(({ mapping, region }) => ({ guestAddress: region.guest_address, size: region.size, source: mapping.windows[0]! })),
    )
  }

  table(pieces: readonly Piece[]): [{ memory: { num_regions: number; regions: VhostUserMemoryRegionValue[] } }, number[]] {
    return [{ memory: { num_regions: pieces.length, regions: pieces.map(({ region }) => region) } }, pieces.map(({ fd }) => fd)]
  }

  keep(fd: number): number {
    this.fds.add(fd)
    return fd
  }

  /** Closes what is its own. */
  close(): void {
    this.socket.close()
    for (const { mapping } of this.pieces) mapping.unmap()
    for (const fd of this.fds) closeFd(fd)
    this.fds.clear()
  }
}

type ReplyOf<N extends Name> = { readonly reply: ReturnType<(typeof vhost_user)[N]['reply']>; readonly fds: readonly number[] }

/** The driver's side of a ring. */
export class FrontRing<T = unknown> {
  front: FrontEnd
  readonly setup: QueueSetup
  readonly queue: DriverQueue<T>
  kick = -1
  call = -1
  error = -1
  kicks = 0
  /** The driver notifies through the eventfd at once. */
  kicking = true

  constructor(front: FrontEnd, memory: GuestMemory, index: number, size: number, address: number) {
    this.front = front
    const packed = front.features.has(VIRTIO_F_RING_PACKED)
    this.setup = placeQueue(queueLayout({ size, packed }), index, address)
    this.queue = createDriverQueue<T>(memory, this.setup, {
      packed,
      notify: () => {
        this.kicks++
        if (this.kicking) signalEventfd(this.kick)
      },
      fail: (violation) => {
        throw new Error(`the device: ${violation.detail}`)
      },
    })
  }

  /** The addresses as the front-end sees them. */
  addresses(piece: Piece): { descriptor: number; used: number; available: number; log: number; flags: number } {
    const shift = piece.region.user_address - piece.region.guest_address
    const { descriptorArea, driverArea, deviceArea } = this.setup
    return { descriptor: descriptorArea + shift, used: deviceArea + shift, available: driverArea + shift, log: 0, flags: 0 }
  }

  /** As QEMU starts a ring: the kick comes at once, and then it is enabled. */
  start(piece: Piece, base = this.front.features.has(VIRTIO_F_RING_PACKED) ? 0x8000_8000 : 0): void {
    const { front, setup } = this
    const { index, size } = setup
    front.send('set_vring_num', { state: { index, num: size } })
    this.setBase(base)
    front.send('set_vring_addr', { addr: { index, ...this.addresses(piece) } })
    this.setKick()
    this.setCall()
    signalEventfd(this.kick)
    front.send('set_vring_enable', { state: { index, num: 1 } })
  }

  setBase(base: number): void {
    const { index } = this.setup
    const packed = this.front.features.has(VIRTIO_F_RING_PACKED)
    const value = packed
      ? {
          index,
          avail_index: base & 0x7fff,
          avail_wrap_counter: (base >>> 15) & 1,
          used_index: (base >>> 16) & 0x7fff,
          used_wrap_counter: base >>> 31,
        }
      : { index, avail_idx: base }
    this.front.send('set_vring_base', { base: value })
  }

  setKick(): void {
    if (this.kick < 0) this.kick = this.front.keep(createEventfd())
    this.front.send('set_vring_kick', { ring: { u64: { index: this.setup.index, invalid_fd: 0 } } }, [this.kick])
  }

  setCall(): void {
    if (this.call < 0) this.call = this.front.keep(createEventfd())
    this.front.send('set_vring_call', { ring: { u64: { index: this.setup.index, invalid_fd: 0 } } }, [this.call])
  }

  setError(): void {
    if (this.error < 0) this.error = this.front.keep(createEventfd())
    this.front.send('set_vring_err', { ring: { u64: { index: this.setup.index, invalid_fd: 0 } } }, [this.error])
  }

  /** Whether the guest was interrupted since this was asked last. */
  get called(): boolean {
    return drainEventfd(this.call)
  }

  /** Waits until the device has used a buffer. */
  async completed(turns = 1000): Promise<T> {
    for (let turn = 0; turn < turns; turn++) {
      const token = this.queue.completed()
      if (token !== undefined) return token
      await settle(1)
    }
    throw new Error(`queue ${this.setup.index} uses nothing`)
  }

  /** Stops the ring; its position. */
  async stop(): Promise<number> {
    const { base } = (await this.front.ask('get_vring_base', { state: { index: this.setup.index, num: 0 } })).reply
    if (!this.front.features.has(VIRTIO_F_RING_PACKED)) return base.avail_idx!
    return (base.avail_index! | (base.avail_wrap_counter! << 15) | (base.used_index! << 16) | (base.used_wrap_counter! << 31)) >>> 0
  }
}
