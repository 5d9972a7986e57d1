/** What a VMM tells its guest of the slots: device tree, ACPI and kernel command line, held against the tools that read them and against QEMU. */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  deviceTreeText,
  gicInterrupt,
  type MmioPlace,
  MmioSlots,
  mmioAcpiBytes,
  mmioAcpiTable,
  mmioAcpiText,
  mmioDeviceTreeNode,
  mmioKernelParameter,
  mmioSlotLayouts,
} from 'virtgen/mmio'
import { AcpiTableHeader } from 'virtgen/wire/acpi'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const placesOf = (layout: keyof typeof mmioSlotLayouts): readonly MmioPlace[] =>
  new MmioSlots(mmioSlotLayouts[layout], { interrupt: () => {} }).places
const squib = placesOf('squib')
const microvm = placesOf('qemuMicrovm')
/** Numbers of every length, and addresses beyond 32 bits. */
const unusual: readonly MmioPlace[] = [
  { index: 1, address: 0, size: 0x200, interrupt: 0 },
  { index: 99, address: 0xffff_f000, size: 0x1000, interrupt: 0xffff_ffff },
  { index: 256, address: 2 ** 32, size: 0x1000, interrupt: 5 },
  { index: 999, address: 2 ** 52, size: 0x1000, interrupt: 300 },
]

const has = (tool: string): boolean => spawnSync(tool, ['-v']).error === undefined
let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'slots-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

/** Runs a tool over a file and gives what it makes; what it complains about fails the test. */
function made(tool: string, args: readonly string[], input: string | Uint8Array, [from, to]: readonly [string, string]): Buffer {
  writeFileSync(join(folder, from), input)
  const output = execFileSync(tool, [...args, from], { cwd: folder, encoding: 'utf8', stdio: 'pipe' })
  expect(output).not.toMatch(/[1-9]\d* Errors|[1-9]\d* Warnings/)
  return readFileSync(join(folder, to))
}

describe('the kernel command line', () => {
  it('has size, address, interrupt and number of each slot', () => {
    expect([microvm[0], squib[31]].map((place) => mmioKernelParameter(place as MmioPlace))).toEqual([
      'virtio_mmio.device=0x200@0xfeb00000:24:0',
      'virtio_mmio.device=0x1000@0xf01f000:79:31',
    ])
    expect(mmioKernelParameter(squib[1] as MmioPlace, 7)).toBe('virtio_mmio.device=0x1000@0xf001000:49:7')
  })
})

