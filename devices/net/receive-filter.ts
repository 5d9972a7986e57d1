/** Which frames a guest wants. VIRTIO 1.4, Network Device / Device Operation / Control Virtqueue: Packet Receive Filtering, Setting MAC Address Filtering, VLAN Filtering. */
import { type Plain, StateError } from 'virtgen/runtime'
import { macBytes, vlanOf } from './ethernet.ts'
import { isGroup, macKey } from './mac.ts'

/** What the driver can switch. */
export const receiveModes = ['promisc', 'allmulti', 'alluni', 'nomulti', 'nouni', 'nobcast'] as const
export type ReceiveMode = (typeof receiveModes)[number]

/** VLANs that there can be. */
export const vlanCount = 4096
const broadcast = 0xffff_ffff_ffff

export class ReceiveFilter {
  /** The address of the card, as a number. */
  mac = 0
  /** The driver can say what it wants of unicast, multicast and broadcast; otherwise it gets everything. */
  byAddress = false
  /** The driver can say which VLANs it wants; otherwise it gets all. */
  byVlan = false
  readonly #modes = new Set<ReceiveMode>()
  #table = new Set<number>()
  readonly #vlans = new Set<number>()

  /** As the driver finds it after a reset: nothing is switched on, and the tables are empty. */
  reset(): void {
    this.#modes.clear()
    this.#table.clear()
    this.#vlans.clear()
  }

  setMode(mode: ReceiveMode, on: boolean): void {
    if (on) this.#modes.add(mode)
    else this.#modes.delete(mode)
  }

  /** Unicast and multicast addresses in one: a frame is for the one or the other by its own address. */
  setTable(addresses: Iterable<number>): void {
    this.#table = new Set(addresses)
  }

  setVlan(id: number, on: boolean): void {
    if (on) this.#vlans.add(id)
    else this.#vlans.delete(id)
  }

  passes(frame: Uint8Array): boolean {
    const modes = this.#modes
    if (this.byAddress && modes.has('promisc')) return true
    return this.#passesVlan(frame) && (!this.byAddress || this.#passesAddress(frame))
  }

  #passesVlan(frame: Uint8Array): boolean {
    const vlan = this.byVlan ? vlanOf(frame) : undefined
    return vlan === undefined || this.#vlans.has(vlan)
  }

  #passesAddress(frame: Uint8Array): boolean {
    const modes = this.#modes
    const key = macKey(frame)
    if (key === broadcast) return !modes.has('nobcast')
    if (isGroup(frame)) return !modes.has('nomulti') && (modes.has('allmulti') || this.#table.has(key))
    return !modes.has('nouni') && (modes.has('alluni') || key === this.mac || this.#table.has(key))
  }

  save(): Plain {
    return { modes: [...this.#modes], table: [...this.#table], vlans: [...this.#vlans] }
  }

  /** @throws StateError for what `save` did not give */
  restore(state: Plain): void {
    const { modes, table, vlans } = (state ?? {}) as { readonly [name: string]: unknown }
    const isModes = isList(modes, (mode) => receiveModes.includes(mode as ReceiveMode))
    if (!isModes) throw new StateError('device.state.filter.modes', `the receive modes must be some of ${receiveModes}`)
    if (!isList(table, (key) => isInteger(key, 256 ** macBytes)))
      throw new StateError('device.state.filter.table', 'addresses must be integers of 48 bits')
    if (!isList(vlans, (id) => isInteger(id, vlanCount)))
      throw new StateError('device.state.filter.vlans', `VLANs must be integers below ${vlanCount}`)
    this.reset()
    for (const mode of modes as ReceiveMode[]) this.#modes.add(mode)
    this.setTable(table as number[])
    for (const id of vlans as number[]) this.#vlans.add(id)
  }
}

function isList(value: unknown, isElement: (element: unknown) => boolean): boolean {
  return Array.isArray(value) && value.every(isElement)
}

function isInteger(value: unknown, below: number): boolean {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) < below
}
