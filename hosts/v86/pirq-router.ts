/** How the four interrupt lines of the PCI bus reach the interrupt controller: the south bridge (PIIX) of the PC that v86 is. */
import { pci_config_address } from 'virtgen/wire/pci'

/** Device 1, function 0: where the south bridge is in v86. */
const southBridge = 1
/** PIRQRC: a byte for each line, the IRQ in bits 0 to 3, bit 7 switches it off. PIIX (82371) data sheet, PCI configuration register 60h. */
const routeRegister = 0x60
const routeOff = 0x80
const irqMask = 0x0f
/** Lines of the bus that it routes. */
export const pirqLines = 4
const deviceShift = 11

/** Where an interrupt line goes. */
export interface Irqs {
  raise(irq: number): void
  lower(irq: number): void
}

export class PirqRouter {
  readonly #irqs: Irqs
  readonly #routes: number[] = new Array(pirqLines).fill(routeOff)
  /** Lines that are high, as bits. */
  #levels = 0
  /** IRQs of each line, as bits: one or none. */
  readonly #irqsOf: number[] = new Array(pirqLines).fill(0)
  /** IRQs that are raised from here, as bits. */
  #raised = 0
  /** IRQs that v86's own devices hold, as bits. */
  #others = 0
  #isHeld = false

  constructor(irqs: Irqs) {
    this.#irqs = irqs
  }

  /** The bytes of the south bridge, for snapshots. */
  get routes(): readonly number[] {
    return [...this.#routes]
  }
  set routes(routes: readonly number[]) {
    routes.forEach((route, line) => {
      this.#setRoute(line, route)
    })
    this.#drive()
  }

  /** IRQs that v86's own devices hold, as bits, for snapshots. */
  get others(): number {
    return this.#others
  }
  set others(irqs: number) {
    this.#others = irqs
  }

  /** IRQ of a line; undefined where the firmware has routed it nowhere. */
  irqOf(line: number): number | undefined {
    const route = this.#routes[line] as number
    return (route & routeOff) === 0 ? route & irqMask : undefined
  }

  /** Does something during which nothing reaches the guest; then it is told what holds by then. */
  hold(work: () => void): void {
    this.#isHeld = true
    try {
      work()
    } finally {
      this.#isHeld = false
      this.#drive()
    }
  }

  #setRoute(line: number, route: number): void {
    this.#routes[line] = route
    const irq = this.irqOf(line)
    this.#irqsOf[line] = irq === undefined ? 0 : 1 << irq
  }

  set(line: number, level: boolean): void {
    this.#levels = level ? this.#levels | (1 << line) : this.#levels & ~(1 << line)
    this.#drive()
  }

  /** Somebody writes configuration spaces: looks whether it is the south bridge's routes. */
  watch(address: number, offset: number, width: number, value: number): void {
    const { pci_config_bus, pci_config_device, pci_config_function } = pci_config_address
    if ((address & (pci_config_bus | pci_config_device | pci_config_function)) !== southBridge << deviceShift) return
    let changed = false
    for (let byte = 0; byte < width; byte++) {
      const line = offset + byte - routeRegister
      if (line < 0 || line >= pirqLines) continue
      this.#setRoute(line, (value >>> (8 * byte)) & 0xff)
      changed = true
    }
    if (changed) this.#drive()
  }

  // ---- IRQs have one level each in v86: the last word counts, whoever says it

  /** A device of v86's raises an IRQ. */
  raiseOther(irq: number): void {
    this.#others |= 1 << irq
    this.#irqs.raise(irq)
  }

  /** A device of v86's lowers an IRQ: it stays high as long as one of ours holds it. */
  lowerOther(irq: number): void {
    this.#others &= ~(1 << irq)
    if ((this.#raised & (1 << irq)) === 0) this.#irqs.lower(irq)
  }

  #wanted(): number {
    let wanted = 0
    for (let line = 0; line < pirqLines; line++) if (((this.#levels >>> line) & 1) === 1) wanted |= this.#irqsOf[line] as number
    return wanted
  }

  /** An IRQ is high as long as any of the lines that lead to it is. */
  #drive(): void {
    for (;;) {
      const changes = this.#wanted() ^ this.#raised
      if (changes === 0 || this.#isHeld) return
      const irq = 31 - Math.clz32(changes)
      const bit = 1 << irq
      // Before the call: what it leads to may come back here.
      this.#raised ^= bit
      if ((this.#raised & bit) !== 0) this.#irqs.raise(irq)
      else if ((this.#others & bit) === 0) this.#irqs.lower(irq)
    }
  }
}
