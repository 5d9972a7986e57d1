/** What the program says of its back-end. */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { type DeviceControlSettings, defaultRingFeatures, type Violation, type VirtioDevice } from 'virtgen/runtime'
import { VIRTIO_F_RING_PACKED } from 'virtgen/wire/content'
import {
  VHOST_USER_PROTOCOL_F_BACKEND_REQ,
  VHOST_USER_PROTOCOL_F_CONFIG,
  VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS,
  VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS,
  VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD,
  VHOST_USER_PROTOCOL_F_LOG_SHMFD,
  VHOST_USER_PROTOCOL_F_MQ,
  VHOST_USER_PROTOCOL_F_REPLY_ACK,
  VHOST_USER_PROTOCOL_F_RESET_DEVICE,
  VHOST_USER_PROTOCOL_F_STATUS,
} from 'virtgen/wire/vhost-user'
import type { ProtocolError } from '../protocol-error.ts'

/** Options of a session with a front-end. */
export interface SessionOptions extends Pick<DeviceControlSettings, 'maxChainLength' | 'onError'> {
  /**
   * Features of rings to offer with those of the device. Default: VERSION_1, INDIRECT_DESC, EVENT_IDX, RING_RESET and RING_PACKED, which hypervisors pass on to guests
   * only where they are told to.
   */
  readonly ringFeatures?: FeatureSet
  /** Numbers of the protocol features to offer, of {@link protocolFeatures}; all by default. CONFIG is offered where the device has a configuration space. */
  readonly protocolFeatures?: readonly number[]
  /** Memory must be sealed against shrinking, as that of QEMU is. Otherwise (the default) a front-end that makes its memory shorter ends this process. */
  readonly sealedMemory?: boolean
  /** Bytes of memory that a front-end may share, 1 TiB by default. On Node 20 each 4 GiB take some 10 milliseconds to map. */
  readonly maxMemory?: number
  /**
   * Microseconds for which rings are looked at again and again after the last work, before the driver is asked to notify; 0: not at all. It takes a whole CPU
   * while there is work; timers, sockets and other connections get their turn. By default 20, and only behind four buffers at once: where work comes in heaps, more of it is on
   * its way.
   */
  readonly spin?: number
  /** The driver broke the rules. The device needs a reset, and the front-end is told through the eventfd of VHOST_USER_SET_VRING_ERR. */
  readonly onViolation?: (violation: Violation) => void
  /** The front-end broke those of the protocol. A request that asked for an answer is refused; after everything else the connection is closed. */
  readonly onProtocolError?: (error: ProtocolError) => void
}

/** Other connections of the same server. */
export interface Neighbours {
  /**
   * Resolves when no connection that has ended has work going on in any of these files: requests that it had taken are handed over anew here, and must not be done by both.
   * Undefined where that is so at once.
   */
  atRest(files: readonly string[]): Promise<unknown> | undefined
}

export const defaultMaxMemory = 2 ** 40

export const vhostRingFeatures: FeatureSet = defaultRingFeatures.union(FeatureSet.of(VIRTIO_F_RING_PACKED))

/** Numbers of the protocol features that there can be here. */
export const protocolFeatures: readonly number[] = [
  VHOST_USER_PROTOCOL_F_MQ,
  VHOST_USER_PROTOCOL_F_LOG_SHMFD,
  VHOST_USER_PROTOCOL_F_REPLY_ACK,
  VHOST_USER_PROTOCOL_F_BACKEND_REQ,
  VHOST_USER_PROTOCOL_F_CONFIG,
  VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD,
  VHOST_USER_PROTOCOL_F_RESET_DEVICE,
  VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS,
  VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS,
  VHOST_USER_PROTOCOL_F_STATUS,
]

/** Those that a session with a device offers, as bits. @throws RangeError for one that there is not */
export function offeredProtocolFeatures({ config }: VirtioDevice, wanted: readonly number[] = protocolFeatures): number {
  const unknown = wanted.filter((bit) => !protocolFeatures.includes(bit))
  if (unknown.length > 0) throw new RangeError(`protocol features can be ${protocolFeatures}, not ${unknown}`)
  const offered = config.length > 0 ? wanted : wanted.filter((bit) => bit !== VHOST_USER_PROTOCOL_F_CONFIG)
  return [...new Set(offered)].reduce((bits, bit) => bits + 2 ** bit, 0)
}
