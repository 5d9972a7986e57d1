// What is measured. Until the packed ring is there: the split one alone.
import { existsSync } from 'node:fs'
import { createDeviceQueue } from '../../dist/runtime/device-queue.js'

export { DriverMemory, GuestMemory } from 'virtgen/runtime'
export { createDeviceQueue }

const isThere = (name) => existsSync(new URL(`../../dist/runtime/${name}.js`, import.meta.url))
export const formats = isThere('packed/device-queue') ? ['split', 'packed'] : ['split']
export const driverFormats = isThere('packed/driver-queue') ? formats : isThere('driver-queue') ? ['split'] : []
export const { createDriverQueue } = isThere('driver-queue') ? await import('../../dist/runtime/driver-queue.js') : {}
