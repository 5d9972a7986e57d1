/** Checks of a saved state of a driver's queue: it may come from a file. */
import { packed_ring_limits } from 'virtgen/wire/packed-ring'
import { split_ring_limits } from 'virtgen/wire/split-ring'
import { offsetMask, wrapBit } from './packed/event-offset.ts'
import type { DriverQueueState, SavedDriverBuffer } from './queue.ts'
import { list, object, savedInteger } from './saved-value.ts'

const { split_ring_index_wrap: indexWrap, split_ring_max_chain_length: mostBytes } = split_ring_limits

/** @throws RangeError for what is no state, or one in which no split queue of this size is */
export function checkSplitDriverState(value: DriverQueueState, tokens: readonly unknown[] | undefined, size: number, inOrder: boolean): void {
  const state = membersOf(value)
  const { available, used, out, descriptor } = state
  const distance = (available - used) & (indexWrap - 1)
  must(distance === out.length, `${distance} buffers are between used and available, not the ${out.length} of out`)
  checkBuffers(state, tokens, size, inOrder)
  const seen = new Set<number>()
  for (const { head, descriptors } of out) {
    must(typeof descriptors !== 'number' && descriptors[0] === head, `the descriptors of ${head} must begin with it`)
    for (const at of descriptors as readonly number[]) {
      must(isBelow(at, size) && !seen.has(at), `descriptor ${at} must be one of ${size} and in one buffer only`)
      seen.add(at)
    }
  }
  if (!inOrder) return
  must(descriptor === undefined ? out.length === 0 : isBelow(descriptor, size), `descriptor must be one of ${size}, not ${descriptor}`)
  const ring = [...seen, descriptor ?? 0]
  must(
    ring.every((at, i) => i === 0 || at === (ring[i - 1]! + 1) % size),
    'descriptors must lie in the order of the ring with VIRTIO_F_IN_ORDER',
  )
}

/** @throws RangeError for what is no state, or one in which no packed queue of this size is */
export function checkPackedDriverState(value: DriverQueueState, tokens: readonly unknown[] | undefined, size: number, inOrder: boolean): void {
  const state = membersOf(value)
  const { available, used, out } = state
  const isPosition = (position: number) => (position & offsetMask) < size
  must(isPosition(available) && isPosition(used), `available and used must be positions in a ring of ${size}, not ${available} and ${used}`)
  checkBuffers(state, tokens, size, inOrder)
  const lap = ((available ^ used) & wrapBit) === 0 ? 0 : size
  const distance = (available & offsetMask) - (used & offsetMask) + lap
  const taken = out.reduce((sum, { descriptors }) => sum + countOf(descriptors), 0)
  must(taken <= size, `at most ${size} descriptors can be out, not ${taken}`)
  must(distance === taken, `${distance} descriptors are between used and available, not the ${taken} of out`)
  const ids = new Set(out.map(({ head }) => head))
  must(ids.size === out.length, 'a buffer id may be out once only')
}

/** Descriptors of the ring that a saved buffer takes. */
export function countOf(descriptors: number | readonly number[]): number {
  return typeof descriptors === 'number' ? descriptors : descriptors.length
}

/** The state, where all of its members are what they must be for themselves. */
function membersOf(value: unknown): DriverQueueState {
  const state = object<DriverQueueState>(value, 'it')
  for (const member of ['available', 'used'] as const) savedInteger(state[member], indexWrap - 1, member)
  for (const [i, each] of list(state.out, 'out').entries()) {
    const { head, descriptors, writable } = object<SavedDriverBuffer>(each, `out[${i}]`)
    savedInteger(head, indexWrap - 1, `out[${i}].head`)
    savedInteger(writable, mostBytes, `out[${i}].writable`)
    for (const descriptor of Array.isArray(descriptors) ? descriptors : [descriptors])
      savedInteger(descriptor, indexWrap - 1, `out[${i}].descriptors`)
  }
  if (state.descriptor !== undefined) savedInteger(state.descriptor, indexWrap - 1, 'descriptor')
  if (state.batch !== undefined) {
    const { buffers, written } = object<NonNullable<DriverQueueState['batch']>>(state.batch, 'batch')
    savedInteger(buffers, indexWrap, 'batch.buffers')
    savedInteger(written, mostBytes, 'batch.written')
  }
  return state as DriverQueueState
}

function checkBuffers({ out, batch }: DriverQueueState, tokens: readonly unknown[] | undefined, size: number, inOrder: boolean): void {
  must(tokens?.length === out.length, `there must be ${out.length} tokens, not ${tokens?.length ?? 'none'}`)
  for (const { head, descriptors } of out) {
    must(isBelow(head, size), `a head must be from 0 to ${size - 1}, not ${head}`)
    const count = countOf(descriptors)
    must(
      isBelow(count - 1, Math.min(size, packed_ring_limits.packed_ring_max_queue_size)),
      `buffer ${head} must have 1 to ${size} descriptors, not ${count}`,
    )
  }
  if (batch === undefined) return
  must(inOrder, 'there are batches only with VIRTIO_F_IN_ORDER')
  must(isBelow(batch.buffers - 1, out.length), `a batch must have 1 to ${out.length} of the buffers that are out, not ${batch.buffers}`)
  const last = out[batch.buffers - 1]!
  must(isBelow(batch.written, last.writable + 1), `at most ${last.writable} bytes can be written into buffer ${last.head}, not ${batch.written}`)
}

function isBelow(value: number, end: number): boolean {
  return Number.isInteger(value) && value >= 0 && value < end
}

function must(holds: boolean, what: string): void {
  if (!holds) throw new RangeError(`saved state of a driver queue: ${what}`)
}
