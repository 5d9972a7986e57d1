/** The queue that comes of what a front-end says of a ring: where it goes on, and what is in flight. vhost-user, Starting and stopping rings. */
import {
  createDeviceQueue,
  createLoggedDeviceQueue,
  type DeviceQueue,
  type DeviceQueueOptions,
  type GuestMemory,
  negotiateQueueSize,
  type QueueSetup,
  type QueueState,
  type Violation,
} from 'virtgen/runtime'
import { PvirtqDescOffsets, PvirtqDescSize } from 'virtgen/wire/packed-ring'
import { VirtqUsedOffsets } from 'virtgen/wire/split-ring'
import { PackedInFlight } from './in-flight-packed.ts'
import { SplitInFlight } from './in-flight-split.ts'

const positionMask = 0xffff
/** In a position of a packed ring, bit 15 is the wrap counter. */
const offsetMask = 0x7fff
const highUnit = 0x1_0000

/** Where a ring starts. */
export interface VringStart {
  /** `num` of VHOST_USER_SET_VRING_BASE, as it came. */
  readonly base: number
  /** Its region of the inflight area (`inFlightRegion`); absent: the front-end has none. */
  readonly inFlight?: Uint8Array
}

/**
 * Makes the queue of a ring that starts; for `createQueue` of `DeviceControl`. With an inflight area the chains that a back-end before had taken are delivered first,
 * in their order; an area with impossible contents, or an impossible base, breaks the queue (`in-flight`).
 */
export function createVring(memory: GuestMemory, setup: QueueSetup, options: DeviceQueueOptions, start: VringStart): DeviceQueue {
  const { packed = false } = options
  // A queue that cannot be says so itself.
  if (setup.size < 1 || negotiateQueueSize(setup.size, setup.size, { packed }) !== setup.size) return createDeviceQueue(memory, setup, options)
  return packed ? packedVring(memory, setup, options, start) : splitVring(memory, setup, options, start)
}

/** What is beyond the used index nobody has any more, whatever the base says: a back-end that stops a ring uses all that it has taken, and one that died did not. */
function splitVring(memory: GuestMemory, setup: QueueSetup, options: DeviceQueueOptions, { inFlight }: VringStart): DeviceQueue {
  const used = word16(memory, setup.deviceArea + VirtqUsedOffsets.idx)
  if (inFlight === undefined) return createDeviceQueue(memory, setup, { ...options, state: { available: used, used, inFlight: [] } })
  const split = new SplitInFlight(inFlight, setup.index, setup.size, used)
  return createLoggedDeviceQueue(memory, setup, { ...options, state: split.state }, { split })
}

/** Where the next used descriptor goes is where the next available one is: not all front-ends say the former (the upper half), and no back-end stops a ring elsewhere. */
function packedVring(memory: GuestMemory, setup: QueueSetup, options: DeviceQueueOptions, { base, inFlight }: VringStart): DeviceQueue {
  const used = base & positionMask
  if (inFlight !== undefined) {
    const flags = (entry: number): number => word16(memory, setup.descriptorArea + entry * PvirtqDescSize + PvirtqDescOffsets.flags)
    const packed = new PackedInFlight(inFlight, setup.index, { size: setup.size, flags }, used)
    return createLoggedDeviceQueue(memory, setup, { ...options, state: packed.state }, { packed })
  }
  if ((used & offsetMask) < setup.size) return createDeviceQueue(memory, setup, { ...options, state: { available: used, used, inFlight: [] } })
  const problem: Violation = {
    kind: 'in-flight',
    queue: setup.index,
    detail: `queue ${setup.index} begins at ${used & offsetMask}, and has ${setup.size} entries`,
  }
  return createLoggedDeviceQueue(memory, setup, options, { packed: { problem, taken, using: taken, used: taken, restore: taken } })
}

/** Of a queue that is broken. */
function taken(): undefined {}

/** 0 where nothing is: the queue says what is wrong with its place. */
function word16(memory: GuestMemory, address: number): number {
  const bytes = memory.resolve(address, 2)
  // Once: the front-end can write it at any time.
  return bytes === undefined ? 0 : bytes.byteOffset % 2 === 0 ? Atomics.load(new Uint16Array(bytes.buffer, bytes.byteOffset, 1), 0) : 0
}

/** `num` of the answer to VHOST_USER_GET_VRING_BASE for a ring that is stopped. What was not used, the next start takes anew. */
export function vringBase({ used }: QueueState, packed: boolean): number {
  return packed ? used + used * highUnit : used
}
