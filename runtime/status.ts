/** The device status as a driver may move it. VIRTIO 1.4, Basic Facilities of a Virtio Device / Device Status Field. */
import { ACKNOWLEDGE, DEVICE_NEEDS_RESET, DRIVER, DRIVER_OK, FAILED, FEATURES_OK, SUSPEND } from 'virtgen/wire/content'

/** The steps of General Initialization And Device Operation / Device Initialization, in their order. */
const initializationSteps: readonly number[] = [ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK]

/** What the status may hold of those bits, by the number of steps done. */
const progress: readonly number[] = initializationSteps.map((_, index) => initializationSteps.slice(0, index + 1).reduce((all, bit) => all | bit, 0))
const stepBits = ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK
const none: readonly number[] = []

/** How many steps of the initialization a status has done; -1 where a later bit is set without an earlier one. */
function stepsDone(status: number): number {
  const bits = status & stepBits
  return bits === 0 ? 0 : progress.indexOf(bits) + 1 || -1
}

/**
 * The steps that a driver's write of a value other than 0 (a reset) adds to the status, in their order.
 *
 * - Several at once are fine: many drivers write ACKNOWLEDGE and DRIVER together.
 * - A write that lacks a step already done would clear its bit, which the driver MUST NOT do: nothing is added.
 * - A step without all those before it: nothing is added.
 * - After FAILED only a reset leads on: nothing is added. A write with FAILED is the end of all steps, whatever else it says.
 * - DEVICE_NEEDS_RESET belongs to the device, SUSPEND is no step, the other bits have no meaning: whether they are set in the value decides nothing.
 */
export function addedSteps(status: number, value: number): readonly number[] {
  if (((status | value) & FAILED) !== 0) return none
  const before = stepsDone(status)
  const after = stepsDone(value)
  return after > before ? initializationSteps.slice(before, after) : none
}

/** A suspended device is one that was live, and is not. */
const suspended = ACKNOWLEDGE | DRIVER | FEATURES_OK | SUSPEND

/** Says whether a status can come about: the steps in order, or suspended, besides FAILED and DEVICE_NEEDS_RESET. */
export function isStatus(value: number): boolean {
  const steps = value & ~(FAILED | DEVICE_NEEDS_RESET)
  return Number.isInteger(value) && value >= 0 && (steps === suspended || ((steps & ~stepBits) === 0 && stepsDone(steps) >= 0))
}

/** What a driver can set on the legacy interface, which has no FEATURES_OK. */
export const legacySteps = ACKNOWLEDGE | DRIVER | DRIVER_OK | FAILED

/** Says whether a status can come about on the legacy interface; the bits came there in any order. */
export function isLegacyStatus(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && (value & ~(legacySteps | DEVICE_NEEDS_RESET)) === 0
}
