/** What a queue or a device tells the world, written down. */
import type { GuestMemory } from '../memory.ts'
import type { Violation } from '../violation.ts'
import { differences, type Range, type TestMemory } from './memory.ts'

/** Something that was told, in the order in which it was. */
export type RecordedEvent =
  | { readonly event: 'notify'; readonly queue: number }
  | { readonly event: 'write'; readonly address: number; readonly length: number }
  | { readonly event: 'violation'; readonly violation: Violation }
  | { readonly event: 'config' }
  | { readonly event: 'error'; readonly error: unknown }

/**
 * Counts notifications, and writes down what `onWrite` hears and which violations are found.
 *
 * @example
 * const recorder = new Recorder()
 * recorder.watch(memory)
 * const queue = createDeviceQueue(memory, setup, { ...features, notify: recorder.notify, fail: recorder.fail })
 * recorder.notifications // since the last `takeNotifications` or `clear`
 */
export class Recorder {
  /** Everything since the last `clear`. */
  readonly events: RecordedEvent[] = []
  /** Used buffer notifications since the last `clear` or `takeNotifications`. */
  notifications = 0
  readonly violations: Violation[] = []
  /** Calls of `onWrite`. */
  readonly writes: Range[] = []
  /** What the device threw, or its author's `onError` heard. */
  readonly errors: unknown[] = []
  /** Configuration change notifications. */
  configChanges = 0

  /** For the options of queues and controls. */
  readonly notify = (queue = 0): void => {
    this.notifications++
    this.events.push({ event: 'notify', queue })
  }
  readonly fail = (violation: Violation): void => {
    this.violations.push(violation)
    this.events.push({ event: 'violation', violation })
  }
  readonly wrote = (address: number, length: number): void => {
    this.writes.push({ address, length })
    this.events.push({ event: 'write', address, length })
  }
  readonly configChanged = (): void => {
    this.configChanges++
    this.events.push({ event: 'config' })
  }
  readonly error = (error: unknown): void => {
    this.errors.push(error)
    this.events.push({ event: 'error', error })
  }

  /** Listens to a memory; one that listens already goes on to hear, after this one. */
  watch(memory: GuestMemory): void {
    const { onWrite } = memory
    memory.onWrite = (address, length) => {
      this.wrote(address, length)
      onWrite?.(address, length)
    }
  }

  /** The count of used buffer notifications, which begins anew. */
  takeNotifications(): number {
    const { notifications } = this
    this.notifications = 0
    return notifications
  }

  clear(): void {
    this.notifications = 0
    this.configChanges = 0
    for (const list of [this.events, this.violations, this.writes, this.errors]) list.length = 0
  }

  /**
   * Every byte that has changed was told to `onWrite`: what a VMM needs for dirty logging and for throwing away translated code.
   *
   * @param before - bytes from `address` on, as they were when the recorder was cleared
   * @param after - as they are now
   * @throws Error that names the first byte of which nobody heard
   */
  expectWritesCover(before: Uint8Array, after: Uint8Array, address = 0): void {
    this.#expectCovered(differences(before, after, address))
  }

  /** The same for all that somebody else than the test has changed in a {@link TestMemory} since its last `settle`. */
  expectWritesCoverChanges(memory: TestMemory): void {
    this.#expectCovered(memory.changes())
  }

  #expectCovered(changed: readonly Range[]): void {
    const heard = this.writes.toSorted((a, b) => a.address - b.address)
    for (const { address, length } of changed) {
      let at = address
      for (const write of heard) if (write.address <= at) at = Math.max(at, write.address + write.length)
      if (at < address + length) throw new Error(`the byte at 0x${at.toString(16)} was changed, and onWrite did not hear of it`)
    }
  }
}
