/** A driver of before VIRTIO 1.0: what the legacy interfaces of PCI and MMIO have in common. */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { BlkDevice } from 'virtgen/skeleton/blk'
import { TestMemory } from 'virtgen/testing'
import { VIRTIO_BLK_F_CONFIG_WCE, VIRTIO_BLK_F_MQ } from 'virtgen/wire/blk'
import {
  ACKNOWLEDGE,
  DEVICE_NEEDS_RESET,
  DRIVER,
  DRIVER_OK,
  FAILED,
  FEATURES_OK,
  VIRTIO_F_ANY_LAYOUT,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_VERSION_1,
} from 'virtgen/wire/content'
import { beforeEach, describe, expect, it } from 'vitest'
import { DeviceControl } from '../runtime/device-control.ts'
import { type ControlState, restoreDevice, saveDevice } from '../runtime/device-state.ts'
import { LegacyControl } from '../runtime/legacy-control.ts'
import type { Violation } from '../runtime/violation.ts'
import { DummyDevice, useAll } from './support/dummy-device.ts'

const bit = (...bits: number[]): number => bits.reduce((all, each) => all | (1 << each), 0) >>> 0
const pageSize = 4096
const place = { pageSize, alignment: 4096 }

class Machine {
  readonly bytes = new Uint8Array(0x8000)
  readonly device = new DummyDevice()
  readonly violations: Violation[] = []
  readonly events: string[] = []
  readonly control: DeviceControl
  readonly legacy: LegacyControl

  constructor() {
    this.device.onQueue = (index, host) => useAll(index, host)
    this.control = new DeviceControl(this.device, {
      memory: new TestMemory({ regions: [{ guestAddress: 0, size: this.bytes.length, source: this.bytes }] }),
      notify: (queue) => this.events.push(`used ${queue}`),
      configChanged: () => this.events.push('config'),
      onViolation: (violation) => this.violations.push(violation),
    })
    this.legacy = new LegacyControl(this.control)
  }

  /** A buffer of 4 bytes that the device writes, in a queue of 8 entries at page 1, as a driver lays it out by hand. */
  offer(): void {
    const view = new DataView(this.bytes.buffer)
    view.setUint32(0x1000, 0x6000, true)
    view.setUint32(0x1008, 4, true)
    view.setUint16(0x100c, 2, true)
    view.setUint16(0x1084, 0, true)
    view.setUint16(0x1082, view.getUint16(0x1082, true) + 1, true)
  }

  /** Index of the used ring, which begins on the next page. */
  get used(): number {
    return new DataView(this.bytes.buffer).getUint16(0x2002, true)
  }
}

let machine: Machine
let legacy: LegacyControl
beforeEach(() => {
  machine = new Machine()
  legacy = machine.legacy
})

