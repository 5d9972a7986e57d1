/** A device whose work a test directs: it uses what it is given at once, or when it is told to. */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { type Chain, ConfigSpace, type DeviceHost, VirtioDevice } from 'virtgen/runtime'

export class HeldDevice extends VirtioDevice {
  readonly id = 0x3f
  readonly offered: FeatureSet
  readonly queueSizes: readonly number[]
  readonly config: ConfigSpace
  host: DeviceHost | undefined
  /** Chains wait for `finish`. */
  holds = false
  /** Those that wait. */
  readonly held: Chain[] = []
  activations = 0
  resets = 0
  readonly stopped: number[] = []
  /** What a reset waits for. */
  resetting: Promise<void> | undefined
  endReset: (() => void) | undefined
  /** What is written into each buffer. */
  fill = 0xa5

  constructor({ queues = 2, size = 256, features = FeatureSet.empty, config = 16 } = {}) {
    super()
    this.queueSizes = Array.from({ length: queues }, () => size)
    this.offered = features
    this.config = new ConfigSpace(
      Uint8Array.from({ length: config }, (_, at) => at),
      config >= 8 ? [{ name: 'word', offset: 4, width: 4, access: 'rw' }] : [],
    )
  }

  activate(host: DeviceHost): void {
    this.host = host
    this.activations++
  }

  queueNotified(index: number): void {
    const queue = this.host?.queue(index)
    for (let chain = queue?.next(); chain !== undefined; chain = queue?.next()) {
      if (this.holds) {
        // As a read of a file straight into the guest's memory does.
        chain.writable.bytes(0)
        this.held.push(chain)
      } else this.#finish(chain)
    }
  }

  #finish(chain: Chain): void {
    const { length } = chain.writable
    chain.writable.copyFrom(new Uint8Array(length).fill(this.fill))
    chain.complete(length)
  }

  /** Uses what waits, the last first where that is asked for. */
  finish(count = this.held.length, last = false): void {
    const chains = last ? this.held.splice(-count).reverse() : this.held.splice(0, count)
    for (const chain of chains) this.#finish(chain)
  }

  override queueReset(index: number): void {
    this.stopped.push(index)
  }

  reset(): void | Promise<void> {
    this.host = undefined
    this.resets++
    return this.resetting
  }
}
