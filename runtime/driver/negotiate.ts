/** Feature negotiation, as a driver does it. VIRTIO 1.4, Basic Facilities of a Virtio Device / Feature Bits. */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import {
  FEATURES_OK,
  VIRTIO_F_ACCESS_PLATFORM,
  VIRTIO_F_ANY_LAYOUT,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_NOTIFICATION_DATA,
  VIRTIO_F_ORDER_PLATFORM,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_RING_RESET,
  VIRTIO_F_VERSION_1,
} from 'virtgen/wire/content'
import { DriverError, type DriverType } from './host.ts'
import type { DriverTransport } from './transport.ts'
import { setStatus } from './transport-status.ts'

/** Which features to accept. */
export interface FeatureWishes {
  /**
   * What to accept of the features that the device offers. By default all that the client and the rings know. VIRTIO_F_VERSION_1 is accepted in any case;
   * VIRTIO_F_ACCESS_PLATFORM and VIRTIO_F_ORDER_PLATFORM only where they are named here or required, as only the program knows whether the platform keeps them.
   */
  readonly features?: FeatureSet
  /** Features that the device must offer. */
  readonly required?: FeatureSet
}

/** Of the rings: what this driver side implements over any transport. */
export const driverRingFeatures = FeatureSet.of(
  VIRTIO_F_VERSION_1,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_RING_RESET,
  VIRTIO_F_NOTIFICATION_DATA,
)

/** The same through a legacy interface. Transitional drivers MUST accept VIRTIO_F_ANY_LAYOUT (Legacy Interface: Reserved Feature Bits). */
export const legacyRingFeatures = FeatureSet.of(VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX, VIRTIO_F_ANY_LAYOUT)

/** What the platform must keep, not the driver. */
const platformFeatures = FeatureSet.of(VIRTIO_F_ACCESS_PLATFORM, VIRTIO_F_ORDER_PLATFORM)
const featureWords = 4
/** Words that every device has. */
const ordinaryWords = 2
/** The legacy interface has feature bits 0 to 31. */
const legacyWords = 1

/** What a driver and a device have said of features. */
export interface Negotiated {
  /** What the device offers, as far as the driver has looked. */
  readonly offered: FeatureSet
  readonly accepted: FeatureSet
}

/**
 * Reads the features, writes what is accepted of them, and makes sure that the device agrees.
 *
 * @throws DriverError `feature`, `features-refused`
 */
export function negotiate(
  transport: DriverTransport,
  type: DriverType<unknown>,
  { features: mask, required = FeatureSet.empty }: FeatureWishes,
): Negotiated {
  const always = transport.legacy ? transport.features.intersection(FeatureSet.of(VIRTIO_F_ANY_LAYOUT)) : FeatureSet.of(VIRTIO_F_VERSION_1)
  const named = (mask ?? FeatureSet.empty).union(required)
  const known = transport.features.union(type.features).union(platformFeatures.intersection(named))
  const wanted = (mask === undefined ? known : known.intersection(mask.union(required))).union(always)
  const must = transport.legacy ? required : required.with(VIRTIO_F_VERSION_1)
  const offered = readFeatures(transport, wanted.union(must))
  const accepted = offered.intersection(wanted)
  const missing = must.difference(accepted)
  if (!missing.isEmpty)
    throw new DriverError(
      'feature',
      `the device offers ${offered}; the driver cannot do without bits ${missing.bits}, which it does not offer or the driver does not know`,
    )
  const problem = type.checkFeatures?.(accepted)[0]
  if (problem !== undefined) throw new DriverError('feature', `${problem.feature} requires ${problem.requires}, which is not accepted or not offered`)
  writeFeatures(transport, accepted)
  if (!transport.legacy) confirm(transport, accepted)
  return { offered, accepted }
}

function confirm(transport: DriverTransport, accepted: FeatureSet): void {
  setStatus(transport, FEATURES_OK)
  if ((transport.status & FEATURES_OK) === 0) throw new DriverError('features-refused', `the device does not work with the features ${accepted}`)
}

/** Reads the words in which `wanted` has a bit. Others are not looked at: a device may repeat its words where it has no more of them. */
function readFeatures(transport: DriverTransport, wanted: FeatureSet): FeatureSet {
  let offered = FeatureSet.empty
  for (const word of words(transport, wanted)) offered = offered.withWord(word, transport.readFeatures(word))
  return offered
}

function writeFeatures(transport: DriverTransport, accepted: FeatureSet): void {
  for (const word of words(transport, accepted)) transport.writeFeatures(word, accepted.word(word))
}

function words({ legacy }: DriverTransport, features: FeatureSet): number[] {
  const all = [...Array(legacy ? legacyWords : featureWords).keys()]
  return all.filter((word) => word < ordinaryWords || features.word(word) !== 0)
}
