/** `virtgen/node`: what Node has for devices. */
export { FileBackend, type FileOptions } from './file-backend.ts'
export { joinPort, type PortStreams } from './join-port.ts'
export { type StreamAddress, StreamBackend, type StreamOptions } from './stream-backend.ts'
export { TapBackend, type TapOptions } from './tap-backend.ts'
