/** The PCI bus for VMMs that have none: who answers which access of the guest, and which interrupt line is high. */
import fc from 'fast-check'
import { PCI_COMMAND_IO, PCI_COMMAND_MEMORY, pci_config_ports, pci_header } from 'virtgen/wire/pci'
import { beforeEach, describe, expect, it } from 'vitest'
import { PciBus, type PciBusOptions } from '../runtime/pci/bus.ts'
import type { PciFunctionDevice } from '../runtime/pci/function-device.ts'
import { type PlainBar, PlainFunction } from './support/plain-function.ts'

const ports = { address: pci_config_ports.CONFIG_ADDRESS.offset, data: pci_config_ports.CONFIG_DATA.offset }
const enabled = 0x8000_0000
const memoryBar: PlainBar = { index: 0, kind: 'memory32', size: 0x1000 }
const ioBar: PlainBar = { index: 1, kind: 'io', size: 0x40 }
const wideBar: PlainBar = { index: 4, kind: 'memory64', size: 0x4000 }
const windows = { memory: { address: 0xe000_0000, size: 0x1000_0000 }, io: { address: 0xc000, size: 0x1000 } }

let bus: PciBus
let levels: [number, boolean][]
let onInterrupt: (line: number, level: boolean) => void

function makeBus(options: Partial<PciBusOptions> = {}): PciBus {
  levels = []
  onInterrupt = () => {}
  return new PciBus({
    interrupt: (line, level) => {
      levels.push([line, level])
      onInterrupt(line, level)
    },
    ...options,
  })
}
beforeEach(() => {
  bus = makeBus()
})

const plug = (slot: number, bars: PlainBar[] = [memoryBar, ioBar], pin = 1): PlainFunction =>
  bus.add(slot, (interrupt) => new PlainFunction(interrupt, bars, pin))
/** Puts a BAR at a place, decoding. */
const move = (device: PlainFunction, bar: number, address: number, command = PCI_COMMAND_IO | PCI_COMMAND_MEMORY): void => {
  device.writeConfig(0x10 + 4 * bar, 4, address % 2 ** 32)
  if (device.bars.some(({ index, kind }) => index === bar && kind === 'memory64'))
    device.writeConfig(0x14 + 4 * bar, 4, Math.floor(address / 2 ** 32))
  device.writeConfig(pci_header.command.offset, 2, command)
  device.log.length = 0
}

describe('slots', () => {
  it('take and give back functions at any time', () => {
    expect([bus.at(3), bus.remove(3), bus.readEcam(3 << 15, 2)]).toEqual([undefined, undefined, 0xffff])
    const device = plug(3)
    device.config.setUint16(0, 0x1af4, true)
    expect([bus.at(3), bus.readEcam(3 << 15, 2)]).toEqual([device, 0x1af4])
    expect([bus.remove(3), bus.at(3), bus.readEcam(3 << 15, 2)]).toEqual([device, undefined, 0xffff])
    expect(plug(3)).toBe(bus.at(3))
  })

  it('are 32, each for one function', () => {
    for (const slot of [-1, 32, 1.5, Number.NaN]) {
      expect(() => plug(slot)).toThrow('slot')
      expect([bus.at(slot), bus.remove(slot), bus.lineOf(slot)]).toEqual([undefined, undefined, undefined])
    }
    const first = plug(31)
    expect(() => plug(31)).toThrow('slot 31 is taken')
    expect(bus.at(31)).toBe(first)
  })

  it('stay empty when a function cannot be made', () => {
    expect(() =>
      bus.add(0, () => {
        throw new Error('no disk')
      }),
    ).toThrow('no disk')
    expect(bus.at(0)).toBeUndefined()
    // Whoever makes it puts another one there meanwhile.
    expect(() => bus.add(0, () => plug(0))).toThrow('slot 0 is taken')
  })

  it('pass on the reset of the machine', () => {
    const device = plug(1)
    bus.add(2, (): PciFunctionDevice => ({ bars: [], readConfig: () => 0, writeConfig: () => {}, readBar: () => 0, writeBar: () => {} }))
    bus.writePort(ports.address, 4, enabled)
    bus.powerOnReset()
    expect([device.log.at(-1), bus.configAddress]).toEqual(['power-on reset', 0])
  })
})

