/** A device that takes its time: it looks at memory of the guest long after it was given it, as one does that waits for a disk. */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import type { Chain } from '../../runtime/chain.ts'
import { ConfigSpace } from '../../runtime/config-space.ts'
import { type DeviceHost, VirtioDevice } from '../../runtime/device.ts'
import type { Random } from '../random.ts'

interface Work {
  readonly chain: Chain
  /** Where its bytes go. */
  readonly views: readonly Uint8Array[]
  turns: number
}

const mostViews = 8
const configLength = 16

export class SlowDevice extends VirtioDevice {
  readonly id = 0x3f
  readonly offered = FeatureSet.empty
  readonly queueSizes = [64, 16, 0, 256]
  readonly #bytes = new Uint8Array(configLength)
  readonly config = new ConfigSpace(this.#bytes, [{ name: 'word', offset: 4, width: 4, access: 'rw' }])
  readonly #random: Random
  readonly #failed: (message: string) => void
  readonly #work = new Set<Work>()
  #host: DeviceHost | undefined
  #rested: (() => void)[] = []
  #isTurning = false
  /** Chains that it has used. */
  completed = 0

  /** @param failed - is told where memory went while this was at work in it */
  constructor(random: Random, failed: (message: string) => void) {
    super()
    this.#random = random
    this.#failed = failed
  }

  activate(host: DeviceHost): void {
    this.#host = host
  }

  queueNotified(index: number): void {
    const queue = this.#host?.queue(index)
    for (let chain = queue?.next(); chain !== undefined; chain = queue?.next()) {
      if (this.#random.oneIn(2)) this.#use(chain, [])
      else this.#work.add({ chain, views: viewsOf(chain), turns: this.#random.below(12) })
    }
    this.#turnSoon()
  }

  /** Changes its configuration by itself. */
  act(): void {
    this.config.update(() => {
      this.#bytes[0] = this.#random.word()
    })
  }

  reset(): void | Promise<void> {
    this.#host = undefined
    return this.#rest()
  }

  override queueReset(): void | Promise<void> {
    return this.#rest()
  }

  #rest(): void | Promise<void> {
    if (this.#work.size > 0) return new Promise((resolve) => this.#rested.push(resolve))
  }

  #use(chain: Chain, views: readonly Uint8Array[]): void {
    for (const view of views) if (view.length > 0) view.fill(0xa5)
    this.completed++
    chain.complete(0)
  }

  #turnSoon(): void {
    if (this.#isTurning || this.#work.size === 0) return
    this.#isTurning = true
    setImmediate(() => {
      this.#isTurning = false
      this.#turn()
      this.#turnSoon()
    })
  }

  #turn(): void {
    for (const work of [...this.#work]) {
      if (work.views.some((view) => view.length === 0)) this.#failed('memory was unmapped while the device was at work in it')
      if (--work.turns > 0) continue
      this.#work.delete(work)
      this.#use(work.chain, work.views)
    }
    if (this.#work.size === 0) for (const resolve of this.#rested.splice(0)) resolve()
  }
}

const viewsOf = ({ writable }: Chain): Uint8Array[] => writable.vector().slice(0, mostViews)
