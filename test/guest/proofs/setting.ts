/** A guest and all of its devices. */
import type { Guest, GuestOptions, PluggedDevice } from '../guest.ts'
import { WriteOracle } from '../write-oracle.ts'
import { Cards, dhcpPath, dhcpScript } from './cards.ts'
import { Disks } from './disks.ts'
import { Entropy } from './entropy.ts'
import type { Proof } from './proof.ts'
import { Terminals } from './terminals.ts'

export class Setting implements GuestOptions {
  readonly disks: Disks
  readonly entropy = new Entropy()
  readonly terminals = new Terminals()
  readonly cards: Cards
  readonly oracle = new WriteOracle()
  readonly wrap = this.oracle.wrap
  readonly files = { [dhcpPath]: dhcpScript }
  readonly devices: readonly PluggedDevice[]
  /** When it has booted. */
  guest!: Guest

  /**
   * @param folder - for images and sockets
   * @param from - devices that these are copies of
   */
  constructor(folder: string, from?: Setting) {
    this.disks = new Disks(folder, from?.disks)
    this.cards = new Cards(this.disks.content, from ? undefined : folder)
    this.devices = Object.values(this.proofs).flatMap(({ devices }) => devices)
  }

  get proofs(): Readonly<Record<string, Proof>> {
    return { disks: this.disks, 'the entropy device': this.entropy, 'the console': this.terminals, 'network cards': this.cards }
  }
}
