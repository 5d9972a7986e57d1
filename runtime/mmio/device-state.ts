/** The saved state of a device behind registers: plain data that JSON carries unchanged. */
import { mmio_interrupt } from 'virtgen/wire/transport-mmio'
import type { DeviceControl } from '../device-control.ts'
import { type ControlState, restoreDevice, saveDevice } from '../device-state.ts'
import { object, savedInteger, wrong } from '../saved-value.ts'
import type { MmioDevice, MmioSelectors } from './device.ts'
import type { MmioInterrupt } from './interrupt.ts'

/** A saved device, with its selectors and pending interrupts. */
export interface MmioDeviceState extends Readonly<MmioSelectors> {
  readonly version: 1
  readonly interruptStatus: number
  /** Shared memory regions that the guest finds, by id: it keeps their addresses. */
  readonly regions: readonly (readonly [id: number, address: number, length: number])[]
  readonly control: ControlState
}

/** @internal What 32-bit registers hold. */
export const largestWord = 0xffff_ffff
/** @internal All events. */
export const pendingBits = mmio_interrupt.used_buffer | mmio_interrupt.config_change

/** See `saveDevice`. */
export function saveMmioDevice(slot: MmioDevice): MmioDeviceState {
  // First: it may raise an interrupt.
  const control = saveDevice(slot.control)
  return { version: 1, ...slot.$selectors, interruptStatus: slot.$interrupt.status, regions: regionsOf(slot), control }
}

/**
 * See `restoreDevice`. The interrupt line is driven as it was.
 *
 * @throws StateError also where shared memory regions are not where the guest knows them
 */
export function restoreMmioDevice(slot: MmioDevice, saved: MmioDeviceState): void {
  const state = object<MmioDeviceState>(saved, 'it')
  if (state.version !== 1) wrong('version', state.version, '1')
  const word = (name: keyof MmioSelectors): number => savedInteger(state[name], largestWord, name)
  const selectors = {
    deviceFeaturesSel: word('deviceFeaturesSel'),
    driverFeaturesSel: word('driverFeaturesSel'),
    queueSel: word('queueSel'),
    shmSel: word('shmSel'),
  }
  const interruptStatus = savedInteger(state.interruptStatus, pendingBits, 'interruptStatus')
  const regions = JSON.stringify(regionsOf(slot))
  if (JSON.stringify(state.regions) !== regions) wrong('regions', state.regions, `${regions}, as here`)
  if (saved.control?.legacy !== undefined) wrong('control.legacy', saved.control.legacy, 'absent, as these registers are not the legacy ones')
  const before = slot.$selectors
  // All of it first: a driver that is called back while the device is activated finds it, and may change it.
  slot.$selectors = selectors
  restoreBehind(slot, interruptStatus, saved.control, () => {
    slot.$selectors = before
  })
}

function regionsOf({ $regions }: MmioDevice): MmioDeviceState['regions'] {
  return [...$regions].map(([id, { address, length }]) => [id, address, length] as const)
}

/** @internal Restores a device behind an interrupt; `undo` puts back what the registers were where it is refused. */
export function restoreBehind(
  slot: { readonly control: DeviceControl; readonly $interrupt: MmioInterrupt },
  interruptStatus: number,
  control: ControlState,
  undo: () => void,
): void {
  const { $interrupt: interrupt } = slot
  const before = interrupt.status
  // The pending events first: activation may add to them, and a driver that is called back acknowledges them.
  interrupt.status = interruptStatus
  try {
    restoreDevice(slot.control, control)
  } catch (error) {
    interrupt.status = before
    undo()
    throw error
  }
  interrupt.drive()
}
