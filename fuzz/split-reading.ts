/** What a chain of a split ring is: the reference. VIRTIO 1.4, Split Virtqueues / The Virtqueue Descriptor Table. */
import { VirtqDesc } from 'virtgen/wire/split-ring'
import type { ViolationKind } from '../runtime/violation.ts'
import { ChainReading, goesOn, isIndirect, readDescriptor } from './chain-reading.ts'
import type { RingRules } from './ring-rules.ts'

export function readSplitChain({ arena, setup, indirect, maxChainLength }: RingRules, head: number): ChainReading {
  const reading = new ChainReading(arena, maxChainLength === 'strict' ? setup.size : maxChainLength)
  const found = (kind: ViolationKind): ChainReading => {
    reading.problems.add(kind)
    return reading
  }
  let table = setup.descriptorArea
  let entries = setup.size
  let isNested = false
  let visited = 0
  for (let index = head; ; ) {
    if (index >= entries) return found('descriptor-index')
    if (visited++ === entries) return found('descriptor-loop')
    if (!isNested) reading.slots++
    const descriptor = readDescriptor(arena, table + index * VirtqDesc.size, true)
    if (isIndirect(descriptor)) {
      if (isNested && reading.isFull) reading.problems.add('chain-length')
      if (isNested) return found('indirect-nested')
      isNested = true
      entries = reading.open(descriptor, indirect)
      if (entries === 0) return reading
      table = descriptor.address
      index = 0
      visited = 0
      continue
    }
    reading.add(descriptor)
    // Who has visited more than the table has, too.
    if (visited > entries - 1 && goesOn(descriptor) && reading.problems.has('chain-length')) reading.problems.add('descriptor-loop')
    if (reading.problems.has('chain-length') || !goesOn(descriptor)) return reading
    index = descriptor.other
  }
}
