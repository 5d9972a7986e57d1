/** Memory that is not the guest's: chains in flight, which survive the back-end, and the log of a migration. vhost-user protocol, Front-end message types. */
import { type DeviceControl, queueLayout } from 'virtgen/runtime'
import { split_ring_limits } from 'virtgen/wire/split-ring'
import { type VhostUserInflightValue, vhost_user_vring_flags } from 'virtgen/wire/vhost-user'
import { ProtocolError } from '../protocol-error.ts'
import { InFlightArea } from './in-flight-area.ts'
import { guestAddress, type MemoryTable } from './memory-table.ts'
import { type Answer, eventfdOf, type Handlers, type Keep, type MessageNamed } from './requests.ts'
import type { Ring } from './ring.ts'
import type { Rings } from './rings.ts'
import { WriteLog } from './write-log.ts'

const largestQueue = split_ring_limits.split_ring_max_queue_size

export interface AreaParts {
  readonly control: DeviceControl
  readonly table: MemoryTable
  readonly rings: Rings
  readonly keep: Keep
  /** Areas may be memory that could be made shorter. */
  readonly unsealed: boolean
}

export class AreaRequests {
  readonly #control: DeviceControl
  readonly #table: MemoryTable
  readonly #rings: Rings
  readonly #keep: Keep
  readonly #unsealed: boolean
  readonly #log: WriteLog
  #inFlight: InFlightArea | undefined
  readonly handlers: Handlers = {
    get_inflight_fd: (message) => this.#getInflightFd(message),
    set_inflight_fd: (message) => this.#setInflightFd(message),
    set_log_base: (message) => this.#setLogBase(message),
    set_log_fd: (message) => this.#setLogFd(message),
  }

  constructor({ control, table, rings, keep, unsealed }: AreaParts) {
    this.#control = control
    this.#table = table
    this.#rings = rings
    this.#keep = keep
    this.#unsealed = unsealed
    this.#log = new WriteLog(table.memory, unsealed)
  }

  /** Where the chains in flight of a queue are noted. */
  inFlight(index: number): Uint8Array | undefined {
    return this.#inFlight?.region(index)
  }

  /** The driver has reset the device, and waits for nothing. */
  nothingInFlight(): void {
    this.#inFlight?.clear()
  }

  /** Writes are noted from now on, or no longer. */
  useLog(inUse: boolean): void {
    this.#log.use(inUse)
  }

  /** Buffers were used: there may be something new in the log. */
  tell(): void {
    this.#log.tell()
  }

  #getInflightFd({ request: { inflight } }: MessageNamed<'get_inflight_fd'>): Answer {
    const { num_queues, queue_size } = this.#inFlightShape(inflight)
    const { value, fd } = InFlightArea.create({ num_queues, queue_size }, this.#rings.packed)
    return { value: { inflight: value }, fds: [fd] }
  }

  #setInflightFd({ request: { inflight }, fds }: MessageNamed<'set_inflight_fd'>): Answer {
    if (this.#rings.isOpen) throw new ProtocolError('unexpected', 'the inflight area changes while a ring works')
    const { mmap_size, mmap_offset } = inflight
    const value = { mmap_size, mmap_offset, ...this.#inFlightShape(inflight) }
    const area = InFlightArea.map(value, fds[0]!, { packed: this.#rings.packed, unsealed: this.#unsealed })
    this.#inFlight?.release()
    this.#inFlight = area
    return undefined
  }

  #inFlightShape({ num_queues, queue_size }: Readonly<VhostUserInflightValue>): Pick<VhostUserInflightValue, 'num_queues' | 'queue_size'> {
    const { queueCount } = this.#control
    if (num_queues < 1 || num_queues > queueCount || queue_size < 1 || queue_size > largestQueue)
      throw new ProtocolError('value', `an inflight area has 1 to ${queueCount} queues of 1 to ${largestQueue}, not ${num_queues} of ${queue_size}`)
    return { num_queues, queue_size }
  }

  #setLogBase({ request: { log }, fds }: MessageNamed<'set_log_base'>): Answer {
    const [fd] = fds
    if (log === undefined || fd === undefined) throw new ProtocolError('not-negotiated', 'the log is memory that comes with a descriptor')
    this.#log.map(log, fd)
    return { value: { result: 0n } }
  }

  #setLogFd(message: MessageNamed<'set_log_fd'>): Answer {
    const fd = eventfdOf(message, this.#keep)
    if (fd !== undefined) this.#log.setEventfd(fd)
    return undefined
  }

  /** Its device area is noted where the front-end wants to find it. */
  logRing({ index, size, addresses }: Ring): void {
    const address = addresses && guestAddress(this.#table.regions, addresses.used)
    const isLogged = addresses !== undefined && (addresses.flags & (1 << vhost_user_vring_flags.VHOST_VRING_F_LOG)) !== 0
    const length = deviceAreaSize(size, this.#rings.packed)
    this.#log.setRing(index, isLogged && address !== undefined ? { address, length, log: addresses.log } : undefined)
  }

  /** Gives back what is mapped. */
  release(): void {
    this.#log.release()
    this.#inFlight?.release()
  }
}

function deviceAreaSize(size: number, packed: boolean): number {
  // A size that cannot be says so when the ring starts.
  return size > 0 && (packed || Number.isInteger(Math.log2(size))) ? queueLayout({ size, packed }).deviceArea.size : 0
}
