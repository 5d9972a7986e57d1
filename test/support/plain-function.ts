/** A PCI function that is nothing but a header and bytes behind BARs. */
import {
  PCI_COMMAND_IO,
  PCI_COMMAND_MEMORY,
  pci_header_base_address_0,
  pci_header_command,
  pci_header_interrupt_line,
  pci_header_interrupt_pin,
} from 'virtgen/wire/pci'
import type { PciBar, PciFunctionDevice } from '../../runtime/pci/function-device.ts'

export type PlainBar = Pick<PciBar, 'index' | 'kind' | 'size'>
const typeBits = { io: 1, memory32: 0, memory64: 4 } as const

export class PlainFunction implements PciFunctionDevice {
  readonly config = new DataView(new ArrayBuffer(256))
  readonly bars: readonly PciBar[]
  readonly log: string[] = []
  readonly interrupt: (level: boolean) => void
  /** What reads of BARs give. */
  value = 0x5a

  constructor(interrupt: (level: boolean) => void, bars: readonly PlainBar[] = [], pin = 1) {
    this.interrupt = interrupt
    this.config.setUint8(pci_header_interrupt_pin, pin)
    this.bars = bars.map((bar) => this.#bar(bar))
  }

  #bar({ index, kind, size }: PlainBar): PciBar {
    const register = pci_header_base_address_0 + 4 * index
    const { config } = this
    config.setUint32(register, typeBits[kind], true)
    const enable = kind === 'io' ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY
    return {
      index,
      kind,
      size,
      prefetchable: false,
      get address() {
        if ((config.getUint16(pci_header_command, true) & enable) === 0) return undefined
        const low = config.getUint32(register, true) & ~0xf
        return (low >>> 0) + (kind === 'memory64' ? config.getUint32(register + 4, true) * 2 ** 32 : 0)
      },
    }
  }

  readConfig(offset: number, width: number): number {
    this.log.push(`config ${offset}/${width}`)
    let value = 0
    for (let i = width - 1; i >= 0; i--) value = value * 256 + (offset + i < 256 ? this.config.getUint8(offset + i) : 0xff)
    return value
  }

  writeConfig(offset: number, width: number, value: number): void {
    this.log.push(`config ${offset}/${width} <- ${value}`)
    const isBar = offset >= pci_header_base_address_0 && offset < pci_header_base_address_0 + 24
    if (isBar) this.#writeBarRegister(offset, value)
    else if (offset === pci_header_command) this.config.setUint16(offset, value, true)
    else if (offset === pci_header_interrupt_line) this.config.setUint8(offset, value)
  }

  #writeBarRegister(offset: number, value: number): void {
    const index = (offset - pci_header_base_address_0) / 4
    const own = this.bars.find((bar) => bar.index === index)
    const isHigh = this.bars.some((bar) => bar.index === index - 1 && bar.kind === 'memory64')
    if (own) this.config.setUint32(offset, ((value & ~(own.size - 1)) | typeBits[own.kind]) >>> 0, true)
    else if (isHigh) this.config.setUint32(offset, value >>> 0, true)
  }

  readBar(bar: number, offset: number, width: number): number {
    this.log.push(`bar ${bar}+${offset}/${width}`)
    return this.value
  }
  writeBar(bar: number, offset: number, width: number, value: number): void {
    this.log.push(`bar ${bar}+${offset}/${width} <- ${value}`)
  }
  powerOnReset(): void {
    this.log.push('power-on reset')
  }
}
