/** The capabilities of a function, in its configuration space. VIRTIO 1.4, Virtio Over PCI Bus / Virtio Structure PCI Capabilities. */
import { checkInteger } from 'virtgen/codegen/v1/wire'
import {
  PCI_CAP_ID_MSIX,
  PCI_CAP_MSIX_SIZEOF,
  PCI_MSIX_FLAGS_ENABLE,
  PCI_MSIX_FLAGS_MASKALL,
  PCI_STATUS_CAP_LIST,
  pci_capability_next,
  pci_header_capability_list,
  pci_header_status,
  pci_msix_capability_flags,
  pci_msix_capability_id,
  pci_msix_capability_pba,
  pci_msix_capability_table,
  pci_size,
} from 'virtgen/wire/pci'
import {
  pci_cap_vndr,
  pci_vendor_id,
  VIRTIO_PCI_CAP_COMMON_CFG,
  VIRTIO_PCI_CAP_DEVICE_CFG,
  VIRTIO_PCI_CAP_ISR_CFG,
  VIRTIO_PCI_CAP_NOTIFY_CFG,
  VIRTIO_PCI_CAP_PCI_CFG,
  VIRTIO_PCI_CAP_SHARED_MEMORY_CFG,
  VIRTIO_PCI_CAP_VENDOR_CFG,
  VirtioPciCap,
  VirtioPciCap64,
  VirtioPciCap64Size,
  VirtioPciCapOffsets,
  VirtioPciCapSize,
  type VirtioPciCapValue,
  VirtioPciCfgCap,
  VirtioPciCfgCapOffsets,
  VirtioPciCfgCapSize,
  VirtioPciNotifyCap,
  VirtioPciNotifyCapSize,
  VirtioPciVndrData,
  VirtioPciVndrDataOffsets,
} from 'virtgen/wire/transport-pci'
import type { SharedMemory } from '../device.ts'
import type { PciConfigSpace } from './config-space.ts'
import type { PlacedRegion } from './layout.ts'

/** Data of a vendor's, for debugging and reports. VIRTIO 1.4, PCI Device Layout / Vendor data capability. */
export interface PciVendorData {
  /** By PCI-SIG; whose format the data have. Not the one of virtio. */
  readonly vendorId: number
  /** Padded to whole words. */
  readonly data: Uint8Array
}

const capabilityAlignment = 4
const word = 0x1_0000_0000
const allOnes = 0xffff_ffff
const cfgTypes = {
  common: VIRTIO_PCI_CAP_COMMON_CFG,
  isr: VIRTIO_PCI_CAP_ISR_CFG,
  device: VIRTIO_PCI_CAP_DEVICE_CFG,
} as const

/** Puts capabilities into a configuration space, one behind the other. */
export class CapabilityList {
  readonly #space: PciConfigSpace
  #end: number = pci_size.PCI_STD_HEADER_SIZEOF
  /** Where the link to the next one is. */
  #link: number = pci_header_capability_list

  constructor(space: PciConfigSpace) {
    this.#space = space
  }

