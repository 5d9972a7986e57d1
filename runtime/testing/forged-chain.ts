/** What the entries of the catalogues of chains have in common. */
import type { ViolationKind } from '../violation.ts'
import type { FakeDriver, RingFormat, RingPosition } from './fake-driver.ts'

/** What a catalogue entry wants of queue and driver; what is not given is as by default. */
export interface QueueNeeds {
  /** Entries of the ring. */
  readonly size?: number
  readonly indirect?: boolean
  /** Where both sides begin. */
  readonly position?: RingPosition
  /** Of the device queue. */
  readonly maxChainLength?: number | 'strict'
}

/** A chain that a driver must not make, or a ring that it must not leave. */
export interface ForgedChain {
  /** For the name of a test. */
  readonly title: string
  /** What the device must find; a format without one: it does not exist there. */
  readonly violation: Readonly<Partial<Record<RingFormat, ViolationKind>>>
  readonly needs?: QueueNeeds
  /** Chains that are right and that the device gets before; it must still have them when it comes to the wrong one. 0 by default. */
  readonly before?: number
  /** Makes it available. */
  forge(driver: FakeDriver): void
  /** What the driver does when the device has taken those that come before. */
  forgeLater?(driver: FakeDriver): void
}

/** A chain that looks odd, is right, and has to be taken. */
export interface UnusualChain {
  readonly title: string
  readonly formats: readonly RingFormat[]
  readonly needs?: QueueNeeds
  /** Bytes that the device finds in the two parts. */
  readonly readable: number
  readonly writable: number
  forge(driver: FakeDriver): void
}
