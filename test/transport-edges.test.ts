/** What the fuzzer of transports has found here. */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { PciDevice, type PciDeviceOptions, pciLayouts, savePciDevice } from 'virtgen/pci'
import { TestMemory } from 'virtgen/testing'
import { VIRTIO_F_VERSION_1 } from 'virtgen/wire/content'
import { virtio_pci_common_cfg } from 'virtgen/wire/transport-pci'
import { describe, expect, it } from 'vitest'
import { DummyDevice } from './support/dummy-device.ts'

function pciDevice(device: DummyDevice, options: Partial<PciDeviceOptions> = {}): PciDevice {
  return new PciDevice(device, {
    memory: new TestMemory(),
    ringFeatures: FeatureSet.of(VIRTIO_F_VERSION_1),
    interrupt: () => {},
    layout: pciLayouts.io,
    ...options,
  })
}

/** The common configuration is the first thing in the one BAR of that layout. */
const at = ({ offset }: { readonly offset: number }): number => offset

describe('a PCI device', () => {
  it('answers at offsets that are not exact any more', () => {
    const pci = pciDevice(new DummyDevice())
    for (const offset of [2 ** 53 - 1, 2 ** 53, 2 ** 60, Number.MAX_VALUE])
      for (const width of [1, 2, 4]) {
        expect(pci.readConfig(offset, width)).toBe(0)
        expect(pci.readBar(0, offset, width)).toBe(0)
        pci.writeConfig(offset, width, 1)
        pci.writeBar(0, offset, width, 1)
      }
  })

  it('keeps no part of a register that is written while a reset goes on', async () => {
    const device = new DummyDevice()
    const pci = pciDevice(device, { byteWrites: true })
    const fresh = savePciDevice(pci)
    const { device_status, queue_size } = virtio_pci_common_cfg
    pci.writeBar(0, at(device_status), 1, 1)
    device.onReset = () => Promise.resolve()
    pci.writeBar(0, at(device_status), 1, 0)
    expect(pci.control.isResetting).toBe(true)
    pci.writeBar(0, at(queue_size), 1, 3)
    await pci.control.reset()
    expect(savePciDevice(pci)).toEqual(fresh)
  })
})
