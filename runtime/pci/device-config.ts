/** The configuration space of the device, behind a BAR. VIRTIO 1.4, Virtio Over PCI Bus / PCI Device Layout / Device-specific configuration. */
import type { DeviceControl } from '../device-control.ts'
import type { BarWindow } from './register-window.ts'

/** Of 8 bits, as the driver sees it. */
const generations = 0x100

export class DeviceConfigWindow implements BarWindow {
  readonly #control: DeviceControl
  /** Generation of the configuration space when the driver looked last. */
  #seen: number
  #generation = 0

  constructor(control: DeviceControl) {
    this.#control = control
    this.#seen = control.configGeneration
  }

  /**
   * What config_generation reads. Not the count of changes, of which 256 between two looks of the driver would go unnoticed: one that grows when the driver looks and
   * there was a change, as the text advises.
   */
  get generation(): number {
    this.#look()
    return this.#generation
  }

  read(offset: number, width: number): number {
    this.#look()
    return this.#control.readConfig(offset, width)
  }

  write(offset: number, width: number, value: number): void {
    if (!this.#control.$legacy) this.#control.writeConfig(offset, width, value)
  }

  #look(): void {
    const { configGeneration } = this.#control
    if (configGeneration === this.#seen) return
    this.#seen = configGeneration
    this.#generation = (this.#generation + 1) % generations
  }

  /** @internal As of the last look. */
  get $generation(): number {
    return this.#generation
  }

  /** @internal There was a change since. */
  get $changed(): boolean {
    return this.#control.configGeneration !== this.#seen
  }

  /** @internal Takes over what these two gave, where the control has, or will have, this count of changes. */
  $restore(generation: number, changed: boolean, configGeneration: number): void {
    this.#generation = generation
    this.#seen = configGeneration - (changed ? 1 : 0)
  }
}
