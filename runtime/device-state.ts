/** The saved state of a device behind a transport: versioned plain data that JSON carries unchanged, and the check of what comes back. */
import { type FeatureSet, featureNames, featuresFromHex } from 'virtgen/codegen/v1/wire'
import { DEVICE_NEEDS_RESET, FEATURES_OK, features as reservedFeatures, VIRTIO_F_VERSION_1 } from 'virtgen/wire/content'
import { restoreConfig, saveConfig } from './config-state.ts'
import type { Plain } from './device.ts'
import type { DeviceControl } from './device-control.ts'
import type { QueueState, RingFeatures } from './queue.ts'
import type { QueueArea, QueueRegisters } from './queue-registers.ts'
import { checkQueueState } from './queue-state.ts'
import { ringFeaturesOf } from './ring-features.ts'
import { flag, list, object, savedInteger, text, wrong } from './saved-value.ts'
import { isStatus } from './status.ts'

/** A 64-bit address in halves, the form in which transports move it: low, high. */
export type AddressHalves = readonly [low: number, high: number]

/** A queue in a saved state. */
export interface QueueRegistersState {
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
}

/** What decides how a queue is saved. */
interface Negotiated {
  readonly status: number
  readonly rings: RingFeatures
}

const areas: readonly QueueArea[] = ['descriptorArea', 'driverArea', 'deviceArea']

/**
 * The state of a device and its control, between two calls from the driver. Guest memory is not in it.
 *
 * @throws Error while a reset, or the stop of a queue, waits for asynchronous work: that cannot be saved. Await it before.
 */
export function saveDevice(control: DeviceControl): ControlState {
  if (control.$isBusy) throw new Error('a device cannot be saved while a reset goes on: await it and save then')
  // The queues first: what they have held back becomes visible now, and may be found to be wrong.
  const queues = control.$queues.map((queue) => (queue === undefined ? null : savedRegisters(queue)))
  const { device, status, driverFeatures, configGeneration } = control
  return {
    version: 1,
    status,
    features: driverFeatures.toString(),
    config: saveConfig(device.config),
    configGeneration,
    queues,
    device: { version: 1, id: device.id, state: device.saveState() },
  }
}

/**
 * Takes over a saved state and goes on from there; the driver does not notice. Guest memory must already be as it was. A device that was live is activated, its
 * queues go on from their positions, and chains that were out are delivered again.
 *
 * @throws RangeError for what is not a saved state of such a device, or was negotiated with features that are not offered here: nothing has changed then, except
 * for what the device's own `restoreState` did
 * @throws Error when the driver has already begun with this device
 */
export function restoreDevice(control: DeviceControl, saved: ControlState): void {
  if (control.status !== 0 || control.$isBusy)
    throw new Error('a state can be restored only into a device that no driver has begun with, or that is reset')
  const { device } = control
  const state = checkControlState(saved, device.id, device.queueSizes)
  const features = featuresFromHex(state.features)
  if ((state.status & FEATURES_OK) !== 0) checkNegotiated(features, control.offered)
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
  const states = state.queues.map((queue) => queue?.queue)
  control.$resume(state.status, features, (state.status & DEVICE_NEEDS_RESET) === 0 ? states : [])
}

function savedRegisters(registers: QueueRegisters): QueueRegistersState {
  const halves = (area: QueueArea): AddressHalves => [registers.half(area, 0), registers.half(area, 1)]
  const { size, ready, queue } = registers
  const state = { size, descriptorArea: halves('descriptorArea'), driverArea: halves('driverArea'), deviceArea: halves('deviceArea'), ready }
  return queue === undefined ? state : { ...state, queue: queue.save() }
}

function checkNegotiated(features: FeatureSet, offered: FeatureSet): void {
  const missing = features.difference(offered)
  if (!missing.isEmpty)
    throw new RangeError(`saved state: the driver uses features that are not offered here: ${featureNames(missing, reservedFeatures).join(', ')}`)
  if (!features.has(VIRTIO_F_VERSION_1)) throw new RangeError('saved state: the driver has not accepted VIRTIO_F_VERSION_1')
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
 * @param id - of the device that it is for
 * @param queueSizes - maximal sizes of its queues
 * @throws RangeError that names the member, with what is expected and what is there
 */
function checkControlState(value: unknown, id: number, queueSizes: readonly number[]): ControlState {
  const state = object<ControlState>(value, 'it')
  if (state.version !== 1) wrong('version', state.version, '1')
  const status = savedInteger(state.status, 0xff, 'status')
  if (!isStatus(status)) wrong('status', status, 'bits in the order of the initialization')
  const features = featuresFromHex(text(state.features, 'features'))
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
    device: deviceState(state.device, id),
  }
}

function deviceState(value: unknown, id: number): DeviceState {
  const state = object<DeviceState>(value, 'device')
  if (state.version !== 1) wrong('version of the device', state.version, '1')
  if (state.id !== id) wrong('id of the device', state.id, String(id))
  return state as DeviceState
}
