/** The saved state of a device behind a transport: versioned plain data that JSON carries unchanged, and the check of what comes back. */
import { FeatureSet, featureNames, featuresFromHex } from 'virtgen/codegen/v1/wire'
import { DEVICE_NEEDS_RESET, DRIVER_OK, FEATURES_OK, features as reservedFeatures, SUSPEND, VIRTIO_F_VERSION_1 } from 'virtgen/wire/content'
import type { ConfigSpace } from './config-space.ts'
import { restoreConfig, saveConfig } from './config-state.ts'
import type { Plain } from './device.ts'
import type { DeviceControl } from './device-control.ts'
import type { QueueState, RingFeatures } from './queue.ts'
import type { QueueArea, QueueRegisters } from './queue-registers.ts'
import { checkQueueState } from './queue-state.ts'
import { legacyOffered, ringFeaturesOf } from './ring-features.ts'
import { flag, list, type Members, object, StateError, savedInteger, text, wrong } from './saved-value.ts'
import { isLegacyStatus, isStatus } from './status.ts'

/** A 64-bit address in halves, the form in which transports move it: low, high. */
export type AddressHalves = readonly [low: number, high: number]

/** A queue in a saved state. */
export interface QueueRegistersState {
  /** Largest size. */
  readonly maximum: number
  readonly size: number
  readonly descriptorArea: AddressHalves
  readonly driverArea: AddressHalves
  readonly deviceArea: AddressHalves
  readonly ready: boolean
  /** Absent: the queue is not at work. */
  readonly queue?: QueueState
}

/** What a device remembers besides its queues and its configuration space: versioned, JSON-safe. */
export interface DeviceState {
  readonly version: 1
  /** Device id. */
  readonly id: number
  /** The device's own; what it means is the device's business. */
  readonly state: Plain
}

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
  /** The driver uses the legacy interface; `live`: it has begun to use the device, which it may without DRIVER_OK. */
  readonly legacy?: { readonly live: boolean }
  /** The driver waits for the device to be suspended. */
  readonly suspending?: true
  /** The device has to tell of a change of its configuration when it is suspended no more. */
  readonly changePending?: true
}

/** What decides how a queue is saved. */
interface Negotiated {
  readonly status: number
  readonly legacy: boolean
  readonly rings: RingFeatures
}

const areas: readonly QueueArea[] = ['descriptorArea', 'driverArea', 'deviceArea']

/**
 * The state of a device and its control, at any time between two calls from the driver. Guest memory is not in it. A reset, of the device or of a queue, that waits for
 * asynchronous work is saved as done: that work belongs to the memory that is left behind, and `await` is what tells when it is over there.
 */
export function saveDevice(control: DeviceControl): ControlState {
  // The queues first: what they have held back becomes visible now, and may be found to be wrong.
  const isReset = control.isResetting
  const queues = control.$queues.map((queue) => (queue === undefined ? null : savedRegisters(queue, isReset)))
  const { device } = control
  return {
    version: 1,
    status: isReset ? 0 : control.status,
    features: (isReset ? FeatureSet.empty : control.driverFeatures).toString(),
    ...savedConfig(device.config, isReset),
    queues,
    device: { version: 1, id: device.id, state: device.saveState() },
    ...(control.$legacy && !isReset && { legacy: { live: control.$isLive } }),
    ...(control.$isSuspending && { suspending: true }),
    ...(control.$isChangePending && { changePending: true }),
  }
}

/** The configuration space, as it is or as it will be when a reset is done. */
function savedConfig(config: ConfigSpace, isReset: boolean): Pick<ControlState, 'config' | 'configGeneration'> {
  const now = { config: saveConfig(config), configGeneration: config.generation }
  if (!isReset) return now
  config.reset()
  const after = { config: saveConfig(config), configGeneration: config.generation }
  restoreConfig(config, now.config, now.configGeneration)
  return after
}

