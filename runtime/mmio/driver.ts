/** Driver side of Virtio Over MMIO: from a place in an address space to a driver client. */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import {
  ACKNOWLEDGE,
  DEVICE_NEEDS_RESET,
  DRIVER,
  DRIVER_OK,
  FAILED,
  FEATURES_OK,
  VIRTIO_F_ACCESS_PLATFORM,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_NOTIFICATION_DATA,
  VIRTIO_F_ORDER_PLATFORM,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_RING_RESET,
  VIRTIO_F_VERSION_1,
} from 'virtgen/wire/content'
import { virtio_mmio } from 'virtgen/wire/transport-mmio'
import { DriverError, type DriverType } from '../driver/host.ts'
import type { DriverMemory } from '../driver/memory.ts'
import { MmioConfig } from './driver-config.ts'
import { MmioHost } from './driver-host.ts'
import { MmioQueue } from './driver-queue.ts'
import { type MmioBus, MmioRegisters } from './registers.ts'

export type { MmioBus } from './registers.ts'

export interface MmioDriverOptions {
  /** Where queues and buffers lie. */
  readonly memory: DriverMemory
  /**
   * What to accept of the features that the device offers. By default all that the client and the rings know. VIRTIO_F_VERSION_1 is accepted in any case;
   * VIRTIO_F_ACCESS_PLATFORM and VIRTIO_F_ORDER_PLATFORM only where they are named here or required, as only the program knows whether the platform keeps them.
   */
  readonly features?: FeatureSet
  /** Features that the device must offer. */
  readonly required?: FeatureSet
  /** Entries of each queue at most, 256 by default; with the split ring rounded down to a power of 2. */
  readonly queueSize?: number
  /** Waits between two looks at a device that is being reset. By default only promises that are ready get their turn: right for a device in the same thread. */
  readonly pause?: () => Promise<void>
  /** How many such looks, 1000 by default. */
  readonly resetPolls?: number
}

/** A device that is initialised, and its client. */
export interface MmioConnection<T> {
  readonly driver: T
  /**
   * To be called while the device's interrupt is asserted: acknowledges it, serves the queues and the configuration change. An interrupt that came before
   * `connectMmio` was done must be passed on afterwards; calls without one do no harm.
   *
   * @returns false when the interrupt was not that of this device
   */
  interrupt(): boolean
}

const defaultQueueSize = 256
const defaultResetPolls = 1000

/** Of rings and transport: what this driver implements. VIRTIO_F_NOTIF_CONFIG_DATA is not among it: no register says the value that the driver would send. */
const ringFeatures = FeatureSet.of(
  VIRTIO_F_VERSION_1,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_RING_RESET,
  VIRTIO_F_NOTIFICATION_DATA,
)
/** What the platform must keep, not the driver. */
const platformFeatures = FeatureSet.of(VIRTIO_F_ACCESS_PLATFORM, VIRTIO_F_ORDER_PLATFORM)

/**
 * Initialises a device and makes its client, as VIRTIO 1.4, General Initialization And Device Operation / Device Initialization, and Virtio Over MMIO /
 * MMIO-specific Initialization And Device Operation say.
 *
 * @throws DriverError (as a rejection): `not-virtio`, `version`, `device-id` where nothing is touched; `reset`, `feature`, `features-refused`, `config`, `queue`,
 * `memory`, `needs-reset` where the device is given up (FAILED)
 * @throws RangeError (as a rejection) for a wrong queue size
 */
export async function connectMmio<T>(bus: MmioBus, type: DriverType<T>, options: MmioDriverOptions): Promise<MmioConnection<T>> {
  const { queueSize = defaultQueueSize, resetPolls = defaultResetPolls } = options
  if (!(Number.isInteger(queueSize) && queueSize > 0)) throw new RangeError(`queueSize must be a positive integer, not ${queueSize}`)
  if (!(Number.isInteger(resetPolls) && resetPolls > 0)) throw new RangeError(`resetPolls must be a positive integer, not ${resetPolls}`)
  const registers = new MmioRegisters(bus)
  identify(registers, type)
  const queues: MmioQueue[] = []
  try {
    return await initialise(registers, type, options, queues)
  } catch (error) {
    // Before DRIVER_OK no queue is live: the device may use nothing of what is given back here.
    registers.setStatus(FAILED)
    for (const queue of queues) queue.free()
    throw error
  }
}

