// What is measured. Until the packed ring is there: the split one alone.
import { existsSync } from 'node:fs'
import { createDeviceQueue } from '../../dist/runtime/device-queue.js'
import { createDriverQueue } from '../../dist/runtime/driver-queue.js'

export { DriverMemory, GuestMemory } from 'virtgen/runtime'
export { createDeviceQueue, createDriverQueue }

const isThere = (name) => existsSync(new URL(`../../dist/runtime/${name}.js`, import.meta.url))
export const formats = isThere('packed/device-queue') ? ['split', 'packed'] : ['split']
export const driverFormats = ['split', 'packed']
