/** From a device's registers to a driver client: the one initialisation sequence, over whatever transport. */
import { ACKNOWLEDGE, DEVICE_NEEDS_RESET, DRIVER, DRIVER_OK, FAILED } from 'virtgen/wire/content'
import { DriverError, type DriverType } from './host.ts'
import type { DriverMemory } from './memory.ts'
import { type FeatureWishes, negotiate } from './negotiate.ts'
import type { DriverTransport } from './transport.ts'
import { TransportConfig } from './transport-config.ts'
import { TransportHost } from './transport-host.ts'
import { TransportQueue } from './transport-queue.ts'
import { resetDevice, setStatus } from './transport-status.ts'

/** Which register interface of a device to use: `any` is the modern one where the device has it, else the legacy one. */
export type DriverInterface = 'modern' | 'legacy' | 'any'

/** How to initialise a device, whatever the transport. */
export interface DriverOptions extends FeatureWishes {
  /** Where queues and buffers lie. */
  readonly memory: DriverMemory
  /** Entries of each queue at most, 256 by default; with the split ring rounded down to a power of 2. */
  readonly queueSize?: number
  /** Waits between two looks at a device that is being reset. By default only promises that are ready get their turn: right for a device in the same thread. */
  readonly pause?: () => Promise<void>
  /** How many such looks, 1000 by default. */
  readonly resetPolls?: number
  /** `modern` by default. */
  readonly interface?: DriverInterface
}

/** A device that is initialised, and its client. */
export interface DriverConnection<T> {
  readonly driver: T
  /** The device is used through its legacy interface. */
  readonly legacy: boolean
  /**
   * To be called while the device's interrupt is asserted: acknowledges it, serves the queues and the configuration change. An interrupt that came before
   * the connection was made must be passed on afterwards; calls without one do no harm.
   *
   * @returns false when the interrupt was not that of this device
   */
  interrupt(): boolean
}

/** The same for a device whose interrupts may come by vectors. */
export interface VectorConnection<T> extends DriverConnection<T> {
  /** @param vector - of the message that came: index of the one that was given; undefined for an interrupt line, or for all vectors at once */
  interrupt(vector?: number): boolean
}

const defaultQueueSize = 256
const defaultResetPolls = 1000

const interfaces: readonly DriverInterface[] = ['modern', 'legacy', 'any']

/** @throws RangeError for a number that is none, or an interface that there is not */
export function checkOptions(options: DriverOptions): void {
  const { queueSize = defaultQueueSize, resetPolls = defaultResetPolls, interface: wanted = 'modern' } = options
  if (!interfaces.includes(wanted)) throw new RangeError(`interface must be one of ${interfaces.join(', ')}, not ${wanted}`)
  if (!(Number.isInteger(queueSize) && queueSize > 0)) throw new RangeError(`queueSize must be a positive integer, not ${queueSize}`)
  if (!(Number.isInteger(resetPolls) && resetPolls > 0)) throw new RangeError(`resetPolls must be a positive integer, not ${resetPolls}`)
}

/**
 * Initialises a device and makes its client, as VIRTIO 1.4, General Initialization And Device Operation / Device Initialization says; through a legacy interface as
 * Legacy Interface: Device Initialization does.
 *
 * @throws DriverError (as a rejection): `reset`, `feature`, `features-refused`, `config`, `queue`, `layout`, `vectors`, `memory`, `needs-reset`; the device is given up
 * (FAILED)
 */
export async function connect<T>(transport: DriverTransport, type: DriverType<T>, options: DriverOptions): Promise<VectorConnection<T>> {
  const queues: TransportQueue[] = []
  try {
    return await initialise(transport, type, options, queues)
  } catch (error) {
    // Before DRIVER_OK no queue is live: the device may use nothing of what is given back here.
    setStatus(transport, FAILED)
    transport.release?.()
    for (const queue of queues) queue.free()
    throw error
  }
}

async function initialise<T>(
  transport: DriverTransport,
  type: DriverType<T>,
  options: DriverOptions,
  queues: TransportQueue[],
): Promise<VectorConnection<T>> {
  const { memory, queueSize = defaultQueueSize, resetPolls = defaultResetPolls, pause = () => Promise.resolve() } = options
  const patience = { polls: resetPolls, pause }
  await resetDevice(transport, patience)
  setStatus(transport, ACKNOWLEDGE)
  setStatus(transport, DRIVER)
  const { offered, accepted: features } = negotiate(transport, type, options)
  const config = new TransportConfig(transport, type, offered)
  const host = new TransportHost(transport, features, memory, config, { queueSize, patience })
  const infos = type.queues(features, config.read())
  transport.prepare?.(infos)
  for (const info of infos) {
    const queue = new TransportQueue(transport, memory, info, features, (violation) => host.fail(violation))
    queues.push(queue)
    queue.enable(queueSize)
    host.addQueue(queue)
  }
  setStatus(transport, DRIVER_OK)
  if ((transport.status & DEVICE_NEEDS_RESET) !== 0) {
    queues.length = 0
    await host.reset()
    throw new DriverError('needs-reset', 'the device needs a reset as soon as it is initialised')
  }
  return { driver: await makeClient(type, host, queues), legacy: transport.legacy, interrupt: (vector) => host.interrupt(vector) }
}

/** The device is live: where the client cannot be made, only a reset makes sure that the queues' memory is ours again. */
async function makeClient<T>(type: DriverType<T>, host: TransportHost, queues: TransportQueue[]): Promise<T> {
  try {
    return new type(host)
  } catch (error) {
    queues.length = 0
    await host.reset()
    throw error
  }
}
