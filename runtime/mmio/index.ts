/** `virtgen/mmio`: Virtio Over MMIO, both sides. */
export { MmioDevice, type MmioDeviceOptions } from './device.ts'
export { connectMmio, type MmioBus, type MmioDriverOptions } from './driver.ts'
