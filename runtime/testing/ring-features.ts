/** The features of rings that a test asks for, as a device offers them. */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { VIRTIO_F_EVENT_IDX, VIRTIO_F_IN_ORDER, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_RING_PACKED, VIRTIO_F_VERSION_1 } from 'virtgen/wire/content'
import type { RingFeatures } from '../queue.ts'

export function ringFeatureSet({ packed = false, eventIndex = false, indirect = true, inOrder = false }: RingFeatures): FeatureSet {
  const bits: (number | false)[] = [
    VIRTIO_F_VERSION_1,
    packed && VIRTIO_F_RING_PACKED,
    eventIndex && VIRTIO_F_EVENT_IDX,
    indirect && VIRTIO_F_INDIRECT_DESC,
    inOrder && VIRTIO_F_IN_ORDER,
  ]
  return FeatureSet.of(...bits.filter((bit) => bit !== false))
}
