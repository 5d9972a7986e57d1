/** A PCI bus for a VMM that has none of its own. */
import { checkInteger } from 'virtgen/codegen/v1/wire'
import { pci_ecam, pci_geometry, pci_header_interrupt_pin, pci_interrupt_pin } from 'virtgen/wire/pci'
import { isAccess } from '../access.ts'
import { allOnes } from './absent.ts'
import { BusFunction } from './bus-function.ts'
import { ConfigPorts } from './config-ports.ts'
import { DecodedBars } from './decoded-bars.ts'
import { type PciWindows, placeFunctions } from './firmware.ts'
import type { PciFunctionDevice } from './function-device.ts'
import { InterruptLines, InterruptPin, interruptLines, type LineSource } from './interrupt-lines.ts'

/** What the VMM does for a bus. */
export interface PciBusOptions {
  /** Level of one of the four interrupt lines, 0–3. Called when it changes, after all state is consistent: it may access the bus at once. */
  readonly interrupt: (line: number, level: boolean) => void
  /**
   * The line of a function's pin, INTA being 1. By default (slot + pin − 1) modulo 4, so that neighbours do not share one. What the guest's firmware tables (ACPI _PRT,
   * interrupt-map of a device tree) say must be the same; the south bridge of the old PC has (slot + pin − 2) modulo 4.
   */
  readonly swizzle?: (slot: number, pin: number) => number
}

/** Makes a function for a place on a bus; `interrupt` is what it drives its pin with, as long as it is on the bus. */
export type MakeFunction<T> = (interrupt: (level: boolean) => void) => T

interface Slot {
  readonly device: PciFunctionDevice
  readonly pin: InterruptPin
}

const { pci_devices_per_bus, pci_functions_per_device } = pci_geometry
const functionBytes = 1 << pci_ecam.pci_ecam_function_shift

function swizzled(slot: number, pin: number): number {
  return (slot + pin - pci_interrupt_pin.pci_inta) % interruptLines
}

/**
 * One PCI bus, number 0, with 32 slots of one function each. The VMM passes on to it the accesses of its guest: to the ports of the configuration mechanism, to an ECAM
 * window, and to the windows of memory and ports in which BARs may lie.
 *
 * Functions may come and go at any time; a guest finds out when it looks again, or when the VMM tells it by means of its own. Where nobody answers an access reads all
 * ones and writes nothing. Nothing that a guest does throws: BARs may overlap (the lower slot answers), move while they decode, and be accessed across their ends
 * (nobody answers).
 */
