// What is measured.

export { createDriverQueue, DriverMemory, GuestMemory } from 'virtgen/runtime'
export { createDeviceQueue } from '../../dist/runtime/device-queue.js'
export const formats = ['split', 'packed']
