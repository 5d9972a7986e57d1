/** The state of a chain, in one word so that a use begins with one store. */

/** The chain is with the device. */
export const chainOut = 1
/** The driver has not got the chain back: it is out, or about to be completed. */
export const chainBusy = 2
/** Views of guest memory were given out. */
export const chainLent = 4
/** Something was written, or given out to be written. */
export const chainTouched = 8
/** The end of the reset waits for the chain. */
export const chainAwaited = 16
/** The queue was reset while the chain was out. */
export const chainCancelled = 32
/** A descriptor crosses regions. */
export const chainJoined = 64