/** Reads nothing but what must be read to see that there is nothing to drive. */
function identify(registers: MmioRegisters, type: { readonly deviceId: number }): void {
  const { MagicValue, Version, DeviceID } = virtio_mmio
  const magic = registers.read(MagicValue)
  if (magic !== MagicValue.value)
    throw new DriverError('not-virtio', `there is no virtio device: the magic value is ${hex(magic)}, not ${hex(MagicValue.value)}`)
  const version = registers.read(Version)
  if (version !== Version.value)
    throw new DriverError('version', `the device has version ${version} of the register layout, the driver knows ${Version.value}`)
  const id = registers.read(DeviceID)
  if (id === 0) throw new DriverError('device-id', 'there is a place for a device, but no device (device id 0)')
  if (id !== type.deviceId) throw new DriverError('device-id', `there is a device with id ${id}, not ${type.deviceId}`)
}

async function initialise<T>(
  registers: MmioRegisters,
  type: DriverType<T>,
  options: MmioDriverOptions,
  queues: MmioQueue[],
): Promise<MmioConnection<T>> {
  const { memory, queueSize = defaultQueueSize, resetPolls = defaultResetPolls, pause = () => Promise.resolve() } = options
  const patience = { polls: resetPolls, pause }
  await registers.reset(patience)
  registers.setStatus(ACKNOWLEDGE)
  registers.setStatus(DRIVER)
  const features = negotiate(registers, type, options)
  const config = new MmioConfig(registers, type)
  const host = new MmioHost(registers, features, memory, config, { queueSize, patience })
  for (const info of type.queues(features, config.read())) {
    const queue = new MmioQueue(registers, memory, info, features, (violation) => host.fail(violation))
    queues.push(queue)
    queue.enable(queueSize)
    host.addQueue(queue)
  }
  registers.setStatus(DRIVER_OK)
  if ((registers.status & DEVICE_NEEDS_RESET) !== 0) {
    queues.length = 0
    await host.reset()
    throw new DriverError('needs-reset', 'the device needs a reset as soon as it is initialised')
  }
  return { driver: await makeClient(type, host, queues), interrupt: () => host.interrupt() }
}

/** Reads the features, writes what is accepted of them, and makes sure that the device agrees. */
function negotiate<T>(registers: MmioRegisters, type: DriverType<T>, { features: mask, required = FeatureSet.empty }: MmioDriverOptions): FeatureSet {
  const named = (mask ?? FeatureSet.empty).union(required)
  const known = ringFeatures.union(type.features).union(platformFeatures.intersection(named))
  const wanted = (mask === undefined ? known : known.intersection(mask.union(required))).with(VIRTIO_F_VERSION_1)
  const must = required.with(VIRTIO_F_VERSION_1)
  const offered = registers.readFeatures(wanted.union(must))
  const accepted = offered.intersection(wanted)
  const missing = must.difference(accepted)
  if (!missing.isEmpty)
    throw new DriverError(
      'feature',
      `the device offers ${offered}; the driver cannot do without bits ${missing.bits}, which it does not offer or the driver does not know`,
    )
  const problem = type.checkFeatures?.(accepted)[0]
  if (problem !== undefined) throw new DriverError('feature', `${problem.feature} requires ${problem.requires}, which is not accepted or not offered`)
  registers.writeFeatures(accepted)
  registers.setStatus(FEATURES_OK)
  if ((registers.status & FEATURES_OK) === 0) throw new DriverError('features-refused', `the device does not work with the features ${accepted}`)
  return accepted
}

/** The device is live: where the client cannot be made, only a reset makes sure that the queues' memory is ours again. */
async function makeClient<T>(type: DriverType<T>, host: MmioHost, queues: MmioQueue[]): Promise<T> {
  try {
    return new type(host)
  } catch (error) {
    queues.length = 0
    await host.reset()
    throw error
  }
}

function hex(value: number): string {
  return `0x${value.toString(16)}`
}
