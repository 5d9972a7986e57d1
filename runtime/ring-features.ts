/** Features that rings and transports offer on behalf of a device. VIRTIO 1.4, Reserved Feature Bits. */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import {
  features as reservedFeatures,
  VIRTIO_F_ACCESS_PLATFORM,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_NOTIF_CONFIG_DATA,
  VIRTIO_F_NOTIFICATION_DATA,
  VIRTIO_F_ORDER_PLATFORM,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_RING_RESET,
  VIRTIO_F_VERSION_1,
} from 'virtgen/wire/content'
import type { RingFeatures } from './queue.ts'

/**
 * Offered unless the VMM says otherwise: VERSION_1, INDIRECT_DESC, EVENT_IDX and RING_RESET, which help a driver and cost a device nothing. The others are for the VMM
 * to choose: with IN_ORDER a slow request holds up all behind it, NOTIFICATION_DATA tells what the ring says anyhow, and with RING_PACKED the driver decides nothing
 * else than the format (Linux takes it wherever it is offered). QEMU's defaults are the same.
 */
export const defaultRingFeatures = FeatureSet.of(VIRTIO_F_VERSION_1, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX, VIRTIO_F_RING_RESET)

const possible = defaultRingFeatures.with(
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_NOTIFICATION_DATA,
  VIRTIO_F_ACCESS_PLATFORM,
  VIRTIO_F_ORDER_PLATFORM,
)
const impossible = FeatureSet.of(...reservedFeatures.map(({ bit }) => bit)).difference(possible)

/** What a negotiated set of features means for the rings. */
export function ringFeaturesOf(features: FeatureSet): RingFeatures {
  return {
    packed: features.has(VIRTIO_F_RING_PACKED),
    eventIndex: features.has(VIRTIO_F_EVENT_IDX),
    indirect: features.has(VIRTIO_F_INDIRECT_DESC),
    inOrder: features.has(VIRTIO_F_IN_ORDER),
  }
}

/**
 * Checks what a device is about to offer: it MUST offer VERSION_1, and MUST NOT offer what it would not support if the driver accepted it.
 *
 * @param hasNotifConfigData - the transport has a place for what VIRTIO_F_NOTIF_CONFIG_DATA promises
 * @throws RangeError with the names of the features
 */
export function checkOffered(offered: FeatureSet, hasNotifConfigData = false): void {
  const wrong = offered.intersection(hasNotifConfigData ? impossible.without(VIRTIO_F_NOTIF_CONFIG_DATA) : impossible)
  if (!wrong.isEmpty) throw new RangeError(`these features cannot be offered here: ${wrong.names(reservedFeatures).join(', ')}`)
  if (!offered.has(VIRTIO_F_VERSION_1)) throw new RangeError('a device must offer VIRTIO_F_VERSION_1')
}

/**
 * Checks what a driver has negotiated elsewhere.
 *
 * @throws RangeError with the names of the features
 */
export function checkNegotiated(features: FeatureSet, offered: FeatureSet): void {
  const missing = features.difference(offered)
  if (!missing.isEmpty)
    throw new RangeError(`saved state: the driver uses features that are not offered here: ${missing.names(reservedFeatures).join(', ')}`)
  if (!features.has(VIRTIO_F_VERSION_1)) throw new RangeError('saved state: the driver has not accepted VIRTIO_F_VERSION_1')
}
