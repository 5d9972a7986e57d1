/** What a guest is to prove of some devices: several of them share one boot. */
import type { Guest, PluggedDevice } from '../guest.ts'

export interface Proof {
  readonly devices: readonly PluggedDevice[]
  /** Declares the tests. */
  readonly prove: (guest: () => Guest) => void
}

export const text = new TextDecoder()
export const bytesOf = (words: string): Uint8Array => new TextEncoder().encode(words)
