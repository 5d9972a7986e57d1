/** The used length where a payload leaves a gap before the members at the end: what a device says is true, and tells the driver how long the payload is. */
import { SoundDriver } from 'virtgen/driver/sound'
import { VirtioBlkReqHeader } from 'virtgen/parts/blk'
import type { Outcome } from 'virtgen/runtime'
import { BlkDevice, type BlkReadRequest } from 'virtgen/skeleton/blk'
import { SoundDevice, type SoundRecordRequest } from 'virtgen/skeleton/sound'
import { type ChainDescription, chain, testDevice, testMachine } from 'virtgen/testing'
import { VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_UNSUPP, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_SECURE_ERASE } from 'virtgen/wire/blk'
import { describe, expect, it } from 'vitest'

/** What lay in the driver's memory before. */
const old = 0xaa

/** Reads as many bytes as it is told to, and fails. */
class Bad extends BlkDevice {
  readable = 0
  protected override read({ writable }: BlkReadRequest): Outcome {
    writable.fill(7, this.readable)
    return VIRTIO_BLK_S_IOERR
  }
  protected override write(): Outcome {}
  protected override flush(): Outcome {}
  protected override getId(): Outcome {}
}

/** Has a bit of sound, and the stream ends. */
class Microphone extends SoundDevice {
  protected override record({ writable, reply }: SoundRecordRequest): Outcome {
    writable.copyFrom(Uint8Array.of(1, 2, 3, 4))
    reply.latency_bytes = 5
  }
  protected override jackInfo(): Outcome {}
  protected override jackRemap(): Outcome {}
  protected override pcmInfo(): Outcome {}
  protected override pcmSetParams(): Outcome {}
  protected override pcmPrepare(): Outcome {}
  protected override pcmRelease(): Outcome {}
  protected override pcmStart(): Outcome {}
  protected override pcmStop(): Outcome {}
  protected override chmapInfo(): Outcome {}
  protected override play(): Outcome {}
}

function request(type: number, ...lengths: number[]): ChainDescription {
  const description = chain().readable(VirtioBlkReqHeader.encode({ type, sector: 0 }))
  for (const length of lengths) description.element({ writable: true, length, bytes: new Uint8Array(length).fill(old) })
  return description
}

describe.each([{ packed: false }, { packed: true }])('a failed request (packed: $packed)', (rings) => {
  it.each([0, 1, 200, 511, 512])('that wrote %i bytes of its payload says so, and one more for its status', async (readable) => {
    const disk = testDevice(new Bad(), rings)
    disk.device.readable = readable
    const { written, writable } = await disk.request(request(VIRTIO_BLK_T_IN, 100, 412, 1))
    expect([written, writable[512]]).toEqual([readable + 1, VIRTIO_BLK_S_IOERR])
    // As many bytes from the start on are written as the used length says, and none behind them but the status.
    expect(writable.subarray(0, written).includes(old)).toBe(false)
    expect(writable.subarray(written, 512).every((byte) => byte === old)).toBe(true)
    disk.recorder.expectWritesCoverChanges(disk.memory)
  })

  it('that nobody knows, likewise', async () => {
    const disk = testDevice(new Bad(), rings)
    const { written, writable } = await disk.request(request(VIRTIO_BLK_T_SECURE_ERASE, 3, 1))
    expect([written, ...writable]).toEqual([1, 0, old, old, VIRTIO_BLK_S_UNSUPP])
  })
})

it('a driver finds out how much of a payload there is', async () => {
  // PCM Input Stream: the length value contains the size of the status plus the size of the recorded frames.
  const { driver } = await testMachine(new Microphone({ config: { streams: 1 } }), SoundDriver)
  expect(await driver.record({ stream_id: 0 }, 100)).toEqual({ latency_bytes: 5, frames: Uint8Array.of(1, 2, 3, 4) })
})
