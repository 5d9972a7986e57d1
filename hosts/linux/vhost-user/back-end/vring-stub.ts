/** Stands in for ../vring.ts until that is there. */
import { createDeviceQueue, type DeviceQueue, type DeviceQueueOptions, type GuestMemory, type QueueSetup, type QueueState } from 'virtgen/runtime'

export interface VringStart {
  base: number
  inFlight?: Uint8Array
}
export function createVring(memory: GuestMemory, setup: QueueSetup, options: DeviceQueueOptions, { base }: VringStart): DeviceQueue {
  const available = base & 0xffff
  const used = options.packed ? base >>> 16 : (memory.resolve(setup.deviceArea, 4)?.[2] ?? 0) + (memory.resolve(setup.deviceArea, 4)?.[3] ?? 0) * 256
  return createDeviceQueue(memory, setup, { ...options, state: { available: options.packed ? available : used, used, inFlight: [] } })
}
export function vringBase(state: QueueState, packed: boolean): number {
  return packed ? (state.available | (state.used << 16)) >>> 0 : state.used
}