/**
 * Takes over a saved state and goes on from there; the driver does not notice. Guest memory must already be as it was. A device that was live is activated, its
 * queues go on from their positions, and chains that were out are delivered again.
 *
 * @throws StateError for what is not a saved state of such a device (id, queues and their largest sizes, length of the configuration space), or was negotiated with
 * features that are not offered here: nothing has changed then, except for what the device's own `restoreState` did
 * @throws Error when the driver has already begun with this device
 */
export function restoreDevice(control: DeviceControl, saved: ControlState): void {
  if (control.status !== 0 || control.$legacy || control.$isBusy)
    throw new Error('a state can be restored only into a device that no driver has begun with, or that is reset')
  const { device } = control
  const state = checkControlState(saved, device.id, device.queueSizes)
  const features = featuresFromHex(state.features)
  const legacy = state.legacy !== undefined
  if (legacy) checkOffered(features, legacyOffered(control))
  else if ((state.status & FEATURES_OK) !== 0) checkNegotiated(features, control.offered)
  const before = saveConfig(device.config)
  const generation = control.configGeneration
  restoreConfig(device.config, state.config, state.configGeneration)
  try {
    device.restoreState(state.device.state)
  } catch (error) {
    restoreConfig(device.config, before, generation)
    throw error
  }
  state.queues.forEach((queue, index) => {
    const registers = control.$queues[index]
    if (queue === null || registers === undefined) return
    registers.size = queue.size
    registers.ready = queue.ready
    for (const area of areas) for (const half of [0, 1] as const) registers.setHalf(area, half, queue[area][half])
  })
  // Of a device that needs a reset no queue goes on.
  const isAtWork = (state.status & DEVICE_NEEDS_RESET) === 0
  const { status, suspending = false, changePending = false } = state
  const live = isAtWork && (state.legacy?.live ?? (status & (DRIVER_OK | SUSPEND)) !== 0)
  control.$resume({ status, features, legacy, live, suspending, changePending }, isAtWork ? state.queues.map((queue) => queue?.queue) : [])
}

const noAddress: AddressHalves = [0, 0]

/** @param isReset - the whole device is being reset */
function savedRegisters(registers: QueueRegisters, isReset: boolean): QueueRegistersState {
  const { maximum } = registers
  // What is left when the reset, of the device or of the queue alone, is done.
  if (isReset || registers.resetting)
    return { maximum, size: maximum, descriptorArea: noAddress, driverArea: noAddress, deviceArea: noAddress, ready: false }
  const halves = (area: QueueArea): AddressHalves => [registers.half(area, 0), registers.half(area, 1)]
  const { size, queue } = registers
  const ready = registers.ready && !registers.stopping
  const state = { maximum, size, descriptorArea: halves('descriptorArea'), driverArea: halves('driverArea'), deviceArea: halves('deviceArea'), ready }
  return queue === undefined ? state : { ...state, queue: queue.save() }
}

function checkOffered(features: FeatureSet, offered: FeatureSet): void {
  const missing = features.difference(offered)
  if (!missing.isEmpty)
    throw new StateError('features', `the driver uses features that are not offered here: ${featureNames(missing, reservedFeatures).join(', ')}`)
}

function checkNegotiated(features: FeatureSet, offered: FeatureSet): void {
  checkOffered(features, offered)
  if (!features.has(VIRTIO_F_VERSION_1)) throw new StateError('features', 'the driver has not accepted VIRTIO_F_VERSION_1')
}

function halves(value: unknown, name: string): AddressHalves {
  const words = list(value, name)
  if (words.length !== 2) wrong(name, value, 'two 32-bit words')
  return [savedInteger(words[0], 0xffff_ffff, name), savedInteger(words[1], 0xffff_ffff, name)]
}

