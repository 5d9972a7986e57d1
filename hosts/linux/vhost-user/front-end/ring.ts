/** A ring of a front-end: where it is, and the eventfds through which both sides wake each other. */
import { vhost_user } from 'virtgen/protocol/vhost-user'
import type { QueueSetup } from 'virtgen/runtime'
import { VIRTIO_F_RING_PACKED } from 'virtgen/wire/content'
import { closeFd, createEventfd, drainEventfd, type Poller, signalEventfd, type Watch } from '../../system/index.ts'
import type { FrontEndChannel } from './channel.ts'
import type { SharedRegion } from './memory.ts'

/** What a ring tells the front-end. */
export interface RingEvents {
  /** Buffers may have been used. */
  readonly onCall: (index: number) => void
  /** The back-end says that something is wrong with the ring. */
  readonly onError: (index: number) => void
}

export class FrontEndRing {
  readonly index: number
  /** Where the back-end is to go on. */
  #setup: QueueSetup | undefined
  readonly #kick: number
  readonly #call: number
  readonly #error: number
  readonly #watches: readonly Watch[]
  #closed = false

  /** @throws SystemError */
  constructor(index: number, poller: Poller, { onCall, onError }: RingEvents) {
    this.index = index
    this.#kick = createEventfd()
    this.#call = createEventfd()
    this.#error = createEventfd()
    this.#watches = [
      poller.watch(this.#call, { edge: true }, () => onCall(index)),
      poller.watch(this.#error, { edge: true }, () => {
        if (drainEventfd(this.#error)) onError(index)
      }),
    ]
  }

  /** Tells the back-end that there are buffers. */
  kick(): void {
    if (!this.#closed) signalEventfd(this.#kick)
  }

  /** It has been set up, and not stopped. */
  get isSetUp(): boolean {
    return this.#setup !== undefined
  }

  /**
   * Says where the ring is. The back-end starts it with the first kick.
   *
   * @param regions - that the back-end has: the areas lie in them
   */
  setUp(channel: FrontEndChannel, setup: QueueSetup, regions: readonly SharedRegion[]): void {
    this.#setup = setup
    const { index } = this
    const packed = channel.context.features.has(VIRTIO_F_RING_PACKED)
    const user = (address: number): number => userAddress(regions, address)
    channel.tell(vhost_user.set_vring_num, { state: { index, num: setup.size } })
    channel.tell(vhost_user.set_vring_base, { base: packed ? { index, ...packedStart } : { index, avail_idx: 0 } })
    channel.tell(vhost_user.set_vring_addr, {
      addr: {
        index,
        flags: 0,
        descriptor: user(setup.descriptorArea),
        available: user(setup.driverArea),
        used: user(setup.deviceArea),
        log: 0,
      },
    })
    const ring = { u64: { index, invalid_fd: 0 } }
    channel.tell(vhost_user.set_vring_err, { ring }, [this.#error])
    channel.tell(vhost_user.set_vring_call, { ring }, [this.#call])
    channel.tell(vhost_user.set_vring_kick, { ring }, [this.#kick])
  }

  enable(channel: FrontEndChannel, on: boolean): void {
    channel.tell(vhost_user.set_vring_enable, { state: { index: this.index, num: Number(on) } })
  }

  /** Stops the ring: the back-end answers when it uses nothing of it any more. */
  async stop(channel: FrontEndChannel): Promise<void> {
    await channel.ask(vhost_user.get_vring_base, { state: { index: this.index, num: 0 } })
    this.#setup = undefined
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    for (const watch of this.#watches) watch.close()
    for (const fd of [this.#kick, this.#call, this.#error]) closeFd(fd)
  }
}

/** Both wrap counters begin at 1. VIRTIO 1.4, Packed Virtqueues / Driver and Device Ring Wrap Counters. */
const packedStart = { avail_index: 0, avail_wrap_counter: 1, used_index: 0, used_wrap_counter: 1 }

/** @throws RangeError where no region has the address */
function userAddress(regions: readonly SharedRegion[], address: number): number {
  const region = regions.find(({ guestAddress, size }) => address >= guestAddress && address < guestAddress + size)
  if (region === undefined) throw new RangeError(`address ${address} is in no region that the back-end has`)
  return region.userAddress + (address - region.guestAddress)
}
