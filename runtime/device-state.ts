/** The saved state of a device behind a transport: versioned plain data that JSON carries unchanged, and the check of what comes back. */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { FEATURES_OK } from 'virtgen/wire/content'
import type { DeviceState } from './device.ts'
import type { QueueState } from './queue.ts'
import type { AddressHalves, QueueRegistersState } from './queue-registers.ts'
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

function wrong(name: string, value: unknown, expected: string): never {
  const text = JSON.stringify(value) ?? String(value)
  throw new RangeError(`saved state: ${name} must be ${expected}, not ${text.length > 60 ? `${text.slice(0, 60)}…` : text}`)
}

type Members<T> = { readonly [K in keyof T]?: unknown }

function object<T>(value: unknown, name: string): Members<T> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Members<T>) : wrong(name, value, 'an object')
}

function list(value: unknown, name: string): readonly unknown[] {
  return Array.isArray(value) ? value : wrong(name, value, 'an array')
}

/** Throws RangeError unless a saved value is an integer from 0 to a maximum. */
export function savedInteger(value: unknown, maximum: number, name: string): number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= maximum
    ? value
    : wrong(name, value, `an integer from 0 to ${maximum}`)
}

function flag(value: unknown, name: string): boolean {
  return typeof value === 'boolean' ? value : wrong(name, value, 'true or false')
}

function halves(value: unknown, name: string): AddressHalves {
  const words = list(value, name)
  if (words.length !== 2) wrong(name, value, 'two 32-bit words')
  return [savedInteger(words[0], 0xffff_ffff, name), savedInteger(words[1], 0xffff_ffff, name)]
}

function queueState(value: unknown, size: number, name: string): QueueState {
  const state = object<QueueState>(value, name)
  const heads = list(state.inFlight, `${name}.inFlight`).map((head) => savedInteger(head, size - 1, `${name}.inFlight`))
  if (new Set(heads).size !== heads.length) wrong(`${name}.inFlight`, heads, 'heads that differ')
  return {
    available: savedInteger(state.available, 0xffff, `${name}.available`),
    used: savedInteger(state.used, 0xffff, `${name}.used`),
    inFlight: heads,
  }
}

function queueRegisters(value: unknown, maximum: number, negotiated: boolean, name: string): QueueRegistersState | null {
  if (maximum === 0) return value === null ? null : wrong(name, value, 'null, as the device has no such queue')
  const state = object<QueueRegistersState>(value, name)
  const registers = {
    size: savedInteger(state.size, 0xffff_ffff, `${name}.size`),
    descriptorArea: halves(state.descriptorArea, `${name}.descriptorArea`),
    driverArea: halves(state.driverArea, `${name}.driverArea`),
    deviceArea: halves(state.deviceArea, `${name}.deviceArea`),
    ready: flag(state.ready, `${name}.ready`),
  }
  if (state.queue === undefined) return registers
  if (!registers.ready || registers.size > maximum || !negotiated)
    wrong(name, registers, `ready, of at most ${maximum} entries and behind FEATURES_OK, as it is at work`)
  return { ...registers, queue: queueState(state.queue, registers.size, `${name}.queue`) }
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
  const queues = list(state.queues, 'queues')
  if (queues.length !== queueSizes.length) wrong('queues', queues, `those of a device with ${queueSizes.length} queues`)
  if (typeof state.features !== 'string') wrong('features', state.features, 'hexadecimal digits')
  return {
    version: 1,
    status,
    features: FeatureSet.fromHex(state.features as string).toString(),
    config: typeof state.config === 'string' ? state.config : wrong('config', state.config, 'hexadecimal digits'),
    configGeneration: savedInteger(state.configGeneration, 0xffff_ffff, 'configGeneration'),
    queues: queues.map((queue, index) => queueRegisters(queue, queueSizes[index] as number, (status & FEATURES_OK) !== 0, `queues[${index}]`)),
    device: object<DeviceState>(state.device, 'device') as DeviceState,
  }
}
