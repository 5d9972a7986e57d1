/** The check of a saved queue: a snapshot comes from wherever it was kept, and what it says ends up in a ring. */
import { split_ring_limits } from 'virtgen/wire/split-ring'
import type { QueueState, RingFeatures, SavedBuffer, SavedChain } from './queue.ts'
import { list, object, savedInteger, wrong } from './saved-value.ts'

const { split_ring_index_wrap: indexWrap, split_ring_max_chain_length: mostBytes } = split_ring_limits
const largestId = 0xffff
/** Bit 15 of a packed position is its wrap counter. */
const wrapCounter = 0x8000

/**
 * Checks the state of a queue: each member for itself, and that the positions are as far apart as the chains in flight take.
 *
 * @param value - anything
 * @param size - of the queue, at least 1
 * @param name - of the state, for errors
 * @throws RangeError that names the member, with what is expected and what is there
 */
export function checkQueueState(value: unknown, size: number, rings: RingFeatures, name: string): QueueState {
  const state = object<QueueState>(value, name)
  const chains = list(state.inFlight, `${name}.inFlight`)
  if (chains.length > size) wrong(`${name}.inFlight`, chains, `at most ${size} chains, one for each entry of the queue`)
  const inFlight = chains.map((chain, index) => savedChain(chain, size, rings, `${name}.inFlight[${index}]`))
  const oldest = inFlight[0]
  if (typeof oldest === 'object' && oldest.written !== undefined)
    wrong(`${name}.inFlight[0].written`, oldest.written, 'absent: the oldest chain waits for none')
  const heads = inFlight.map((chain) => (typeof chain === 'number' ? chain : chain.head))
  if (new Set(heads).size !== heads.length) wrong(`${name}.inFlight`, heads, 'chains that begin at different heads')
  const available = position(state.available, size, rings, `${name}.available`)
  const used = position(state.used, size, rings, `${name}.used`)
  const taken = inFlight.reduce((sum: number, chain) => sum + (typeof chain === 'number' ? 1 : (chain.slots ?? 1)), 0)
  const apart = rings.packed ? distance(used, available, size) : (available - used) & (indexWrap - 1)
  if (apart !== taken || taken > size) wrong(`${name}.available`, available, `${taken} entries beyond ${used}, as the chains in flight take those`)
  return { available, used, inFlight }
}

/** From one packed position to another: less than one round where the wrap counters are the same, else what is left of one round and the begin of the next. */
function distance(from: number, to: number, size: number): number {
  const offset = (to & ~wrapCounter) - (from & ~wrapCounter)
  return ((from ^ to) & wrapCounter) === 0 ? offset : offset + size
}

function position(value: unknown, size: number, { packed }: RingFeatures, name: string): number {
  const at = savedInteger(value, indexWrap - 1, name)
  if (packed && (at & ~wrapCounter) >= size) wrong(name, value, `a place in a ring of ${size} entries, with the wrap counter in bit 15`)
  return at
}

function savedChain(value: unknown, size: number, rings: RingFeatures, name: string): number | SavedChain {
  const largest = rings.packed ? largestId : size - 1
  if (typeof value === 'number' && !rings.packed) return savedInteger(value, largest, name)
  const chain = object<SavedChain>(value, name)
  const head = savedInteger(chain.head, largest, `${name}.head`)
  if (chain.written !== undefined && !rings.inOrder) wrong(`${name}.written`, chain.written, 'absent without VIRTIO_F_IN_ORDER')
  const written = chain.written === undefined ? {} : { written: savedInteger(chain.written, mostBytes, `${name}.written`) }
  if (rings.packed) {
    const slots = savedInteger(chain.slots, size, `${name}.slots`)
    if (slots === 0) wrong(`${name}.slots`, slots, 'at least 1')
    // Of a chain that is complete the buffers do not matter any more.
    if (chain.buffers === undefined && chain.written !== undefined) return { head, ...written, slots }
    return { head, ...written, slots, buffers: savedBuffers(chain.buffers, `${name}.buffers`) }
  }
  for (const member of ['slots', 'buffers'] as const)
    if (chain[member] !== undefined) wrong(`${name}.${member}`, chain[member], 'absent without VIRTIO_F_RING_PACKED')
  return { head, ...written }
}

/** Those that the device reads come first, and all together have at most 2^32 bytes: as in any chain. */
function savedBuffers(value: unknown, name: string): SavedBuffer[] {
  const buffers = list(value, name)
  if (buffers.length > indexWrap) wrong(name, buffers.length, `at most ${indexWrap} buffers`)
  let bytes = 0
  let begins = 0
  return buffers.map((each, index) => {
    const buffer = list(each, `${name}[${index}]`)
    if (buffer.length !== 3) wrong(`${name}[${index}]`, each, 'an address, a length, and 1 where the device writes')
    const length = savedInteger(buffer[1], mostBytes - 1, `${name}[${index}][1]`)
    const writable = savedInteger(buffer[2], 1, `${name}[${index}][2]`) as 0 | 1
    const address = savedInteger(buffer[0], Number.MAX_SAFE_INTEGER - length, `${name}[${index}][0]`)
    if (writable < begins) wrong(`${name}[${index}][2]`, writable, '1 behind a buffer that the device writes')
    begins = writable
    bytes += length
    if (bytes > mostBytes) wrong(`${name}[${index}][1]`, length, `at most ${mostBytes - bytes + length}, as a chain has at most ${mostBytes} bytes`)
    return [address, length, writable]
  })
}
