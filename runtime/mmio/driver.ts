/** Driver side of Virtio Over MMIO: from a place in an address space to a driver client. */
import { mmio_device_id, mmio_identity, virtio_mmio_DeviceID, virtio_mmio_MagicValue, virtio_mmio_Version } from 'virtgen/wire/transport-mmio'
import { checkOptions, connect, type DriverConnection, type DriverOptions } from '../driver/connect.ts'
import { DriverError, type DriverType } from '../driver/host.ts'
import type { DriverTransport } from '../driver/transport.ts'
import { hex } from '../hex.ts'
import { type MmioBus, MmioRegisters, MmioTransport } from './driver-transport.ts'
import { LegacyMmioTransport } from './legacy-driver-transport.ts'

export type { MmioBus } from './driver-transport.ts'

/** How to drive a device behind memory-mapped registers. */
export interface MmioDriverOptions extends DriverOptions {}

/** A device that is initialised, and its client. */
export interface MmioConnection<T> extends DriverConnection<T> {}

/**
 * Initialises a device and makes its client, as VIRTIO 1.4, General Initialization And Device Operation / Device Initialization, and Virtio Over MMIO /
 * MMIO-specific Initialization And Device Operation say.
 *
 * @throws DriverError (as a rejection): `not-virtio`, `version`, `device-id` where nothing is touched; `reset`, `feature`, `features-refused`, `config`, `queue`,
 * `memory`, `needs-reset` where the device is given up (FAILED)
 * @throws RangeError (as a rejection) for a wrong queue size
 */
export async function connectMmio<T>(bus: MmioBus, type: DriverType<T>, options: MmioDriverOptions): Promise<MmioConnection<T>> {
  checkOptions(options)
  return connect(identify(new MmioRegisters(bus), type, options), type, options)
}

/** Reads nothing but what must be read to see that there is nothing to drive. */
function identify(
  registers: MmioRegisters,
  type: { readonly deviceId: number },
  { interface: wanted = 'modern' }: MmioDriverOptions,
): DriverTransport {
  const { mmio_magic_value, mmio_version, mmio_legacy_version } = mmio_identity
  const magic = registers.read(virtio_mmio_MagicValue)
  if (magic !== mmio_magic_value)
    throw new DriverError('not-virtio', `there is no virtio device: the magic value is ${hex(magic)}, not ${hex(mmio_magic_value)}`)
  const known: readonly number[] = { modern: [mmio_version], legacy: [mmio_legacy_version], any: [mmio_version, mmio_legacy_version] }[wanted]
  const version = registers.read(virtio_mmio_Version)
  if (!known.includes(version))
    throw new DriverError('version', `the device has version ${version} of the register layout, the driver is to use ${known.join(' or ')}`)
  const id = registers.read(virtio_mmio_DeviceID)
  if (id === mmio_device_id.mmio_placeholder_device) throw new DriverError('device-id', 'there is a place for a device, but no device (device id 0)')
  if (id !== type.deviceId) throw new DriverError('device-id', `there is a device with id ${id}, not ${type.deviceId}`)
  return version === mmio_legacy_version ? new LegacyMmioTransport(registers) : new MmioTransport(registers)
}
