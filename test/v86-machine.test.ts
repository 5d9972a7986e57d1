/** `V86Machine` without v86: ports, interrupts, memory and snapshots, by a module that has the few exports. */
import { Rng } from 'virtgen/devices/rng'
import { BlkDriver } from 'virtgen/driver/blk'
import { EntropyDriver } from 'virtgen/driver/entropy'
import { pciLayouts } from 'virtgen/pci'
import { StateError } from 'virtgen/runtime'
import { V86Machine } from 'virtgen/v86'
import { pci_header_base_address_0 as bar0, pci_header_interrupt_line } from 'virtgen/wire/pci'
import { virtio_pci_common_cfg } from 'virtgen/wire/transport-pci'
import { describe, expect, it } from 'vitest'
import { configAddress, configData, FakeGuest, FakeV86, portsOf } from './support/fake-v86.ts'
import { RamDisk } from './support/small-devices.ts'

const sector = 512
const wasm = new Uint8Array(0)
const rngId = 0x1044_1af4
const none = 0xffff_ffff

/** Drivers notify when what they have begun with is through. */
const soon = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** A source that can be told apart: 1, 2, 3 … */
function counting(): Rng {
  let next = 0
  return new Rng({
    source: (bytes) => {
      for (let i = 0; i < bytes.length; i++) bytes[i] = ++next
    },
  })
}

describe('ports', () => {
  it('of others are passed on, values unchanged', async () => {
    const machine = new V86Machine({ wasm })
    machine.add(new Rng())
    const v86 = await FakeV86.start(machine)
    v86.ownAnswer = 7
    expect([v86.read(0x60, 1), v86.read(0xffff, 1), v86.read(0x1f0, 4)]).toEqual([7, 7, 7])
    v86.write(0x1f0, 4, 0xffff_fffe)
    v86.write(0x3f8, 1, 0xff)
    v86.write(0xcf9, 1, 6)
    expect(v86.own).toEqual([
      [0x60, 1],
      [0xffff, 1],
      [0x1f0, 4],
      [0x1f0, 4, -2],
      [0x3f8, 1, 0xff],
      [0xcf9, 1, 6],
    ])
  })

  it('of the configuration mechanism reach the device that is chosen, and v86 hears of each choice', async () => {
    const machine = new V86Machine({ wasm })
    const slot = machine.add(new Rng())
    const v86 = await FakeV86.start(machine)
    const guest = new FakeGuest(v86)
    expect(guest.function(slot).readConfig(0, 4)).toBe(rngId)
    expect(guest.function(slot).readConfig(2, 2)).toBe(0x1044)
    const choice: [number, number, number] = [configAddress, 4, (0x8000_0000 | (slot << 11)) >> 0]
    expect(v86.own).toEqual([choice, choice])
    // v86's own functions are asked where they were.
    v86.ownAnswer = 0x1234_5678
    expect(guest.function(1).readConfig(0, 4)).toBe(0x1234_5678)
    guest.function(1).writeConfig(0x41, 1, 3)
    expect(v86.own.slice(-2)).toEqual([
      [configAddress, 4, (0x8000_0000 | (1 << 11) | 0x40) >> 0],
      [configData + 1, 1, 3],
    ])
    // Without the enable bit, and on another bus, it is a port as any other.
    for (const address of [slot << 11, (0x8001_0000 | (slot << 11)) >>> 0]) {
      v86.write(configAddress, 4, address)
      expect(v86.read(configData, 4)).toBe(0x1234_5678)
    }
  })

  it('follow the BAR, in whatever width they are accessed, and are nobody’s when it is switched off', async () => {
    const machine = new V86Machine({ wasm })
    const slot = machine.add(new Rng())
    const guest = await FakeGuest.boot(machine, slot)
    const { v86 } = guest
    const config = guest.function(slot)
    config.writeConfig(bar0, 4, none)
    const size = (~(config.readConfig(bar0, 4) & 0xffff_fffc) + 1) >>> 0
    expect([64, 128, 256]).toContain(size)
    config.writeConfig(bar0, 4, 0xd000)
    expect(v86.read(0xd000, 4)).toBe(0x5a)
    config.writeConfig(4, 2, 1)
    v86.write(0xd000, 4, 1)
    expect([v86.read(0xd000, 4), v86.read(0xd000, 1), v86.read(0xd002, 2)]).toEqual([1, 1, 0])
    config.writeConfig(bar0, 4, 0xe000)
    expect([v86.read(0xd000, 4), v86.read(0xe000, 4)]).toEqual([0x5a, 1])
    // The last port, and an access that does not lie in the BAR as a whole.
    expect([v86.read(0xe000 + size - 1, 1), v86.read(0xe000 + size - 1, 4)]).toEqual([0, 0x5a])
    config.writeConfig(4, 2, 0)
    expect(v86.read(0xe000, 4)).toBe(0x5a)
  })

  it('that two devices decode belong to the lower slot', async () => {
    const machine = new V86Machine({ wasm })
    machine.add(new Rng(), { slot: 20 })
    machine.add(new RamDisk(), { slot: 18 })
    const guest = await FakeGuest.boot(machine)
    const { v86 } = guest
    for (const slot of [20, 18]) {
      guest.function(slot).writeConfig(bar0, 4, 0xd000)
      guest.function(slot).writeConfig(4, 2, 1)
    }
    expect(v86.read(0xd000 + virtio_pci_common_cfg.num_queues.offset, 2)).toBe(2)
    machine.remove(18)
    expect(v86.read(0xd000 + virtio_pci_common_cfg.num_queues.offset, 2)).toBe(1)
  })
})

