/** A device behind a transport, as an execution gets at it. */
import type { VirtioDevice } from '../../runtime/device.ts'
import type { DeviceControl, DeviceControlSettings } from '../../runtime/device-control.ts'
import type { QueueSetup } from '../../runtime/queue.ts'
import type { TestMemory } from '../../runtime/testing/memory.ts'

/** Registers that the guest reaches by offset: a window in memory, a BAR, a configuration space. */
export interface Window {
  readonly name: string
  /** Bytes. */
  readonly size: number
  /** Where registers begin. */
  readonly offsets: readonly number[]
  /** What is to be compared: begin, and end behind the last byte. */
  readonly parts: readonly (readonly [begin: number, end: number])[]
  read(offset: number, width: number): number
  write(offset: number, width: number, value: number): void
}

/** The transport under test: its windows, and what a driver that knows it does there. */
export interface Subject {
  readonly control: DeviceControl
  readonly windows: readonly Window[]
  /** What a driver does first, where there is something; also after resets. */
  prepare?(): void
  status: number
  offered(word: number): number
  accept(word: number, value: number): void
  /** Where the parts of a queue go that this transport wants in one piece; absent: they may be anywhere. */
  place?(memory: TestMemory, size: number): Pick<QueueSetup, 'descriptorArea' | 'driverArea' | 'deviceArea'>
  /** Entries that a queue has, where the driver has no choice. */
  sizeOf?(index: number): number
  /** Sets up a queue and hands it over. */
  setUpQueue(setup: QueueSetup): void
  stopQueue(index: number): void
  resetQueue(index: number): void
  notify(index: number, value: number): void
  /** Takes the interrupt. Says whether it was one of this device's. */
  acknowledge(): boolean
  /** Reads every register that a selector shows, for each value that the selector can have and some that it cannot. */
  probe(see: (value: number) => void): void
  save(): unknown
  restore(state: unknown): void
  /** A reset that leaves nothing of the transport's own registers either. */
  powerOn?(): void
  /** Brings what a reset of the device leaves alone, the transport's own registers, to where another one has it; or what even `powerOn` leaves alone. */
  takeOver?(other: Subject, isPoweredOn: boolean): void
}

/** What a subject tells its machine. */
export interface SubjectSettings extends DeviceControlSettings {
  /** An interrupt of whatever kind. */
  readonly interrupted: (...what: readonly number[]) => void
  /** A number that chooses among what the transport lets a VMM choose. */
  readonly variant: number
}

export type MakeSubject = (device: VirtioDevice, settings: SubjectSettings) => Subject

/** Selectors that lead somewhere, and such as do not. */
export const selectors: readonly number[] = [0, 1, 2, 3, 4, 5, 7, 31, 0x1_0000, 0x8000_0000, 0xffff_ffff]
