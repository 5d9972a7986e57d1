/** The list of capabilities of a function, as a driver walks it: bounded, and nothing in it trusted. */
import {
  PCI_CAP_ID_VNDR,
  PCI_CFG_SPACE_SIZE,
  PCI_STATUS_CAP_LIST,
  PCI_STD_HEADER_SIZEOF,
  PCI_STD_NUM_BARS,
  pci_capability_id,
  pci_capability_next,
  pci_capability_pointer,
  pci_header_capability_list,
  pci_header_status,
  pci_size,
} from 'virtgen/wire/pci'
import {
  VIRTIO_PCI_CAP_COMMON_CFG,
  VIRTIO_PCI_CAP_DEVICE_CFG,
  VIRTIO_PCI_CAP_ISR_CFG,
  VIRTIO_PCI_CAP_NOTIFY_CFG,
  VIRTIO_PCI_CAP_PCI_CFG,
  VIRTIO_PCI_CAP_SHARED_MEMORY_CFG,
  VirtioPciCap64Offsets,
  VirtioPciCap64Size,
  VirtioPciCapOffsets,
  VirtioPciCapSize,
  VirtioPciCfgCapSize,
  VirtioPciNotifyCapOffsets,
  VirtioPciNotifyCapSize,
} from 'virtgen/wire/transport-pci'
import type { PciFunction } from './function.ts'

/** A capability of PCI. */
export interface PciCapabilityPlace {
  /** Capability id. */
  readonly id: number
  /** Where it is in the configuration space. */
  readonly at: number
}

/** A virtio structure, as its capability describes it (VIRTIO 1.4, Virtio Structure PCI Capabilities). */
export interface VirtioStructure {
  /** `cfg_type`. */
  readonly type: number
  readonly bar: number
  readonly id: number
  /** From the beginning of the BAR, and how long; bytes. More than 32 bits only of shared memory. */
  readonly offset: number
  readonly length: number
  /** `notify_off_multiplier` of notifications; 0 of others. */
  readonly multiplier: number
  /** Where the capability is in the configuration space. */
  readonly at: number
}

const wordSize = 2 ** 32

/** Types that a driver uses, with the least length of their capability. Others are reserved or vendor data: the driver MUST ignore the first, SHOULD not use the second. */
const least: ReadonlyMap<number, number> = new Map([
  [VIRTIO_PCI_CAP_COMMON_CFG, VirtioPciCapSize],
  [VIRTIO_PCI_CAP_NOTIFY_CFG, VirtioPciNotifyCapSize],
  [VIRTIO_PCI_CAP_ISR_CFG, VirtioPciCapSize],
  [VIRTIO_PCI_CAP_DEVICE_CFG, VirtioPciCapSize],
  [VIRTIO_PCI_CAP_PCI_CFG, VirtioPciCfgCapSize],
  [VIRTIO_PCI_CAP_SHARED_MEMORY_CFG, VirtioPciCap64Size],
])

/** The capabilities in order. A list that goes round, or leads into the header, ends there. */
export function pciCapabilities(fn: PciFunction): PciCapabilityPlace[] {
  const found: PciCapabilityPlace[] = []
  if ((fn.readConfig(pci_header_status, 2) & PCI_STATUS_CAP_LIST) === 0) return found
  let pointer = pci_header_capability_list
  while (found.length < pci_size.pci_capabilities_max) {
    const at = fn.readConfig(pointer, 1) & pci_capability_pointer.pci_capability_pointer_mask
    if (at < PCI_STD_HEADER_SIZEOF || found.some((each) => each.at === at)) break
    found.push({ id: fn.readConfig(at + pci_capability_id, 1), at })
    pointer = at + pci_capability_next
  }
  return found
}

/** The virtio structures in order: those with a known type and BAR whose capability is as long as its type needs. */
export function virtioStructures(fn: PciFunction, capabilities: readonly PciCapabilityPlace[] = pciCapabilities(fn)): VirtioStructure[] {
  return capabilities.flatMap(({ id, at }) => (id === PCI_CAP_ID_VNDR ? readStructure(fn, at) : []))
}

function readStructure(fn: PciFunction, at: number): VirtioStructure | [] {
  const length = fn.readConfig(at + VirtioPciCapOffsets.cap_len, 1)
  const type = fn.readConfig(at + VirtioPciCapOffsets.cfg_type, 1)
  const needed = least.get(type)
  if (needed === undefined || length < needed || at + needed > PCI_CFG_SPACE_SIZE) return []
  const bar = fn.readConfig(at + VirtioPciCapOffsets.bar, 1)
  // Of the window it is what the last access was to.
  if (bar >= PCI_STD_NUM_BARS && type !== VIRTIO_PCI_CAP_PCI_CFG) return []
  const word = (offset: number): number => fn.readConfig(at + offset, 4) >>> 0
  const isLarge = type === VIRTIO_PCI_CAP_SHARED_MEMORY_CFG
  return {
    type,
    bar,
    id: fn.readConfig(at + VirtioPciCapOffsets.id, 1),
    offset: word(VirtioPciCapOffsets.offset) + (isLarge ? word(VirtioPciCap64Offsets.offset_hi) * wordSize : 0),
    length: word(VirtioPciCapOffsets.length) + (isLarge ? word(VirtioPciCap64Offsets.length_hi) * wordSize : 0),
    multiplier: type === VIRTIO_PCI_CAP_NOTIFY_CFG ? word(VirtioPciNotifyCapOffsets.notify_off_multiplier) : 0,
    at,
  }
}