  /**
   * @returns where it is
   * @throws RangeError where there is no more room
   */
  add(bytes: Uint8Array): number {
    const at = this.#end
    this.#end += Math.ceil(bytes.length / capabilityAlignment) * capabilityAlignment
    if (this.#end > pci_size.PCI_CFG_SPACE_SIZE)
      throw new RangeError(
        `the capabilities need ${this.#end - pci_size.PCI_STD_HEADER_SIZEOF} bytes and more of the configuration space, which has room for ${pci_size.PCI_CFG_SPACE_SIZE - pci_size.PCI_STD_HEADER_SIZEOF}: fewer vendor data, shared memory regions, or regions in two BARs`,
      )
    bytes.forEach((byte, index) => {
      this.#space.set(at + index, 1, byte)
    })
    this.#space.set(this.#link, 1, at)
    this.#link = at + pci_capability_next
    this.#space.set(pci_header_status, 2, PCI_STATUS_CAP_LIST)
    return at
  }

  /** One of the structures that have no other fields than their place. */
  addStructure(region: keyof typeof cfgTypes, place: PlacedRegion): void {
    this.add(VirtioPciCap.encode(capability(cfgTypes[region], VirtioPciCapSize, place)))
  }

  addNotify(place: PlacedRegion, multiplier: number): void {
    const cap = capability(VIRTIO_PCI_CAP_NOTIFY_CFG, VirtioPciNotifyCapSize, place)
    this.add(VirtioPciNotifyCap.encode({ cap, notify_off_multiplier: multiplier }))
  }

  addShared(place: PlacedRegion, { id }: SharedMemory): void {
    const { offset, length } = place
    this.add(
      VirtioPciCap64.encode({
        cap: { ...capability(VIRTIO_PCI_CAP_SHARED_MEMORY_CFG, VirtioPciCap64Size, place), id },
        offset_hi: Math.floor(offset / word),
        length_hi: Math.floor(length / word),
      }),
    )
  }

  /**
   * The window to the BARs, which the driver may aim.
   *
   * @returns where it is
   */
  addWindow(): number {
    const cap = capability(VIRTIO_PCI_CAP_PCI_CFG, VirtioPciCfgCapSize, { bar: 0, offset: 0, length: 0 })
    const at = this.add(VirtioPciCfgCap.encode({ cap }))
    this.#space.allow(at + VirtioPciCapOffsets.bar, 1, 0xff)
    for (const field of [VirtioPciCapOffsets.offset, VirtioPciCapOffsets.length, VirtioPciCfgCapOffsets.pci_cfg_data])
      this.#space.allow(at + field, 4, allOnes)
    return at
  }

  /** @throws RangeError for the vendor of virtio, and more data than there is room for */
  addVendorData({ vendorId, data }: PciVendorData): void {
    const vendor = checkInteger(vendorId, 0, 0xffff, 'vendorId of the vendor data')
    if (vendor === pci_vendor_id.pci_vendor_id) throw new RangeError(`vendorId of the vendor data must not be ${vendor}, which is the one of virtio`)
    const length = Math.ceil((VirtioPciVndrDataOffsets.data + data.length) / capabilityAlignment) * capabilityAlignment
    checkInteger(length, 0, pci_size.PCI_CFG_SPACE_SIZE - pci_size.PCI_STD_HEADER_SIZEOF, 'the length of the vendor data with their head')
    const padded = new Uint8Array(length - VirtioPciVndrDataOffsets.data)
    padded.set(data)
    this.add(VirtioPciVndrData.encode({ cap_len: length, cfg_type: VIRTIO_PCI_CAP_VENDOR_CFG, vendor_id: vendor, data: padded }))
  }

  /**
   * @param place - of the table; the pending bits are behind it
   * @returns where it is
   */
  addMsix({ bar, offset }: PlacedRegion, vectors: number, pendingOffset: number): number {
    const at = this.add(new Uint8Array(PCI_CAP_MSIX_SIZEOF))
    this.#space.set(at + pci_msix_capability_id, 1, PCI_CAP_ID_MSIX)
    this.#space.set(at + pci_msix_capability_flags, 2, vectors - 1)
    this.#space.allow(at + pci_msix_capability_flags, 2, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL)
    // The low bits of both are the BAR.
    this.#space.set(at + pci_msix_capability_table, 4, offset + bar)
    this.#space.set(at + pci_msix_capability_pba, 4, offset + pendingOffset + bar)
    return at
  }
}

function capability(cfgType: number, length: number, place: Pick<PlacedRegion, 'bar' | 'offset' | 'length'>): VirtioPciCapValue {
  return {
    cap_vndr: pci_cap_vndr.pci_cap_id_vndr,
    cap_next: 0,
    cap_len: length,
    cfg_type: cfgType,
    bar: place.bar,
    id: 0,
    offset: place.offset % word,
    length: place.length % word,
  }
}
