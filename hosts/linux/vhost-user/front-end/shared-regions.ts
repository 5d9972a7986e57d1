/** Tells a back-end which memory it shares: all regions in a table, or one by one (VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS). */
import { vhost_user } from 'virtgen/protocol/vhost-user'
import { DriverError } from 'virtgen/runtime'
import { VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS } from 'virtgen/wire/vhost-user'
import type { FrontEndChannel } from './channel.ts'
import type { SharedRegion } from './memory.ts'

export class SharedRegions {
  readonly #channel: FrontEndChannel
  readonly #most: number
  #shared: readonly SharedRegion[] = []

  /** @param most - regions that the back-end takes */
  constructor(channel: FrontEndChannel, most: number) {
    this.#channel = channel
    this.#most = most
  }

  /** What the back-end has. */
  get shared(): readonly SharedRegion[] {
    return this.#shared
  }

  /**
   * Shares these regions, and no others any more.
   *
   * @throws DriverError `memory` where they are too many
   */
  share(regions: readonly SharedRegion[]): void {
    if (regions.length > this.#most) throw new DriverError('memory', `the back-end takes ${this.#most} regions of memory, not ${regions.length}`)
    const before = this.#shared
    if (regions.length === before.length && regions.every((region, i) => region === before[i])) return
    if (this.#channel.has(VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS)) this.#shareChanges(before, regions)
    else this.#shareTable(regions)
    this.#shared = [...regions]
  }

  #shareChanges(before: readonly SharedRegion[], now: readonly SharedRegion[]): void {
    for (const region of before) if (!now.includes(region)) this.#channel.tell(vhost_user.rem_mem_reg, { mem_reg: { region: described(region) } })
    for (const region of now)
      if (!before.includes(region)) this.#channel.tell(vhost_user.add_mem_reg, { mem_reg: { region: described(region) } }, [region.fd])
  }

  #shareTable(regions: readonly SharedRegion[]): void {
    const memory = { num_regions: regions.length, regions: regions.map(described) }
    this.#channel.tell(
      vhost_user.set_mem_table,
      { memory },
      regions.map(({ fd }) => fd),
    )
  }
}

function described({ guestAddress, size, userAddress }: SharedRegion) {
  return { guest_address: guestAddress, size, user_address: userAddress, mmap_offset: 0 }
}
