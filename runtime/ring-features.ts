/** Features that rings and transports offer on behalf of a device. VIRTIO 1.4, Reserved Feature Bits. */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import {
  UNUSED,
  VIRTIO_F_ADMIN_VQ,
  VIRTIO_F_ANY_LAYOUT,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_NOTIF_CONFIG_DATA,
  VIRTIO_F_NOTIFY_ON_EMPTY,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_RING_RESET,
  VIRTIO_F_SR_IOV,
  VIRTIO_F_VERSION_1,
} from 'virtgen/wire/content'
import type { DeviceControlOptions } from './control-options.ts'
import type { VirtioDevice } from './device.ts'
import type { RingFeatures } from './queue.ts'

/**
 * Offered unless the VMM says otherwise: VERSION_1, INDIRECT_DESC, EVENT_IDX and RING_RESET, which help a driver and cost a device nothing. The others are for the VMM
 * to choose: with IN_ORDER a slow request holds up all behind it, NOTIFICATION_DATA tells what the ring says anyhow, and with RING_PACKED the driver decides nothing
 * else than the format (Linux takes it wherever it is offered). QEMU's defaults are the same.
 */
export const defaultRingFeatures = FeatureSet.of(VIRTIO_F_VERSION_1, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX, VIRTIO_F_RING_RESET)

/** Features that rings and transports have, and no control here; a transport may know better, see `transportFeatures`. */
const impossible = FeatureSet.of(VIRTIO_F_NOTIFY_ON_EMPTY, VIRTIO_F_ANY_LAYOUT, UNUSED, VIRTIO_F_SR_IOV, VIRTIO_F_ADMIN_VQ)

/** Features that need more than the queue which is there by default. */
const needQueue = FeatureSet.of(VIRTIO_F_RING_PACKED, VIRTIO_F_IN_ORDER)

/** What a negotiated set of features means for the rings. */
export function ringFeaturesOf(features: FeatureSet): RingFeatures {
  return {
    packed: features.has(VIRTIO_F_RING_PACKED),
    eventIndex: features.has(VIRTIO_F_EVENT_IDX),
    indirect: features.has(VIRTIO_F_INDIRECT_DESC),
    inOrder: features.has(VIRTIO_F_IN_ORDER),
  }
}

/** The features that the legacy interface has room for. */
export const legacyBits = FeatureSet.empty.withWord(0, 0xffff_ffff)

/**
 * What a legacy driver may choose from: of the device's features those that need no VIRTIO_F_VERSION_1, of those of the rings the ones of the first word, and
 * VIRTIO_F_ANY_LAYOUT, as no device here assumes how a message is split into descriptors.
 */
export function legacyOffered({ device, offered }: { readonly device: VirtioDevice; readonly offered: FeatureSet }): FeatureSet {
  return offered.difference(device.offered).intersection(legacyBits).union(device.legacyOffered).with(VIRTIO_F_ANY_LAYOUT)
}

/**
 * Checks what a device is about to offer: it MUST offer VERSION_1, and MUST NOT offer what it would not support if the driver accepted it.
 *
 * @throws RangeError with the features
 */
export function checkOffered(
  offered: FeatureSet,
  { notifConfigData, createQueue, transportFeatures = FeatureSet.empty }: DeviceControlOptions,
): void {
  const without = (notifConfigData ? impossible : impossible.with(VIRTIO_F_NOTIF_CONFIG_DATA)).difference(transportFeatures)
  const wrong = offered.intersection(without)
  if (!wrong.isEmpty) throw new RangeError(`features ${wrong.bits} cannot be offered here`)
  const missing = offered.intersection(needQueue)
  if (!createQueue && !missing.isEmpty) throw new RangeError(`features ${missing.bits} need the option createQueue: createDeviceQueue`)
  if (!offered.has(VIRTIO_F_VERSION_1)) throw new RangeError('a device must offer VIRTIO_F_VERSION_1')
}
