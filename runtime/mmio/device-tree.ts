/** Slots in a flattened device tree. VIRTIO 1.4, Virtio Over MMIO / MMIO Device Discovery. */
import { devicetree_gic_first, GIC_SPI, IRQ_TYPE_LEVEL_HIGH } from 'virtgen/wire/devicetree'
import type { MmioPlace } from './slot-layouts.ts'

/** A node without children: numbers are 32-bit cells, `true` is a property without a value. */
export interface DeviceTreeNode {
  readonly name: string
  readonly properties: Readonly<Record<string, string | readonly number[] | true>>
}

/** What the nodes around a slot's say. */
export interface DeviceTreeOptions {
  /** `#address-cells` of the parent: 1 or 2, 2 by default. */
  readonly addressCells?: 1 | 2
  /** `#size-cells` of the parent: 1 or 2, 2 by default. */
  readonly sizeCells?: 1 | 2
  /** How the interrupt controller writes an interrupt, by default as the number alone. For a GIC: {@link gicInterrupt}. */
  readonly interrupt?: (interrupt: number) => readonly number[]
  /** Says that the device sees what is in the processor's caches, by default true. Linux on ARM asks. */
  readonly dmaCoherent?: boolean
}

const cell = 2 ** 32
const { gic_first_spi } = devicetree_gic_first

/** An interrupt of a GIC by its INTID, 32 or more, as the three cells of its device tree: a shared one, active while the level is high. */
export function gicInterrupt(intid: number): readonly number[] {
  if (!(Number.isInteger(intid) && intid >= gic_first_spi))
    throw new RangeError(`an INTID of a shared interrupt is ${gic_first_spi} or more, not ${intid}`)
  return [GIC_SPI, intid - gic_first_spi, IRQ_TYPE_LEVEL_HIGH]
}

/**
 * The node of one slot, with a device or without.
 *
 * @throws RangeError for an address beyond the cells
 */
export function mmioDeviceTreeNode(place: MmioPlace, options: DeviceTreeOptions = {}): DeviceTreeNode {
  const { addressCells = 2, sizeCells = 2, interrupt = (number) => [number], dmaCoherent = true } = options
  const { address, size } = place
  return {
    name: `virtio_mmio@${address.toString(16)}`,
    properties: {
      compatible: 'virtio,mmio',
      reg: [...cells(address, addressCells), ...cells(size, sizeCells)],
      interrupts: interrupt(place.interrupt),
      ...(dmaCoherent && { 'dma-coherent': true }),
    },
  }
}

/** A node as source of a device tree. */
export function deviceTreeText({ name, properties }: DeviceTreeNode): string {
  const lines = Object.entries(properties).map(([property, value]) => `\t${property}${value === true ? '' : ` = ${valueText(value)}`};\n`)
  return `${name} {\n${lines.join('')}};\n`
}

function valueText(value: string | readonly number[]): string {
  return typeof value === 'string' ? JSON.stringify(value) : `<${value.map((one) => `0x${one.toString(16)}`).join(' ')}>`
}

function cells(value: number, count: 1 | 2): number[] {
  if (count === 2) return [Math.floor(value / cell), value % cell]
  if (value >= cell) throw new RangeError(`0x${value.toString(16)} does not fit into one cell`)
  return [value]
}
