/** Payloads of which a member says how many bytes count (`count: len .. X`): packets of a socket device. */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import type { Outcome } from 'virtgen/runtime'
import { VIRTIO_VSOCK_OP_RW, VIRTIO_VSOCK_TYPE_STREAM, VirtioVsockHdr, type VirtioVsockHdrValue } from 'virtgen/wire/vsock'
import { describe, expect, test } from 'vitest'
import { VsockDriver, type VsockRwEvent } from '../generated/driver/vsock.ts'
import { VsockDevice, type VsockRwRequest } from '../generated/skeleton/vsock.ts'
import { loopback } from './support/loopback.ts'

const from = (len: number) => ({ src_cid: 2, dst_cid: 3, type: VIRTIO_VSOCK_TYPE_STREAM, len }) as VirtioVsockHdrValue

class Sockets extends VsockDevice {
  readonly got: string[] = []
  protected override connect(): Outcome {}
  protected override accept(): Outcome {}
  protected override rst(): Outcome {}
  protected override shutdown(): Outcome {}
  protected override rw({ header, readable }: VsockRwRequest): Outcome {
    const data = new Uint8Array(header.hdr.len)
    readable.copyTo(data, 0, data.length)
    this.got.push(new TextDecoder().decode(data))
  }
  protected override creditUpdate(): Outcome {
    this.got.push('credit')
  }
  protected override creditRequest(): Outcome {}
  give(data: Uint8Array): number | undefined {
    return this.sendRw({ hdr: from(data.length) }, data)
  }
}

async function connected(eventBufferSize: number) {
  const device = new Sockets({ config: { guest_cid: 3 } })
  const line = await loopback<VsockDriver>({ device, type: VsockDriver, accepts: FeatureSet.of(32), options: { eventBufferSize } })
  const received: VsockRwEvent[] = []
  line.driver.onRw((event) => received.push(event))
  await Promise.resolve()
  return { device, ...line, received }
}

describe('a packet from the device', () => {
  test('says no more than fits into its buffer', async () => {
    const { device, received } = await connected(VirtioVsockHdr.size + 4)
    expect(device.give(Uint8Array.of(1, 2, 3, 4, 5, 6))).toBe(4)
    await Promise.resolve()
    expect(received).toMatchObject([{ hdr: { op: VIRTIO_VSOCK_OP_RW, len: 4 }, data: Uint8Array.of(1, 2, 3, 4) }])
  })

  test('says what it is told where that fits', async () => {
    const { device, received } = await connected(VirtioVsockHdr.size + 40)
    expect(device.give(Uint8Array.of(1, 2, 3, 4, 5, 6))).toBe(6)
    await Promise.resolve()
    expect(received).toMatchObject([{ hdr: { len: 6 }, data: Uint8Array.of(1, 2, 3, 4, 5, 6) }])
  })
})

describe('a packet from the driver', () => {
  test('may have more bytes than it says', async () => {
    const { device, driver, violations } = await connected(64)
    await driver.rw({ hdr: from(5) }, new TextEncoder().encode('hello, world'))
    expect(device.got).toEqual(['hello'])
    expect(violations).toEqual([])
  })

  test('is not sent with fewer', async () => {
    const { driver } = await connected(64)
    const sent = driver.rw({ hdr: from(13) }, new TextEncoder().encode('hello, world'))
    await expect(sent).rejects.toThrow('rw: 13 bytes of data are to count, and there are 12')
  })
})