describe('the configuration ports', () => {
  const choose = (slot: number, register: number, rest = 0): void => bus.writePort(ports.address, 4, (enabled | (slot << 11) | rest | register) >>> 0)

  it('reach each register by bytes, halves and words', () => {
    const device = plug(5)
    device.config.setUint32(8, 0x44332211, true)
    choose(5, 8)
    const at = (byte: number, width: number): number => bus.readPort(ports.data + byte, width)
    expect([at(0, 4), at(0, 2), at(1, 2), at(2, 2), at(0, 1), at(1, 1), at(2, 1), at(3, 1)]).toEqual([
      0x44332211, 0x2211, 0x3322, 0x4433, 0x11, 0x22, 0x33, 0x44,
    ])
    device.log.length = 0
    bus.writePort(ports.data + 2, 2, 0xbeef)
    bus.writePort(ports.data + 3, 1, 0xaa)
    expect(device.log).toEqual([`config 10/2 <- ${0xbeef}`, `config 11/1 <- ${0xaa}`])
  })

  it('remember what was chosen; reserved bits are 0', () => {
    bus.writePort(ports.address, 4, 0xffff_ffff)
    expect(bus.readPort(ports.address, 4)).toBe(0x80ff_fffc)
    bus.configAddress = 0x8000_0810
    expect([bus.configAddress, bus.readPort(ports.address, 4)]).toEqual([0x8000_0810, 0x8000_0810])
    for (const value of [-1, 2 ** 32, 0.5]) expect(() => (bus.configAddress = value)).toThrow(`not ${value}`)
  })

  it('find nobody on other buses, at other functions and in empty slots', () => {
    plug(0)
    plug(5)
    for (const [slot, rest] of [
      [5, 1 << 16],
      [5, 1 << 8],
      [5, 0xff << 16],
      [4, 0],
      [0, 7 << 8],
    ] as const) {
      choose(slot, 0, rest)
      bus.writePort(ports.data, 4, 0)
      expect([bus.readPort(ports.data, 4), bus.readPort(ports.data + 2, 2), bus.readPort(ports.data, 1)]).toEqual([0xffff_ffff, 0xffff, 0xff])
    }
  })

  it('are ports like others where the access is another: parts of CONFIG_ADDRESS, across the end of CONFIG_DATA, and CONFIG_DATA while nothing is chosen', () => {
    const device = plug(0, [{ ...ioBar, size: 0x200 }])
    move(device, 1, 0xc00)
    for (const [port, width] of [
      [ports.address, 1],
      [ports.address + 1, 1],
      [ports.address + 3, 1],
      [ports.address, 2],
      [ports.data, 4],
    ] as const) {
      bus.writePort(port, width, 7)
      expect([bus.readPort(port, width), device.log.splice(0)]).toEqual([
        0x5a,
        [`bar 1+${port - 0xc00}/${width} <- 7`, `bar 1+${port - 0xc00}/${width}`],
      ])
    }
    expect(bus.configAddress).toBe(0)
    choose(0, 8)
    for (const [byte, width] of [
      [1, 4],
      [2, 4],
      [3, 2],
      [4, 1],
      [-1, 2],
      [-1, 1],
    ] as const) {
      bus.readPort(ports.data + byte, width)
      expect(device.log.splice(0)).toEqual([`bar 1+${ports.data + byte - 0xc00}/${width}`])
    }
  })
})

describe('the ECAM window', () => {
  it('shows 4096 bytes of each slot', () => {
    const device = plug(9)
    device.config.setUint32(0x40, 0x01020304, true)
    const start = 9 << 15
    expect([bus.readEcam(start + 0x40, 4), bus.readEcam(start + 0x42, 2), bus.readEcam(start + 0x43, 1)]).toEqual([0x01020304, 0x0102, 1])
    device.log.length = 0
    bus.writeEcam(start + 0x04, 2, 7)
    bus.readEcam(start + 0xffc, 4)
    expect(device.log).toEqual(['config 4/2 <- 7', 'config 4092/4'])
  })

  it('shows nobody at other functions, in other slots, and behind its end', () => {
    plug(9)
    for (const offset of [(9 << 15) + 0x1000, 8 << 15, 1 << 20, (1 << 20) + (9 << 15), -4, 2 ** 40]) {
      bus.writeEcam(offset, 4, 0)
      expect(bus.readEcam(offset, 4)).toBe(0xffff_ffff)
    }
  })
})

