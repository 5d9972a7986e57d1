/** The beginning of a connection: what the back-end is, and which parts of the protocol are in use. */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { vhost_user } from 'virtgen/protocol/vhost-user'
import {
  VHOST_USER_F_PROTOCOL_FEATURES,
  VHOST_USER_PROTOCOL_F_BACKEND_REQ,
  VHOST_USER_PROTOCOL_F_CONFIG,
  VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS,
  VHOST_USER_PROTOCOL_F_MQ,
  VHOST_USER_PROTOCOL_F_REPLY_ACK,
  VHOST_USER_PROTOCOL_F_RESET_DEVICE,
  VHOST_USER_PROTOCOL_F_STATUS,
  vhost_user_limits,
} from 'virtgen/wire/vhost-user'
import { hasBit } from '../message-reader.ts'
import type { FrontEndChannel } from './channel.ts'

/** What this side knows to use. */
export const knownProtocolFeatures: readonly number[] = [
  VHOST_USER_PROTOCOL_F_MQ,
  VHOST_USER_PROTOCOL_F_REPLY_ACK,
  VHOST_USER_PROTOCOL_F_BACKEND_REQ,
  VHOST_USER_PROTOCOL_F_CONFIG,
  VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS,
  VHOST_USER_PROTOCOL_F_RESET_DEVICE,
  VHOST_USER_PROTOCOL_F_STATUS,
]

/** What a back-end says of itself. */
export interface BackEndFacts {
  /** Features that it offers, those of the connection among them. */
  readonly features: FeatureSet
  /** Protocol features in use. */
  readonly protocolFeatures: readonly number[]
  /** Queues that it has; for a network device pairs of queues. Infinity where it does not say. */
  readonly queues: number
  /** Regions of memory that it takes. */
  readonly regions: number
}

/**
 * Asks for the facts and settles the protocol features.
 *
 * @param wanted - protocol features to use where they are offered
 * @throws DriverError `gone`, `closed` (as a rejection)
 */
export async function shakeHands(channel: FrontEndChannel, wanted: readonly number[]): Promise<BackEndFacts> {
  const { features: offered } = (await channel.ask(vhost_user.get_features, {})).reply
  const features = featuresOf(offered)
  const protocolFeatures = features.has(VHOST_USER_F_PROTOCOL_FEATURES) ? await settleProtocol(channel, wanted) : []
  const has = (bit: number): boolean => protocolFeatures.includes(bit)
  const queues = has(VHOST_USER_PROTOCOL_F_MQ) ? Number((await channel.ask(vhost_user.get_queue_num, {})).reply.queue_num) : Number.POSITIVE_INFINITY
  const regions = has(VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS)
    ? Number((await channel.ask(vhost_user.get_max_mem_slots, {})).reply.max_mem_slots)
    : vhost_user_limits.vhost_user_max_regions
  channel.tell(vhost_user.set_owner, {})
  return { features, protocolFeatures, queues, regions }
}

async function settleProtocol(channel: FrontEndChannel, wanted: readonly number[]): Promise<readonly number[]> {
  const offered = Number((await channel.ask(vhost_user.get_protocol_features, {})).reply.protocol_features)
  const used = wanted.filter((bit) => hasBit(offered, bit))
  const bits = used.reduce((sum, bit) => sum + 2 ** bit, 0)
  channel.tell(vhost_user.set_protocol_features, { protocol_features: BigInt(bits) })
  channel.context = { ...channel.context, caller: { ...channel.context.caller, protocol_features: bits } }
  return used
}

const wordBits = 32n

function featuresOf(bits: bigint): FeatureSet {
  return FeatureSet.empty.withWord(0, Number(bits & 0xffff_ffffn)).withWord(1, Number((bits >> wordBits) & 0xffff_ffffn))
}

/** Features 0 to 63 as messages have them. */
export function featureBits(features: FeatureSet): bigint {
  return BigInt(features.word(0)) | (BigInt(features.word(1)) << wordBits)
}
