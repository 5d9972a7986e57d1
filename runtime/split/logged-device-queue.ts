/** Device side of a split virtqueue that keeps a log of the chains that are out. */
import type { Chain } from '../chain.ts'
import type { DeviceQueueOptions } from '../device-queue-options.ts'
import type { InOrder } from '../in-order.ts'
import type { GuestMemory } from '../memory.ts'
import type { QueueSetup } from '../queue.ts'
import { noHead, several } from '../ring-device-queue.ts'
import { LoggedChains, type SplitRingLog } from '../ring-log.ts'
import { SplitDeviceQueue } from './device-queue.ts'

/** As a class of its own: the queue without a log has no word of it on the way of each chain. */
export class LoggedSplitDeviceQueue extends SplitDeviceQueue {
  readonly #log: SplitRingLog
  readonly #chains: LoggedChains

  constructor(memory: GuestMemory, setup: QueueSetup, options: DeviceQueueOptions, log: SplitRingLog, inOrder?: InOrder) {
    super(memory, setup, options, inOrder)
    this.#log = log
    this.#chains = new LoggedChains(setup.size, options.inOrder)
    for (const head of options.state?.inFlight ?? []) this.#chains.had(head as number)
    if (log.problem !== undefined) this.$break(log.problem)
  }

  override next(): Chain | undefined {
    // No chain is alone: each of them goes through `$deliver`.
    if (this.$alone === noHead) this.$alone = several
    return super.next()
  }

  protected override $deliver(chain: Chain, head: number): Chain | undefined {
    const delivered = super.$deliver(chain, head)
    if (delivered !== undefined && this.#chains.delivered(head)) this.#log.taken(head)
    return delivered
  }

  override putBack(chain: Chain): void {
    super.putBack(chain)
    this.#chains.putBack()
  }

  override $use(head: number, written: number, slots: number, count: number): void {
    this.#chains.using(this.#log, head, count)
    super.$use(head, written, slots, count)
  }

  protected override $publish(): void {
    super.$publish()
    this.#log.used(this.$published)
  }
}
