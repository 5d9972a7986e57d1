/** Slots at known addresses: what a guest finds there, and devices that come and go. */
import { TestMemory } from 'virtgen/testing'
import { ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, VIRTIO_F_VERSION_1 } from 'virtgen/wire/content'
import { mmio_interrupt, virtio_mmio } from 'virtgen/wire/transport-mmio'
import { describe, expect, it } from 'vitest'
import { MmioDevice } from '../runtime/mmio/device.ts'
import { restoreMmioDevice, saveMmioDevice } from '../runtime/mmio/device-state.ts'
import { type MmioSlotLayout, mmioSlotLayouts } from '../runtime/mmio/slot-layouts.ts'
import { MmioSlots } from '../runtime/mmio/slots.ts'
import { DummyDevice } from './support/dummy-device.ts'

type Register = keyof typeof virtio_mmio
const layout: MmioSlotLayout = { address: 0x1000, slotSize: 0x200, slots: 4, firstInterrupt: 10 }
const live = ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK
const identity = ['MagicValue', 'Version', 'DeviceID', 'VendorID'] as const

class Machine {
  readonly lines: [number, boolean][] = []
  readonly memory = new TestMemory()
  readonly slots: MmioSlots

  constructor(places: MmioSlotLayout = layout, emptyVersion?: 1 | 2) {
    this.slots = new MmioSlots(places, { interrupt: (...line) => this.lines.push(line), ...(emptyVersion && { emptyVersion }) })
  }

  plug(device: DummyDevice, index?: number) {
    return this.slots.attach((interrupt) => new MmioDevice(device, { memory: this.memory, interrupt }), index)
  }
  get(index: number, register: Register): number {
    return this.slots.read((this.slots.places[index]?.address ?? 0) + virtio_mmio[register].offset, 4)
  }
  set(index: number, register: Register, value: number): void {
    this.slots.write((this.slots.places[index]?.address ?? 0) + virtio_mmio[register].offset, 4, value)
  }
  start(index: number): void {
    this.set(index, 'Status', ACKNOWLEDGE | DRIVER)
    this.set(index, 'DriverFeaturesSel', VIRTIO_F_VERSION_1 >> 5)
    this.set(index, 'DriverFeatures', 1 << (VIRTIO_F_VERSION_1 & 31))
    this.set(index, 'Status', live & ~DRIVER_OK)
    this.set(index, 'Status', live)
  }
}

describe('the places', () => {
  it('of squib are 32 from 0x0f000000 on, with INTIDs from 48', () => {
    const { places } = new Machine(mmioSlotLayouts.squib).slots
    expect([places.length, places[0], places[31]]).toEqual([
      32,
      { index: 0, address: 0x0f00_0000, size: 0x1000, interrupt: 48 },
      { index: 31, address: 0x0f01_f000, size: 0x1000, interrupt: 79 },
    ])
  })

  it('of a microvm of QEMU are 24 of 512 bytes from 0xfeb00000 on, 8 without ACPI', () => {
    const [many, few] = [mmioSlotLayouts.qemuMicrovm, mmioSlotLayouts.qemuMicrovmWithoutAcpi].map((places) => new Machine(places).slots.places)
    expect([many?.length, many?.[23], few?.length, few?.[7]]).toEqual([
      24,
      { index: 23, address: 0xfeb0_2e00, size: 0x200, interrupt: 47 },
      8,
      { index: 7, address: 0xfeb0_0e00, size: 0x200, interrupt: 12 },
    ])
  })

  it.each<[string, Partial<MmioSlotLayout>]>([
    ['none', { slots: 0 }],
    ['too many', { slots: 65537 }],
    ['too small', { slotSize: 0x100 }],
    ['not a power of 2', { slotSize: 0x300 }],
    ['misaligned', { address: 0x1002 }],
    ['beyond what a number holds', { address: Number.MAX_SAFE_INTEGER - 3 }],
    ['without an interrupt', { interrupts: 0 }],
    ['with more interrupts than slots', { interrupts: 5 }],
    ['with interrupts of more than 32 bits', { firstInterrupt: 2 ** 32 - 3 }],
  ])('are refused where they are %s', (_, wrong) => {
    expect(() => new Machine({ ...layout, ...wrong })).toThrow(RangeError)
  })
})

