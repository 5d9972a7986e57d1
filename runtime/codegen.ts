/**
 * `virtgen/codegen/v1/device`: what generated messages, skeletons and driver clients stand on. The contract is versioned; an incompatible one becomes `/v2`
 * beside it.
 */
export type { ReadableBytes, WritableBytes } from './chain.ts'
export { type ConfigField, ConfigSpace } from './config-space.ts'
export { DeviceDriver, type DeviceDriverOptions, type ReadablePayload, type WritablePayload } from './driver/device-driver.ts'
export type { DriverHost } from './driver/host.ts'
export type { DeviceRequest } from './request/device-request.ts'
export { EventDevice } from './request/event-device.ts'
export type {
  DeviceInfo,
  LayoutInfo,
  MessageInfo,
  PayloadInfo,
  QueueInfo,
  RequestContext,
  RequestInfo,
  StatusInfo,
} from './request/message.ts'
export type { Outcome } from './request/outcome.ts'
export { RequestDevice, type RequestDeviceOptions } from './request/request-device.ts'
