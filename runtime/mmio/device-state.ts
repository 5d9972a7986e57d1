/** The saved state of a device behind registers: plain data that JSON carries unchanged. */
import { mmio_interrupt } from 'virtgen/wire/transport-mmio'
import { type ControlState, restoreDevice, saveDevice } from '../device-state.ts'
import { savedInteger, wrong } from '../saved-value.ts'
import type { MmioDevice } from './device.ts'

/** A saved device, with its selectors and pending interrupts. */
export interface MmioDeviceState {
  readonly version: 1
  readonly deviceFeaturesSel: number
  readonly driverFeaturesSel: number
  readonly queueSel: number
  readonly interruptStatus: number
  readonly control: ControlState
}

const largestWord = 0xffff_ffff
const pendingBits = mmio_interrupt.used_buffer | mmio_interrupt.config_change

/** See `saveDevice`. */
export function saveMmioDevice(slot: MmioDevice): MmioDeviceState {
  // First: it may raise an interrupt.
  const control = saveDevice(slot.control)
  const {
    $deviceFeaturesSel: deviceFeaturesSel,
    $driverFeaturesSel: driverFeaturesSel,
    $queueSel: queueSel,
    $interruptStatus: interruptStatus,
  } = slot
  return { version: 1, deviceFeaturesSel, driverFeaturesSel, queueSel, interruptStatus, control }
}

/** See `restoreDevice`. The interrupt line is driven as it was. */
export function restoreMmioDevice(slot: MmioDevice, state: MmioDeviceState): void {
  if (state?.version !== 1) wrong('version', state?.version, '1')
  const deviceFeaturesSel = savedInteger(state.deviceFeaturesSel, largestWord, 'deviceFeaturesSel')
  const driverFeaturesSel = savedInteger(state.driverFeaturesSel, largestWord, 'driverFeaturesSel')
  const queueSel = savedInteger(state.queueSel, largestWord, 'queueSel')
  const interruptStatus = savedInteger(state.interruptStatus, pendingBits, 'interruptStatus')
  // The pending events first: activation may add to them, and a driver that is called back acknowledges them.
  slot.$interruptStatus = interruptStatus
  try {
    restoreDevice(slot.control, state.control)
  } catch (error) {
    slot.$interruptStatus = 0
    throw error
  }
  slot.$deviceFeaturesSel = deviceFeaturesSel
  slot.$driverFeaturesSel = driverFeaturesSel
  slot.$queueSel = queueSel
  slot.$drive()
}