describe('BARs', () => {
  it('answer where the guest puts them, in their own address space, from then on', () => {
    const device = plug(2)
    const [memory, io] = [0xfebf_1000, 0xc040]
    expect([bus.readMemory(memory, 4), bus.readPort(io, 1)]).toEqual([0xffff_ffff, 0xff])
    move(device, 0, memory)
    move(device, 1, io)
    expect([bus.readMemory(memory + 4, 4), bus.readPort(io + 1, 1), bus.readMemory(io, 4), bus.readPort(memory, 4)]).toEqual([
      0x5a, 0x5a, 0xffff_ffff, 0xffff_ffff,
    ])
    bus.writeMemory(memory + 0xffe, 2, 0xabcd)
    bus.writePort(io + 0x3f, 1, 1)
    expect(device.log).toEqual(['bar 0+4/4', 'bar 1+1/1', `bar 0+4094/2 <- ${0xabcd}`, 'bar 1+63/1 <- 1'])
  })

  it('move while they decode, and go when the command register or the bus says so', () => {
    const device = plug(2)
    move(device, 0, 0x8000_0000)
    move(device, 0, 0x9000_0000)
    expect([bus.readMemory(0x8000_0000, 4), bus.readMemory(0x9000_0000, 4)]).toEqual([0xffff_ffff, 0x5a])
    move(device, 0, 0x9000_0000, PCI_COMMAND_IO)
    expect(bus.readMemory(0x9000_0000, 4)).toBe(0xffff_ffff)
    move(device, 0, 0x9000_0000)
    bus.remove(2)
    expect(bus.readMemory(0x9000_0000, 4)).toBe(0xffff_ffff)
  })

  it('with 64 bits answer above 4 GiB', () => {
    const device = plug(0, [wideBar])
    move(device, 4, 0x12_3456_8000)
    expect([
      bus.readMemory(0x12_3456_8000, 4),
      bus.readMemory(0x12_3456_bffc, 4),
      bus.readMemory(0x3456_8000, 4),
      bus.readMemory(0x12_3456_c000, 4),
    ]).toEqual([0x5a, 0x5a, 0xffff_ffff, 0xffff_ffff])
    move(device, 4, 2 ** 64 - 0x4000)
    expect(bus.readMemory(2 ** 53 - 1, 1)).toBe(0xff)
  })

  it('answer no access that crosses their end or their start', () => {
    const device = plug(0)
    move(device, 0, 0x8000_0000)
    for (const [address, width] of [
      [0x8000_0ffe, 4],
      [0x8000_0fff, 2],
      [0x8000_1000, 1],
      [0x7fff_fffe, 4],
      [0x7fff_ffff, 2],
    ] as const) {
      bus.writeMemory(address, width, 1)
      expect(bus.readMemory(address, width)).toBe([0, 0xff, 0xffff, 0, 0xffff_ffff][width])
    }
    expect(device.log).toEqual([])
  })

  it('and configuration spaces are there for whole bytes, halves and words', () => {
    const device = plug(0)
    move(device, 0, 0x8000_0000)
    for (const [at, width] of [
      [0, 0],
      [0, 3],
      [0, 8],
      [0, -1],
      [0, Number.NaN],
      [0.5, 1],
      [1, 1.5],
    ] as const) {
      bus.writeMemory(0x8000_0000 + at, width, 1)
      bus.writeEcam(at, width, 1)
      expect([bus.readMemory(0x8000_0000 + at, width), bus.readEcam(at, width)]).toEqual(width === 1 ? [0xff, 0xff] : [0xffff_ffff, 0xffff_ffff])
    }
    expect(device.log).toEqual([])
  })

  it('on top of each other: that of the lowest slot answers, the others where it has no bytes', () => {
    const [second, first] = [plug(7), plug(3)]
    second.value = 7
    first.value = 3
    move(second, 0, 0x8000_0000)
    move(first, 0, 0x8000_0000)
    expect(bus.readMemory(0x8000_0010, 4)).toBe(3)
    bus.remove(3)
    expect(bus.readMemory(0x8000_0010, 4)).toBe(7)
    const own = plug(1, [
      { ...memoryBar, size: 0x10 },
      { ...memoryBar, index: 1, size: 0x20 },
    ])
    move(own, 0, 0x8000_0000)
    move(own, 1, 0x8000_0000)
    own.value = 1
    own.log.length = 0
    expect([0x8000_0000, 0x8000_000e, 0x8000_0020].map((address) => bus.readMemory(address, 4))).toEqual([1, 1, 7])
    expect(own.log).toEqual(['bar 0+0/4', 'bar 1+14/4'])
  })
})

