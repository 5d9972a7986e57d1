/** Checks of a saved state of a driver's queue: it may come from a file. */
import { packed_ring_limits } from 'virtgen/wire/packed-ring'
import { split_ring_limits } from 'virtgen/wire/split-ring'
import { offsetMask, wrapBit } from './packed/event-offset.ts'
import type { DriverQueueState } from './queue.ts'

const mostBytes = split_ring_limits.split_ring_max_chain_length

/** @throws RangeError for a state in which no split queue of this size is */
export function checkSplitDriverState(state: DriverQueueState, tokens: readonly unknown[] | undefined, size: number, inOrder: boolean): void {
  const { available, used, out, descriptor } = state
  const isIndex = (index: number) => isBelow(index, split_ring_limits.split_ring_index_wrap)
  must(isIndex(available) && isIndex(used), `available and used must be 16-bit indices, not ${available} and ${used}`)
  const distance = (available - used) & (split_ring_limits.split_ring_index_wrap - 1)
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

/** @throws RangeError for a state in which no packed queue of this size is */
export function checkPackedDriverState(state: DriverQueueState, tokens: readonly unknown[] | undefined, size: number, inOrder: boolean): void {
  const { available, used, out } = state
  const isPosition = (position: number) => isBelow(position, wrapBit * 2) && (position & offsetMask) < size
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

function checkBuffers({ out, batch }: DriverQueueState, tokens: readonly unknown[] | undefined, size: number, inOrder: boolean): void {
  must(tokens?.length === out.length, `there must be ${out.length} tokens, not ${tokens?.length ?? 'none'}`)
  for (const { head, descriptors, writable } of out) {
    must(isBelow(head, size), `a head must be from 0 to ${size - 1}, not ${head}`)
    const count = countOf(descriptors)
    must(
      isBelow(count - 1, Math.min(size, packed_ring_limits.packed_ring_max_queue_size)),
      `buffer ${head} must have 1 to ${size} descriptors, not ${count}`,
    )
    must(isBelow(writable, mostBytes + 1), `the writable bytes of buffer ${head} must be from 0 to ${mostBytes}, not ${writable}`)
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
