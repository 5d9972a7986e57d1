/** `virtgen/mmio`: Virtio Over MMIO, both sides. */
export { MmioDevice, type MmioDeviceOptions, type MmioDeviceState } from './device.ts'
export { connectMmio, type MmioBus, type MmioConnection, type MmioDriverOptions } from './driver.ts'
