/** Offloads in the header of packets, and what is done about them where the receiver cannot. VIRTIO 1.4, Network Device / Device Operation. */
import {
  VIRTIO_NET_HDR_F_NEEDS_CSUM,
  VIRTIO_NET_HDR_GSO_ECN,
  VIRTIO_NET_HDR_GSO_NONE,
  VIRTIO_NET_HDR_GSO_TCPV4,
  VIRTIO_NET_HDR_GSO_TCPV6,
  type VirtioNetHdr,
} from 'virtgen/wire/net'
import type { Offload, OffloadSupport, Segmentation } from './backend.ts'
import { putChecksum } from './checksum.ts'
import { copyOf } from './ethernet.ts'
import { segment, tcpHeaderEnd } from './segment.ts'

/** The header says what its sender must not, or what cannot be. */
export const refused: unique symbol = Symbol('refused')

/** Members of the header that tell of offloads. */
export interface OffloadMembers {
  flags: number
  gso_type: number
  hdr_len: number
  gso_size: number
  csum_start: number
  csum_offset: number
}

const none: OffloadMembers = { flags: 0, gso_type: VIRTIO_NET_HDR_GSO_NONE, hdr_len: 0, gso_size: 0, csum_start: 0, csum_offset: 0 }
const checksumBytes = 2

/**
 * What is left to do in a packet of so many bytes.
 *
 * @param may - what may be left
 */
export function readOffload(hdr: VirtioNetHdr | OffloadMembers, length: number, may: OffloadSupport): Offload | undefined | typeof refused {
  const { gso_type } = hdr
  // Flags that are not negotiated are not looked at.
  const isPartial = may.checksum === true && (hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) !== 0
  if (!isPartial) return gso_type === VIRTIO_NET_HDR_GSO_NONE ? undefined : refused
  const { csum_start: checksumStart, csum_offset: checksumOffset } = hdr
  if (checksumStart + checksumOffset + checksumBytes > length) return refused
  const ecn = (gso_type & VIRTIO_NET_HDR_GSO_ECN) !== 0
  const protocol = protocolOf(gso_type & ~VIRTIO_NET_HDR_GSO_ECN)
  if (protocol === undefined) return (gso_type & ~VIRTIO_NET_HDR_GSO_ECN) === VIRTIO_NET_HDR_GSO_NONE ? { checksumStart, checksumOffset } : refused
  if (may[protocol] !== true || hdr.gso_size === 0 || (ecn && may.ecn !== true)) return refused
  return { checksumStart, checksumOffset, segmentation: { protocol, size: hdr.gso_size, headerLength: hdr.hdr_len, ecn } }
}

/** The same as members of a header. */
export function offloadMembers(offload: Offload | undefined): OffloadMembers {
  if (offload === undefined) return none
  const { checksumStart: csum_start, checksumOffset: csum_offset, segmentation } = offload
  const checksum = { ...none, flags: VIRTIO_NET_HDR_F_NEEDS_CSUM, csum_start, csum_offset }
  if (segmentation === undefined) return checksum
  const { protocol, size, headerLength, ecn } = segmentation
  const gso_type = (protocol === 'tcp4' ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6) | (ecn ? VIRTIO_NET_HDR_GSO_ECN : 0)
  return { ...checksum, gso_type, gso_size: size, hdr_len: headerLength }
}

/**
 * Gives a frame on to a receiver, after having done what that cannot do itself.
 *
 * @param isOwn - the frame may be changed; else a copy is
 * @param emit - gets the frame, or its segments one after the other; good until it returns
 * @returns false where it cannot be done, as the frame is not what its offload says; nothing was emitted then
 */
export function finish(
  frame: Uint8Array,
  offload: Offload | undefined,
  takes: OffloadSupport,
  isOwn: boolean,
  emit: (frame: Uint8Array, offload: Offload | undefined) => void,
): boolean {
  if (offload === undefined) {
    emit(frame, undefined)
    return true
  }
  if (offload.checksumStart + offload.checksumOffset + checksumBytes > frame.length) return false
  const { segmentation } = offload
  if (segmentation !== undefined && !(takes.checksum && takes[segmentation.protocol] && (takes.ecn || !segmentation.ecn)))
    return segment(frame, offload, segmentation, (piece) => emit(piece, undefined))
  if (takes.checksum) {
    const known = segmentation === undefined ? offload : withHeaderLength(frame, offload, segmentation)
    if (known !== undefined) emit(frame, known)
    return known !== undefined
  }
  const complete = isOwn ? frame : copyOf(frame)
  putChecksum(complete, offload)
  emit(complete, undefined)
  return true
}

/**
 * What hdr_len should be: not less than the length of the headers. What the sender has written there is a hint that nobody may rely on. Undefined for a frame that has no
 * such headers.
 */
function withHeaderLength(frame: Uint8Array, offload: Offload, segmentation: Segmentation): Offload | undefined {
  const headerLength = tcpHeaderEnd(frame, offload.checksumStart)
  return headerLength === undefined ? undefined : { ...offload, segmentation: { ...segmentation, headerLength } }
}

function protocolOf(type: number): 'tcp4' | 'tcp6' | undefined {
  if (type === VIRTIO_NET_HDR_GSO_TCPV4) return 'tcp4'
  return type === VIRTIO_NET_HDR_GSO_TCPV6 ? 'tcp6' : undefined
}
