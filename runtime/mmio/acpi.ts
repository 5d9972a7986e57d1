/**
 * Slots in ACPI: devices with the id that Linux and QEMU use, as source (ASL) and as bytes (AML). ACPI 6.5, 20.2 AML Grammar Definition and 6.4 Resource Data Types for
 * ACPI.
 */
import { checkInteger } from 'virtgen/codegen/v1/wire'
import {
  AcpiInterrupt,
  AcpiMemory32Fixed,
  AcpiQwordMemory,
  AcpiTableHeader,
  acpi_resources,
  acpi_revisions,
  aml_extended_opcodes,
  aml_opcodes,
  aml_package_length,
} from 'virtgen/wire/acpi'
import type { MmioPlace } from './slot-layouts.ts'

/** Who made a table, for its header: characters, filled up with spaces. */
export interface AcpiTableOptions {
  /** At most 6, `VIRTGN` by default. */
  readonly oemId?: string
  /** At most 8, `VIRTMMIO` by default. */
  readonly oemTableId?: string
}

type Bytes = readonly number[]

const { aml_zero, aml_one, aml_name, aml_byte, aml_word, aml_string, aml_scope, aml_buffer, aml_extended, aml_root } = aml_opcodes
const { aml_device } = aml_extended_opcodes
const { aml_length_in_one_byte, aml_length_first_bits, aml_length_count_shift } = aml_package_length
/** Hardware id of a device behind Virtio Over MMIO. */
const hardwareId = 'LNRO0005'
const mostDevices = 1000
const twoDigits = 100
const fourGigabytes = 2 ** 32

/**
 * Source of a device for one slot, to be put into a scope. A guest's driver reads from it where the registers are and which interrupt they have; whether there is a device
 * the registers say.
 *
 * @throws RangeError for slots that four characters do not name: those from 1000 on
 */
export function mmioAcpiText(place: MmioPlace): string {
  return `Device (${nameOf(place)})
{
    Name (_HID, "${hardwareId}")
    Name (_UID, ${hex(place.index)})
    Name (_CCA, One)
    Name (_CRS, ResourceTemplate ()
    {
        ${memoryText(place)}
        Interrupt (ResourceConsumer, Level, ActiveHigh, Exclusive, ,, ) { ${hex(place.interrupt)} }
    })
}
`
}

/** The same device as bytes. */
export function mmioAcpiBytes(place: MmioPlace): Uint8Array {
  return Uint8Array.from(device(place))
}

/** A secondary table (SSDT) with a device for each slot, in the scope `\_SB`; to be listed in the guest's XSDT. */
export function mmioAcpiTable(places: readonly MmioPlace[], { oemId = 'VIRTGN', oemTableId = 'VIRTMMIO' }: AcpiTableOptions = {}): Uint8Array {
  const contents = [aml_scope, ...measured([aml_root, ...characters('_SB_'), ...places.flatMap(device)])]
  const header = AcpiTableHeader.encode({
    signature: padded('SSDT', 4),
    length: AcpiTableHeader.size + contents.length,
    revision: acpi_revisions.acpi_ssdt_revision,
    oem_id: padded(oemId, 6),
    oem_table_id: padded(oemTableId, 8),
    oem_revision: 1,
    creator_id: padded('VGEN', 4),
    creator_revision: 1,
  })
  const table = Uint8Array.from([...header, ...contents])
  table[AcpiTableHeader.offsetOf.checksum] = -table.reduce((sum, byte) => sum + byte, 0)
  return table
}

function nameOf({ index }: MmioPlace): string {
  checkInteger(index, 0, mostDevices - 1, 'index')
  return index < twoDigits ? `VR${String(index).padStart(2, '0')}` : `V${index}`
}

function memoryText({ address, size }: MmioPlace): string {
  if (address + size <= fourGigabytes) return `Memory32Fixed (ReadWrite, ${hex(address)}, ${hex(size)})`
  return `QWordMemory (ResourceConsumer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite,
            0x0, ${hex(address)}, ${hex(address + size - 1)}, 0x0, ${hex(size)})`
}

function device(place: MmioPlace): Bytes {
  return [
    aml_extended,
    aml_device,
    ...measured([
      ...characters(nameOf(place)),
      ...named('_HID', [aml_string, ...characters(hardwareId), 0]),
      ...named('_UID', integer(place.index)),
      ...named('_CCA', [aml_one]),
      ...named('_CRS', buffer([...memory(place), ...interrupt(place), acpi_resources.acpi_end_tag, 0])),
    ]),
  ]
}

function memory({ address, size }: MmioPlace): Uint8Array {
  if (address + size <= fourGigabytes) return AcpiMemory32Fixed.encode({ information: { writable: 1 }, base: address, size })
  return AcpiQwordMemory.encode({
    general: { consumer: 1, subtractive: 0, minimum_fixed: 1, maximum_fixed: 1 },
    memory: { writable: 1, cacheable: 0, range_type: 0, translated: 0 },
    minimum: address,
    maximum: address + size - 1,
    size,
  })
}

function interrupt(place: MmioPlace): Uint8Array {
  return AcpiInterrupt.encode({ flags: { consumer: 1, edge: 0, active_low: 0, shared: 0, wakes: 0 }, interrupt: place.interrupt })
}

// ---- AML

function named(name: string, value: Bytes): Bytes {
  return [aml_name, ...characters(name), ...value]
}

function buffer(bytes: Bytes): Bytes {
  return [aml_buffer, ...measured([...integer(bytes.length), ...bytes])]
}

function integer(value: number): Bytes {
  if (value <= 1) return [value === 0 ? aml_zero : aml_one]
  return value <= 0xff ? [aml_byte, value] : [aml_word, value & 0xff, value >> 8]
}

/** Puts the length in front, which counts itself. */
function measured(contents: Bytes): Bytes {
  if (contents.length + 1 <= aml_length_in_one_byte) return [contents.length + 1, ...contents]
  let rest = 1
  while (contents.length + 1 + rest >= 2 ** (aml_length_first_bits + 8 * rest)) rest++
  const length = contents.length + 1 + rest
  const bytes = Array.from({ length: rest }, (_, index) => (length >> (aml_length_first_bits + 8 * index)) & 0xff)
  return [(rest << aml_length_count_shift) | (length & (2 ** aml_length_first_bits - 1)), ...bytes, ...contents]
}

function characters(text: string): Bytes {
  return Array.from(text, (character) => character.charCodeAt(0))
}

function padded(text: string, length: number): Uint8Array {
  if (!(text.length <= length && /^[ -~]*$/.test(text)))
    throw new RangeError(`${JSON.stringify(text)} is not ${length} printable characters or fewer`)
  return Uint8Array.from(characters(text.padEnd(length)))
}

function hex(value: number): string {
  return `0x${value.toString(16).toUpperCase()}`
}
