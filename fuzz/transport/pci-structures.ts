/** Where a function says that its structures are: a walk of the capabilities, as a driver does it. */
import { PCI_CAP_ID_MSIX, PCI_CAP_ID_VNDR, pci_header_capability_list, pci_size } from 'virtgen/wire/pci'
import {
  VIRTIO_PCI_CAP_COMMON_CFG,
  VIRTIO_PCI_CAP_DEVICE_CFG,
  VIRTIO_PCI_CAP_ISR_CFG,
  VIRTIO_PCI_CAP_NOTIFY_CFG,
  VIRTIO_PCI_CAP_SHARED_MEMORY_CFG,
  VirtioPciCapOffsets,
  VirtioPciNotifyCapOffsets,
} from 'virtgen/wire/transport-pci'

export interface Structure {
  readonly type: number
  readonly bar: number
  readonly offset: number
  readonly length: number
  /** Of the capability in the configuration space. */
  readonly at: number
}

export interface Structures {
  /** All that are in BARs, in the order of the list. */
  readonly all: readonly Structure[]
  readonly common: Structure
  readonly isr: Structure
  readonly notify: Structure & { readonly multiplier: number }
  /** Of the MSI-X capability; undefined where there is none. */
  readonly msixAt: number | undefined
  /** Offsets in the configuration space where a capability begins. */
  readonly capabilities: readonly number[]
}

const inBars: readonly number[] = [
  VIRTIO_PCI_CAP_COMMON_CFG,
  VIRTIO_PCI_CAP_NOTIFY_CFG,
  VIRTIO_PCI_CAP_ISR_CFG,
  VIRTIO_PCI_CAP_DEVICE_CFG,
  VIRTIO_PCI_CAP_SHARED_MEMORY_CFG,
]

export function structuresOf(read: (offset: number, width: number) => number): Structures {
  const all: Structure[] = []
  const capabilities: number[] = []
  let msixAt: number | undefined
  let at = read(pci_header_capability_list, 1)
  for (let count = 0; at !== 0 && count < pci_size.pci_capabilities_max; count++) {
    capabilities.push(at)
    const id = read(at, 1)
    const type = read(at + VirtioPciCapOffsets.cfg_type, 1)
    if (id === PCI_CAP_ID_MSIX) msixAt = at
    if (id === PCI_CAP_ID_VNDR && inBars.includes(type)) {
      const bar = read(at + VirtioPciCapOffsets.bar, 1)
      all.push({ type, bar, offset: read(at + VirtioPciCapOffsets.offset, 4), length: read(at + VirtioPciCapOffsets.length, 4), at })
    }
    at = read(at + VirtioPciCapOffsets.cap_next, 1)
  }
  const of = (type: number): Structure => {
    const found = all.find((structure) => structure.type === type)
    if (found === undefined) throw new Error(`there is no capability of type ${type}`)
    return found
  }
  const notify = of(VIRTIO_PCI_CAP_NOTIFY_CFG)
  const multiplier = read(notify.at + VirtioPciNotifyCapOffsets.notify_off_multiplier, 4)
  return { all, common: of(VIRTIO_PCI_CAP_COMMON_CFG), isr: of(VIRTIO_PCI_CAP_ISR_CFG), notify: { ...notify, multiplier }, msixAt, capabilities }
}
