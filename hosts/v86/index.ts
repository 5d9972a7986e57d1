/** `virtgen/v86`: virtio devices in v86. */
export { type V86DeviceOptions, type V86DevicesState, V86Machine, type V86MachineOptions } from './machine.ts'
