/** Driver side of Virtio Over PCI Bus: from a function on a bus to a driver client. */
import { checkInteger } from 'virtgen/codegen/v1/wire'
import {
  PCI_HEADER_TYPE_MASK,
  PCI_HEADER_TYPE_NORMAL,
  pci_header_device_id,
  pci_header_header_type,
  pci_header_subsystem_id,
  pci_header_vendor_id,
} from 'virtgen/wire/pci'
import { msix_vectors, pci_device_id, pci_vendor_id, VIRTIO_PCI_CAP_COMMON_CFG } from 'virtgen/wire/transport-pci'
import { checkOptions, connect, type DriverOptions, type VectorConnection } from '../driver/connect.ts'
import { DriverError, type DriverType } from '../driver/host.ts'
import { hex } from '../hex.ts'
import { DriverFunction } from './driver-function.ts'
import { PciTransport } from './driver-transport.ts'
import { DriverVectors, type PciVectors } from './driver-vectors.ts'
import type { PciFunction } from './function.ts'
import { LegacyPciTransport } from './legacy-driver-transport.ts'

export type { PciMessage, PciVectors } from './driver-vectors.ts'

/** How to drive a function. */
export interface PciDriverOptions extends DriverOptions {
  /**
   * Interrupt messages for MSI-X: the driver puts them into the device's table and enables it. A number: the platform has put that many there and has enabled MSI-X (VFIO).
   * By default, and where the device has no MSI-X or a shorter table: the interrupt line, or fewer of them.
   */
  readonly vectors?: PciVectors
}

const largestWord = 0xffff_ffff

/** A device that is initialised, and its client. */
export interface PciConnection<T> extends VectorConnection<T> {
  /** How many vectors are used: the first for the configuration, the others for the queues in turn; one alone for all. 0: the interrupt line. */
  readonly vectors: number
}

/**
 * Initialises a device and makes its client, as VIRTIO 1.4, General Initialization And Device Operation / Device Initialization, and Virtio Over PCI Bus /
 * PCI-specific Initialization And Device Operation say. The function decodes its BARs and is bus master until the driver is closed; then its command register
 * and MSI-X are put back.
 *
 * @throws DriverError (as a rejection): `not-virtio`, `version`, `device-id` where nothing is touched; `layout` where no virtio register is; `reset`, `feature`,
 * `features-refused`, `config`, `queue`, `layout`, `vectors`, `memory`, `needs-reset` where the device is given up (FAILED)
 * @throws RangeError (as a rejection) for a wrong queue size or number of vectors
 */
export async function connectPci<T>(fn: PciFunction, type: DriverType<T>, options: PciDriverOptions): Promise<PciConnection<T>> {
  checkOptions(options)
  checkVectors(options.vectors)
  const device = new DriverFunction(fn)
  const legacy = choose(device, identify(fn, type), options)
  const vectors = new DriverVectors(device, options.vectors)
  const transport = open(device, vectors, legacy, type)
  const connection = await connect(transport, type, options)
  return { ...connection, vectors: vectors.count }
}

function checkVectors(vectors: PciVectors = []): void {
  if (typeof vectors === 'number') checkInteger(vectors, 0, msix_vectors.msix_last_vector + 1, 'vectors')
  else
    for (const { address, data } of vectors) {
      checkInteger(address, 0, Number.MAX_SAFE_INTEGER, 'address of a vector')
      checkInteger(data, 0, largestWord, 'data of a vector')
    }
}

/** Makes sure that the function is the device; says whether it is transitional. */
function identify(fn: PciFunction, type: { readonly deviceId: number }): boolean {
  const vendor = fn.readConfig(pci_header_vendor_id, 2)
  if (vendor !== pci_vendor_id.pci_vendor_id) throw new DriverError('not-virtio', `there is no virtio device: the vendor is ${hex(vendor)}`)
  const { pci_first_device_id, pci_last_transitional_device_id, pci_device_id_base, pci_last_device_id } = pci_device_id
  const pciId = fn.readConfig(pci_header_device_id, 2)
  const isNormal = (fn.readConfig(pci_header_header_type, 1) & PCI_HEADER_TYPE_MASK) === PCI_HEADER_TYPE_NORMAL
  if (pciId < pci_first_device_id || pciId > pci_last_device_id || !isNormal)
    throw new DriverError('not-virtio', `there is no virtio device: the PCI device id is ${hex(pciId)}`)
  const isTransitional = pciId <= pci_last_transitional_device_id
  const id = isTransitional ? fn.readConfig(pci_header_subsystem_id, 2) : pciId - pci_device_id_base
  if (id !== type.deviceId) throw new DriverError('device-id', `there is a device with id ${id}, not ${type.deviceId}`)
  return isTransitional
}

/** Says whether to use the legacy interface. A device without virtio capabilities is a legacy one (Legacy Interface: A Note on Device Layout Detection). */
function choose(device: DriverFunction, isTransitional: boolean, { interface: wanted = 'modern' }: PciDriverOptions): boolean {
  const isModern = device.structures.some(({ type }) => type === VIRTIO_PCI_CAP_COMMON_CFG)
  if (wanted === 'legacy' && !isTransitional) throw new DriverError('version', 'the device has no legacy interface')
  if (wanted === 'modern' && !isModern && isTransitional) throw new DriverError('version', 'the device has a legacy interface only')
  return wanted === 'legacy' || (wanted === 'any' && !isModern && isTransitional)
}

function open(
  device: DriverFunction,
  vectors: DriverVectors,
  legacy: boolean,
  { configLength }: DriverType<unknown>,
): PciTransport | LegacyPciTransport {
  device.open()
  try {
    return legacy ? new LegacyPciTransport(device, vectors) : new PciTransport(device, vectors, configLength > 0)
  } catch (error) {
    vectors.close()
    device.close()
    throw error
  }
}