describe('interrupts', () => {
  it('take the IRQ that the south bridge routes their line to, also when the routes change', async () => {
    const machine = new V86Machine({ wasm })
    // Lines by the tables of the BIOS: (slot - 1) & 3 for INTA.
    const slot = machine.add(new Rng(), { slot: 18 })
    const guest = await FakeGuest.boot(machine, slot)
    const { v86 } = guest
    const { driver, interrupt } = await guest.connect(slot, EntropyDriver)
    const read = driver.read(4)
    await soon()
    expect(v86.edges).toEqual(['+10'])
    const southBridge = guest.function(1)
    southBridge.writeConfig(0x61, 1, 5)
    expect(v86.edges).toEqual(['+10', '-10', '+5'])
    southBridge.writeConfig(0x60, 2, 0x8080)
    expect(v86.edges).toEqual(['+10', '-10', '+5', '-5'])
    southBridge.writeConfig(0x60, 4, 0x0c0b_0a09)
    expect([...v86.high]).toEqual([10])
    // Registers beside those, and those of others, are no routes.
    southBridge.writeConfig(0x64, 4, 0x0303_0303)
    southBridge.writeConfig(0x5c, 4, 0x0303_0303)
    guest.function(2).writeConfig(0x61, 1, 3)
    expect([...v86.high]).toEqual([10])
    expect(interrupt()).toBe(true)
    expect([...v86.high]).toEqual([])
    expect((await read).data).toHaveLength(4)
  })

  it('stay raised as long as any device holds one, v86’s own among them', async () => {
    const machine = new V86Machine({ wasm })
    const slots = [machine.add(counting(), { slot: 16 }), machine.add(counting(), { slot: 20 })]
    const guest = await FakeGuest.boot(machine, ...slots)
    const { v86 } = guest
    const [first, second] = [await guest.connect(16, EntropyDriver), await guest.connect(20, EntropyDriver)]
    const reads = [first.driver.read(1), second.driver.read(1)]
    await soon()
    expect(v86.edges).toEqual(['+12'])
    v86.exports.device_raise_irq(12)
    v86.exports.device_lower_irq(12)
    first.interrupt()
    expect([...v86.high]).toEqual([12])
    v86.exports.device_raise_irq(12)
    second.interrupt()
    expect([...v86.high]).toEqual([12])
    v86.exports.device_lower_irq(12)
    expect(v86.edges).toEqual(['+12', '-12'])
    await Promise.all(reads)
    // What is v86's alone is passed on.
    v86.exports.device_raise_irq(4)
    v86.exports.device_lower_irq(4)
    expect(v86.edges.slice(-2)).toEqual(['+4', '-4'])
  })

  it('may run the guest at once, inside of the notification, and it may notify again', async () => {
    const machine = new V86Machine({ wasm })
    const slot = machine.add(counting())
    const guest = await FakeGuest.boot(machine, slot)
    const driver = await guest.drive(slot, EntropyDriver)
    const reads: Promise<{ readonly data: Uint8Array }>[] = []
    guest.serve(() => {
      if (reads.length < 20) reads.push(driver.read(3))
    })
    reads.push(driver.read(3))
    while (reads.length < 20) await soon()
    const bytes = (await Promise.all(reads)).flatMap(({ data }) => [...data])
    expect(bytes.sort((a, b) => a - b)).toEqual(Array.from({ length: 60 }, (_, i) => i + 1))
    expect([...guest.v86.high]).toEqual([])
  })

  it('of two lines that change at the same time end as they should, whatever the guest does in between', async () => {
    const machine = new V86Machine({ wasm })
    const slots = [machine.add(counting(), { slot: 17 }), machine.add(counting(), { slot: 18 })]
    const guest = await FakeGuest.boot(machine, ...slots)
    const { v86 } = guest
    const connections = [await guest.connect(17, EntropyDriver), await guest.connect(18, EntropyDriver)]
    const reads = connections.map(({ driver }) => driver.read(1))
    await soon()
    expect([...v86.high].sort()).toEqual([10, 9])
    guest.function(1).writeConfig(0x60, 2, 0x8080)
    // The guest serves both inside of the first one.
    guest.serve(() => {
      for (const { interrupt } of connections) interrupt()
    })
    guest.function(1).writeConfig(0x60, 2, 0x0a09)
    expect([...v86.high]).toEqual([])
    await Promise.all(reads)
  })
})

