/** The device status as a driver may move it. VIRTIO 1.4, Basic Facilities of a Virtio Device / Device Status Field. */
import { ACKNOWLEDGE, DEVICE_NEEDS_RESET, DRIVER, DRIVER_OK, FAILED, FEATURES_OK } from 'virtgen/wire/content'

/** The steps of General Initialization And Device Operation / Device Initialization, in their order. */
export const initializationSteps: readonly number[] = [ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK]

/** What the status may hold of those bits, by the number of steps done. */
const progress: readonly number[] = initializationSteps.map((_, index) => initializationSteps.slice(0, index + 1).reduce((all, bit) => all | bit, 0))
const stepBits = ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK
const none: readonly number[] = []

/** How many steps of the initialization a status has done; -1 where a later bit is set without an earlier one. */
export function stepsDone(status: number): number {
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
 * - DEVICE_NEEDS_RESET belongs to the device, SUSPEND is not offered, the other bits have no meaning: whether they are set in the value decides nothing.
 */
export function addedSteps(status: number, value: number): readonly number[] {
  if (((status | value) & FAILED) !== 0) return none
  const before = stepsDone(status)
  const after = stepsDone(value)
  return after > before ? initializationSteps.slice(before, after) : none
}

/** Says whether a status can come about: the steps in order, besides FAILED and DEVICE_NEEDS_RESET. */
export function isStatus(value: number): boolean {
  return Number.isInteger(value) && (value & ~(stepBits | FAILED | DEVICE_NEEDS_RESET)) === 0 && value >= 0 && stepsDone(value) >= 0
}