describe('a legacy driver', () => {
  it('is offered the first 32 bits, and that messages may be split in any way', () => {
    expect(legacy.offered).toBe(bit(VIRTIO_BLK_F_CONFIG_WCE, VIRTIO_BLK_F_MQ, VIRTIO_F_ANY_LAYOUT, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX))
  })

  it('is not offered what needs VERSION_1', () => {
    class Disk extends BlkDevice {
      override in(): void {}
      override out(): void {}
      zoneAppend(): void {}
      zoneReport(): void {}
      zoneOpen(): void {}
      zoneClose(): void {}
      zoneFinish(): void {}
      zoneReset(): void {}
      zoneResetAll(): void {}
    }
    const disk = new Disk({ features: [17, 6], config: {} })
    expect([disk.offered.bits, disk.legacyOffered.bits]).toEqual([[6, 17], [6]])
  })

  it('negotiates without FEATURES_OK, and uses a queue that is one piece of memory', () => {
    legacy.writeStatus(ACKNOWLEDGE)
    legacy.writeStatus(ACKNOWLEDGE | DRIVER)
    legacy.setDriverFeatures(bit(VIRTIO_BLK_F_MQ, 3))
    legacy.setQueuePage(0, 1, place)
    legacy.writeStatus(ACKNOWLEDGE | DRIVER | DRIVER_OK)
    machine.offer()
    legacy.notified(0)
    expect([legacy.status, legacy.active, machine.control.features.bits]).toEqual([ACKNOWLEDGE | DRIVER | DRIVER_OK, true, [VIRTIO_BLK_F_MQ]])
    expect([legacy.queuePage(0, pageSize), legacy.queueSize(0), machine.used, machine.events]).toEqual([1, 8, 1, ['used 0']])
  })

  it('uses the device before DRIVER_OK, from its first notification on', () => {
    legacy.setQueuePage(0, 1, place)
    machine.offer()
    expect(machine.device.log).toEqual([])
    legacy.notified(0)
    expect([machine.used, machine.device.log[0]]).toEqual([1, 'activate'])
    legacy.writeStatus(ACKNOWLEDGE | DRIVER | DRIVER_OK)
    machine.offer()
    legacy.notified(0)
    expect([machine.used, machine.device.log.filter((line) => line === 'activate')]).toEqual([2, ['activate']])
  })

  it('cannot change its features once a queue is set up, nor once the device is live', () => {
    legacy.setDriverFeatures(bit(VIRTIO_BLK_F_MQ))
    legacy.setQueuePage(0, 1, place)
    legacy.setDriverFeatures(0)
    legacy.setQueuePage(0, 0, place)
    expect(legacy.driverFeatures).toBe(bit(VIRTIO_BLK_F_MQ))
    legacy.writeStatus(DRIVER_OK)
    legacy.setDriverFeatures(0)
    expect(legacy.driverFeatures).toBe(bit(VIRTIO_BLK_F_MQ))
  })

  it('learns by DEVICE_NEEDS_RESET alone that the device does not work with its features', () => {
    machine.device.onAccepts = (features) => features.has(VIRTIO_BLK_F_MQ)
    legacy.writeStatus(ACKNOWLEDGE | DRIVER | DRIVER_OK)
    expect([legacy.status & DEVICE_NEEDS_RESET, machine.violations.map(({ kind }) => kind)]).toEqual([DEVICE_NEEDS_RESET, ['features']])
    expect(machine.device.log).toEqual([])
  })

  it('stops a queue with page 0, and sets it up elsewhere', () => {
    legacy.setQueuePage(0, 1, place)
    legacy.setQueuePage(0, 5, place)
    expect(legacy.queuePage(0, pageSize)).toBe(1)
    legacy.setQueuePage(0, 0, place)
    expect(legacy.queuePage(0, pageSize)).toBe(0)
    legacy.setQueuePage(0, 3, { ...place, size: 4 })
    expect([legacy.queuePage(0, pageSize), legacy.queueSize(0), machine.violations]).toEqual([3, 4, []])
  })

  it.each([
    ['outside of memory', { page: 0xffff_ffff, pageSize: 2 ** 31, alignment: 4096 }, 'queue-address'],
    ['on pages without a size', { page: 1, pageSize: 0, alignment: 4096 }, 'queue-address'],
    ['with a used ring that is aligned to nothing', { page: 1, pageSize, alignment: 0 }, 'queue-address'],
    ['with a misaligned used ring', { page: 1, pageSize, alignment: 5 }, 'queue-address'],
    ['of no entry', { page: 1, pageSize, alignment: 4096, size: 0 }, 'queue-size'],
    ['of too many entries', { page: 1, pageSize, alignment: 4096, size: 2 ** 32 - 1 }, 'queue-size'],
    ['of three entries', { page: 1, pageSize, alignment: 4096, size: 3 }, 'queue-size'],
  ])('gets no queue %s, but a device that needs a reset', (_, { page, ...wrong }, kind) => {
    legacy.setQueuePage(0, page, wrong)
    expect([machine.violations.map((violation) => violation.kind), legacy.status]).toEqual([[kind], DEVICE_NEEDS_RESET])
    legacy.writeStatus(0)
    expect([legacy.status, legacy.active, legacy.queuePage(0, pageSize)]).toEqual([0, false, 0])
  })

  it('ends with a reset; the next driver may use either interface', () => {
    legacy.setQueuePage(0, 1, place)
    legacy.writeStatus(DRIVER_OK)
    legacy.writeStatus(0)
    expect([legacy.status, legacy.active, legacy.driverFeatures, machine.control.queueReady(0)]).toEqual([0, false, 0, false])
    machine.control.writeStatus(ACKNOWLEDGE | DRIVER)
    machine.control.setDriverFeatures(1, 1)
    machine.control.writeStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK)
    expect(machine.control.features.bits).toEqual([VIRTIO_F_VERSION_1])
  })

  it('writes the configuration space before anything else', () => {
    legacy.writeConfig(4, 4, 99)
    expect([legacy.readConfig(4, 4), legacy.active]).toEqual([99, true])
  })

  it('does not exist while another driver has negotiated, except for a reset', () => {
    const { control } = machine
    control.writeStatus(ACKNOWLEDGE | DRIVER)
    control.setDriverFeatures(1, 1)
    control.writeStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK)
    legacy.setDriverFeatures(1)
    legacy.setQueuePage(0, 1, place)
    legacy.writeStatus(FAILED)
    legacy.writeConfig(4, 4, 99)
    expect([control.status, control.features.bits, control.queueReady(0), control.readConfig(4, 1), legacy.driverFeatures]).toEqual([
      ACKNOWLEDGE | DRIVER | FEATURES_OK,
      [VIRTIO_F_VERSION_1],
      false,
      5,
      0,
    ])
    legacy.writeStatus(0)
    expect(control.status).toBe(0)
  })

  it('keeps the other interface from negotiating until the next reset', () => {
    legacy.writeStatus(ACKNOWLEDGE)
    machine.control.setDriverFeatures(1, 1)
    machine.control.writeStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK)
    expect([machine.control.status, machine.control.driverFeatures.isEmpty]).toEqual([ACKNOWLEDGE, true])
  })
})

