/** Features that rings and transports offer on behalf of a device. VIRTIO 1.4, Reserved Feature Bits. */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import {
  features as reservedFeatures,
  VIRTIO_F_ACCESS_PLATFORM,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_ORDER_PLATFORM,
  VIRTIO_F_VERSION_1,
} from 'virtgen/wire/content'

/** Offered unless the VMM says otherwise. */
export const defaultRingFeatures = FeatureSet.of(VIRTIO_F_VERSION_1, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX)

const impossible = FeatureSet.of(...reservedFeatures.map(({ bit }) => bit)).difference(
  defaultRingFeatures.with(VIRTIO_F_ACCESS_PLATFORM, VIRTIO_F_ORDER_PLATFORM),
)

/**
 * Checks what a device is about to offer: it MUST offer VERSION_1, and MUST NOT offer what it would not support if the driver accepted it.
 *
 * @throws RangeError with the names of the features
 */
export function checkOffered(offered: FeatureSet): void {
  const wrong = offered.intersection(impossible)
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
