/** `virtgen/linux`: devices for hypervisors and drivers for devices of other processes, on Linux. Needs the package koffi. */
export * from './system/index.ts'
export * from './vhost-user/back-end/index.ts'
export { DirtyLog, type LoggedRing } from './vhost-user/dirty-log.ts'
export { clearInFlight, inFlightRegion, inFlightSize } from './vhost-user/in-flight.ts'
export { type ByteSource, MessageReader, type MessageReaderOptions } from './vhost-user/message-reader.ts'
export { encodeReply, encodeRequest, isAnswered, type MessageOf, type RequestMessage, type RequestTable } from './vhost-user/messages.ts'
export { ProtocolError, type ProtocolErrorKind } from './vhost-user/protocol-error.ts'
export { createVring, type VringStart, vringBase } from './vhost-user/vring.ts'
