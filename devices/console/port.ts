/** A port of a console device: two streams of bytes between host and guest. */
import { bytesToHex, putHex, type ReadableBytes } from 'virtgen/runtime'

/** Columns and rows of a terminal, 0 to 65535 each. */
export interface ConsoleSize {
  readonly columns: number
  readonly rows: number
}

export interface ConsolePortOptions {
  /** What the guest calls the port: Linux has it in /dev/virtio-ports. Absent: no name. */
  readonly name?: string
  /** A terminal (Linux: hvc). By default port 0 is one, and the others are not. */
  readonly console?: boolean
  /** Of the terminal, where it is known. */
  readonly size?: ConsoleSize
  /**
   * Bytes from the guest, at most 64 KiB at a time; a copy. While a promise is out the guest's buffer stays out too, and nothing else of this port is given, so that a slow
   * receiver slows the guest down. Emergency writes alone do not wait. By default bytes are dropped.
   */
  readonly onOutput?: (bytes: Uint8Array) => void | Promise<void>
  /** There is room again, after `write` has said false. */
  readonly onDrain?: () => void
  /** The guest has opened or closed the port. A port of a device without VIRTIO_CONSOLE_F_MULTIPORT is open while the driver is live. */
  readonly onOpen?: (open: boolean) => void
}

/** What a port needs of its device. */
export interface PortOwner {
  /** Sends input to an open port; undefined where the guest has no buffer. */
  send(port: ConsolePort, bytes: Uint8Array): number | undefined
  /** Size or state of a port have changed. */
  changed(port: ConsolePort, what: 'size' | 'open'): void
}

/** Streams that are joined with a port. */
export interface JoinedPort {
  readonly onOutput?: ConsolePortOptions['onOutput'] | undefined
  readonly onDrain?: () => void
}

/** A port in a saved state. */
export interface PortState {
  readonly announced: boolean
  readonly ready: boolean
  readonly guestOpen: boolean
  readonly hostOpen: boolean
  /** Bytes that wait for the guest, hexadecimal. */
  readonly waiting: string
}

/** Bytes that wait for the guest, beyond which `write` says false. */
const highWater = 65_536
const largestSize = 0xffff
const largestChunk = 65_536

export class ConsolePort {
  /** Number of the port. */
  readonly index: number
  readonly name: string | undefined
  readonly isConsole: boolean
  /** @internal */
  readonly $options: ConsolePortOptions
  /** @internal The driver knows of the port: it was announced, and not taken away since. */
  $announced = false
  /** @internal The driver has said that it is ready. */
  $ready = false
  readonly #owner: PortOwner
  readonly #waiting: Uint8Array[] = []
  #waitingBytes = 0
  #saidFalse = false
  #size: ConsoleSize | undefined
  /** What takes the place of the options, as long as streams are joined. */
  #joined: JoinedPort | undefined
  #guestOpen = false
  #hostOpen = true
  /** The receiver is at work on output, up to the last buffer that was given. */
  #delivery: Promise<void> | undefined

  constructor(index: number, options: ConsolePortOptions, owner: PortOwner) {
    this.index = index
    this.name = options.name
    this.isConsole = options.console ?? index === 0
    this.$options = options
    this.#owner = owner
    if (options.size !== undefined) this.#size = checkedConsoleSize(options.size)
  }

  /** The guest has the port open, and takes input. */
  get isOpen(): boolean {
    return this.#guestOpen
  }

  get size(): ConsoleSize | undefined {
    return this.#size
  }

  /** Bytes that the guest has not taken yet. */
  get waiting(): number {
    return this.#waitingBytes
  }

  /**
   * Input for the guest. What it has no buffer for waits, also for the next driver; bytes are copied.
   *
   * @returns false where so much waits that it were better to wait for `onDrain`
   */
  write(bytes: Uint8Array): boolean {
    if (bytes.length > 0) {
      this.#waiting.push(bytes.slice())
      this.#waitingBytes += bytes.length
      this.$flush()
    }
    this.#saidFalse ||= this.#waitingBytes > highWater
    return !this.#saidFalse
  }

  /**
   * A new size of the terminal; the guest is told, if it can be.
   *
   * @throws RangeError for what is no number of 16 bits
   */
  resize(size: ConsoleSize): void {
    this.#size = checkedConsoleSize(size)
    this.#owner.changed(this, 'size')
  }

