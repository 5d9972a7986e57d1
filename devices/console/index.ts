/** `virtgen/devices/console`: terminals and named ports for guests. */
export { Console, type ConsoleOptions } from './console.ts'
export type { ConsolePort, ConsolePortOptions, ConsoleSize } from './port.ts'
