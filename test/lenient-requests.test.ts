/** What a driver may leave out of a request or add to it, what of a reply an error leaves out, and what a reply repeats. */
import type { Outcome, RequestDevice } from 'virtgen/runtime'
import { GpuDevice, type GpuGetCapsetRequest, type GpuGetDisplayInfoRequest, type GpuUpdateCursorRequest } from 'virtgen/skeleton/gpu'
import { InputDevice, type InputSetStatusRequest } from 'virtgen/skeleton/input'
import { VsockDevice, type VsockRwRequest } from 'virtgen/skeleton/vsock'
import { chain, testDevice } from 'virtgen/testing'
import {
  VIRTIO_GPU_CMD_GET_CAPSET,
  VIRTIO_GPU_CMD_GET_DISPLAY_INFO,
  VIRTIO_GPU_CMD_MOVE_CURSOR,
  VIRTIO_GPU_FLAG_FENCE,
  VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER,
  VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY,
  VIRTIO_GPU_RESP_ERR_UNSPEC,
  VIRTIO_GPU_RESP_OK_DISPLAY_INFO,
  VirtioGpuCtrlHdr,
  VirtioGpuGetCapset,
  VirtioGpuRespCapset,
  VirtioGpuRespDisplayInfo,
  VirtioGpuUpdateCursor,
} from 'virtgen/wire/gpu'
import { VirtioInputEvent } from 'virtgen/wire/input'
import { VIRTIO_VSOCK_OP_REQUEST, VIRTIO_VSOCK_OP_RW, VIRTIO_VSOCK_TYPE_STREAM, VirtioVsockHdr } from 'virtgen/wire/vsock'
import { describe, expect, it } from 'vitest'

class Gpu extends GpuDevice {
  answer: number | undefined
  readonly log: string[] = []

  protected override getDisplayInfo({ reply }: GpuGetDisplayInfoRequest): Outcome {
    reply.pmodes(0).enabled = 1
    return this.answer
  }
  protected override getCapset({ writable }: GpuGetCapsetRequest): Outcome {
    writable.fill(7, 3)
    return this.answer
  }
  protected override moveCursor({ header }: GpuUpdateCursorRequest): Outcome {
    this.log.push(`to ${header.pos.x}, ${header.pos.y}`)
  }
  protected override updateCursor(): Outcome {}
  protected override getCapsetInfo(): Outcome {}
  protected override resourceCreate2d(): Outcome {}
  protected override resourceUnref(): Outcome {}
  protected override setScanout(): Outcome {}
  protected override resourceFlush(): Outcome {}
  protected override transferToHost2d(): Outcome {}
  protected override resourceAttachBacking(): Outcome {}
  protected override resourceDetachBacking(): Outcome {}
}

class Lights extends InputDevice {
  readonly log: string[] = []
  protected override setStatus({ header }: InputSetStatusRequest): Outcome {
    this.log.push(`${header.type} ${header.code} ${header.value}`)
  }
}

class Sockets extends VsockDevice {
  readonly log: string[] = []
  protected override connect(): Outcome {
    this.log.push('connect')
  }
  protected override accept(): Outcome {}
  protected override rst(): Outcome {}
  protected override shutdown(): Outcome {}
  protected override rw({ header, readable }: VsockRwRequest): Outcome {
    this.log.push(`${header.hdr.len} of ${readable.length}`)
  }
  protected override creditUpdate(): Outcome {}
  protected override creditRequest(): Outcome {}
}

/** Gives a device one buffer of one queue. */
function serve(device: RequestDevice, index: number, request: Uint8Array, room: number) {
  const test = testDevice(device, { features: [] })
  const driver = test.driver(index)
  const spec = chain().readable(request)
  driver.offer(room > 0 ? spec.writable(room) : spec)
  const used = driver.used()
  return { violations: test.recorder.violations, length: used?.written, reply: used?.bytes ?? new Uint8Array() }
}

const gpu = (): Gpu => new Gpu({ config: { num_scanouts: 1, num_capsets: 1 } })

describe('a reply that the driver may leave out', () => {
  const move = VirtioGpuUpdateCursor.encode({ hdr: { type: VIRTIO_GPU_CMD_MOVE_CURSOR } as never, pos: { x: 3, y: 4 } as never })

  it('is not missed: the request is handled and nothing is written', () => {
    const device = gpu()
    expect(serve(device, 1, move, 0)).toMatchObject({ violations: [], length: 0 })
    expect(device.log).toEqual(['to 3, 4'])
  })

  it('is written where there is room', () => {
    expect(serve(gpu(), 1, move, VirtioGpuCtrlHdr.size)).toMatchObject({ violations: [], length: VirtioGpuCtrlHdr.size })
  })

  it('needs its room where there is any', () => {
    expect(serve(gpu(), 1, move, 1).violations).toMatchObject([{ kind: 'request-size' }])
  })

  it('is not missed by a malformed request either', () => {
    const device = gpu()
    expect(serve(device, 1, move.subarray(0, 40), 0)).toMatchObject({ violations: [], length: 0 })
    expect(device.log).toEqual([])
  })
})

