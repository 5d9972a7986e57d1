/** What the fuzzer of transports has found here. */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { BlkDriver } from 'virtgen/driver/blk'
import { connectMmio, LegacyMmioDevice, MmioDevice } from 'virtgen/mmio'
import { PciDevice, type PciDeviceOptions, pciLayouts, savePciDevice } from 'virtgen/pci'
import { DeviceControl, DriverMemory, restoreDevice, saveDevice } from 'virtgen/runtime'
import { chain, fakeDriver, TestMemory } from 'virtgen/testing'
import { ACKNOWLEDGE, DRIVER, DRIVER_OK, FAILED, FEATURES_OK, SUSPEND, VIRTIO_F_SUSPEND, VIRTIO_F_VERSION_1 } from 'virtgen/wire/content'
import { virtio_mmio, virtio_mmio_legacy } from 'virtgen/wire/transport-mmio'
import { virtio_pci_common_cfg } from 'virtgen/wire/transport-pci'
import { describe, expect, it } from 'vitest'
import { DummyDevice } from './support/dummy-device.ts'
import { MovingDisk } from './support/moving-guest.ts'

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

describe('a legacy device that resets itself when it is asked whether it accepts the features', () => {
  it.each([
    ['at once', () => {}],
    ['and takes its time', () => Promise.resolve()],
  ])('%s is not live', async (_, onReset) => {
    const device = new DummyDevice()
    const slot = new LegacyMmioDevice(device, { memory: new TestMemory(), interrupt: () => {} })
    device.onReset = onReset
    device.onAccepts = () => {
      slot.control.reset()
      return true
    }
    slot.write(virtio_mmio_legacy.Status.offset, 4, ACKNOWLEDGE | DRIVER | DRIVER_OK)
    await slot.control.reset()
    expect([slot.control.status, device.log]).toEqual([0, ['reset']])
  })
})

it('a device that suspends goes on to do so where it is restored, also when the driver has said FAILED meanwhile', () => {
  const features = FeatureSet.of(VIRTIO_F_VERSION_1, VIRTIO_F_SUSPEND)
  const made = (): [DummyDevice, DeviceControl, TestMemory] => {
    const device = new DummyDevice()
    const memory = new TestMemory()
    return [device, new DeviceControl(device, { memory, ringFeatures: features, notify: () => {}, configChanged: () => {} }), memory]
  }
  const [device, control, memory] = made()
  device.onQueue = (index, host) => host.queue(index)?.next()
  const ring = fakeDriver(memory, { size: 4, notify: () => control.notifyAvailable(0) })
  control.writeStatus(ACKNOWLEDGE | DRIVER)
  for (const word of [0, 1]) control.setDriverFeatures(word, features.word(word))
  const live = ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK
  control.writeStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK)
  control.setQueueSize(0, ring.size)
  for (const area of ['descriptorArea', 'driverArea', 'deviceArea'] as const) control.setQueueAddress(0, area, 0, ring.setup[area])
  control.setQueueReady(0, true)
  control.writeStatus(live)
  ring.offer(chain().writable(4))
  control.writeStatus(live | SUSPEND)
  control.writeStatus(live | FAILED)
  const saved = saveDevice(control)
  expect(saved.suspending).toBe(true)
  const [other, restored, memoryThere] = made()
  for (const { guestAddress, size } of memory.regions) memoryThere.poke(guestAddress, memory.peek(guestAddress, size))
  other.onQueue = (index, host) => host.queue(index)?.next()
  restoreDevice(restored, saved)
  expect(saveDevice(restored)).toEqual(saved)
})

describe('a driver', () => {
  it('gives up a device that never stops to change its configuration, and nobody needs to listen for that', async () => {
    const memory = new TestMemory()
    const disk = new MovingDisk(8, () => {})
    const slot = new MmioDevice(disk, { memory, interrupt: () => {} })
    let generation = 0
    let isRestless = false
    const bus = {
      read: (offset: number, width: number) =>
        isRestless && offset === virtio_mmio.ConfigGeneration.offset ? ++generation : slot.read(offset, width),
      write: (offset: number, width: number, value: number) => slot.write(offset, width, value),
    }
    const { driver, interrupt } = await connectMmio(bus, BlkDriver, { memory: new DriverMemory(memory, 0x1000, 0x8000) })
    // One that is answered later.
    const read = driver.read({ sector: 2 }, 512)
    isRestless = true
    disk.config.update(() => {})
    interrupt()
    await expect(read).rejects.toMatchObject({ name: 'DriverError', kind: 'config' })
    await driver.close()
  })
})

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
