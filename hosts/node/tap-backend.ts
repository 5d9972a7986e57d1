/** A TAP interface of the host. */
import * as fs from 'node:fs'
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import type { NetBackend, NetCard, Offload, OffloadSupport } from 'virtgen/devices/net'
import { offloadMembers, readOffload, refused } from 'virtgen/devices/net'
import { VIRTIO_NET_F_MRG_RXBUF, VirtioNetHdr, virtio_net_frame } from 'virtgen/wire/net'

export interface TapOptions {
  /**
   * Bytes of the header before each packet (IFF_VNET_HDR, TUNSETVNETHDRSZ): 0, 10 or 12. By default 0 for a descriptor, and 10 for a path, as macvtap has it where nothing
   * else was set.
   */
  readonly header?: 0 | 10 | 12
  /** Why reading or writing has failed. */
  readonly onError?: (error: Error) => void
}

const everything: OffloadSupport = { checksum: true, tcp4: true, tcp6: true, ecn: true }
/** How long to wait before a descriptor that has nothing (O_NONBLOCK) is looked at again, in milliseconds: longer while nothing comes. */
const shortestWait = 1
const longestWait = 16
const again = 'EAGAIN'
/** How long to wait after anything else has gone wrong, in milliseconds: it may be over by then. */
const longWait = 1000
const headers: readonly number[] = [0, 10, 12]
const vlanRoom = 8

/**
 * Joins a guest to a TAP interface. Node has no ioctl, so that somebody else must have made the interface and opened it: see docs/devices/net.md.
 *
 * Reading waits in a thread of Node's pool where the descriptor blocks, and looks now and then where it does not (O_NONBLOCK).
 */
export class TapBackend implements NetBackend {
  readonly takes: OffloadSupport
  readonly #fd: number
  readonly #header: number
  readonly #hdr: VirtioNetHdr
  readonly #onError: ((error: Error) => void) | undefined
  readonly #buffer: Buffer
  #card: NetCard | undefined
  #closed = false
  #reading = false
  #full = false
  #wait = shortestWait
  /** Reading has gone wrong, and not worked since. */
  #isFailing = false
  #timer: NodeJS.Timeout | undefined
  #dropped = 0

  /**
   * @param device - a descriptor that is open and belongs to the interface, or the path of one's device (`/dev/tap7` of a macvtap interface)
   * @throws RangeError for a length that no header has, the error of the system where it cannot be opened
   */
  constructor(device: number | string, { header = typeof device === 'string' ? 10 : 0, onError }: TapOptions = {}) {
    if (!headers.includes(header)) throw new RangeError(`header must be one of ${headers.join(', ')}, not ${header}`)
    this.#header = header
    this.#hdr = new VirtioNetHdr(VirtioNetHdr.layout({ features: header === 12 ? FeatureSet.of(VIRTIO_NET_F_MRG_RXBUF) : FeatureSet.empty }))
    this.#onError = onError
    this.takes = header > 0 ? everything : {}
    this.#buffer = Buffer.alloc(header + virtio_net_frame.max_gso_frame + vlanRoom)
    this.#fd = typeof device === 'number' ? device : fs.openSync(device, fs.constants.O_RDWR | fs.constants.O_NONBLOCK)
  }

  /** Frames of the guest that the interface did not take. */
  get dropped(): number {
    return this.#dropped
  }

  attach(card: NetCard): void {
    this.#card = card
    this.#read()
  }

  send(frame: Uint8Array, offload?: Offload): void {
    if (this.#closed) {
      this.#dropped++
      return
    }
    let bytes = frame
    if (this.#header > 0) {
      bytes = Buffer.alloc(this.#header + frame.length)
      this.#hdr.at(new DataView(bytes.buffer, bytes.byteOffset, this.#header)).$set(offloadMembers(offload))
      bytes.set(frame, this.#header)
    }
    try {
      fs.writeSync(this.#fd, bytes)
    } catch (error) {
      this.#dropped++
      if ((error as NodeJS.ErrnoException).code !== again) this.#onError?.(error as Error)
    }
  }

  resume(): void {
    this.#full = false
    this.#read()
  }

  /** Closes the descriptor; where a read waits in another thread, once that has ended with the next packet. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    clearTimeout(this.#timer)
    // Its number may be another file's at once, which a read that has not begun yet would read.
    if (!this.#reading) fs.closeSync(this.#fd)
  }

  #read(): void {
    if (this.#reading || this.#closed || this.#full) return
    clearTimeout(this.#timer)
    this.#reading = true
    fs.read(this.#fd, this.#buffer, 0, this.#buffer.length, null, (error, count) => {
      this.#reading = false
      if (this.#closed) fs.closeSync(this.#fd)
      else if (error !== null) this.#failed(error)
      else {
        this.#isFailing = false
        this.#wait = shortestWait
        this.#give(this.#buffer.subarray(0, count))
        this.#read()
      }
    })
  }

  #give(packet: Uint8Array): void {
    const frame = packet.subarray(this.#header)
    const offload = this.#header === 0 ? undefined : this.#offloadOf(packet, frame.length)
    if (frame.length > 0 && offload !== refused) this.#full = this.#card?.receive(frame, offload) === false
  }

  #offloadOf(packet: Uint8Array, length: number): Offload | undefined | typeof refused {
    if (packet.length < this.#header) return refused
    return readOffload(this.#hdr.at(new DataView(packet.buffer, packet.byteOffset, this.#header)), length, everything)
  }

  #failed(error: NodeJS.ErrnoException): void {
    const isEmpty = error.code === again
    this.#timer = setTimeout(() => this.#read(), isEmpty ? this.#wait : longWait)
    this.#wait = Math.min(2 * this.#wait, longestWait)
    // Told once, and again only after it has worked.
    if (!isEmpty && !this.#isFailing) this.#onError?.(error)
    this.#isFailing = !isEmpty
  }
}
