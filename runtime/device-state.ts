/** The saved state of a device behind a transport: versioned plain data that JSON carries unchanged, and the check of what comes back. */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { DEVICE_NEEDS_RESET, FEATURES_OK } from 'virtgen/wire/content'
import type { DeviceState } from './device.ts'
import type { RingFeatures } from './queue.ts'
import type { AddressHalves, QueueRegistersState } from './queue-registers.ts'
import { checkQueueState } from './queue-state.ts'
import { ringFeaturesOf } from './ring-features.ts'
import { flag, list, object, savedInteger, text, wrong } from './saved-value.ts'
import { isStatus } from './status.ts'

/** What a transport-independent control remembers. */
export interface ControlState {
  readonly version: 1
  /** Device status. */
  readonly status: number
  /** Features the driver accepted, hexadecimal. */
  readonly features: string
  /** Bytes of the configuration space, hexadecimal. */
  readonly config: string
  readonly configGeneration: number
  /** By index; null where the device has no such queue. */
  readonly queues: readonly (QueueRegistersState | null)[]
  readonly device: DeviceState
}

/** What decides how a queue is saved. */
interface Negotiated {
  readonly status: number
  readonly rings: RingFeatures
}

function halves(value: unknown, name: string): AddressHalves {
  const words = list(value, name)
  if (words.length !== 2) wrong(name, value, 'two 32-bit words')
  return [savedInteger(words[0], 0xffff_ffff, name), savedInteger(words[1], 0xffff_ffff, name)]
}

function queueRegisters(value: unknown, maximum: number, negotiated: Negotiated, name: string): QueueRegistersState | null {
  if (maximum === 0) return value === null ? null : wrong(name, value, 'null, as the device has no such queue')
  const state = object<QueueRegistersState>(value, name)
  const registers = {
    size: savedInteger(state.size, 0xffff_ffff, `${name}.size`),
    descriptorArea: halves(state.descriptorArea, `${name}.descriptorArea`),
    driverArea: halves(state.driverArea, `${name}.driverArea`),
    deviceArea: halves(state.deviceArea, `${name}.deviceArea`),
    ready: flag(state.ready, `${name}.ready`),
  }
  // Of a device that needs a reset no queue goes on.
  if ((negotiated.status & DEVICE_NEEDS_RESET) !== 0) return registers
  if (state.queue === undefined) return registers.ready ? wrong(`${name}.queue`, undefined, 'there, as the queue is ready') : registers
  if (!registers.ready || registers.size === 0 || registers.size > maximum || (negotiated.status & FEATURES_OK) === 0)
    wrong(name, registers, `ready, of 1 to ${maximum} entries and behind FEATURES_OK, as it is at work`)
  return { ...registers, queue: checkQueueState(state.queue, registers.size, negotiated.rings, `${name}.queue`) }
}

/**
 * Checks what claims to be a saved state. Configuration and device check their own parts.
 *
 * @param value - anything
 * @param queueSizes - maximal sizes of the queues of the device that it is for
 * @throws RangeError that names the member, with what is expected and what is there
 */
export function checkControlState(value: unknown, queueSizes: readonly number[]): ControlState {
  const state = object<ControlState>(value, 'it')
  if (state.version !== 1) wrong('version', state.version, '1')
  const status = savedInteger(state.status, 0xff, 'status')
  if (!isStatus(status)) wrong('status', status, 'bits in the order of the initialization')
  const features = FeatureSet.fromHex(text(state.features, 'features'))
  const negotiated = { status, rings: ringFeaturesOf(features) }
  const queues = list(state.queues, 'queues')
  if (queues.length !== queueSizes.length) wrong('queues', queues, `those of a device with ${queueSizes.length} queues`)
  return {
    version: 1,
    status,
    features: features.toString(),
    config: text(state.config, 'config'),
    configGeneration: savedInteger(state.configGeneration, 0xffff_ffff, 'configGeneration'),
    queues: queues.map((queue, index) => queueRegisters(queue, queueSizes[index] as number, negotiated, `queues[${index}]`)),
    device: object<DeviceState>(state.device, 'device') as DeviceState,
  }
}