describe('a saved state of a device with a legacy driver', () => {
  it.each([
    ['live', (driver: LegacyControl) => driver.writeStatus(ACKNOWLEDGE | DRIVER | DRIVER_OK)],
    ['live without DRIVER_OK', (driver: LegacyControl) => driver.notified(0)],
    ['set up and not live', () => {}],
  ])('lets a device that is %s go on', (_, act) => {
    legacy.setDriverFeatures(bit(VIRTIO_BLK_F_MQ))
    legacy.setQueuePage(0, 1, place)
    act(legacy)
    const other = new Machine()
    machine.offer()
    other.bytes.set(machine.bytes)
    restoreDevice(other.control, JSON.parse(JSON.stringify(saveDevice(machine.control))) as ControlState)
    other.legacy.notified(0)
    expect([other.used, other.legacy.active, other.control.features.bits, other.legacy.queuePage(0, pageSize)]).toEqual([
      1,
      true,
      [VIRTIO_BLK_F_MQ],
      1,
    ])
  })
})

describe('a legacy driver that has written no status', () => {
  it('has begun with the device all the same: no state goes into it', () => {
    const saved = saveDevice(new Machine().control)
    const { legacy, control } = new Machine()
    legacy.setQueuePage(0, 1, place)
    expect(() => restoreDevice(control, saved)).toThrow('no driver has begun with')
    expect(legacy.queuePage(0, pageSize)).toBe(1)
  })
})

describe('a device type', () => {
  it('without features below 32 that need VERSION_1 is offered as it is', () => {
    expect(new DummyDevice().legacyOffered).toEqual(FeatureSet.of(VIRTIO_BLK_F_CONFIG_WCE, VIRTIO_BLK_F_MQ))
  })
})
