/** A storage that takes its time: as long as it is told to. */
import type { BlkBackend, RamBackend } from 'virtgen/devices/blk'

export class ParkedBackend implements BlkBackend {
  /** Requests wait. They do so for good: what is held is never let go here. */
  isHeld = false
  /** How many wait. */
  waiting = 0
  readonly #ram: RamBackend

  constructor(ram: RamBackend) {
    this.#ram = ram
  }

  get size(): number {
    return this.#ram.size
  }

  read(position: number, into: readonly Uint8Array[]): Promise<void> {
    return this.#soon(() => this.#ram.read(position, into))
  }

  write(position: number, from: readonly Uint8Array[]): Promise<void> {
    return this.#soon(() => this.#ram.write(position, from))
  }

  flush(): Promise<void> {
    return this.#soon(() => {})
  }

  #soon(work: () => void): Promise<void> {
    if (!this.isHeld) return new Promise((resolve) => setImmediate(resolve)).then(work)
    this.waiting++
    return new Promise(() => {})
  }
}