describe('the node of a device tree', () => {
  it('is data and text', () => {
    const node = mmioDeviceTreeNode(squib[1] as MmioPlace, { interrupt: gicInterrupt })
    expect(node).toEqual({
      name: 'virtio_mmio@f001000',
      properties: { compatible: 'virtio,mmio', reg: [0, 0xf00_1000, 0, 0x1000], interrupts: [0, 17, 4], 'dma-coherent': true },
    })
    expect(deviceTreeText(node)).toBe(
      'virtio_mmio@f001000 {\n\tcompatible = "virtio,mmio";\n\treg = <0x0 0xf001000 0x0 0x1000>;\n\tinterrupts = <0x0 0x11 0x4>;\n\tdma-coherent;\n};\n',
    )
  })

  it('is the example of the text, with cells of one word', () => {
    const node = mmioDeviceTreeNode({ index: 0, address: 0x1e000, size: 0x200, interrupt: 42 }, { addressCells: 1, sizeCells: 1, dmaCoherent: false })
    expect(node.properties).toEqual({ compatible: 'virtio,mmio', reg: [0x1e000, 0x200], interrupts: [42] })
  })

  it('has two cells for an address beyond 32 bits, and refuses it where there is one', () => {
    const place = { index: 0, address: 0x12_3456_7000, size: 0x1000, interrupt: 1 }
    expect(mmioDeviceTreeNode(place).properties.reg).toEqual([0x12, 0x3456_7000, 0, 0x1000])
    expect(() => mmioDeviceTreeNode(place, { addressCells: 1 })).toThrow(new RangeError('0x1234567000 does not fit into one cell'))
    expect(() => mmioDeviceTreeNode({ ...place, address: 2 ** 32 }, { addressCells: 1 })).toThrow(RangeError)
  })

  it.each([31, 0, -1, 32.5, Number.NaN])('has no interrupt %s of a GIC', (intid) => {
    expect(() => gicInterrupt(intid)).toThrow(RangeError)
  })

  it.skipIf(!has('dtc'))('is taken by dtc, with every property as it was meant (needs device-tree-compiler)', () => {
    const nodes = [...squib, { index: 32, address: 0x12_3456_7000, size: 0x1000, interrupt: 1019 }].map((place) =>
      mmioDeviceTreeNode(place, { interrupt: gicInterrupt }),
    )
    const tree = `/dts-v1/;\n/ {\n#address-cells = <2>;\n#size-cells = <2>;\n${nodes.map(deviceTreeText).join('')}};\n`
    const blob = made('dtc', ['-q', '-I', 'dts', '-O', 'dtb', '-o', 'tree.dtb'], tree, ['tree.dts', 'tree.dtb'])
    const back = made('dtc', ['-q', '-I', 'dtb', '-O', 'dts', '-o', 'back.dts'], blob, ['tree.dtb', 'back.dts']).toString()
    const cells = (text: string): number[] => text.split(' ').map((cell) => Number(cell))
    const read = [
      ...back.matchAll(/(virtio_mmio@\w+) \{\n\t\tcompatible = "(.+)";\n\t\treg = <(.+)>;\n\t\tinterrupts = <(.+)>;\n\t\tdma-coherent;/g),
    ].map(([, name, compatible, reg = '', interrupts = '']) => ({
      name,
      properties: { compatible, reg: cells(reg), interrupts: cells(interrupts), 'dma-coherent': true },
    }))
    expect(read).toEqual(nodes)
  })
})

describe('the ACPI device', () => {
  it('is byte for byte that of QEMU 10 for the same slot of a microvm', () => {
    const bytes = [0, 23].map((index) => Buffer.from(mmioAcpiBytes(microvm[index] as MmioPlace)).toString('hex'))
    expect(bytes).toEqual([
      '5b82410456523030085f4849440d4c4e524f3030303500085f55494400085f43434101085f435253111a0a17860900010000b0fe000200008906000101180000007900',
      '5b82420456523233085f4849440d4c4e524f3030303500085f5549440a17085f43434101085f435253111a0a1786090001002eb0fe0002000089060001012f0000007900',
    ])
  })

  it('has a name for 1000 slots and no more', () => {
    const place = { index: 1000, address: 0, size: 0x200, interrupt: 0 }
    for (const make of [mmioAcpiText, mmioAcpiBytes]) expect(() => make(place)).toThrow(RangeError)
  })

  it('stands in a table whose bytes sum up to 0', () => {
    for (const places of [[], microvm, squib, unusual]) {
      const table = mmioAcpiTable(places)
      expect(AcpiTableHeader.decode(table).length).toBe(table.length)
      expect(table.reduce((sum, byte) => (sum + byte) & 0xff, 0)).toBe(0)
    }
    const header = AcpiTableHeader.decode(mmioAcpiTable(microvm, { oemId: 'ABC', oemTableId: '' }))
    expect([header.oem_id, header.oem_table_id].map((bytes) => String.fromCharCode(...bytes))).toEqual(['ABC   ', '        '])
    expect(() => mmioAcpiTable([], { oemId: 'TOO LONG' })).toThrow(new RangeError('"TOO LONG" is not 6 printable characters or fewer'))
  })

  it('says its length in as many bytes as that needs', () => {
    const first = squib[0] as MmioPlace
    // Devices of 67, 68 and 102 bytes. 12 bits are in two bytes of a length, which counts them; 20 in three.
    const devices = (small: number, large: number): MmioPlace[] => [
      ...Array.from({ length: small }, () => first),
      ...Array.from({ length: large }, () => squib[2] as MmioPlace),
      { ...first, index: 2, address: 2 ** 32 },
    ]
    const lengths = [devices(26, 33), devices(27, 32), devices(25, 34)].map((places) => {
      const contents = mmioAcpiTable(places).subarray(AcpiTableHeader.size + 1)
      const [lead = 0, ...rest] = contents
      const count = lead >> 6 // of the bytes behind the first one
      const said = rest.slice(0, count).reduce((sum, byte, index) => sum + (byte << (4 + 8 * index)), lead & 15)
      expect(said).toBe(contents.length)
      return [said, count]
    })
    expect(lengths).toEqual([
      [4095, 1],
      [4094, 1],
      [4097, 2],
    ])
  })

  // Lengths in one, two and three bytes.
  it.skipIf(!has('iasl')).each([
    ['no slot', []],
    ['one slot', squib.slice(0, 1)],
    ['the slots of squib', squib],
    ['the slots of a microvm', microvm],
    ['unusual slots', unusual],
    ['1000 slots', Array.from({ length: 1000 }, (_, index) => ({ index, address: 2 ** 33 + index * 0x200, size: 0x200, interrupt: index }))],
  ] as [string, readonly MmioPlace[]][])('of %s is what iasl makes of the text (needs acpica-tools)', (_, places) => {
    const text = `DefinitionBlock ("", "SSDT", 2, "VIRTGN", "VIRTMMIO", 1) {\nScope (\\_SB) {\n${places.map(mmioAcpiText).join('')}}\n}\n`
    const compiled = made('iasl', ['-p', 'compiled'], text, ['slots.asl', 'compiled.aml'])
    const own = mmioAcpiTable(places)
    const header = AcpiTableHeader.decode(compiled)
    // The compiler names itself as the creator; the sum differs by that.
    const { creator_id, creator_revision, checksum } = AcpiTableHeader.decode(own)
    expect(AcpiTableHeader.decode(own)).toEqual({ ...header, creator_id, creator_revision, checksum })
    expect(Buffer.from(own.subarray(AcpiTableHeader.size)).equals(compiled.subarray(AcpiTableHeader.size))).toBe(true)
  })
})
