/** Where a legacy driver puts a queue: in one piece. VIRTIO 1.4, Legacy Interfaces: A Note on Virtqueue Layout. */
import type { QueueSetup } from '../../runtime/queue.ts'
import type { TestMemory } from '../../runtime/testing/memory.ts'
import { splitParts } from '../arenas.ts'

export const legacyPage = 4096

export function legacyPlace(memory: TestMemory, size: number): Pick<QueueSetup, 'descriptorArea' | 'driverArea' | 'deviceArea'> {
  const parts = splitParts(size)
  const used = Math.ceil((parts.descriptorArea + parts.driverArea) / legacyPage) * legacyPage
  const descriptorArea = memory.allocate(used + parts.deviceArea, legacyPage)
  return { descriptorArea, driverArea: descriptorArea + parts.descriptorArea, deviceArea: descriptorArea + used }
}