describe('interrupt lines', () => {
  it('are given to the pins in turn', () => {
    const lines = [0, 1, 2, 3, 4, 31].map((slot) => {
      plug(slot)
      return bus.lineOf(slot)
    })
    expect(lines).toEqual([0, 1, 2, 3, 0, 3])
    plug(10, [], 4)
    plug(11, [], 0)
    expect([bus.lineOf(10), bus.lineOf(11), bus.lineOf(12)]).toEqual([1, undefined, undefined])
  })

  it('may be given otherwise, to one of the four', () => {
    bus = makeBus({ swizzle: (slot, pin) => (slot + pin + 2) % 4 })
    plug(1).interrupt(true)
    expect([bus.lineOf(1), levels]).toEqual([0, [[0, true]]])
    bus = makeBus({ swizzle: () => 4 })
    expect(() => plug(1)).toThrow('interrupt line')
    expect(bus.at(1)).toBeUndefined()
  })

  it('are high as long as one of their functions asks for it', () => {
    const [a, b, other] = [plug(1), plug(5), plug(2)]
    a.interrupt(true)
    b.interrupt(true)
    a.interrupt(true)
    other.interrupt(true)
    a.interrupt(false)
    a.interrupt(false)
    expect(levels.splice(0)).toEqual([
      [1, true],
      [2, true],
    ])
    b.interrupt(false)
    expect(levels).toEqual([[1, false]])
  })

  it('know nothing of functions without a pin', () => {
    plug(1, [], 0).interrupt(true)
    expect(levels).toEqual([])
  })

  it('fall when a function is taken out, which drives nothing any more', () => {
    const [a, b] = [plug(1), plug(5)]
    a.interrupt(true)
    bus.remove(1)
    a.interrupt(false)
    a.interrupt(true)
    b.interrupt(true)
    const again = plug(1)
    bus.remove(5)
    a.interrupt(true)
    again.interrupt(true)
    expect(levels).toEqual([
      [1, true],
      [1, false],
      [1, true],
      [1, false],
      [1, true],
    ])
  })

  it('hear what a function said while it was made, once it is on the bus', () => {
    const seen: unknown[] = []
    onInterrupt = () => seen.push(bus.at(4))
    const device = bus.add(4, (interrupt) => {
      interrupt(true)
      return new PlainFunction(interrupt)
    })
    expect([levels, seen[0] === device]).toEqual([[[0, true]], true])
  })

  it('may be acknowledged, and functions removed, from inside the callback', () => {
    const [a, b] = [plug(1), plug(5)]
    onInterrupt = (_line, level) => {
      if (level) a.interrupt(false)
    }
    a.interrupt(true)
    onInterrupt = (_line, level) => {
      if (level) bus.remove(5)
    }
    b.interrupt(true)
    expect(levels).toEqual([
      [1, true],
      [1, false],
      [1, true],
      [1, false],
    ])
  })
})

