// What is measured. Until device-queue.js is there: the split ring alone.
import { SplitDeviceQueue } from '../../dist/runtime/split/device-queue.js'

const both = await import('../../dist/runtime/device-queue.js').catch(() => undefined)
export const formats = both ? ['split', 'packed'] : ['split']

export function createDeviceQueue(memory, setup, options) {
  return both ? both.createDeviceQueue(memory, setup, options) : new SplitDeviceQueue(memory, setup, options)
}
