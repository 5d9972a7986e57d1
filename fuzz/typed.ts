/** What a violation must look like, whatever caused it. */
import type { Violation, ViolationKind } from '../runtime/violation.ts'
import { require } from './failure.ts'

/** Kinds of violations that a queue can find. */
export const ringKinds: Readonly<Record<Exclude<ViolationKind, 'request-size' | 'event-size' | 'device-failed'>, true>> = {
  'queue-size': true,
  'queue-address': true,
  'available-index': true,
  'descriptor-index': true,
  'descriptor-loop': true,
  'chain-length': true,
  'chain-bytes': true,
  'descriptor-address': true,
  'descriptor-order': true,
  'descriptor-flags': true,
  'indirect-nested': true,
  'indirect-next': true,
  'indirect-table': true,
  'indirect-not-negotiated': true,
  'in-flight': true,
  'used-index': true,
  'used-id': true,
  'used-length': true,
  features: true,
}

/** What a number becomes that was read from where nothing is. */
const nothing = /undefined|NaN|null|\[object/

export function requireTyped(violation: Violation, queue: number): void {
  const { kind, detail, head } = violation
  require(Object.hasOwn(ringKinds, kind), `a violation of kind ${kind}`)
  require(violation.queue === queue, `a violation of queue ${violation.queue} and not of ${queue}`)
  require(typeof detail === 'string' && detail !== '' && !nothing.test(detail), `a violation with the detail "${detail}"`)
  // A device may name what is no head at all.
  const largest = kind === 'used-id' ? 0xffff_ffff : 0xffff
  require(head === undefined || (Number.isInteger(head) && head >= 0 && head <= largest), `a violation with the head ${head}`)
}