describe('assign()', () => {
  const ranges = (space: 'io' | 'memory'): [number, number][] =>
    Array.from({ length: 32 }, (_, slot) => bus.at(slot)?.bars ?? [])
      .flat()
      .filter(({ kind, address }) => (kind === 'io') === (space === 'io') && address !== undefined)
      .map(({ address, size }): [number, number] => [address as number, size])
      .sort((a, b) => a[0] - b[0])

  it('gives aligned addresses that do not overlap, lets BARs decode, and writes interrupt lines', () => {
    const bare = plug(4, [], 0)
    const device = plug(1, [memoryBar, ioBar, wideBar])
    const portsOnly = plug(2, [ioBar])
    bus.assign({ ...windows, interrupts: [11, 10, 9, 5] })
    expect(ranges('memory')).toEqual([
      [0xe000_0000, 0x4000],
      [0xe000_4000, 0x1000],
    ])
    expect(ranges('io')).toEqual([
      [0xc000, 0x40],
      [0xc040, 0x40],
    ])
    expect([device, portsOnly, bare].map(({ config }) => [config.getUint16(4, true), config.getUint8(0x3c)])).toEqual([
      [PCI_COMMAND_IO | PCI_COMMAND_MEMORY, 10],
      [PCI_COMMAND_IO, 9],
      [0, 0],
    ])
  })

  it('puts 64-bit BARs into a window of their own where there is one', () => {
    plug(1, [memoryBar, wideBar])
    bus.assign({ ...windows, memory64: { address: 0x80_0000_1000, size: 0x10_0000 } })
    expect(ranges('memory')).toEqual([
      [0xe000_0000, 0x1000],
      [0x80_0000_4000, 0x4000],
    ])
  })

  it('leaves alone what decodes, finds room around it, and gives nothing at address 0', () => {
    const old = plug(1)
    move(old, 0, 0x1000)
    move(old, 1, 0x40)
    plug(2)
    bus.assign({ memory: { address: 0, size: 0x4000 }, io: { address: 0, size: 0x100 } })
    expect([ranges('memory'), ranges('io')]).toEqual([
      [
        [0x1000, 0x1000],
        [0x2000, 0x1000],
      ],
      [
        [0x40, 0x40],
        [0x80, 0x40],
      ],
    ])
    expect(old.log.filter((entry) => entry.includes('<-'))).toEqual([])
    plug(3, [memoryBar])
    bus.assign({ memory: { address: 0, size: 0x4000 } })
    expect(ranges('memory').at(-1)).toEqual([0x3000, 0x1000])
  })

  it('keeps ports and memory apart', () => {
    move(plug(1, [memoryBar]), 0, 0x2000)
    plug(2, [ioBar])
    bus.assign({ io: { address: 0x2000, size: 0x100 } })
    expect(ranges('io')).toEqual([[0x2000, 0x40]])
  })

  it('writes nothing when a BAR finds no room, or a window is wrong', () => {
    const device = plug(1)
    device.log.length = 0
    for (const [wrong, message] of [
      [{ memory: windows.memory }, 'there is no window for BAR 1, which is io: `io` must be given'],
      [{ io: windows.io }, 'which is memory32: `memory` must be given'],
      [{ ...windows, memory: { address: 0xe000_0800, size: 0x1000 } }, 'finds no room in 4096 at 0xe0000800'],
      [{ ...windows, memory: { address: 0xe000_0000, size: 0x2000_0001 } }, 'size of the memory window'],
      [{ ...windows, memory: { address: -1, size: 1 } }, 'address of the memory window'],
      [{ ...windows, io: { address: 0x1_0000, size: 1 } }, 'address of the io window'],
      [{ ...windows, io: { address: 0, size: 0 } }, 'size of the io window'],
      [{ ...windows, memory64: { address: 2 ** 53, size: 1 } }, 'address of the memory64 window'],
      [{ ...windows, interrupts: [256] }, 'interrupts'],
    ] as const)
      expect(() => bus.assign(wrong)).toThrow(message)
    expect(device.log.filter((entry) => entry.includes('<-'))).toEqual([])
  })

  it('gives room to any functions for which there is any', () => {
    const size = (most: number): fc.Arbitrary<number> => fc.nat(most).map((n) => 2 ** (n + 4))
    const kinds = fc.oneof(
      fc.record({ kind: fc.constant('io'), size: size(4) }),
      fc.record({ kind: fc.constantFrom('memory32', 'memory64'), size: size(14) }),
    )
    const bars = fc
      .dictionary(fc.constantFrom('0', '2', '4'), kinds)
      .map((all) => Object.entries(all).map(([index, bar]) => ({ ...bar, index: Number(index) })))
    fc.assert(
      fc.property(fc.uniqueArray(fc.tuple(fc.nat(31), bars), { selector: ([slot]) => slot }), (functions) => {
        bus = makeBus()
        functions.forEach(([slot, list], index) => {
          plug(slot, list as PlainBar[])
          if (index % 2 === 1) bus.assign({ memory: { address: 0x1234, size: 0x4000_0000 }, io: { address: 1, size: 0xffff } })
        })
        for (const space of ['memory', 'io'] as const)
          ranges(space).forEach(([address, size], index, all) => {
            expect(address % size).toBe(0)
            expect(address + size).toBeLessThanOrEqual(all[index + 1]?.[0] ?? Number.POSITIVE_INFINITY)
          })
      }),
    )
  })
})