export class PciBus {
  readonly #lines: InterruptLines
  readonly #swizzle: (slot: number, pin: number) => number
  readonly #slots: (Slot | undefined)[] = new Array(pci_devices_per_bus).fill(undefined)
  readonly #ports = new ConfigPorts({
    readConfigOf: (id, offset, width) => this.#readConfigOf(id, offset, width),
    writeConfigOf: (id, offset, width, value) => this.#writeConfigOf(id, offset, width, value),
  })
  readonly #memoryBars = new DecodedBars(({ kind }) => kind !== 'io')
  readonly #portBars = new DecodedBars(({ kind }) => kind === 'io')

  constructor(options: PciBusOptions) {
    this.#lines = new InterruptLines(options.interrupt)
    this.#swizzle = options.swizzle ?? swizzled
  }

  // ---- Slots

  /**
   * Puts a function into an empty slot, also while the guest runs.
   *
   * @param slot - device number, 0–31
   * @returns what `make` made
   * @throws RangeError for a slot that there is not, that is taken, or whose pin `swizzle` gives no line for
   */
  add<T extends PciFunctionDevice>(slot: number, make: MakeFunction<T>): T {
    this.#checkEmpty(slot)
    const pin = new InterruptPin()
    const device = make((level) => pin.set(level))
    this.#checkEmpty(slot)
    const source = this.#sourceOf(slot, device)
    this.#slots[slot] = { device, pin }
    this.#update()
    pin.connect(source)
    return device
  }

  /**
   * Takes a function out, also while the guest runs: from now on nobody answers, and its pin is low. The function is not reset; whoever owns it does so.
   *
   * @returns undefined where the slot was empty
   */
  remove(slot: number): PciFunctionDevice | undefined {
    const found = this.#slots[slot]
    if (found === undefined) return undefined
    this.#slots[slot] = undefined
    this.#update()
    found.pin.disconnect()
    return found.device
  }

  /** The function in a slot; undefined where it is empty, or where there is no such slot. */
  at(slot: number): PciFunctionDevice | undefined {
    return this.#slots[slot]?.device
  }

  /** The interrupt line that a function in this slot drives; undefined where the slot is empty or the function has no pin. */
  lineOf(slot: number): number | undefined {
    const device = this.at(slot)
    return device && this.#lineOf(slot, device)
  }

  /**
   * The guest's machine is reset: every function is as after power-on, and nothing is chosen for CONFIG_DATA.
   *
   * @returns resolves when that is over for all of them; undefined where it is at once
   */
  powerOnReset(): Promise<void> | undefined {
    this.#ports.address = 0
    const waits = this.#slots.map((slot) => slot?.device.powerOnReset?.()).filter((wait) => wait !== undefined)
    return waits.length > 0 ? Promise.all(waits).then(() => {}) : undefined
  }

  #checkEmpty(slot: number): void {
    checkInteger(slot, 0, pci_devices_per_bus - 1, 'slot')
    if (this.#slots[slot] !== undefined) throw new RangeError(`slot ${slot} is taken`)
  }

  #lineOf(slot: number, device: PciFunctionDevice): number | undefined {
    const pin = device.readConfig(pci_header_interrupt_pin, 1)
    if (pin === pci_interrupt_pin.pci_no_interrupt_pin) return undefined
    return checkInteger(this.#swizzle(slot, pin), 0, interruptLines - 1, 'interrupt line')
  }

  #sourceOf(slot: number, device: PciFunctionDevice): LineSource {
    const line = this.#lineOf(slot, device)
    return line === undefined ? () => {} : this.#lines.source(line)
  }

  #update(): void {
    const devices = this.#slots.flatMap((slot) => slot?.device ?? [])
    this.#memoryBars.update(devices)
    this.#portBars.update(devices)
  }

  // ---- Accesses of the guest

  /** @param port - 0–65535, also the two of the configuration mechanism, 0xCF8 and 0xCFC */
  readPort(port: number, width: number): number {
    return this.#ports.covers(port, width) ? this.#ports.read(port, width) : this.#portBars.read(port, width)
  }

  /** See `readPort`; what nobody answers changes nothing. */
  writePort(port: number, width: number, value: number): void {
    if (this.#ports.covers(port, width)) this.#ports.write(port, width, value)
    else this.#portBars.write(port, width, value)
  }

  /** @param address - of the guest's memory, below 2^53 */
  readMemory(address: number, width: number): number {
    return this.#memoryBars.read(address, width)
  }

  /** See `readMemory`. */
  writeMemory(address: number, width: number, value: number): void {
    this.#memoryBars.write(address, width, value)
  }

  /** @param offset - from the start of the ECAM window; 1 MiB of it is this bus */
  readEcam(offset: number, width: number): number {
    return this.#readConfigOf(functionId(offset), offset % functionBytes, width)
  }

  /** See `readEcam`. */
  writeEcam(offset: number, width: number, value: number): void {
    this.#writeConfigOf(functionId(offset), offset % functionBytes, width, value)
  }

  /** What CONFIG_ADDRESS holds, for snapshots: the only state of the bus. */
  get configAddress(): number {
    return this.#ports.address
  }
  /** @throws RangeError for what is no number of 32 bits */
  set configAddress(value: number) {
    this.#ports.address = value
  }

  #readConfigOf(id: number, offset: number, width: number): number {
    const device = this.#deviceOf(id)
    return device && isAccess(offset, width) ? device.readConfig(offset, width) : allOnes(width)
  }

  #writeConfigOf(id: number, offset: number, width: number, value: number): void {
    if (isAccess(offset, width)) this.#deviceOf(id)?.writeConfig(offset, width, value)
  }

  /** @param id - bus << 8 | device << 3 | function */
  #deviceOf(id: number): PciFunctionDevice | undefined {
    return id % pci_functions_per_device === 0 ? this.at(id / pci_functions_per_device) : undefined
  }

  // ---- Stand-ins

  /**
   * Does what firmware does, for guests without one: gives the BARs of all functions that do not decode yet addresses out of these windows, lets them decode, and writes
   * their interrupt line registers. Functions that decode stay where they are, so that it can be called again after `add`.
   *
   * @throws RangeError for wrong windows, and when a BAR finds no room; nothing is written then
   */
  assign(windows: PciWindows): void {
    placeFunctions(
      this.#slots.flatMap((slot, number) => (slot ? { device: slot.device, line: this.lineOf(number) } : [])),
      windows,
    )
  }

  /** A slot as a driver sees it; it may be empty. */
  function(slot: number): BusFunction {
    return new BusFunction(this, checkInteger(slot, 0, pci_devices_per_bus - 1, 'slot'))
  }
}

/** @param offset - into an ECAM window */
function functionId(offset: number): number {
  return Math.floor(offset / functionBytes)
}
