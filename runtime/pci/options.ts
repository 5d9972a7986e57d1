/** How a VMM places a device on a PCI bus. */
import { checkInteger, FeatureSet } from 'virtgen/codegen/v1/wire'
import { VIRTIO_F_ADMIN_VQ, VIRTIO_F_NOTIF_CONFIG_DATA, VIRTIO_F_NOTIFICATION_DATA } from 'virtgen/wire/content'
import { pci_interrupt_pin } from 'virtgen/wire/pci'
import { msix_vectors } from 'virtgen/wire/transport-pci'
import type { SharedMemory, VirtioDevice } from '../device.ts'
import type { DeviceControlSettings } from '../device-control.ts'
import type { PciVendorData } from './capabilities.ts'
import type { PciBar } from './function-device.ts'
import type { PciIdentityOptions } from './identity.ts'
import { type PciLayout, pciLayouts } from './layout.ts'
import { notificationDataWidth, notificationWidth } from './notify-window.ts'

/** Each callback is called after all state is consistent: it may access the device at once. */
export interface PciDeviceOptions extends DeviceControlSettings, PciIdentityOptions {
  /** Level of the function's interrupt pin (INTx). Called when it changes. */
  readonly interrupt: (level: boolean) => void
  /**
   * The function sends a message (MSI-X): a write of 32 bits of data to an address of the platform's, not to guest memory. Without it there is no MSI-X.
   */
  readonly message?: (address: number, data: number) => void
  /** Where the registers are; `pciLayouts.memory` by default. */
  readonly layout?: PciLayout
  /** Entries of the MSI-X table, 0 to 2048; 0: no MSI-X. By default one for each queue and one more, where there is `message` and the layout has `msix`. */
  readonly vectors?: number
  /** Pin of INTx: 1 (INTA, the default) to 4, or 0: none. */
  readonly interruptPin?: number
  /**
   * Bytes between the places where the queues are notified: 4 by default; any power of 2 from 2 on, from 4 on with VIRTIO_F_NOTIFICATION_DATA, or 0: one place for all. Two
   * let ports be few, a page lets a VMM that runs on KVM tell queues apart by the address.
   */
  readonly notifyOffMultiplier?: number
  /** Values by which the driver names the queues with VIRTIO_F_NOTIF_CONFIG_DATA; see `DeviceControlOptions`. The feature is offered through `ringFeatures`. */
  readonly notifConfigData?: readonly number[]
  /** How many of the device's queues, the last ones, are administration virtqueues. VIRTIO_F_ADMIN_VQ, without which none is to be seen, is offered through `ringFeatures`. */
  readonly adminQueues?: number
  /** Capabilities with data of vendors. */
  readonly vendorData?: readonly PciVendorData[]
  /** For a VMM that splits accesses: registers may be written in parts, from the lowest byte on, and change with the last byte. */
  readonly byteWrites?: boolean
  /** A BAR is decoded at another address, or not any more: see its `address`. */
  readonly barChanged?: (bar: PciBar) => void
}

/** What follows from the options, checked. */
export interface PciShape {
  readonly layout: PciLayout
  readonly vectors: number
  readonly pin: number
  readonly multiplier: number
  readonly adminQueues: number
  /** What this transport has a place for besides rings. */
  readonly transportFeatures: FeatureSet
}

const mostVectors = msix_vectors.msix_last_vector + 1
const fewestVectors = 2
const largestQueueCount = 0xffff
const largestRegionId = 0xff
const defaultMultiplier = 4

/** @throws RangeError with what is allowed */
export function pciShape(device: VirtioDevice, options: PciDeviceOptions): PciShape {
  const { layout = pciLayouts.memory, interruptPin = pci_interrupt_pin.pci_inta, adminQueues = 0 } = options
  const queues = device.queueSizes.length
  checkInteger(adminQueues, 0, queues, 'adminQueues')
  checkPlaces(device.offered.union(options.ringFeatures ?? FeatureSet.empty), options)
  checkInteger(queues - adminQueues, 0, largestQueueCount, 'the number of queues of a PCI device')
  checkShared(device.sharedMemory)
  return {
    layout,
    vectors: vectorsOf(queues, layout, options),
    pin: checkInteger(interruptPin, 0, pci_interrupt_pin.pci_intd, 'interruptPin'),
    multiplier: multiplierOf(device, options),
    adminQueues,
    transportFeatures: adminQueues > 0 ? FeatureSet.of(VIRTIO_F_ADMIN_VQ) : FeatureSet.empty,
  }
}

/** Features that are offered with an option each: says which one is missing. */
function checkPlaces(offered: FeatureSet, { adminQueues = 0, notifConfigData }: PciDeviceOptions): void {
  if (offered.has(VIRTIO_F_ADMIN_VQ) && adminQueues === 0) throw new RangeError('VIRTIO_F_ADMIN_VQ needs the option adminQueues')
  if (offered.has(VIRTIO_F_NOTIF_CONFIG_DATA) && notifConfigData === undefined)
    throw new RangeError('VIRTIO_F_NOTIF_CONFIG_DATA needs the option notifConfigData')
}

/** The cap.id MUST be unique for any one device instance. */
function checkShared(regions: readonly SharedMemory[]): void {
  const ids = regions.map(({ id }) => checkInteger(id, 0, largestRegionId, 'id of a shared memory region'))
  for (const { id, length, bytes } of regions) {
    checkInteger(length, 1, Number.MAX_SAFE_INTEGER, 'length of a shared memory region')
    if (bytes !== undefined && bytes.length !== length)
      throw new RangeError(`shared memory region ${id} has ${length} bytes, its \`bytes\` must be as many, not ${bytes.length}`)
  }
  if (new Set(ids).size !== ids.length) throw new RangeError(`shared memory regions must have ids that differ, not ${ids.join(', ')}`)
}

function vectorsOf(queues: number, layout: PciLayout, { vectors, message }: PciDeviceOptions): number {
  const isPossible = message !== undefined && layout.some(({ regions }) => regions.includes('msix'))
  if (vectors === undefined) return isPossible ? Math.min(Math.max(queues + 1, fewestVectors), mostVectors) : 0
  if (vectors !== 0 && !isPossible)
    throw new RangeError(`vectors must be 0, not ${vectors}, without the option message or a place for msix in the layout`)
  return checkInteger(vectors, 0, mostVectors, 'vectors')
}

function multiplierOf(device: VirtioDevice, { ringFeatures, notifyOffMultiplier = defaultMultiplier }: PciDeviceOptions): number {
  if (notifyOffMultiplier === 0) return 0
  const hasData = ringFeatures?.has(VIRTIO_F_NOTIFICATION_DATA) || device.offered.has(VIRTIO_F_NOTIFICATION_DATA)
  const least = hasData ? notificationDataWidth : notificationWidth
  if (Number.isInteger(Math.log2(notifyOffMultiplier)) && notifyOffMultiplier >= least && notifyOffMultiplier <= 2 ** 31) return notifyOffMultiplier
  throw new RangeError(`notifyOffMultiplier must be 0 or a power of 2 from ${least} to ${2 ** 31}, not ${notifyOffMultiplier}`)
}