function queueRegisters(value: unknown, maximum: number, negotiated: Negotiated, name: string): QueueRegistersState | null {
  if (maximum === 0) return value === null ? null : wrong(name, value, 'null, as the device has no such queue')
  const state = object<QueueRegistersState>(value, name)
  if (state.maximum !== maximum) wrong(`${name}.maximum`, state.maximum, `${maximum}, the largest size of the queue here`)
  const registers = {
    maximum,
    size: savedInteger(state.size, 0xffff_ffff, `${name}.size`),
    descriptorArea: halves(state.descriptorArea, `${name}.descriptorArea`),
    driverArea: halves(state.driverArea, `${name}.driverArea`),
    deviceArea: halves(state.deviceArea, `${name}.deviceArea`),
    ready: flag(state.ready, `${name}.ready`),
  }
  // Of a device that needs a reset no queue goes on.
  if ((negotiated.status & DEVICE_NEEDS_RESET) !== 0) return registers
  if (state.queue === undefined) return registers.ready ? wrong(`${name}.queue`, undefined, 'there, as the queue is ready') : registers
  const isNegotiated = negotiated.legacy || (negotiated.status & FEATURES_OK) !== 0
  if (!registers.ready || registers.size === 0 || registers.size > maximum || !isNegotiated)
    wrong(name, registers, `ready, of 1 to ${maximum} entries and behind FEATURES_OK, as it is at work`)
  return { ...registers, queue: checkQueueState(state.queue, registers.size, negotiated.rings, `${name}.queue`) }
}

/**
 * Checks what claims to be a saved state. Configuration and device check their own parts.
 *
 * @param value - anything
 * @param id - of the device that it is for
 * @param queueSizes - maximal sizes of its queues
 * @throws StateError that names the member, with what is expected and what is there
 */
function checkControlState(value: unknown, id: number, queueSizes: readonly number[]): ControlState {
  const state = object<ControlState>(value, 'it')
  if (state.version !== 1) wrong('version', state.version, '1')
  const status = savedInteger(state.status, 0xff, 'status')
  const legacy = state.legacy === undefined ? undefined : { live: flag(object<{ live: boolean }>(state.legacy, 'legacy').live, 'legacy.live') }
  const isPossible = legacy ? isLegacyStatus : isStatus
  if (!isPossible(status)) wrong('status', status, 'bits in the order of the initialization')
  const features = featureSet(state.features)
  const negotiated = { status, legacy: legacy !== undefined, rings: ringFeaturesOf(features) }
  const queues = list(state.queues, 'queues')
  if (queues.length !== queueSizes.length) wrong('queues', queues, `those of a device with ${queueSizes.length} queues`)
  return {
    version: 1,
    status,
    features: features.toString(),
    config: text(state.config, 'config'),
    configGeneration: savedInteger(state.configGeneration, 0xffff_ffff, 'configGeneration'),
    queues: queues.map((queue, index) => queueRegisters(queue, queueSizes[index] as number, negotiated, `queues[${index}]`)),
    device: deviceState(state.device, id),
    ...(legacy && { legacy }),
    ...marks(state),
  }
}

/** What is there only while it holds. */
function marks(state: Members<ControlState>): Pick<ControlState, 'suspending' | 'changePending'> {
  const { suspending = true, changePending = true } = state
  if (suspending !== true) wrong('suspending', suspending, 'true or absent')
  if (changePending !== true) wrong('changePending', changePending, 'true or absent')
  return { ...(state.suspending === true && { suspending }), ...(state.changePending === true && { changePending }) }
}

function featureSet(value: unknown): FeatureSet {
  const digits = text(value, 'features')
  try {
    return featuresFromHex(digits)
  } catch {
    return wrong('features', digits, 'at most 32 hexadecimal digits')
  }
}

function deviceState(value: unknown, id: number): DeviceState {
  const state = object<DeviceState>(value, 'device')
  if (state.version !== 1) wrong('version of the device', state.version, '1')
  if (state.id !== id) wrong('id of the device', state.id, String(id))
  return state as DeviceState
}