describe('bytes behind a request', () => {
  const light = VirtioInputEvent.encode({ type: 17, code: 1, value: 1 })

  it('are ignored where the description says so', () => {
    const device = new Lights()
    expect(serve(device, 1, Uint8Array.of(...light, 1, 2, 3), 0)).toMatchObject({ violations: [], length: 0 })
    expect(device.log).toEqual(['17 1 1'])
  })

  it('do not make up for members that are missing', () => {
    expect(serve(new Lights(), 1, light.subarray(0, 7), 0).violations).toMatchObject([{ kind: 'request-size' }])
  })
})

describe('an error', () => {
  const info = VirtioGpuCtrlHdr.encode({ type: VIRTIO_GPU_CMD_GET_DISPLAY_INFO, flags: VIRTIO_GPU_FLAG_FENCE, fence_id: 9n })

  it('shrinks the reply to what all errors have', () => {
    const device = gpu()
    device.answer = VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY
    const { length, reply } = serve(device, 0, info, VirtioGpuRespDisplayInfo.size)
    expect(length).toBe(VirtioGpuCtrlHdr.size)
    expect(VirtioGpuCtrlHdr.decode(reply)).toMatchObject({ type: VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY, flags: VIRTIO_GPU_FLAG_FENCE, fence_id: 9n })
  })

  it('is another thing than success', () => {
    const { length, reply } = serve(gpu(), 0, info, VirtioGpuRespDisplayInfo.size)
    expect(length).toBe(VirtioGpuRespDisplayInfo.size)
    expect(VirtioGpuRespDisplayInfo.decode(reply).hdr.type).toBe(VIRTIO_GPU_RESP_OK_DISPLAY_INFO)
  })

  it('leaves a payload that is written', () => {
    const device = gpu()
    device.answer = VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY
    const get = VirtioGpuGetCapset.encode({ hdr: { type: VIRTIO_GPU_CMD_GET_CAPSET } as never })
    const { length, reply } = serve(device, 0, get, 100)
    expect(length).toBe(VirtioGpuCtrlHdr.size + 3)
    expect(VirtioGpuRespCapset.decode(reply).capset_data).toEqual(Uint8Array.of(7, 7, 7))
  })
})

describe('a fence', () => {
  const fenced = (type: number): Uint8Array => VirtioGpuCtrlHdr.encode({ type, flags: VIRTIO_GPU_FLAG_FENCE, fence_id: 9n, ctx_id: 2 })
  const answered = (request: Uint8Array, room: number) => VirtioGpuCtrlHdr.decode(serve(gpu(), 0, request, room).reply)
  const fence = { flags: VIRTIO_GPU_FLAG_FENCE, fence_id: 9n, ctx_id: 2 }

  it('is repeated by the response', () => {
    expect(answered(fenced(VIRTIO_GPU_CMD_GET_DISPLAY_INFO), 1000)).toMatchObject({ ...fence, type: VIRTIO_GPU_RESP_OK_DISPLAY_INFO })
  })

  it('also where nobody knows the command', () => {
    expect(answered(fenced(0x4711), 24)).toMatchObject({ ...fence, type: VIRTIO_GPU_RESP_ERR_UNSPEC })
  })

  it('also where the command is malformed, or its reply has too little room', () => {
    const malformed = { ...fence, type: VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER }
    expect(answered(fenced(VIRTIO_GPU_CMD_GET_CAPSET), 24)).toMatchObject(malformed)
    expect(answered(fenced(VIRTIO_GPU_CMD_GET_DISPLAY_INFO), 24)).toMatchObject(malformed)
  })
})

describe('a packet of a socket', () => {
  const packet = (op: number, len: number, payload: number): Uint8Array => {
    const hdr = VirtioVsockHdr.encode({ src_cid: 3, dst_cid: 2, type: VIRTIO_VSOCK_TYPE_STREAM, op, len })
    return Uint8Array.from([...hdr, ...new Uint8Array(payload)])
  }

  it.each([
    ['more bytes than count', packet(VIRTIO_VSOCK_OP_RW, 5, 8), '5 of 8'],
    ['no bytes that count', packet(VIRTIO_VSOCK_OP_RW, 0, 0), '0 of 0'],
    ['bytes where no data belong', packet(VIRTIO_VSOCK_OP_REQUEST, 0, 8), 'connect'],
  ])('may have %s', (_, bytes, entry) => {
    const device = new Sockets({ config: { guest_cid: 3 } })
    expect(serve(device, 1, bytes, 0)).toMatchObject({ violations: [], length: 0 })
    expect(device.log).toEqual([entry])
  })

  it('may not have fewer bytes than count', () => {
    const device = new Sockets({ config: { guest_cid: 3 } })
    expect(serve(device, 1, packet(VIRTIO_VSOCK_OP_RW, 9, 8), 0).violations).toMatchObject([{ kind: 'request-size' }])
    expect(device.log).toEqual([])
  })
})