describe('guest memory', () => {
  it('may move at any time, also while a device tells what it wrote', async () => {
    const machine = new V86Machine({ wasm })
    const disk = new RamDisk()
    for (let i = 0; i < disk.bytes.length; i++) disk.bytes[i] = i * 7 + (i >> 9)
    const slot = machine.add(disk)
    const guest = await FakeGuest.boot(machine, slot)
    const { v86 } = guest
    guest.serve(() => v86.grow())
    const driver = await guest.drive(slot, BlkDriver)
    v86.onDirty = () => v86.grow()
    for (let at = 0; at < 8; at++) {
      const { data } = await driver.read({ sector: at }, sector)
      expect(Buffer.from(data).equals(Buffer.from(disk.bytes.subarray(at * sector, (at + 1) * sector)))).toBe(true)
      v86.grow()
    }
    await driver.write({ sector: 2 }, new Uint8Array(sector).fill(9))
    expect(disk.bytes.subarray(2 * sector, 3 * sector)).toEqual(new Uint8Array(sector).fill(9))
  })

  it('that a device writes is told to v86’s compiler, byte for byte', async () => {
    const machine = new V86Machine({ wasm })
    const slot = machine.add(counting())
    const guest = await FakeGuest.boot(machine, slot)
    const { v86 } = guest
    const driver = await guest.drive(slot, EntropyDriver)
    // All of memory, before the device hears of the request and after.
    let before: Uint8Array | undefined
    const write = v86.write.bind(v86)
    v86.write = (port, width, value) => {
      before ??= v86.ram.slice()
      write(port, width, value)
    }
    v86.onRaise = ((served) => (irq: number) => {
      const { ram } = v86
      const changed = [...ram.keys()].filter((at) => ram[at] !== before?.[at])
      expect(changed.length).toBeGreaterThan(100)
      expect(changed.filter((at) => !v86.dirty.some(([start, end]) => start <= at && at < end))).toEqual([])
      served(irq)
    })(v86.onRaise)
    expect((await driver.read(100)).data).toHaveLength(100)
    expect.assertions(3)
  })

  it('does not have the window of the graphics card, and ends where it ends', async () => {
    const machine = new V86Machine({ wasm })
    const { v86 } = await FakeGuest.boot(machine)
    const { memory } = machine
    const end = v86.ram.length
    const places: [address: number, length: number, isThere: boolean][] = [
      [0x9_fff8, 8, true],
      [0x9_fff8, 9, false],
      [0xa_0000, 1, false],
      [0xb_ffff, 1, false],
      [0xc_0000, 1, true],
      [end - 1, 1, true],
      [end, 1, false],
    ]
    for (const [address, length, isThere] of places) expect(memory.contains(address, length), address.toString(16)).toBe(isThere)
  })
})

describe('devices', () => {
  it('come while the guest runs, with their interrupt line, and go', async () => {
    const machine = new V86Machine({ wasm })
    const guest = await FakeGuest.boot(machine)
    const { v86 } = guest
    v86.ownAnswer = none
    expect(guest.function(17).readConfig(0, 4)).toBe(none)
    expect(machine.add(counting(), { slot: 17 })).toBe(17)
    expect(machine.add(counting())).toBe(16)
    expect(guest.function(17).readConfig(pci_header_interrupt_line, 1)).toBe(9)
    guest.route(17)
    const { driver } = await guest.connect(17, EntropyDriver)
    void driver.read(4)
    await soon()
    expect([...v86.high]).toEqual([9])
    machine.remove(17)
    expect([...v86.high]).toEqual([])
    expect([guest.function(17).readConfig(0, 4), v86.read(portsOf(17), 4), machine.at(17)]).toEqual([none, none, undefined])
    machine.remove(17)
    expect(machine.add(counting())).toBe(17)
  })

  it('are as new after the guest’s machine was reset', async () => {
    const machine = new V86Machine({ wasm })
    const slot = machine.add(counting())
    const guest = await FakeGuest.boot(machine, slot)
    const { v86 } = guest
    await guest.connect(slot, EntropyDriver)
    expect(machine.at(slot)?.control.status).not.toBe(0)
    v86.exports.reset_cpu()
    expect([machine.at(slot)?.control.status, v86.resets, v86.read(portsOf(slot), 4)]).toEqual([0, 2, 0x5a])
    guest.route(slot)
    const driver = await guest.drive(slot, EntropyDriver)
    expect((await driver.read(2)).data).toEqual(Uint8Array.of(1, 2))
  })

  it('are refused where there is no place for them', () => {
    const machine = new V86Machine({ wasm })
    machine.add(new Rng(), { slot: 16 })
    expect(() => machine.add(new Rng(), { slot: 16 })).toThrow(RangeError)
    expect(() => machine.add(new Rng(), { slot: 32 })).toThrow(RangeError)
    expect(() => machine.add(new Rng(), { layout: pciLayouts.memory })).toThrow('pciLayouts.io')
    expect(machine.at(17)).toBeUndefined()
    for (let slot = 17; slot < 32; slot++) expect(machine.add(new Rng())).toBe(slot)
    expect(() => machine.add(new Rng())).toThrow('all slots are taken')
  })
})

