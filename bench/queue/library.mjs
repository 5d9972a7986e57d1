// What is measured. Until the factories are there: the split ring alone.
import { SplitDeviceQueue } from '../../dist/runtime/split/device-queue.js'
import { SplitDriverQueue } from '../../dist/runtime/split/driver-queue.js'

export { DriverMemory, GuestMemory } from 'virtgen/runtime'

const device = await import('../../dist/runtime/device-queue.js').catch(() => undefined)
const driver = await import('../../dist/runtime/driver-queue.js').catch(() => undefined)
export const formats = device ? ['split', 'packed'] : ['split']
export const driverFormats = driver ? ['split', 'packed'] : 'append' in SplitDriverQueue.prototype ? ['split'] : []

export function createDeviceQueue(memory, setup, options) {
  return device ? device.createDeviceQueue(memory, setup, options) : new SplitDeviceQueue(memory, setup, options)
}

export function createDriverQueue(memory, setup, options) {
  return driver ? driver.createDriverQueue(memory, setup, options) : new SplitDriverQueue(memory, setup, options)
}
