/** Requests that tell of rings. vhost-user protocol, Front-end message types. */
import { FeatureSet, viewOf } from 'virtgen/codegen/v1/wire'
import type { DeviceControl } from 'virtgen/runtime'
import { VIRTIO_F_RING_PACKED } from 'virtgen/wire/content'
import { VhostUserVringBase, type VhostUserVringBaseValue } from 'virtgen/wire/vhost-user'
import type { Poller } from '../../system/index.ts'
import { headerSize } from '../messages.ts'
import { ProtocolError } from '../protocol-error.ts'
import type { AreaRequests } from './area-requests.ts'
import { guestAddress, type MemoryTable } from './memory-table.ts'
import { type Answer, eventfdOf, type Handlers, type Keep, type MessageNamed } from './requests.ts'
import type { Ring } from './ring.ts'
import type { Rings } from './rings.ts'

export interface RingParts {
  readonly control: DeviceControl
  readonly table: MemoryTable
  readonly rings: Rings
  readonly areas: AreaRequests
  readonly poller: Poller
  readonly keep: Keep
  /** Interrupts the guest. */
  call(ring: Ring): void
}

export class RingRequests {
  readonly #parts: RingParts
  readonly handlers: Handlers = {
    set_vring_num: (message) => this.#setVringNum(message),
    set_vring_addr: (message) => this.#setVringAddr(message),
    set_vring_base: (message) => this.#setVringBase(message),
    get_vring_base: (message) => this.#getVringBase(message),
    set_vring_kick: (message) => this.#setVringKick(message),
    set_vring_call: (message) => this.#setVringCall(message),
    set_vring_err: (message) => this.#setVringErr(message),
    set_vring_enable: (message) => this.#setVringEnable(message),
    vring_kick: (message) => this.#vringKick(message),
  }

  constructor(parts: RingParts) {
    this.#parts = parts
  }

  #ring(index: number): Ring {
    const ring = this.#parts.rings.all[index]
    if (ring === undefined) throw new ProtocolError('ring', `there is no queue ${index}`)
    return ring
  }

  /** What cannot change while the ring works. */
  #stopped(index: number): Ring {
    const ring = this.#ring(index)
    if (ring.open) throw new ProtocolError('unexpected', `queue ${index} works`)
    return ring
  }

  #setVringNum({ request: { state } }: MessageNamed<'set_vring_num'>): Answer {
    const ring = this.#ring(state.index)
    const most = this.#parts.control.queueMaximum(ring.index)
    if (state.num < 1 || state.num > most) throw new ProtocolError('ring', `queue ${ring.index} has 1 to ${most} entries, not ${state.num}`)
    if (ring.size !== state.num) this.#stopped(state.index).size = state.num
    return undefined
  }

  #setVringAddr({ request: { addr } }: MessageNamed<'set_vring_addr'>): Answer {
    const ring = this.#ring(addr.index)
    const { flags, descriptor, available, used, log } = addr
    // Front-ends tell of memory first, where they tell of it at all by now.
    for (const address of [descriptor, available, used])
      if (this.#parts.table.regions.length > 0 && guestAddress(this.#parts.table.regions, address) === undefined)
        throw new ProtocolError('ring', `address 0x${address.toString(16)} of queue ${ring.index} is in no region`)
    const before = ring.addresses
    const moves = before?.descriptor !== descriptor || before.available !== available || before.used !== used
    if (moves && ring.open) throw new ProtocolError('unexpected', `queue ${ring.index} moves while it works`)
    ring.addresses = { flags, descriptor, available, used, log }
    this.#parts.areas.logRing(ring)
    this.#parts.rings.start()
    return undefined
  }

  #setVringBase({ request, bytes }: MessageNamed<'set_vring_base'>): Answer {
    this.#stopped(request.base.index).base = viewOf(bytes).getUint32(baseAt, true)
    return undefined
  }

  async #getVringBase({ request: { state } }: MessageNamed<'get_vring_base'>): Promise<Answer> {
    const ring = this.#ring(state.index)
    await this.#parts.rings.stop(ring)
    return { value: { base: vringBaseValue(ring.index, this.#parts.rings.base(ring), this.#parts.rings.packed) } }
  }

  #setVringKick(message: MessageNamed<'set_vring_kick'>): Answer {
    const ring = this.#ring(message.request.ring.u64_index)
    const fd = eventfdOf(message, this.#parts.keep)
    ring.setKick(fd, this.#parts.poller, () => this.#parts.rings.kicked(ring))
    // Nobody kicks a ring that is polled.
    if (fd === undefined) this.#parts.rings.kicked(ring)
    return undefined
  }

  #setVringCall(message: MessageNamed<'set_vring_call'>): Answer {
    const ring = this.#ring(message.request.ring.u64_index)
    ring.setCall(eventfdOf(message, this.#parts.keep))
    // What was signalled through the one before may have been lost.
    if (ring.open) this.#parts.call(ring)
    return undefined
  }

  #setVringErr(message: MessageNamed<'set_vring_err'>): Answer {
    this.#ring(message.request.ring.u64_index).setError(eventfdOf(message, this.#parts.keep))
    return undefined
  }

  #setVringEnable({ request: { state } }: MessageNamed<'set_vring_enable'>): Answer {
    if (state.num > 1) throw new ProtocolError('value', `a ring is enabled by 1 and disabled by 0, not by ${state.num}`)
    this.#parts.rings.enable(this.#ring(state.index), state.num === 1)
    return undefined
  }

  #vringKick({ request: { state } }: MessageNamed<'vring_kick'>): Answer {
    this.#parts.rings.kicked(this.#ring(state.index))
    return undefined
  }
}

/** The number in a position lies behind header and index. */
const baseAt = headerSize + 4

function vringBaseValue(index: number, base: number, packed: boolean): VhostUserVringBaseValue {
  const bytes = new Uint8Array(8)
  const view = viewOf(bytes)
  view.setUint32(0, index, true)
  view.setUint32(4, base, true)
  return VhostUserVringBase.decode(bytes, { features: packed ? FeatureSet.of(VIRTIO_F_RING_PACKED) : FeatureSet.empty })
}