describe('the module', () => {
  it('must be v86’s', async () => {
    const empty = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0)
    for (const source of [empty, () => empty, async () => new WebAssembly.Module(empty)])
      await expect(new V86Machine({ wasm: source }).wasm_fn({ env: {} })).rejects.toThrow('not that of v86')
  })

  it('is that of one emulator', async () => {
    const machine = new V86Machine({ wasm })
    await FakeV86.start(machine)
    await expect(FakeV86.start(machine)).rejects.toThrow('one emulator')
  })
})

describe('snapshots', () => {
  it('go on in another emulator, with requests that are under way', async () => {
    const [there, here] = [new V86Machine({ wasm }), new V86Machine({ wasm })]
    const [slow, fast] = [new RamDisk(), new RamDisk()]
    fast.bytes.fill(3)
    slow.instead = () => new Promise(() => {})
    const slot = there.add(slow)
    here.add(fast)
    const guest = await FakeGuest.boot(there, slot)
    const { driver, interrupt } = await guest.connect(slot, BlkDriver)
    const reads = [1, 2, 3].map((at) => driver.read({ sector: at }, sector))
    await soon()
    const state = JSON.parse(JSON.stringify(there.save()))

    const v86 = await FakeV86.start(here)
    guest.moveTo(v86)
    guest.serve(interrupt)
    here.restore(state)
    for (const { data } of await Promise.all(reads)) expect(data).toEqual(new Uint8Array(sector).fill(3))
    await driver.write({ sector: 0 }, new Uint8Array(sector).fill(4))
    expect([fast.bytes[0], slow.bytes[0], [...v86.high]]).toEqual([4, 0, []])
    // Also the choice of a configuration space, and who holds an IRQ.
    expect(JSON.stringify(here.save().routes)).toBe('[9,10,11,12]')
  })

  it('hold interrupts that are raised, by whomever', async () => {
    const [there, here] = [new V86Machine({ wasm }), new V86Machine({ wasm })]
    for (const machine of [there, here]) machine.add(counting(), { slot: 16 })
    const guest = await FakeGuest.boot(there, 16)
    const { driver, interrupt } = await guest.connect(16, EntropyDriver)
    const read = driver.read(1)
    await soon()
    guest.v86.exports.device_raise_irq(12)
    const state = there.save()

    const v86 = await FakeV86.start(here)
    guest.moveTo(v86)
    here.restore(state)
    expect([...v86.high]).toEqual([12])
    interrupt()
    expect([...v86.high]).toEqual([12])
    v86.exports.device_lower_irq(12)
    expect([...v86.high]).toEqual([])
    expect((await read).data).toEqual(Uint8Array.of(1))
  })

  it('of other machines are refused, and say why', () => {
    const machine = new V86Machine({ wasm })
    machine.add(new Rng())
    const state = machine.save()
    const wrong: [object, string][] = [
      [{ version: 2 }, 'version'],
      [{ configAddress: -1 }, 'configAddress'],
      [{ otherIrqs: 0x1_0000 }, 'otherIrqs'],
      [{ routes: [1, 2, 3] }, 'routes'],
      [{ routes: [1, 2, 3, 256] }, 'routes'],
      [{ devices: {} }, 'devices'],
      [{ devices: { 17: state.devices[16] } }, 'devices'],
    ]
    for (const [change, member] of wrong) {
      const attempt = (): void => machine.restore({ ...state, ...change })
      expect(attempt).toThrow(StateError)
      expect(attempt).toThrow(member)
    }
    expect(() => machine.restore(undefined as never)).toThrow(StateError)
    machine.restore(state)
  })
})