describe('an empty slot', () => {
  it('has magic value and version, and the id of no device', () => {
    expect(identity.map((name) => new Machine().get(0, name))).toEqual([0x74726976, 2, 0, 0])
    expect(new Machine(layout, 1).get(0, 'Version')).toBe(1)
  })

  it('reads 0 elsewhere and by other widths, and takes no write', () => {
    const machine = new Machine()
    const { slots } = machine
    for (let offset = 0; offset < 0x200; offset++) {
      for (const width of [1, 2, 4]) {
        slots.write(0x1000 + offset, width, 0xffff_ffff)
        if (offset > 8 || offset % 4 > 0 || width !== 4) expect(slots.read(0x1000 + offset, width)).toBe(0)
      }
    }
    expect(identity.map((name) => machine.get(0, name))).toEqual([0x74726976, 2, 0, 0])
  })
})

describe('outside of the slots', () => {
  it('there is nothing', () => {
    const machine = new Machine()
    for (const index of [0, 1, 2, 3]) machine.plug(new DummyDevice(), index)
    for (const address of [0, 0xffc, 0x1800, -4, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY, -0.5]) {
      machine.slots.write(address, 4, 0xffff_ffff)
      expect([machine.slots.read(address, 4), machine.slots.contains(address)]).toEqual([0, false])
    }
    expect([0x1000, 0x17ff].map((address) => machine.slots.contains(address))).toEqual([true, true])
    expect([machine.slots.address, machine.slots.size]).toEqual([0x1000, 0x800])
  })
})

describe('a device', () => {
  it('takes the first empty slot, or the one that is named', () => {
    const machine = new Machine()
    const taken = [machine.plug(new DummyDevice(), 1), ...Array.from({ length: 3 }, () => machine.plug(new DummyDevice()))]
    expect(taken.map(({ index, address, interrupt }) => [index, address, interrupt])).toEqual([
      [1, 0x1200, 11],
      [0, 0x1000, 10],
      [2, 0x1400, 12],
      [3, 0x1600, 13],
    ])
    expect([machine.slots.slots.map(({ index }) => index), machine.slots.slot(1), machine.slots.slot(4)]).toEqual([[0, 1, 2, 3], taken[0], undefined])
    expect(() => machine.plug(new DummyDevice())).toThrow(new RangeError('all 4 slots hold a device'))
    expect(() => machine.plug(new DummyDevice(), 2)).toThrow(new RangeError('slot 2 holds a device already'))
    for (const index of [4, -1, 0.5]) expect(() => machine.plug(new DummyDevice(), index)).toThrow(RangeError)
  })

  it('is refused where another one was put into its slot while it was made', () => {
    const machine = new Machine()
    const { memory, slots } = machine
    const attach = (): unknown =>
      slots.attach((interrupt) => {
        machine.plug(new DummyDevice())
        return new MmioDevice(new DummyDevice(), { memory, interrupt })
      })
    expect(attach).toThrow(new RangeError('slot 0 holds a device already'))
    expect(slots.slots.map(({ index }) => index)).toEqual([0])
  })

  it('is refused where its window is larger than a slot', () => {
    const device = new DummyDevice()
    Object.assign(device, { config: { length: 0x101 } })
    const machine = new Machine()
    expect(() => machine.plug(device)).toThrow(new RangeError('a window of 1024 bytes does not fit into a slot of 512'))
    expect(machine.get(0, 'DeviceID')).toBe(0)
  })

  it('is found where it is plugged, while the guest runs, and its neighbours are not touched', () => {
    const machine = new Machine()
    machine.plug(new DummyDevice(), 2)
    expect([0, 1, 2, 3].map((index) => machine.get(index, 'DeviceID'))).toEqual([0, 0, 42, 0])
    machine.start(2)
    expect([0, 1, 2, 3].map((index) => machine.get(index, 'Status'))).toEqual([0, 0, live, 0])
    expect(machine.slots.read(0x1400 + virtio_mmio.Config.offset + 1, 2)).toBe(0x0302)
  })

  it('has the interrupt of its slot', () => {
    const machine = new Machine()
    const device = new DummyDevice()
    machine.plug(device, 3)
    machine.start(3)
    device.config.update(() => {})
    machine.set(3, 'InterruptACK', mmio_interrupt.config_change)
    expect(machine.lines).toEqual([
      [13, true],
      [13, false],
    ])
  })

  it('that is restored before it is plugged has its interrupt as it was', () => {
    const [source, target] = [new Machine(), new Machine()]
    const device = new DummyDevice()
    const { device: slot } = source.plug(device)
    source.start(0)
    device.config.update(() => {})
    const saved = saveMmioDevice(slot)
    target.slots.attach((interrupt) => {
      const copy = new MmioDevice(new DummyDevice(), { memory: target.memory, interrupt })
      restoreMmioDevice(copy, saved)
      return copy
    })
    expect([target.lines, target.get(0, 'Status')]).toEqual([[[10, true]], live])
  })
})

