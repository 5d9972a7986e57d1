/** A front-end that talks as it should most of the time, and as it likes otherwise. */

import { FeatureSet, featuresFromWords } from 'virtgen/codegen/v1/wire'
import { type Context, vhost_user } from 'virtgen/protocol/vhost-user'
import { VIRTIO_F_RING_PACKED, VIRTIO_F_VERSION_1 } from 'virtgen/wire/content'
import { VHOST_F_LOG_ALL, VHOST_USER_F_PROTOCOL_FEATURES, type VhostUserMemoryRegionValue } from 'virtgen/wire/vhost-user'
import { closeFd, isEventfd, type Mapping, mapShared, type Poller, signalEventfd, UnixSocket } from '../../hosts/linux/system/index.ts'
import { protocolFeatures } from '../../hosts/linux/vhost-user/back-end/index.ts'
import { inFlightSize } from '../../hosts/linux/vhost-user/in-flight.ts'
import { createDriverQueue } from '../../runtime/driver-queue.ts'
import { GuestMemory } from '../../runtime/memory.ts'
import type { DriverQueue } from '../../runtime/queue.ts'
import { placeQueue, queueLayout } from '../../runtime/queue-layout.ts'
import type { Random } from '../random.ts'
import { OddDescriptors } from './odd-descriptors.ts'

type Name = keyof typeof vhost_user

/** A request before it is spoiled. */
interface Draft {
  readonly name: Name
  readonly value: object
  readonly fds: readonly number[]
}

interface Piece {
  readonly fd: number
  readonly mapping: Mapping
  readonly region: VhostUserMemoryRegionValue
}

const pieceSize = 0x2_0000
const userBase = 0x7f00_0000_0000
const ringAt = 0x1000
const ringSize = 16
const dataAt = 0x8000
const names = Object.keys(vhost_user) as Name[]
const numbers = [0, 1, 2, 3, 4, 7, 8, 16, 64, 255, 0x100, 0xfff, 0x1000, 0x7fff, 0x8000, 0xffff, 0x1_0000, pieceSize, 2 ** 31, 2 ** 32 - 1, 2 ** 32]
const longNumbers = [...numbers, userBase, userBase + ringAt, 2 ** 40, 2 ** 47, 2 ** 53 - 1, 2 ** 53 - pieceSize]
const words64 = [0n, 1n, 0x7fff_ffff_ffff_ffffn, 0x8000_0000_0000_0000n, 0xffff_ffff_ffff_ffffn, 0xffff_ffff_ffff_f000n, 1n << 53n, 1n << 32n]
const flagsAt = 4
const sizeAt = 8
const headerSize = 12
const needReply = 8

export class OddFrontEnd {
  readonly odd: OddDescriptors
  closed = false
  /** Messages that it has sent. */
  sent = 0
  readonly pieces: Piece[] = []
  /** Those that the back-end has, as far as nothing was spoiled. */
  readonly #shared = new Set<Piece>()
  readonly #random: Random
  readonly #socket: UnixSocket
  readonly #room = new Uint8Array(512)
  #features = FeatureSet.of(VIRTIO_F_VERSION_1, VHOST_USER_F_PROTOCOL_FEATURES)
  #protocolFeatures = 0
  readonly #kicks = new Map<number, number>()
  #queue: DriverQueue<number> | undefined
  /** Chances that a message is spoiled: one in so many. */
  readonly #spoils: number

