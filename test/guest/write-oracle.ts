/** Compares all of the guest's memory, byte for byte, around each request: what has changed must lie in what v86 was told of. */
import type { Guest, WasmExports } from './guest.ts'

const pageSize = 4096

export class WriteOracle {
  /** Requests and other calls of devices that were looked at. */
  calls = 0
  /** Bytes that devices have changed. */
  changed = 0
  /** Addresses of bytes that have changed and that nobody told of: there must be none. */
  readonly untold: number[] = []
  readonly #told: [start: number, end: number][] = []
  #guest: Guest | undefined
  #before = Buffer.alloc(0)
  #isInside = false

  /** To be given to the guest as its `wrap`. */
  readonly wrap = (exports: WasmExports): Partial<WasmExports> => {
    // An interrupt writes to the stack of the guest: that is the processor's own work.
    const interrupted = (call: WasmExports[string] | undefined) => (irq: number) => {
      const isInside = this.#isInside
      if (isInside) this.#compare()
      call?.(irq)
      if (isInside) this.#keep()
    }
    return {
      jit_dirty_cache: (start = 0, end = 0) => {
        if (this.#isInside) this.#told.push([start, end])
        exports.jit_dirty_cache?.(start, end)
      },
      device_raise_irq: interrupted(exports.device_raise_irq),
      device_lower_irq: interrupted(exports.device_lower_irq),
    }
  }

  /** Looks at everything that the guest writes to these devices, while something goes on. */
  async watch(guest: Guest, slots: readonly number[], work: () => Promise<unknown>): Promise<void> {
    this.#guest = guest
    const transports = slots.map((slot) => guest.machine.at(slot)).filter((transport) => transport !== undefined)
    for (const transport of transports) {
      const write = transport.writeBar.bind(transport)
      transport.writeBar = (...values) => this.around(() => write(...values))
    }
    try {
      await work()
    } finally {
      // What hides the method of the class.
      for (const transport of transports) Reflect.deleteProperty(transport, 'writeBar')
      this.#before = Buffer.alloc(0)
    }
  }

  /** Looks at a call. */
  around(call: () => void): void {
    if (this.#isInside) {
      call()
      return
    }
    this.calls++
    this.#keep()
    this.#isInside = true
    try {
      call()
    } finally {
      this.#isInside = false
      this.#compare()
    }
  }

  #ram(): Uint8Array {
    const guest = this.#guest as Guest
    return guest.emulator.read_memory(0, guest.memorySize)
  }

  #keep(): void {
    const ram = this.#ram()
    if (this.#before.length !== ram.length) this.#before = Buffer.alloc(ram.length)
    this.#before.set(ram)
    this.#told.length = 0
  }

  #compare(): void {
    const now = this.#ram()
    const before = this.#before
    for (let page = 0; page < now.length; page += pageSize) {
      const end = page + pageSize
      if (before.compare(now, page, end, page, end) === 0) continue
      for (let at = page; at < end; at++) {
        if (now[at] === before[at]) continue
        this.changed++
        if (!this.#told.some(([start, end]) => start <= at && at < end)) this.untold.push(at)
      }
    }
  }
}
