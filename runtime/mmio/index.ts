/** `virtgen/mmio`: Virtio Over MMIO, both sides. */
export { MmioDevice, type MmioDeviceOptions } from './device.ts'
export { type MmioDeviceState, restoreMmioDevice, saveMmioDevice } from './device-state.ts'
export { connectMmio, type MmioBus, type MmioConnection, type MmioDriverOptions } from './driver.ts'
