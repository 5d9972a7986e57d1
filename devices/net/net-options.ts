/** What a network device offers: what its VMM asks for. */
import { checkInteger } from 'virtgen/codegen/v1/wire'
import type { NetDeviceOptions } from 'virtgen/skeleton/net'
import {
  VIRTIO_NET_F_CSUM,
  VIRTIO_NET_F_CTRL_GUEST_OFFLOADS,
  VIRTIO_NET_F_CTRL_MAC_ADDR,
  VIRTIO_NET_F_CTRL_RX,
  VIRTIO_NET_F_CTRL_RX_EXTRA,
  VIRTIO_NET_F_CTRL_VLAN,
  VIRTIO_NET_F_CTRL_VQ,
  VIRTIO_NET_F_GUEST_ANNOUNCE,
  VIRTIO_NET_F_GUEST_CSUM,
  VIRTIO_NET_F_GUEST_ECN,
  VIRTIO_NET_F_GUEST_TSO4,
  VIRTIO_NET_F_GUEST_TSO6,
  VIRTIO_NET_F_HOST_ECN,
  VIRTIO_NET_F_HOST_TSO4,
  VIRTIO_NET_F_HOST_TSO6,
  VIRTIO_NET_F_MAC,
  VIRTIO_NET_F_MQ,
  VIRTIO_NET_F_MRG_RXBUF,
  VIRTIO_NET_F_MTU,
  VIRTIO_NET_F_SPEED_DUPLEX,
  VIRTIO_NET_F_STATUS,
  VIRTIO_NET_S_LINK_UP,
  type VirtioNetConfigValue,
  virtio_net_ctrl_mq_vq_pairs,
  virtio_net_duplex,
  virtio_net_speed,
} from 'virtgen/wire/net'
import type { RateLimiter } from '../rate-limiter/rate-limiter.ts'
import { macOf, randomMac } from './mac.ts'

export interface NetOptions {
  /** 6 bytes, or text such as `52:54:00:12:34:56`. By default a random one, locally administered. */
  readonly mac?: string | Uint8Array
  /** VIRTIO_NET_F_MTU: the largest packet in a frame, 68 to 65535 bytes (1280 or more is better). Not offered by default; guests take 1500 then. */
  readonly mtu?: number
  /** Mbit/s, for the guest to show (VIRTIO_NET_F_SPEED_DUPLEX). Not offered by default. */
  readonly speed?: number
  /** Pairs of queues, 1 by default. More offer VIRTIO_NET_F_MQ. */
  readonly pairs?: number
  /** Entries of each queue at most, 256 by default. */
  readonly queueSize?: number
  /** Frames that wait for each receive queue, at most; 256 by default. Frames beyond are dropped. */
  readonly backlog?: number
  /** Receive buffers may be smaller than frames (VIRTIO_NET_F_MRG_RXBUF); true by default. */
  readonly mergeable?: boolean
  /** The guest may leave checksums to the device, and take frames without (VIRTIO_NET_F_CSUM, GUEST_CSUM); true by default. What the backend cannot take is computed here. */
  readonly checksumOffload?: boolean
  /** Likewise for TCP segmentation (HOST_TSO4, GUEST_TSO4 …); true by default, and only together with checksums. */
  readonly segmentationOffload?: boolean
  /**
   * There is a control queue: filters, the address, offloads, several queues; true by default. `front-end`: somebody between driver and device has it, as front-ends of
   * vhost-user do, and does what the driver asks for. What rests on it and is about frames is offered all the same (several queues, announcements), also to a front-end that
   * negotiates the queue away; what is for the front-end to do (filters, the address, offloads) is not.
   */
  readonly control?: boolean | 'front-end'
  /** Limits what the guest sends: it gets its buffers back later. */
  readonly transmitLimiter?: RateLimiter
  /** Limits what the guest receives: frames wait in the backlog. */
  readonly receiveLimiter?: RateLimiter
  /** What the backend threw or rejected with. The frame is counted as dropped; the guest does not hear of it. */
  readonly onError?: (error: unknown) => void
}

const { VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MIN: leastPairs, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MAX: mostPairs } = virtio_net_ctrl_mq_vq_pairs
const leastMtu = 68
const largestMtu = 0xffff
const defaultQueueSize = 256

/** @throws RangeError or TypeError for an option that cannot be */
export function skeletonOptions(options: NetOptions): NetDeviceOptions {
  const { queueSize = defaultQueueSize, pairs = 1, mergeable = true, checksumOffload = true, segmentationOffload = true, control = true } = options
  const features: number[] = [VIRTIO_NET_F_MAC, VIRTIO_NET_F_STATUS]
  const config: Partial<VirtioNetConfigValue> = { mac: options.mac === undefined ? randomMac() : macOf(options.mac), status: VIRTIO_NET_S_LINK_UP }
  if (mergeable) features.push(VIRTIO_NET_F_MRG_RXBUF)
  if (checksumOffload) features.push(VIRTIO_NET_F_CSUM, VIRTIO_NET_F_GUEST_CSUM)
  if (checksumOffload && segmentationOffload)
    features.push(
      ...[VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_HOST_ECN],
      ...[VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_ECN],
    )
  if (control) {
    features.push(VIRTIO_NET_F_CTRL_VQ, VIRTIO_NET_F_GUEST_ANNOUNCE)
    if (control !== 'front-end') {
      features.push(VIRTIO_NET_F_CTRL_RX, VIRTIO_NET_F_CTRL_RX_EXTRA, VIRTIO_NET_F_CTRL_VLAN, VIRTIO_NET_F_CTRL_MAC_ADDR)
      if (checksumOffload) features.push(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS)
    }
  }
  if (checkInteger(pairs, leastPairs, mostPairs, 'pairs') > 1) {
    if (!control) throw new TypeError('several pairs of queues need the control queue')
    features.push(VIRTIO_NET_F_MQ)
    config.max_virtqueue_pairs = pairs
  }
  if (options.mtu !== undefined) {
    features.push(VIRTIO_NET_F_MTU)
    config.mtu = checkInteger(options.mtu, leastMtu, largestMtu, 'mtu')
  }
  if (options.speed !== undefined) {
    features.push(VIRTIO_NET_F_SPEED_DUPLEX)
    config.speed = checkInteger(options.speed, 0, virtio_net_speed.max_speed, 'speed')
    config.duplex = virtio_net_duplex.full
  }
  return { features, config, queueSize }
}
