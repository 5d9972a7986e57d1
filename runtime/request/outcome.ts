/** What a handler says of a request. */

/** The handler keeps the request and calls `request.complete` later. Nothing is allocated for a parked request. */
export const PARKED: unique symbol = Symbol('parked')

/** The device does not know the request. */
export const UNKNOWN: unique symbol = Symbol('unknown')

/**
 * Nothing: the request succeeded. A number: that is its status. A promise: the same, later; when it rejects, or when the handler throws, the request fails and
 * `onError` is called.
 */
// biome-ignore lint/suspicious/noConfusingVoidType: a handler without a return statement is the common one
export type Outcome = void | number | typeof PARKED | typeof UNKNOWN | Promise<void | number>
