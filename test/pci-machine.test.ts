/** Machines with several real devices on one PCI bus: shared interrupt lines, devices that come and go, and guests that find them as they find all others. */
import { BlkDriver } from 'virtgen/driver/blk'
import { EntropyDriver } from 'virtgen/driver/entropy'
import { connectPci, PciBus, PciDevice, type PciDeviceOptions } from 'virtgen/pci'
import { createDeviceQueue, DriverMemory, type DriverType, GuestMemory, type VirtioDevice } from 'virtgen/runtime'
import { virtio_blk_size } from 'virtgen/wire/blk'
import { PCI_COMMAND_IO, PCI_COMMAND_MASTER, PCI_COMMAND_MEMORY, pci_config_ports, pci_header } from 'virtgen/wire/pci'
import { pci_vendor_id } from 'virtgen/wire/transport-pci'
import { describe, expect, it } from 'vitest'
import { Counter, RamDisk } from './support/small-devices.ts'

const { sector_bytes } = virtio_blk_size
const memorySize = 1 << 20
const windows = {
  memory: { address: 0xe000_0000, size: 0x100_0000 },
  memory64: { address: 0x10_0000_0000, size: 0x100_0000 },
  io: { address: 0xc000, size: 0x1000 },
  interrupts: [5, 9, 10, 11],
}

/** Who shares a line: an interrupt is offered to each until the line is low again, as a guest with level-triggered interrupts does. */
class Machine {
  readonly memory = GuestMemory.of(new Uint8Array(memorySize))
  readonly driverMemory = new DriverMemory(this.memory, 0x1000, memorySize - 0x1000)
  readonly levels = [false, false, false, false]
  readonly bus = new PciBus({ interrupt: (line, level) => this.#changed(line, level) })
  readonly #handlers = new Map<number, () => boolean>()
  #serving = false

  add(slot: number, device: VirtioDevice, options: Partial<PciDeviceOptions> = {}): PciDevice {
    const pci = this.bus.add(
      slot,
      (interrupt) => new PciDevice(device, { memory: this.memory, createQueue: createDeviceQueue, interrupt, ...options }),
    )
    this.bus.assign(windows)
    return pci
  }

  async connect<T>(slot: number, type: DriverType<T>): Promise<T> {
    const { driver, interrupt } = await connectPci(this.bus.function(slot), type, { memory: this.driverMemory, queueSize: 16 })
    this.#handlers.set(slot, interrupt)
    return driver
  }

  remove(slot: number): void {
    this.bus.remove(slot)
    this.#handlers.delete(slot)
  }

  #changed(line: number, level: boolean): void {
    this.levels[line] = level
    if (this.#serving) return
    this.#serving = true
    for (let tries = 0; this.levels.some(Boolean); tries++) {
      if (tries > 1000) throw new Error(`lines ${this.levels} are stuck`)
      for (const handler of this.#handlers.values()) handler()
    }
    this.#serving = false
  }
}

describe('a machine', () => {
  it('with 31 devices on four lines serves all of them at once', async () => {
    const machine = new Machine()
    const users: (() => Promise<void>)[] = []
    for (let slot = 1; slot < 32; slot++) {
      if (slot % 2 === 0) {
        machine.add(slot, new Counter())
        const driver = await machine.connect(slot, EntropyDriver)
        users.push(async () => expect((await driver.read(3)).data).toEqual(Uint8Array.of(0, 1, 2)))
      } else {
        const disk = new RamDisk()
        disk.bytes.fill(slot)
        machine.add(slot, disk, { transitional: slot % 4 === 1 })
        const driver = await machine.connect(slot, BlkDriver)
        users.push(async () => expect((await driver.read({ sector: 0 }, sector_bytes)).data).toEqual(new Uint8Array(sector_bytes).fill(slot)))
      }
    }
    await Promise.all(users.map((use) => use()))
    expect(machine.levels).toEqual([false, false, false, false])
  })

  it('gets a device while it runs, where the others stay as they are, and loses one with requests out', async () => {
    const machine = new Machine()
    const disk = new RamDisk()
    const old = machine.add(2, disk)
    const before = old.bars.map(({ address }) => address)
    const driver = await machine.connect(2, BlkDriver)
    machine.add(6, new Counter())
    expect(old.bars.map(({ address }) => address)).toEqual(before)
    const entropy = await machine.connect(6, EntropyDriver)
    expect((await entropy.read(2)).data).toEqual(Uint8Array.of(0, 1))

    disk.instead = () => new Promise(() => {})
    const lost = driver.read({ sector: 0 }, sector_bytes)
    await driver.flush()
    machine.remove(2)
    expect(machine.bus.readEcam(2 << 15, 4)).toBe(0xffff_ffff)
    // The driver of a device that is gone reads all ones: it never comes back from a reset.
    const closing = driver.close()
    await expect(lost).rejects.toMatchObject({ kind: 'closed' })
    await expect(closing).rejects.toMatchObject({ kind: 'reset' })
    expect((await entropy.read(2)).data).toEqual(Uint8Array.of(2, 3))

    machine.add(2, new RamDisk())
    const again = await machine.connect(2, BlkDriver)
    expect((await again.read({ sector: 0 }, sector_bytes)).data).toEqual(new Uint8Array(sector_bytes))
  })

  it('finds its devices by the ports of a PC, and the sizes of their BARs by writing ones', () => {
    const machine = new Machine()
    const pci = machine.bus.add(4, (interrupt) => new PciDevice(new RamDisk(), { memory: machine.memory, interrupt, transitional: true }))
    const config = (slot: number, register: number): number => {
      machine.bus.writePort(pci_config_ports.CONFIG_ADDRESS.offset, 4, (0x8000_0000 | (slot << 11) | register) >>> 0)
      return machine.bus.readPort(pci_config_ports.CONFIG_DATA.offset, 4)
    }
    const found = Array.from({ length: 32 }, (_, slot) => slot).filter((slot) => (config(slot, 0) & 0xffff) === pci_vendor_id.pci_vendor_id)
    expect(found).toEqual([4])
    const sizes = pci.bars.map(({ index, kind }) => {
      config(4, pci_header.base_address_0.offset + 4 * index)
      machine.bus.writePort(pci_config_ports.CONFIG_DATA.offset, 4, 0xffff_ffff)
      const read = machine.bus.readPort(pci_config_ports.CONFIG_DATA.offset, 4)
      return (~(read & (kind === 'io' ? ~3 : ~15)) >>> 0) + 1
    })
    expect(sizes).toEqual(pci.bars.map(({ size }) => size))
  })

  it('is assigned addresses and lines as by a firmware, bus master excepted', () => {
    const machine = new Machine()
    const pci = machine.add(7, new RamDisk(), { transitional: true })
    const command = pci.readConfig(pci_header.command.offset, 2)
    expect(command & (PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER)).toBe(PCI_COMMAND_IO | PCI_COMMAND_MEMORY)
    expect(pci.readConfig(pci_header.interrupt_line.offset, 1)).toBe(11)
    for (const { kind, address, size } of pci.bars) {
      const { address: start } = { io: windows.io, memory32: windows.memory, memory64: windows.memory64 }[kind]
      expect([address !== undefined && address >= start && address % size === 0, kind]).toEqual([true, kind])
    }
  })
})
