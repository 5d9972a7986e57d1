/** `virtgen/linux`: devices for hypervisors and drivers for devices of other processes, on Linux. Needs the package koffi. */
export * from './system/index.ts'
