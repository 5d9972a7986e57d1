/** What a driver by hand does to a virtqueue, whatever its format. */
import type { Random } from './random.ts'

export interface HandOptions {
  /** Guest address of the memory for indirect tables. */
  readonly tables: number
  /** Guest address of the memory for buffers in the same region. */
  readonly room: number
  /** Where the ring begins. */
  readonly available: number
}

export interface DriverHand {
  /** Leaves the ring as it is after many rounds. */
  age(): void
  /** Makes a chain available. False: there is no room. `badness`: one buffer in so many is not where memory is, or has a strange length; infinite: none. */
  offer(random: Random, badness: number): boolean
  /** The device has used the chain. */
  returned(head: number): void
  /** Asks for a notification, or for none. `used`: where the device is. */
  wish(random: Random, used: number): void
  /** Breaks something. `available`: where the device looks for buffers. True: what the device alone may write. */
  mutate(random: Random, available: number): boolean
  /** Fills the ring with what has the form of descriptors, and makes some of it available. */
  garble(random: Random, available: number): void
}
