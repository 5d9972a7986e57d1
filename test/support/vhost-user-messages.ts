/** Messages of vhost-user for tests: any of them, with descriptors that are only numbers, and a stream that is cut anywhere. */
import fc from 'fast-check'
import { FeatureSet, type ProtocolRequest } from 'virtgen/codegen/v1/wire'
import { type Context, vhost_user } from 'virtgen/protocol/vhost-user'
import type { ByteSource } from '../../hosts/linux/vhost-user/message-reader.ts'
import { encodeRequest } from '../../hosts/linux/vhost-user/messages.ts'

/** All protocol features but those that change layouts in ways that nothing here offers. */
export const context: Context = { features: FeatureSet.of(30, 32), caller: { protocol_features: 0xf_ffff & ~(1 << 17), postcopy: 0 } }

export interface Sent {
  readonly name: string
  readonly bytes: Uint8Array
  readonly fds: readonly number[]
}

const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })
const u32 = fc.nat(0xffff_ffff)
const address = fc.nat(2 ** 31)
const region = fc.record({ guest_address: address, size: address, user_address: address, mmap_offset: address })
const ring = fc.record({ index: fc.nat(255), invalid_fd: fc.nat(1) }).map((bits) => ({ ring: { u64: bits } }))
const state = fc.record({ index: u32, num: u32 }).map((value) => ({ state: value }))
const config = fc
  .uint8Array({ maxLength: 300 })
  .chain((payload) => fc.record({ offset: u32, flags: fc.nat(1) }).map((rest) => ({ config: { ...rest, size: payload.length, payload } })))
const inflight = fc
  .record({ mmap_size: address, mmap_offset: address, num_queues: fc.nat(0xffff), queue_size: fc.nat(0xffff) })
  .map((value) => ({ inflight: value }))

/** Values of the requests that have any. */
const values: Readonly<Record<string, fc.Arbitrary<object>>> = {
  set_features: u64.map((features) => ({ features })),
  set_mem_table: fc.array(region, { maxLength: 8 }).map((regions) => ({ memory: { num_regions: regions.length, regions } })),
  set_log_base: fc.record({ log_size: address, log_offset: address }).map((log) => ({ log })),
  set_vring_num: state,
  get_vring_base: state,
  set_vring_enable: state,
  vring_kick: state,
  set_vring_addr: fc
    .record({ index: u32, flags: fc.nat(1), descriptor: address, used: address, available: address, log: address })
    .map((addr) => ({ addr })),
  set_vring_kick: ring,
  set_vring_call: ring,
  set_vring_err: ring,
  set_protocol_features: fc.nat(0xf_ffff).map((bits) => ({ protocol_features: BigInt(bits) })),
  set_status: fc.nat(255).map((bits) => ({ device_status: BigInt(bits) })),
  get_config: config,
  set_config: config,
  get_inflight_fd: inflight,
  set_inflight_fd: inflight,
  add_mem_reg: region.map((value) => ({ mem_reg: { region: value } })),
  rem_mem_reg: region.map((value) => ({ mem_reg: { region: value } })),
}

/** Descriptors count up, so that none is taken for another one. */
export class Descriptors {
  next = 1000
  readonly open = new Set<number>()

  take(count: number): number[] {
    return Array.from({ length: count }, () => {
      this.open.add(this.next)
      return this.next++
    })
  }

  close(fd: number): void {
    if (!this.open.delete(fd)) throw new Error(`descriptor ${fd} is closed twice`)
  }
}

const requests = Object.values(vhost_user) as ProtocolRequest[]

/** A request with any value that it can have, and whether it asks for a reply; as a message once there are descriptors for it. */
export const anyRequest: fc.Arbitrary<(descriptors: Descriptors) => Sent> = fc
  .constantFrom(
    ...requests.filter(({ name, open }) => open !== true && !/iotlb|rarp|mtu|endian|crypto|shared_object|device_state$|state_fd/.test(name)),
  )
  .chain((entry) => fc.record({ entry: fc.constant(entry), value: values[entry.name] ?? fc.constant({}), needReply: fc.boolean() }))
  .map(({ entry, value, needReply }) => {
    const bytes = encodeRequest(entry, value, context, needReply)
    const accessor = entry.request(context)
    accessor.at(new DataView(bytes.buffer))
    return (descriptors) => ({ name: entry.name, bytes, fds: descriptors.take(entry.fds(accessor, context)) })
  })

/** A stream of messages, given out in pieces: descriptors come with the byte that they were sent with. */
export class CutStream implements ByteSource {
  readonly #bytes: Uint8Array
  readonly #fds = new Map<number, readonly number[]>()
  readonly #cuts: readonly number[]
  #at = 0
  #calls = 0

  /** @param cuts - bytes of each piece, again from the front when they are used up; 0: nothing is there just then */
  constructor(messages: readonly Pick<Sent, 'bytes' | 'fds'>[], cuts: readonly number[]) {
    this.#bytes = new Uint8Array(messages.flatMap(({ bytes }) => [...bytes]))
    let at = 0
    for (const { bytes, fds } of messages) {
      if (fds.length > 0) this.#fds.set(at, fds)
      at += bytes.length
    }
    this.#cuts = cuts
  }

  get atEnd(): boolean {
    return this.#at === this.#bytes.length
  }

  /** Descriptors that nobody has received. */
  get left(): number[] {
    return [...this.#fds.values()].flat()
  }

  receive(into: Uint8Array): { length: number; fds: number[] } | undefined {
    const cut = this.#cuts[this.#calls++ % this.#cuts.length] as number
    const length = Math.min(cut, into.length, this.#bytes.length - this.#at)
    if (length === 0) return undefined
    into.set(this.#bytes.subarray(this.#at, this.#at + length))
    const fds: number[] = []
    for (let end = this.#at + length; this.#at < end; this.#at++) {
      fds.push(...(this.#fds.get(this.#at) ?? []))
      this.#fds.delete(this.#at)
    }
    return { length, fds }
  }
}
