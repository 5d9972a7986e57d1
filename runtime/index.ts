/** `virtgen/runtime`: memory, queues, devices and drivers, whatever the transport. */
export { Chain, ChainBytes, ReadableBytes, WritableBytes } from './chain.ts'
export { type ConfigField, ConfigSpace } from './config-space.ts'
export { type DeviceHost, type DeviceState, type Plain, VirtioDevice } from './device.ts'
export { DeviceControl, type DeviceControlOptions, type DeviceControlSettings } from './device-control.ts'
export type { ControlState } from './device-state.ts'
export { DeviceDriver, type ReadablePayload, type WritablePayload } from './driver/device-driver.ts'
export { type DriverConfig, DriverError, type DriverErrorKind, type DriverHost, type DriverType, RequestError } from './driver/host.ts'
export { type DmaBuffer, DriverMemory } from './driver/memory.ts'
export {
  createDriverQueue,
  type DriverQueueOptions,
  negotiateQueueSize,
  placeQueue,
  type QueueLayout,
  type QueueLayoutOptions,
  queueLayout,
} from './driver-queue.ts'
export { GuestMemory, type MemoryRegion, type RegionOptions, type RegionSource } from './memory.ts'
export type {
  DeviceAddress,
  DeviceQueue,
  DriverQueue,
  DriverQueueState,
  QueueInspection,
  QueueSetup,
  QueueState,
  RingFeatures,
  SavedDriverBuffer,
} from './queue.ts'
export type { DeviceRequest } from './request/device-request.ts'
export { type Outcome, PARKED, UNKNOWN } from './request/outcome.ts'
export { RequestDevice, type RequestDeviceOptions } from './request/request-device.ts'
export { type DeviceQueueOptions, SplitDeviceQueue } from './split/device-queue.ts'
export { SplitDriverQueue } from './split/driver-queue.ts'
export type { Violation, ViolationKind } from './violation.ts'