describe('what a driver reaches a slot by', () => {
  it('is its configuration space and its BARs where they are', () => {
    const device = plug(6, [memoryBar, ioBar, wideBar])
    const slot = bus.function(6)
    bus.assign({ ...windows, memory64: { address: 0x10_0000_0000, size: 0x10000 } })
    device.log.length = 0
    slot.writeConfig(4, 2, 7)
    expect(slot.readConfig(4, 2)).toBe(7)
    slot.map(0, 0x100, 0x10)?.write(4, 2, 9)
    slot.map(1, 0, 0x40)?.write(0x3f, 1, 8)
    slot.map(4, 0x3000, 0x1000)?.write(0, 4, 7)
    expect(slot.map(4, 0x3000, 0x1000)?.read(0xffc, 4)).toBe(0x5a)
    expect(device.log.filter((entry) => entry.startsWith('bar'))).toEqual([
      'bar 0+260/2 <- 9',
      'bar 1+63/1 <- 8',
      'bar 4+12288/4 <- 7',
      'bar 4+16380/4',
    ])
  })

  it('has no registers where there is no function, no such part of a BAR, or none that decodes', () => {
    const slot = bus.function(6)
    expect([slot.readConfig(0, 4), slot.map(0, 0, 4)]).toEqual([0xffff_ffff, undefined])
    const device = plug(6)
    expect(slot.map(0, 0, 4)).toBeUndefined()
    move(device, 0, 0x8000_0000)
    for (const [bar, offset, length] of [
      [2, 0, 4],
      [6, 0, 4],
      [0, 0xffd, 4],
      [0, 0x1000, 1],
      [0, 0, 0x1001],
      [0, -1, 1],
      [0, 0, 0],
      [0, 2 ** 32, 1],
    ] as const)
      expect(slot.map(bar, offset, length)).toBeUndefined()
    expect(slot.map(0, 0, 0x1000)?.read(0xffc, 4)).toBe(0x5a)
  })

  it('finds there what a guest does when the BAR has moved away, or under another', () => {
    const device = plug(6)
    move(device, 0, 0x8000_0000)
    const registers = bus.function(6).map(0, 0, 4)
    const cover = plug(1)
    move(cover, 0, 0x8000_0000)
    cover.value = 99
    expect(registers?.read(0, 4)).toBe(99)
    bus.remove(1)
    move(device, 0, 0x9000_0000)
    expect(registers?.read(0, 4)).toBe(0xffff_ffff)
  })

  it('refuses what the driver itself does wrong', () => {
    const slot = bus.function(6)
    move(plug(6), 0, 0x8000_0000)
    const window = slot.map(0, 0, 8)
    for (const wrong of [
      () => bus.function(32),
      () => slot.readConfig(4096, 1),
      () => slot.readConfig(4094, 4),
      () => slot.writeConfig(-1, 1, 0),
      () => window?.read(8, 1),
      () => window?.read(6, 4),
      () => window?.write(-1, 1, 0),
    ])
      expect(wrong).toThrow(RangeError)
  })
})

describe('whatever a guest does', () => {
  it('nothing throws, and reads are unsigned numbers of their width', () => {
    const number = fc.oneof(
      fc.double(),
      fc.integer(),
      fc.nat(0xffff_ffff),
      fc.constantFrom(ports.address, ports.data, ports.data + 1, 0x8000_0000, 0x8000_0fff, 9 << 15),
    )
    const width = fc.oneof({ weight: 4, arbitrary: fc.constantFrom(1, 2, 4) }, { weight: 1, arbitrary: number })
    const access = fc.record({ kind: fc.constantFrom('Port', 'Memory', 'Ecam'), at: number, width, value: fc.option(number) })
    const device = plug(9)
    plug(0, [wideBar])
    move(device, 0, 0x8000_0000)
    fc.assert(
      fc.property(fc.array(access), (accesses) => {
        for (const { kind, at, width: bytes, value } of accesses as {
          kind: 'Port' | 'Memory' | 'Ecam'
          at: number
          width: number
          value: number | null
        }[]) {
          if (value !== null) bus[`write${kind}`](at, bytes, value)
          const read = bus[`read${kind}`](at, bytes)
          expect(Number.isInteger(read) && read >= 0 && read <= 0xffff_ffff).toBe(true)
        }
        device.log.length = 0
      }),
    )
  })
})