describe('slots that share an interrupt', () => {
  it('keep it high while one of them has something to say', () => {
    const machine = new Machine({ ...layout, interrupts: 2 })
    expect(machine.slots.places.map(({ interrupt }) => interrupt)).toEqual([10, 11, 10, 11])
    const devices = [0, 2].map((index) => {
      const device = new DummyDevice()
      machine.plug(device, index)
      machine.start(index)
      device.config.update(() => {})
      return device
    })
    expect(machine.lines).toEqual([[10, true]])
    machine.set(0, 'InterruptACK', mmio_interrupt.config_change)
    expect(machine.lines).toEqual([[10, true]])
    machine.slots.detach(2)
    expect(machine.lines).toEqual([
      [10, true],
      [10, false],
    ])
    expect(devices[1]?.log.at(-1)).toBe('reset')
  })
})

describe('a reset of the machine', () => {
  it('resets all devices, which stay where they are, and is over when all are at rest', async () => {
    const machine = new Machine()
    const [fast, slow] = [new DummyDevice(), new DummyDevice()]
    for (const [index, device] of [fast, slow].entries()) {
      machine.plug(device)
      machine.start(index)
    }
    slow.onReset = () => Promise.resolve()
    const reset = machine.slots.powerOnReset()
    expect([0, 1].map((index) => machine.get(index, 'Status'))).toEqual([0, live])
    await reset
    expect([0, 1].map((index) => [machine.get(index, 'DeviceID'), machine.get(index, 'Status')])).toEqual([
      [42, 0],
      [42, 0],
    ])
    slow.onReset = () => {}
    expect(machine.slots.powerOnReset()).toBeUndefined()
  })
})

describe('a device that is taken out', () => {
  it('leaves an empty place, with its interrupt low, and is reset', () => {
    const machine = new Machine()
    const device = new DummyDevice()
    machine.plug(device)
    machine.start(0)
    device.config.update(() => {})
    expect(machine.slots.detach(0)).toBeUndefined()
    expect([identity.map((name) => machine.get(0, name)), machine.get(0, 'Status'), device.log.at(-1)]).toEqual([[0x74726976, 2, 0, 0], 0, 'reset'])
    expect(machine.lines).toEqual([
      [10, true],
      [10, false],
    ])
    expect(() => machine.slots.detach(0)).toThrow(new RangeError('slot 0 holds no device'))
  })

  it('has no interrupt any more, whoever drives it, also when another one is in its slot', () => {
    const machine = new Machine()
    const device = new DummyDevice()
    const { device: old } = machine.plug(device)
    machine.slots.detach(0)
    machine.plug(new DummyDevice())
    old.control.writeStatus(ACKNOWLEDGE | DRIVER)
    old.control.setDriverFeatures(VIRTIO_F_VERSION_1 >> 5, 1 << (VIRTIO_F_VERSION_1 & 31))
    old.control.writeStatus(live & ~DRIVER_OK)
    old.control.writeStatus(live)
    device.config.update(() => {})
    expect([old.control.status, machine.get(0, 'Status'), machine.lines]).toEqual([live, 0, []])
  })

  it('may be at work for a while: the promise says when it touches guest memory no more', async () => {
    const machine = new Machine()
    const device = new DummyDevice()
    let finish = (): void => {}
    device.onReset = () =>
      new Promise((resolve) => {
        finish = resolve
      })
    machine.plug(device)
    machine.start(0)
    let isOver = false
    const over = machine.slots.detach(0)?.then(() => {
      isOver = true
    })
    expect([machine.get(0, 'DeviceID'), isOver]).toEqual([0, false])
    finish()
    await over
    machine.plug(device)
    machine.start(0)
    expect(machine.get(0, 'Status')).toBe(live)
  })

  it('may be taken out from inside, while it serves a queue', () => {
    const machine = new Machine()
    const device = new DummyDevice()
    device.onConfig = () => void machine.slots.detach(0)
    machine.plug(device)
    machine.start(0)
    machine.slots.write(0x1000 + virtio_mmio.Config.offset + 4, 4, 1)
    expect([machine.get(0, 'DeviceID'), device.log.slice(-2)]).toEqual([0, ['config free', 'reset']])
  })
})
