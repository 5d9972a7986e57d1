/** Handlers of a skeleton that do what they must not: the driver and other requests do not suffer from it. */

import { VirtioBlkReqHeader } from 'virtgen/parts/blk'
import { BlkDevice, type BlkGetIdRequest, type BlkReadRequest } from 'virtgen/skeleton/blk'
import { chain, testDevice } from 'virtgen/testing'
import { VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK, VIRTIO_BLK_T_IN } from 'virtgen/wire/blk'
import { expect, it } from 'vitest'

/** Completes its requests, and has promises for them besides. */
class Hasty extends BlkDevice {
  readonly promises: (() => void)[] = []
  readonly errors: unknown[] = []

  constructor() {
    super({ config: { capacity: 1 }, onError: (error) => this.errors.push(error) })
  }

  protected override read(request: BlkReadRequest) {
    request.writable.fill(this.promises.length)
    request.complete()
    return new Promise<void>((resolve) => this.promises.push(resolve))
  }
  protected override write() {}
  protected override flush() {}
  protected override getId(_request: BlkGetIdRequest) {}
}

const read = () =>
  chain()
    .readable(VirtioBlkReqHeader.encode({ type: VIRTIO_BLK_T_IN, sector: 0 }))
    .writable(512)
    .writable(1)

it('a promise that is settled after its request was completed is an error, and touches no other request', async () => {
  const disk = testDevice(new Hasty())
  const first = await disk.request(read())
  const second = await disk.request(read())
  for (const resolve of disk.device.promises) resolve()
  await Promise.resolve()
  await Promise.resolve()
  expect([first.bytes[0], second.bytes[0], second.bytes[512]]).toEqual([0, 1, VIRTIO_BLK_S_OK])
  expect(disk.device.errors.map(String)).toEqual([
    expect.stringMatching(/read was completed before its promise was settled/),
    expect.stringMatching(/completed/),
  ])
})

it.each([
  ['at once', () => 512],
  ['by a promise', async () => 512],
])('a number that is no status, given %s, is an error, and the driver gets the status for failures', async (_, outcome) => {
  class Odd extends Hasty {
    protected override read({ writable }: BlkReadRequest) {
      writable.fill(0)
      return outcome() as never
    }
  }
  const disk = testDevice(new Odd())
  expect((await disk.request(read())).bytes[512]).toBe(VIRTIO_BLK_S_IOERR)
  expect(disk.device.errors.map(String)).toEqual([expect.stringContaining('512')])
})
