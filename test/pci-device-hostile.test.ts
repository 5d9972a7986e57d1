/** A guest that accesses a virtio device on PCI in any way: nothing throws, and the device stays what it must be. */
import fc from 'fast-check'
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import {
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_NOTIFICATION_DATA,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_RING_RESET,
  VIRTIO_F_VERSION_1,
} from 'virtgen/wire/content'
import { PCI_STATUS_INTERRUPT } from 'virtgen/wire/pci'
import { describe, expect, it } from 'vitest'
import { savePciDevice } from '../runtime/pci/device-state.ts'
import { pciLayouts } from '../runtime/pci/layout.ts'
import type { PciDeviceOptions } from '../runtime/pci/options.ts'
import { useAll } from './support/dummy-device.ts'
import { offer } from './support/offers.ts'
import { DummyNet, PciBoard } from './support/pci-board.ts'

const kinds: readonly Partial<PciDeviceOptions>[] = [
  {},
  { transitional: true },
  { layout: pciLayouts.io, transitional: true, byteWrites: true, notifyOffMultiplier: 0 },
  { transitional: true, byteWrites: true },
]
const rings = [VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX, VIRTIO_F_RING_PACKED, VIRTIO_F_IN_ORDER, VIRTIO_F_NOTIFICATION_DATA, VIRTIO_F_RING_RESET]
const ringFeatures = fc.subarray(rings).map((bits) => FeatureSet.of(VIRTIO_F_VERSION_1, ...bits))

const odd = fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, -1e300, 2 ** 53, 0.5, -1)
const offset = fc.oneof(
  { weight: 10, arbitrary: fc.tuple(fc.constantFrom(0, 0x1000, 0x2000, 0x3000), fc.nat({ max: 0x48 })).map(([page, at]) => page + at) },
  { weight: 4, arbitrary: fc.nat({ max: 0x100 }) },
  { weight: 1, arbitrary: odd },
)
const width = fc.oneof({ weight: 12, arbitrary: fc.constantFrom(1, 2, 4) }, { weight: 1, arbitrary: fc.constantFrom(0, 3, 8, -4, 1.5, Number.NaN) })
const value = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(0, 1, 2, 3, 4, 7, 8, 11, 15, 64, 128, 0x1000, 0x1400, 0x2000, 0x8000, 0xc000) },
  { weight: 2, arbitrary: fc.integer({ min: 0, max: 0xffff_ffff }) },
  { weight: 1, arbitrary: fc.constantFrom(-1, 2 ** 32, 2 ** 53, Number.NaN, 0.5) },
)
const access = fc.record({ write: fc.boolean(), space: fc.constantFrom(-1, -1, 0, 0, 1, 2, 4, 4, 4, 6, Number.NaN), offset, width, value })
const accesses = fc.array(access, { maxLength: 80 })
type Access = { readonly write: boolean; readonly space: number; readonly offset: number; readonly width: number; readonly value: number }
const largest = new Map([
  [1, 0xff],
  [2, 0xffff],
  [4, 0xffff_ffff],
])

/** Space −1 is the configuration space, the others are BARs. */
function attack(target: PciBoard, list: readonly Access[]): void {
  for (const { write, space, offset: at, width: bytes, value: written } of list) {
    const { pci } = target
    if (write && space === -1) pci.writeConfig(at, bytes, written)
    else if (write) pci.writeBar(space, at, bytes, written)
    const read = space === -1 ? pci.readConfig(at, bytes) : pci.readBar(space, at, bytes)
    expect(Number.isInteger(read) && read >= 0 && read <= (largest.get(bytes) ?? 0)).toBe(true)
    expect(target.levels.every((level, index) => level === (index % 2 === 0))).toBe(true)
    if (target.levels.length % 2 === 1) expect(target.header('status') & PCI_STATUS_INTERRUPT).toBe(PCI_STATUS_INTERRUPT)
  }
  expect(target.device.log.length).toBeLessThanOrEqual(6 * list.length)
}

describe('a hostile guest', () => {
  it('gets no exception out of the function, whatever it reads and writes', () => {
    fc.assert(
      fc.property(accesses, fc.constantFrom(...kinds), ringFeatures, fc.boolean(), (list, options, features, restless) => {
        const multiplier = options.notifyOffMultiplier ?? 4
        const target = new PciBoard({ ...options, ringFeatures: features, notifyOffMultiplier: multiplier })
        if (restless) target.device.onReset = target.device.onQueueReset = () => new Promise(() => {})
        target.device.onQueue = useAll
        attack(target, list)
      }),
      { numRuns: 400 },
    )
  })

  it('gets none out of a device at work either, and a reset leaves nothing behind', () => {
    fc.assert(
      fc.property(accesses, fc.constantFrom(...kinds), ringFeatures, (list, options, features) => {
        const target = new PciBoard({ ...options, ringFeatures: features })
        target.device.onQueue = useAll
        target.enable()
        target.negotiate(features)
        const ready = [target.ring(0), target.ring(2)]
        target.set('device_status', 15)
        for (const ring of ready) offer(ring, 0x2000, 16)
        target.device.log.length = 0
        attack(target, list)
        target.pci.powerOnReset()
        const fresh = savePciDevice(new PciBoard({ ...options, ringFeatures: features }, new DummyNet()).pci)
        const { generation: _, control, ...state } = savePciDevice(target.pci)
        const { generation: __, control: freshControl, ...freshState } = fresh
        expect(state).toEqual(freshState)
        expect({ ...control, config: '', configGeneration: 0 }).toEqual({ ...freshControl, config: '', configGeneration: 0 })
      }),
      { numRuns: 400 },
    )
  })

  it('may come back in from every callback', () => {
    fc.assert(
      fc.property(accesses, accesses, fc.constantFrom(...kinds), (list, inside, options) => {
        const target = new PciBoard(options)
        target.device.onQueue = useAll
        let depth = 0
        const enter = (): void => {
          if (depth >= 3) return
          depth++
          for (const { write, space, offset: at, width: bytes, value: written } of inside) {
            const { pci } = target
            if (write) space === -1 ? pci.writeConfig(at, bytes, written) : pci.writeBar(space, at, bytes, written)
            else space === -1 ? pci.readConfig(at, bytes) : pci.readBar(space, at, bytes)
          }
          depth--
        }
        const ring = target.start()
        offer(ring, 0x2000, 4)
        target.onInterrupt = target.onMessage = target.onMove = enter
        for (const { write, space, offset: at, width: bytes, value: written } of list) {
          if (space === -1) target.pci.writeConfig(at, bytes, written)
          else if (write) target.pci.writeBar(space, at, bytes, written)
          else target.pci.readBar(space, at, bytes)
        }
      }),
      { numRuns: 200 },
    )
  })
})
