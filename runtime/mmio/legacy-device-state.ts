/** The saved state of a device behind legacy registers: plain data that JSON carries unchanged. */
import { type ControlState, saveDevice } from '../device-state.ts'
import { list, object, savedInteger, wrong } from '../saved-value.ts'
import { largestWord, pendingBits, restoreBehind } from './device-state.ts'
import type { LegacyMmioDevice, LegacyMmioQueue, LegacyMmioRegisters } from './legacy-device.ts'

/** A saved device, with its registers and pending interrupts. */
export interface LegacyMmioDeviceState extends Readonly<LegacyMmioRegisters> {
  readonly version: 1
  readonly guestPageSize: number
  readonly interruptStatus: number
  /** What the driver wrote of each queue, by index; null where the device has no such queue. */
  readonly queues: readonly (Readonly<LegacyMmioQueue> | null)[]
  readonly control: ControlState
}

/** See `saveDevice`. */
export function saveLegacyMmioDevice(slot: LegacyMmioDevice): LegacyMmioDeviceState {
  // First: it may raise an interrupt.
  const control = saveDevice(slot.control)
  return {
    version: 1,
    ...slot.$registers,
    guestPageSize: slot.$guestPageSize,
    interruptStatus: slot.$interrupt.status,
    queues: slot.$queues.map((queue) => (queue === undefined ? null : { ...queue })),
    control,
  }
}

/** See `restoreDevice`. The interrupt line is driven as it was. */
export function restoreLegacyMmioDevice(slot: LegacyMmioDevice, saved: LegacyMmioDeviceState): void {
  const state = object<LegacyMmioDeviceState>(saved, 'it')
  if (state.version !== 1) wrong('version', state.version, '1')
  const word = (name: keyof LegacyMmioRegisters): number => savedInteger(state[name], largestWord, name)
  const registers = { hostFeaturesSel: word('hostFeaturesSel'), guestFeaturesSel: word('guestFeaturesSel'), queueSel: word('queueSel') }
  const guestPageSize = savedInteger(state.guestPageSize, largestWord, 'guestPageSize')
  const interruptStatus = savedInteger(state.interruptStatus, pendingBits, 'interruptStatus')
  const queues = savedQueues(state.queues, slot.device.queueSizes)
  if (saved.control?.legacy === undefined && saved.control?.status !== 0)
    wrong('control.legacy', undefined, 'there, as a driver has begun with the device')
  const { $registers, $guestPageSize, $queues } = slot
  Object.assign(slot, { $registers: registers, $guestPageSize: guestPageSize, $queues: queues })
  restoreBehind(slot, interruptStatus, saved.control, () => Object.assign(slot, { $registers, $guestPageSize, $queues }))
}

function savedQueues(value: unknown, sizes: readonly number[]): (LegacyMmioQueue | undefined)[] {
  const queues = list(value, 'queues')
  if (queues.length !== sizes.length) wrong('queues', value, `those of a device with ${sizes.length} queues`)
  return queues.map((each, index) => {
    const name = `queues[${index}]`
    if (sizes[index] === 0) return each === null ? undefined : wrong(name, each, 'null, as the device has no such queue')
    const { size, align } = object<LegacyMmioQueue>(each, name)
    return { size: savedInteger(size, largestWord, `${name}.size`), align: savedInteger(align, largestWord, `${name}.align`) }
  })
}
