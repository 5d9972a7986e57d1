/** What a function says it is. VIRTIO 1.4, Virtio Over PCI Bus / PCI Device Discovery. */
import { checkInteger } from 'virtgen/codegen/v1/wire'
import { deviceIds } from 'virtgen/wire/content'
import {
  PCI_CLASS_COMMUNICATION_OTHER,
  PCI_CLASS_CRYPT_OTHER,
  PCI_CLASS_DISPLAY_OTHER,
  PCI_CLASS_INPUT_OTHER,
  PCI_CLASS_MULTIMEDIA_AUDIO,
  PCI_CLASS_MULTIMEDIA_VIDEO,
  PCI_CLASS_NETWORK_ETHERNET,
  PCI_CLASS_OTHERS,
  PCI_CLASS_STORAGE_OTHER,
  PCI_CLASS_STORAGE_SCSI,
  PCI_CLASS_SYSTEM_RTC,
} from 'virtgen/wire/pci'
import { pci_device_id, pci_revision_id, pci_transitional_device_id, pci_vendor_id } from 'virtgen/wire/transport-pci'

/** What a VMM may say of it; the rest follows from the device type. */
export interface PciIdentityOptions {
  /** The device has the legacy interface as well, for drivers from before VIRTIO 1.0. The types that have a transitional PCI device ID can. */
  readonly transitional?: boolean
  /** Base class, subclass and programming interface, 24 bits. No driver of virtio looks at it; firmware and `lspci` do. */
  readonly classCode?: number
  /** 1 by default; of a transitional device 0, and nothing else. */
  readonly revision?: number
  /** Vendor of the VMM, by default the one of virtio. */
  readonly subsystemVendorId?: number
  /** 0x40 or more; by default the PCI device ID. Of a transitional device the virtio device ID, and nothing else. */
  readonly subsystemId?: number
}

export interface PciIdentity {
  readonly vendorId: number
  readonly deviceId: number
  readonly revision: number
  readonly classCode: number
  readonly subsystemVendorId: number
  readonly subsystemId: number
}

/** Base class and subclass; as other implementations have them. */
const classes: Readonly<Record<number, number>> = {
  [deviceIds.net]: PCI_CLASS_NETWORK_ETHERNET,
  [deviceIds.blk]: PCI_CLASS_STORAGE_SCSI,
  [deviceIds.console]: PCI_CLASS_COMMUNICATION_OTHER,
  [deviceIds.scsi]: PCI_CLASS_STORAGE_SCSI,
  [deviceIds.p9]: PCI_CLASS_STORAGE_OTHER,
  [deviceIds.gpu]: PCI_CLASS_DISPLAY_OTHER,
  [deviceIds.rtc]: PCI_CLASS_SYSTEM_RTC,
  [deviceIds.input]: PCI_CLASS_INPUT_OTHER,
  [deviceIds.vsock]: PCI_CLASS_COMMUNICATION_OTHER,
  [deviceIds.crypto]: PCI_CLASS_CRYPT_OTHER,
  [deviceIds.sound]: PCI_CLASS_MULTIMEDIA_AUDIO,
  [deviceIds.fs]: PCI_CLASS_STORAGE_OTHER,
  [deviceIds.media]: PCI_CLASS_MULTIMEDIA_VIDEO,
}

const transitionalIds: ReadonlyMap<number, number> = new Map(
  Object.entries(deviceIds).flatMap(([name, id]) => {
    const pciId = (pci_transitional_device_id as Readonly<Record<string, number>>)[`transitional_${name}`]
    return pciId === undefined ? [] : [[id, pciId]]
  }),
)

const largestId = 0xffff

/**
 * @param id - virtio device ID
 * @throws RangeError for what a device of that type cannot say
 */
export function pciIdentity(id: number, options: PciIdentityOptions): PciIdentity {
  const { transitional = false, classCode = (classes[id] ?? PCI_CLASS_OTHERS) << 8, subsystemVendorId = pci_vendor_id.pci_vendor_id } = options
  const { transitional_revision, first_modern_revision } = pci_revision_id
  const deviceId = transitional ? transitionalId(id) : modernId(id)
  const fixed = transitional ? { revision: transitional_revision, subsystemId: id } : { revision: first_modern_revision, subsystemId: deviceId }
  const { revision = fixed.revision, subsystemId = fixed.subsystemId } = options
  if (transitional && (revision !== fixed.revision || subsystemId !== fixed.subsystemId))
    throw new RangeError(`a transitional device must have revision ${fixed.revision} and subsystemId ${id}, not ${revision} and ${subsystemId}`)
  return {
    vendorId: pci_vendor_id.pci_vendor_id,
    deviceId,
    revision: checkInteger(revision, 0, 0xff, 'revision'),
    classCode: checkInteger(classCode, 0, 0xff_ffff, 'classCode'),
    subsystemVendorId: checkInteger(subsystemVendorId, 0, largestId, 'subsystemVendorId'),
    subsystemId: checkInteger(subsystemId, 0, largestId, 'subsystemId'),
  }
}

function modernId(id: number): number {
  const { pci_device_id_base: base, pci_last_device_id: last } = pci_device_id
  return base + checkInteger(id, 0, last - base, 'the virtio device ID of a PCI device')
}

function transitionalId(id: number): number {
  const known = transitionalIds.get(id)
  if (known !== undefined) return known
  throw new RangeError(`a device of type ${id} cannot be transitional, only one of ${[...transitionalIds.keys()].join(', ')}`)
}
