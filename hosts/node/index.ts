/** `virtgen/node`: what Node has for devices. */
export { FileBackend, type FileOptions } from './file-backend.ts'
export { joinPort, type PortStreams } from './join-port.ts'