  /** Whether the host's end is open; it is at first. A guest that reads a closed port gets the end of the file. Only with VIRTIO_CONSOLE_F_MULTIPORT is it told. */
  get hostOpen(): boolean {
    return this.#hostOpen
  }
  set hostOpen(open: boolean) {
    if (open === this.#hostOpen) return
    this.#hostOpen = open
    this.#owner.changed(this, 'open')
  }

  /** @internal Where output goes; undefined: nowhere. */
  get $receiver(): ConsolePortOptions['onOutput'] {
    return this.$options.onOutput ?? this.#joined?.onOutput
  }

  /**
   * @internal
   * @returns what ends it
   * @throws Error where somebody else has the port
   */
  $join(joined: JoinedPort): () => void {
    if (this.#joined !== undefined || (joined.onOutput && this.$options.onOutput))
      throw new Error(`the output of port ${this.index} goes somewhere already`)
    this.#joined = joined
    return () => {
      this.#joined = undefined
    }
  }

  /** @internal The guest has opened or closed its end. */
  $setOpen(open: boolean): void {
    if (open === this.#guestOpen) return
    this.#guestOpen = open
    this.$options.onOpen?.(open)
    this.$flush()
  }

  /** @internal Gives a buffer of the guest's to the receiver, behind those that it is at work on. */
  $deliver(readable: ReadableBytes): void | Promise<void> {
    const before = this.#delivery
    const deliver = (): void | Promise<void> => this.#deliver(readable)
    // What became of another buffer is told of that one.
    const delivery = before === undefined ? deliver() : before.then(deliver, deliver)
    if (delivery === undefined) return
    this.#delivery = delivery
    const ended = (): void => {
      if (this.#delivery === delivery) this.#delivery = undefined
    }
    delivery.then(ended, ended)
    return delivery
  }

  /** Copies the bytes piece by piece; while the receiver is not done with one, the rest waits in the guest's memory. */
  #deliver(readable: ReadableBytes): void | Promise<void> {
    const receive = this.$receiver
    while (receive !== undefined && readable.remaining > 0) {
      const bytes = new Uint8Array(Math.min(readable.remaining, largestChunk))
      // Nothing comes of a buffer that was cancelled meanwhile.
      if (readable.copyTo(bytes) === 0) return
      const done = receive(bytes)
      if (done !== undefined) return done.then(() => this.#deliver(readable))
    }
  }

  /** @internal The guest's buffers are cancelled: what it gives from now on waits for none of them. */
  $forgetOutput(): void {
    this.#delivery = undefined
  }

  /** @internal Sends what waits, as far as the guest has buffers. */
  $flush(): void {
    for (let first = this.#waiting[0]; first !== undefined; first = this.#waiting[0]) {
      const sent = this.#guestOpen ? this.#owner.send(this, first) : undefined
      if (sent === undefined) break
      this.#waitingBytes -= sent
      if (sent < first.length) this.#waiting[0] = first.subarray(sent)
      else this.#waiting.shift()
    }
    if (!this.#saidFalse || this.#waitingBytes > highWater / 2) return
    this.#saidFalse = false
    this.$options.onDrain?.()
    this.#joined?.onDrain?.()
  }

  /** @internal */
  $save(): PortState {
    const waiting = this.#waiting.map(bytesToHex).join('')
    return { announced: this.$announced, ready: this.$ready, guestOpen: this.#guestOpen, hostOpen: this.#hostOpen, waiting }
  }
  $restore({ announced, ready, guestOpen, hostOpen, waiting }: PortState): void {
    const bytes = new Uint8Array(waiting.length / 2)
    putHex(bytes, waiting)
    this.$announced = announced
    this.$ready = ready
    this.#guestOpen = guestOpen
    this.#hostOpen = hostOpen
    this.#waiting.splice(0, this.#waiting.length, ...(bytes.length > 0 ? [bytes] : []))
    this.#waitingBytes = bytes.length
  }
}

/** @throws RangeError for what is no number of 16 bits */
export function checkedConsoleSize({ columns, rows }: ConsoleSize): ConsoleSize {
  for (const [name, value] of Object.entries({ columns, rows }))
    if (!(Number.isInteger(value) && value >= 0 && value <= largestSize))
      throw new RangeError(`${name} must be an integer from 0 to ${largestSize}, not ${value}`)
  return { columns, rows }
}
