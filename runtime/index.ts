/** `virtgen/runtime`: memory, queues, devices and drivers, whatever the transport. */
export { Chain, ChainBytes, ReadableBytes, WritableBytes } from './chain.ts'
export { type ConfigField, ConfigSpace } from './config-space.ts'
export { restoreConfig, saveConfig } from './config-state.ts'
export type { CreateQueue } from './control-options.ts'
export { type DeviceHost, type Plain, type SharedMemory, VirtioDevice } from './device.ts'
export { DeviceControl, type DeviceControlOptions, type DeviceControlSettings } from './device-control.ts'
export { createDeviceQueue, createSplitDeviceQueue } from './device-queue.ts'
export type { DeviceQueueOptions } from './device-queue-options.ts'
export { type AddressHalves, type ControlState, type DeviceState, type QueueRegistersState, restoreDevice, saveDevice } from './device-state.ts'
export { dispose } from './dispose.ts'
export { connect as connectDriver, type DriverConnection, type DriverInterface, type DriverOptions, type VectorConnection } from './driver/connect.ts'
export { DeviceDriver, type ReadablePayload, type WritablePayload } from './driver/device-driver.ts'
export { type DriverConfig, DriverError, type DriverErrorKind, type DriverHost, type DriverType, RequestError } from './driver/host.ts'
export { type DmaBuffer, DriverMemory } from './driver/memory.ts'
export { driverRingFeatures } from './driver/negotiate.ts'
export { type Doorbell, type DriverSharedMemory, type DriverTransport, driverEvents, type RegisterBus } from './driver/transport.ts'
export { createDriverQueue, type DriverQueueOptions } from './driver-queue.ts'
export { GuestRange } from './guest-range.ts'
export { bytesToHex, putHex } from './hex.ts'
export { LegacyControl, type LegacyQueuePlace } from './legacy-control.ts'
export { type AnyRingLog, createLoggedDeviceQueue } from './logged-device-queue.ts'
export { GuestMemory, type MemoryRegion, type OnWrite, type RegionOptions, type RegionSource } from './memory.ts'
export { BufferedNotifier } from './notify/buffered-notifier.ts'
export { type BadDoorbell, DoorbellRange, type DoorbellRangeOptions } from './notify/doorbell-range.ts'
export type { DriverNotify } from './notify/driver-notify.ts'
export { NotificationCounter } from './notify/notification-counter.ts'
export { NotifyEvent, type NotifySignals } from './notify/notify-event.ts'
export type {
  DeviceAddress,
  DeviceQueue,
  DriverQueue,
  DriverQueueState,
  QueueInspection,
  QueueSetup,
  QueueState,
  RingFeatures,
  SavedBuffer,
  SavedChain,
  SavedDriverBuffer,
} from './queue.ts'
export { type ClosedQueue, cancelQueue, closeQueue, holdQueue, openQueue, queueDrained } from './queue-control.ts'
export {
  type AreaLayout,
  negotiateQueueSize,
  placeQueue,
  type QueueLayout,
  type QueueLayoutOptions,
  queueLayout,
  type RequestAreaLayout,
} from './queue-layout.ts'
export type { DeviceRequest } from './request/device-request.ts'
export { EventDevice } from './request/event-device.ts'
export { type Outcome, PARKED, UNKNOWN } from './request/outcome.ts'
export { RequestDevice, type RequestDeviceOptions } from './request/request-device.ts'
export { defaultRingFeatures, ringFeaturesOf } from './ring-features.ts'
export type { PackedRingLog, RingLog, SplitRingLog } from './ring-log.ts'
export { StateError } from './saved-value.ts'
export { ChainStream, type ChainStreamOptions } from './stream/chain-stream.ts'
export { type ConfigureQueueMessage, checkQueue, configureFromStream, type QueueCheck, type ReadyMessage } from './stream/configure-from-stream.ts'
export { type BadNotification, Device } from './stream/device.ts'
export { DeviceBuilder, type DeviceBuilderOptions, type QueueConfig } from './stream/device-builder.ts'
export { DeviceError, type DeviceErrorKind } from './stream/device-error.ts'
export type { DriverNotification, RunNotifyOptions, StopSignal } from './stream/run-notify.ts'
export type { Violation, ViolationKind } from './violation.ts'