  constructor(poller: Poller, fd: number, random: Random) {
    this.#random = random
    this.odd = new OddDescriptors(random)
    this.#spoils = random.pick([10, 40, 150, 1000])
    this.#socket = new UnixSocket(poller, fd)
    this.#socket.onClose = () => {
      this.closed = true
    }
    // Now and then nobody reads what the back-end says.
    if (!random.oneIn(10)) this.#socket.onReadable = () => this.#socket.receive(this.#room)?.fds.forEach(closeFd)
    for (let index = 0; index < 6; index++) this.#addPiece(index * pieceSize)
  }

  get #context(): Context {
    return { features: this.#features, caller: { protocol_features: this.#protocolFeatures, postcopy: 0 } }
  }

  #addPiece(guestAddress: number): void {
    const fd = this.odd.memory(pieceSize, !this.#random.oneIn(60))
    const mapping = mapShared(fd, { size: pieceSize, unsealed: true })
    this.pieces.push({ fd, mapping, region: { guest_address: guestAddress, size: pieceSize, user_address: userBase + guestAddress, mmap_offset: 0 } })
  }

  /** What front-ends say at first: as far as it likes. */
  begin(): void {
    const random = this.#random
    this.#protocolFeatures = random.oneIn(10)
      ? protocolFeatures.filter(() => random.oneIn(2)).reduce((bits, bit) => bits + 2 ** bit, 0)
      : protocolFeatures.reduce((bits, bit) => bits + 2 ** bit, 0)
    const packed = random.oneIn(3)
    this.#features = FeatureSet.of(VIRTIO_F_VERSION_1, VHOST_USER_F_PROTOCOL_FEATURES, ...(packed ? [VIRTIO_F_RING_PACKED] : []))
    for (const name of ['get_features', 'get_protocol_features', 'set_protocol_features', 'set_owner', 'set_features', 'set_mem_table'] as const)
      if (!random.oneIn(30)) this.say(name)
    if (random.oneIn(3)) this.say('set_inflight_fd')
    if (random.oneIn(4)) this.say('set_log_base')
    if (random.oneIn(2)) this.say('set_backend_req_fd')
    this.#startRing(0, packed)
  }

  #startRing(index: number, packed: boolean): void {
    const memory = new GuestMemory(
      this.pieces.map(({ mapping, region }) => ({ guestAddress: region.guest_address, size: region.size, source: mapping.windows[0]! })),
    )
    const setup = placeQueue(queueLayout({ size: ringSize, packed }), index, ringAt)
    const notify = (): void => this.kick(index)
    this.#queue = createDriverQueue<number>(memory, setup, { packed, notify, fail: () => {} })
    const { descriptorArea, driverArea, deviceArea } = setup
    this.send({ name: 'set_vring_num', value: { state: { index, num: ringSize } }, fds: [] })
    this.send({ name: 'set_vring_base', value: { base: this.#base(index, 0) }, fds: [] })
    const addr = { index, flags: 0, descriptor: userBase + descriptorArea, available: userBase + driverArea, used: userBase + deviceArea, log: 0 }
    this.send({ name: 'set_vring_addr', value: { addr }, fds: [] })
    for (const name of ['set_vring_kick', 'set_vring_call', 'set_vring_err'] as const) this.say(name, index)
    this.send({ name: 'set_vring_enable', value: { state: { index, num: 1 } }, fds: [] })
  }

  /** One of the things that it does. */
  act(): void {
    const random = this.#random
    switch (random.below(8)) {
      case 0:
      case 1:
      case 2:
        this.say(random.oneIn(30) ? random.pick(names) : random.pick(likely), random.oneIn(60) ? random.below(256) : random.pick([0, 0, 0, 1, 3]))
        break
      case 3:
      case 4:
        this.#addBuffers()
        break
      case 5:
        if (random.oneIn(3)) this.#scribble()
        break
      case 6:
        this.kick(0)
        break
      default:
        if (random.oneIn(40)) this.#socket.close()
    }
  }

  kick(index: number): void {
    const fd = this.#kicks.get(index)
    if (fd !== undefined) signalEventfd(fd)
  }

  #addBuffers(): void {
    const queue = this.#queue
    if (queue === undefined) return
    try {
      for (let count = this.#random.between(1, 8); count > 0; count--) {
        const address = dataAt + this.#random.below(2 * pieceSize)
        queue.add([{ address, length: 16 }], [{ address: address + 64, length: this.#random.pick([1, 64, 0x4000]) }], 0)
      }
      queue.publish()
      while (queue.completed() !== undefined);
    } catch {
      // It has broken its own ring.
    }
  }

  /** Writes nonsense into memory, rings included. */
  #scribble(): void {
    const { mapping } = this.#random.pick(this.pieces)
    const bytes = mapping.windows[0]
    if (bytes === undefined) return
    for (let count = this.#random.below(32); count > 0; count--) bytes[ringAt + this.#random.below(0x800)] = this.#random.word()
    this.kick(0)
  }

  /** Says something that makes sense, unless it is spoiled on its way. */
  say(name: Name, index = 0): void {
    this.send(this.#draft(name, index))
  }

  send(draft: Draft): void {
    if (this.closed) return
    let bytes: Uint8Array
    try {
      const encode = vhost_user[draft.name].encode as (value: object, context: Context) => Uint8Array
      const hdr = { request: vhost_user[draft.name].id, flags: { version: 1, reply: 0, need_reply: this.#random.below(2) }, size: 1 }
      bytes = encode({ ...draft.value, hdr }, this.#context)
    } catch {
      return
    }
    new DataView(bytes.buffer, bytes.byteOffset).setUint32(sizeAt, bytes.length - headerSize, true)
    let { fds } = draft
    if (this.#random.oneIn(this.#spoils)) bytes = this.#spoil(bytes)
    if (this.#random.oneIn(2 * this.#spoils)) fds = this.#spoilDescriptors(fds)
    this.sent++
    this.#deliver(bytes, fds)
  }

  /** In one piece or several. */
  #deliver(bytes: Uint8Array, fds: readonly number[]): void {
    if (!this.#random.oneIn(6)) {
      this.#socket.send(bytes, fds)
      return
    }
    const cut = this.#random.between(1, bytes.length - 1)
    const late = this.#random.oneIn(8)
    this.#socket.send(bytes.subarray(0, cut), late ? [] : fds)
    if (!this.#random.oneIn(20)) this.#socket.send(bytes.subarray(cut), late ? fds : [])
  }

  #spoil(original: Uint8Array): Uint8Array {
    const random = this.#random
    const bytes = Uint8Array.from(original)
    const view = new DataView(bytes.buffer)
    switch (random.below(7)) {
      case 0:
        view.setUint32(0, random.oneIn(2) ? random.below(64) : random.word(), true)
        return bytes
      case 1:
        view.setUint32(flagsAt, random.pick([0, 1, 2, 4, 5, 8, needReply | 1, 0xffff_ffff, random.word()]), true)
        return bytes
      case 2:
        view.setUint32(sizeAt, random.pick([...numbers.map((number) => number >>> 0), random.word(), bytes.length]), true)
        return bytes
      case 3: {
        const length = random.between(headerSize, bytes.length + 16)
        const other = new Uint8Array(length)
        other.set(bytes.subarray(0, length))
        new DataView(other.buffer).setUint32(sizeAt, length - headerSize, true)
        return other
      }
      case 4:
        if (bytes.length >= headerSize + 8)
          view.setBigUint64(headerSize + 8 * random.below((bytes.length - headerSize) >> 3), random.pick(words64), true)
        return bytes
      case 5:
        if (bytes.length >= headerSize + 4)
          view.setUint32(headerSize + 4 * random.below((bytes.length - headerSize) >> 2), random.pick(numbers) >>> 0, true)
        return bytes
      default:
        for (let count = random.between(1, 4); count > 0; count--) bytes[random.below(bytes.length)] = random.word()
        return bytes
    }
  }

  #spoilDescriptors(fds: readonly number[]): readonly number[] {
    const random = this.#random
    const any = (count: number): number[] => Array.from({ length: count }, () => this.odd.any())
    switch (random.below(4)) {
      case 0:
        return []
      case 1:
        return [...fds, ...any(random.between(1, 3))]
      case 2:
        return new Array(random.pick([8, 33, 253])).fill(this.odd.event())
      default:
        return any(fds.length)
    }
  }

  #number(numbers: readonly number[]): number {
    return this.#random.pick(numbers)
  }

  #region(piece: Piece): { region: VhostUserMemoryRegionValue; fd: number } {
    const random = this.#random
    const region = { ...piece.region }
    if (random.oneIn(30)) region[random.pick(['guest_address', 'size', 'user_address', 'mmap_offset'] as const)] = this.#number(longNumbers)
    return { region, fd: random.oneIn(40) ? this.odd.any() : piece.fd }
  }

  #base(index: number, position: number): object {
    return this.#features.has(VIRTIO_F_RING_PACKED)
      ? { index, avail_index: position & 0x7fff, avail_wrap_counter: 1, used_index: position & 0x7fff, used_wrap_counter: 1 }
      : { index, avail_idx: position & 0xffff }
  }

  #vringFd(name: Name, index: number): Draft {
    const none = this.#random.oneIn(10)
    const fd = this.#random.oneIn(20) ? this.odd.any() : this.odd.event()
    if (name === 'set_vring_kick' && !none && isEventfd(fd)) this.#kicks.set(index, fd)
    return { name, value: { ring: { u64: { index: index & 0xff, invalid_fd: none ? 1 : 0 } } }, fds: none ? [] : [fd] }
  }

  #draft(name: Name, index: number): Draft {
    const random = this.#random
    const of = (value: object, ...fds: number[]): Draft => ({ name, value, fds })
    const state = (num: number): Draft => of({ state: { index, num } })
    switch (name) {
      case 'set_features': {
        const log = random.oneIn(8) ? FeatureSet.of(VHOST_F_LOG_ALL) : FeatureSet.empty
        const features = random.oneIn(30) ? featuresFromWords([random.word(), random.word()]) : this.#features.union(log)
        return of({ features: BigInt(features.toString()) })
      }
      case 'set_protocol_features':
        return of({ protocol_features: random.oneIn(12) ? BigInt(random.word()) : BigInt(this.#protocolFeatures) })
      case 'set_mem_table': {
        const pieces = this.pieces.filter((_, piece) => piece === 0 || random.oneIn(2))
        this.#shared.clear()
        for (const piece of pieces) this.#shared.add(piece)
        const chosen = pieces.map((piece) => this.#region(piece))
        const memory = { num_regions: chosen.length, padding: 0, regions: chosen.map(({ region }) => region) }
        return of({ memory }, ...chosen.map(({ fd }) => fd))
      }
      case 'add_mem_reg':
      case 'rem_mem_reg': {
        const isNew = name === 'add_mem_reg'
        const fitting = this.pieces.filter((piece) => this.#shared.has(piece) !== isNew)
        const piece = random.pick(fitting.length === 0 || random.oneIn(20) ? this.pieces : fitting)
        if (isNew) this.#shared.add(piece)
        else this.#shared.delete(piece)
        const { region, fd } = this.#region(piece)
        return of({ mem_reg: { padding: 0n, region } }, ...(isNew || random.oneIn(3) ? [fd] : []))
      }
      case 'set_vring_num':
        return state(random.oneIn(8) ? this.#number(numbers) >>> 0 : ringSize)
      case 'set_vring_enable':
        return state(random.oneIn(40) ? random.word() : random.below(2))
      case 'get_vring_base':
      case 'vring_kick':
        return state(0)
      case 'set_vring_base':
        return of({ base: this.#base(index, random.oneIn(3) ? random.word() : 0) })
      case 'set_vring_addr': {
        const place = (address: number): number => (random.oneIn(30) ? this.#number(longNumbers) : userBase + address)
        const addr = {
          index,
          flags: random.below(2),
          descriptor: place(ringAt),
          available: place(ringAt + 0x400),
          used: place(ringAt + 0x600),
          log: ringAt,
        }
        return of({ addr })
      }
      case 'set_vring_kick':
      case 'set_vring_call':
      case 'set_vring_err':
        return this.#vringFd(name, index)
      case 'set_backend_req_fd':
        return of({}, random.oneIn(8) ? this.odd.any() : this.odd.socket())
      case 'set_log_base': {
        const size = random.oneIn(20) ? this.#number(longNumbers) : 0x1000
        return of({ log: { log_size: size, log_offset: random.oneIn(5) ? this.#number(numbers) : 0 } }, this.odd.memory(0x1000))
      }
      case 'set_log_fd':
        return of({}, this.odd.event())
      case 'get_inflight_fd':
      case 'set_inflight_fd': {
        const shape = { num_queues: random.oneIn(20) ? random.below(0x1_0000) : 4, queue_size: random.oneIn(20) ? random.below(0x1_0000) : 64 }
        const size = inFlightSize(4, 64, this.#features.has(VIRTIO_F_RING_PACKED))
        const inflight = { mmap_size: random.oneIn(30) ? this.#number(longNumbers) : size, mmap_offset: 0, ...shape }
        return of({ inflight }, ...(name === 'set_inflight_fd' ? [this.#inFlightMemory(size)] : []))
      }
      case 'get_config':
      case 'set_config': {
        const size = random.oneIn(5) ? random.below(0x100) : 8
        return of({ config: { offset: random.oneIn(4) ? random.below(0x100) : 4, size, flags: 0, payload: new Uint8Array(size) } })
      }
      case 'set_status':
        return of({ device_status: BigInt(random.pick([0, 0, 1, 3, 0xb, 0xf, 0xf, 0x4f, 0x8b, random.below(256)])) })
      default:
        return of({})
    }
  }

  /** An area as another back-end left it, or full of nonsense. */
  #inFlightMemory(size: number): number {
    const fd = this.odd.memory(size)
    if (!this.#random.oneIn(2)) return fd
    const mapping = mapShared(fd, { size })
    const bytes = mapping.windows[0]!
    for (let count = this.#random.below(64); count > 0; count--)
      bytes[this.#random.below(bytes.length)] = this.#random.oneIn(2) ? 1 : this.#random.word()
    mapping.unmap()
    return fd
  }

  /** All of its memory, one piece behind the other. */
  contents(): Uint8Array[] {
    return this.pieces.map(({ mapping }) => Uint8Array.from(mapping.windows[0]!))
  }

  /** The connection ends, wherever it is. */
  hangUp(): void {
    this.#socket.close()
  }

  /** Gives everything back. */
  close(): void {
    this.#socket.close()
    for (const { mapping } of this.pieces) mapping.unmap()
    this.odd.closeAll()
  }
}

const likely: readonly Name[] = [
  'get_vring_base',
  'get_vring_base',
  'set_vring_kick',
  'set_vring_kick',
  'set_vring_call',
  'set_vring_err',
  'set_vring_enable',
  'set_vring_enable',
  'set_vring_addr',
  'set_vring_base',
  'set_vring_num',
  'set_mem_table',
  'add_mem_reg',
  'add_mem_reg',
  'rem_mem_reg',
  'rem_mem_reg',
  'set_features',
  'reset_device',
  'set_status',
  'get_status',
  'get_config',
  'set_config',
  'get_inflight_fd',
  'set_inflight_fd',
  'set_log_base',
  'set_log_fd',
  'set_backend_req_fd',
  'reset_owner',
  'vring_kick',
  'get_max_mem_slots',
  'get_queue_num',
]
