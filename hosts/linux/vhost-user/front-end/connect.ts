/** From a socket to a driver client. */
import type { FeatureSet } from 'virtgen/codegen/v1/wire'
import { connectDriver, type DriverError, type DriverOptions, type DriverType } from 'virtgen/runtime'
import type { ConfigShape } from './config.ts'
import { defaultTimeout, type FrontendOptions, VhostUserFrontend } from './front-end.ts'

/** How to drive a device of another process. */
export interface VhostUserDriverOptions
  extends Pick<FrontendOptions, 'memory' | 'poller' | 'protocolFeatures'>,
    Pick<DriverOptions, 'features' | 'required' | 'queueSize'> {
  /** Milliseconds for each answer of the back-end, and for a reset; 10000 by default. */
  readonly timeout?: number
}

/** A device of another process, and its client. Interrupts are served by themselves. */
export interface VhostUserDriverConnection<T> {
  readonly driver: T
  readonly frontend: VhostUserFrontend
  /** Resets the device, ends the connection and gives the memory back. Further calls give the same promise. */
  close(): Promise<void>
}

/**
 * Connects to a vhost-user back-end, initialises the device and makes its client. What the back-end uses (`call`) is served as it comes. Where the back-end vanishes, all
 * that is asked of the client rejects with DriverError `gone`; then another connection can be made.
 *
 * @example
 * const { driver, close } = await connectVhostUser('/run/disk.sock', BlkDriver)
 *
 * @param to - path of the back-end's socket, or the descriptor of one that is connected already, which belongs to the connection from now on
 * @throws SystemError (as a rejection) where nobody listens
 * @throws DriverError (as a rejection): `gone`, and what `connectMmio` says
 */
export async function connectVhostUser<T extends { close(): Promise<void> }>(
  to: string | number,
  type: DriverType<T>,
  options: VhostUserDriverOptions = {},
): Promise<VhostUserDriverConnection<T>> {
  const { timeout = defaultTimeout, queueSize, features, required, ...rest } = options
  const config = (offered: FeatureSet): ConfigShape => configShape(type, offered)
  const frontendOptions = { ...rest, timeout, deviceId: type.deviceId, config }
  const frontend = await (typeof to === 'number' ? VhostUserFrontend.adopt(to, frontendOptions) : VhostUserFrontend.connect(to, frontendOptions))
  try {
    const { driver, interrupt } = await connectDriver(frontend, type, {
      memory: frontend.memory.allocator(),
      resetPolls: timeout,
      pause: () => new Promise((resolve) => setTimeout(resolve, 1)),
      ...(queueSize === undefined ? {} : { queueSize }),
      ...(features === undefined ? {} : { features }),
      ...(required === undefined ? {} : { required }),
    })
    frontend.onInterrupt = (vector) => interrupt(vector)
    await frontend.settled()
    let closed: Promise<void> | undefined
    const close = (): Promise<void> => (closed ??= driver.close().finally(() => frontend.close()))
    return { driver, frontend, close }
  } catch (error) {
    const { failure } = frontend
    frontend.close()
    throw (failure as DriverError | undefined) ?? error
  }
}

/** As much of the configuration space as there is with these features: a back-end may refuse to read on. */
function configShape(type: DriverType<unknown>, offered: FeatureSet): ConfigShape {
  const { configLength, configFields } = type
  const size = type.configSize?.bind(type)
  if (configFields === undefined || configFields.length === 0) return { length: configLength, size }
  const ends = configFields.filter(({ exists }) => exists?.(offered) ?? true).map(({ offset, width }) => offset + width)
  return { length: Math.max(0, ...ends), size }
}
