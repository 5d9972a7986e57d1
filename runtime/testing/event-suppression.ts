/** The event suppression structures of a packed ring. VIRTIO 1.4, Packed Virtqueues / Event Suppression Structure Format. */
import { PvirtqEventSuppress } from 'virtgen/wire/packed-ring'
import type { TestMemory } from './memory.ts'

/** What one side of a packed ring asks the other one for. */
export interface EventSuppression {
  /** Position in the ring, and the wrap counter there; they count with RING_EVENT_FLAGS_DESC. */
  readonly offset: number
  readonly wrap: 0 | 1
  /** RING_EVENT_FLAGS_ENABLE, _DISABLE or _DESC; the reserved bits as they are. */
  readonly flags: number
}

export function readEvent(memory: TestMemory, address: number): EventSuppression {
  const { buffer } = memory.peek(address, PvirtqEventSuppress.size)
  const { desc_desc_event_off, desc_desc_event_wrap, flags } = new PvirtqEventSuppress().at(new DataView(buffer))
  return { offset: desc_desc_event_off, wrap: desc_desc_event_wrap as 0 | 1, flags }
}

/** As one 32-bit word: who reads it as one never sees half of it. */
export function writeEvent(memory: TestMemory, address: number, { offset, wrap, flags }: EventSuppression): void {
  const struct = new PvirtqEventSuppress().at(new DataView(new ArrayBuffer(PvirtqEventSuppress.size)))
  struct.desc_desc_event_off = offset
  struct.desc_desc_event_wrap = wrap
  struct.flags = flags
  memory.poke32(address, struct.$view.getUint32(0, true))
}
