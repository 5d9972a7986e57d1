/** How the four interrupt lines of the PCI bus reach the interrupt controller: the south bridge (PIIX) of the PC that v86 is. */
import { pci_config_address } from 'virtgen/wire/pci'

/** Device 1, function 0: where the south bridge is in v86. */
const southBridge = 1
/** PIRQRC: a byte for each line, the IRQ in bits 0 to 3, bit 7 switches it off. PIIX (82371) data sheet, PCI configuration register 60h. */
const routeRegister = 0x60
const routeOff = 0x80
const irqMask = 0x0f
const lines = 4
const deviceShift = 11

/** Where an interrupt line goes. */
export interface Irqs {
  raise(irq: number): void
  lower(irq: number): void
}

export class PirqRouter {
  readonly #irqs: Irqs
  readonly #routes: number[] = new Array(lines).fill(routeOff)
  readonly #levels: boolean[] = new Array(lines).fill(false)
  /** IRQs that are raised, as bits. */
  #raised = 0

  constructor(irqs: Irqs) {
    this.#irqs = irqs
  }

  /** The bytes of the south bridge, for snapshots. */
  get routes(): readonly number[] {
    return [...this.#routes]
  }
  set routes(routes: readonly number[]) {
    routes.forEach((route, line) => {
      this.#routes[line] = route
    })
    this.#drive()
  }

  /** IRQ of a line; undefined where the firmware has routed it nowhere. */
  irqOf(line: number): number | undefined {
    const route = this.#routes[line] as number
    return (route & routeOff) === 0 ? route & irqMask : undefined
  }

  set(line: number, level: boolean): void {
    this.#levels[line] = level
    this.#drive()
  }

  /** Somebody writes configuration spaces: looks whether it is the south bridge's routes. */
  watch(address: number, offset: number, width: number, value: number): void {
    const { pci_config_bus, pci_config_device, pci_config_function } = pci_config_address
    if ((address & (pci_config_bus | pci_config_device | pci_config_function)) !== southBridge << deviceShift) return
    let changed = false
    for (let byte = 0; byte < width; byte++) {
      const line = offset + byte - routeRegister
      if (line < 0 || line >= lines) continue
      this.#routes[line] = (value >>> (8 * byte)) & 0xff
      changed = true
    }
    if (changed) this.#drive()
  }

  /** v86 counts nothing: an IRQ is high as long as any of the lines that lead to it is. */
  #drive(): void {
    let wanted = 0
    for (let line = 0; line < lines; line++) {
      const irq = this.irqOf(line)
      if (this.#levels[line] && irq !== undefined) wanted |= 1 << irq
    }
    const changes = wanted ^ this.#raised
    if (changes === 0) return
    this.#raised = wanted
    // The guest may run inside of these calls, and come back here.
    for (let irq = 0; irq <= irqMask; irq++) {
      if (((changes >>> irq) & 1) === 0) continue
      if (((wanted >>> irq) & 1) === 1) this.#irqs.raise(irq)
      else this.#irqs.lower(irq)
    }
  }
}
