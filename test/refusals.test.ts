/** What a device on its skeleton answers to requests that are unknown, not negotiated, malformed, or that fail: bytes by hand, against RTC, IOMMU, SCMI and file system. */
import { type Outcome, type RequestDevice, UNKNOWN, type Violation } from 'virtgen/runtime'
import { FsDevice, type FsFuseRequest } from 'virtgen/skeleton/fs'
import { type IommuAttachRequest, IommuDevice } from 'virtgen/skeleton/iommu'
import { RtcDevice, type RtcReadRequest } from 'virtgen/skeleton/rtc'
import { ScmiDevice } from 'virtgen/skeleton/scmi'
import { chain, testDevice } from 'virtgen/testing'
import { fuse_error } from 'virtgen/wire/fuse'
import { describe, expect, test } from 'vitest'

/** A driver that sends bytes to one queue and shows what comes back. */
function connect(device: RequestDevice, queue = 0): (readable: string, room: number) => string | Violation {
  const test = testDevice(device, { features: [] })
  const driver = test.driver(queue)
  return (readable, room) => {
    const bytes = Uint8Array.from(Buffer.from(readable.replaceAll(' ', ''), 'hex'))
    const reply = new Uint8Array(room).fill(0xee)
    driver.offer(chain().readable(bytes).element({ writable: true, length: room, bytes: reply }))
    const [violation] = test.recorder.violations
    return violation ?? Buffer.from(driver.used()!.bytes).toString('hex')
  }
}

class Clock extends RtcDevice {
  protected override cfg(): Outcome {}
  protected override clockCap(): Outcome {
    throw new Error('the battery is empty')
  }
  protected override crossCap(): Outcome {}
  protected override read({ reply }: RtcReadRequest): Outcome {
    reply.clock_reading = 5n
  }
  protected override readCross(): Outcome {}
}

describe('the clock', () => {
  const send = connect(new Clock())

  test.each([
    ['a read', '0100 000000000000 0000 000000000000', 16, '00 00000000000000 0500000000000000'],
    ['bytes behind a request, which it ignores', '0100 000000000000 0000 000000000000 ffff', 16, '00 00000000000000 0500000000000000'],
    ['more room than the response needs', '0100 000000000000 0000 000000000000', 20, '00 00000000000000 0500000000000000'],
    ['a request that is too short: EINVAL', '0100 000000000000 0000', 16, '04 00000000000000'],
    ['too little room: EINVAL', '0100 000000000000 0000 000000000000', 8, '04 00000000000000'],
    ['room for the status alone: EINVAL', '0100 000000000000 0000 000000000000', 1, '04'],
    ['room for a part of the error reply: EINVAL', '0100 000000000000 0000 000000000000', 4, '04 000000'],
    ['room for nearly all of it: EINVAL', '0100 000000000000 0000 000000000000', 7, '04 000000000000'],
    ['an unknown request with room for the status alone: EOPNOTSUPP', 'ff0f 000000000000', 1, '02'],
    ['a request that fails: EIO', '0110 000000000000 0000 000000000000', 16, '05 00000000000000'],
    ['an unknown request: EOPNOTSUPP', 'ff0f 000000000000', 8, '02 00000000000000'],
    ['an alarm that is not negotiated: ENODEV', '0310 000000000000 0000 000000000000', 24, '03 00000000000000'],
  ])('answers %s', (_, bytes, room, expected) => {
    expect(send(bytes, room)).toBe(expected.replaceAll(' ', ''))
  })

  test('gives up where there is no room for the status', () => {
    expect(send('0100 000000000000 0000', 0)).toMatchObject({ kind: 'request-size' })
  })
})

class Iommu extends IommuDevice {
  protected override attach({ header }: IommuAttachRequest): Outcome {
    if (header.endpoint !== 8) throw new Error('no such endpoint')
  }
  protected override detach(): Outcome {}
}

describe('the IOMMU', () => {
  const send = connect(new Iommu())

  test.each([
    ['an attach request', '01000000 01000000 08000000 00000000 00000000', 4, '00000000'],
    ['one that fails: DEVERR', '01000000 01000000 09000000 00000000 00000000', 4, '03000000'],
    ['one whose reserved field is not zero: INVAL', '01000000 01000000 08000000 00000000 00010000', 4, '04000000'],
    ['one that is too short: INVAL', '01000000 01000000 08000000', 4, '04000000'],
    ['a type that is not known with nothing', '06000000', 4, ''],
    ['a map request that is not negotiated with nothing', `03000000 01000000 ${'00'.repeat(28)}`, 4, ''],
    ['a request without room for the tail with nothing', '01000000 01000000 08000000 00000000 00000000', 3, ''],
  ])('answers %s', (_, bytes, room, expected) => {
    expect(send(bytes, room)).toBe(expected)
  })
})

class Platform extends ScmiDevice {
  protected override command({ header }: { header: { hdr_message_id: number } }): Outcome {
    if (header.hdr_message_id !== 0) throw new Error('no such message')
  }
}

describe('what a reply repeats of its request', () => {
  test('stands in it before the handler runs', () => {
    expect(connect(new Platform())('00400400', 16)).toBe(`00400400${'00000000'}`)
  })

  test('stands in refusals too', () => {
    expect(connect(new Platform())('03400400', 16)).toBe(`03400400${'f8ffffff'}`)
  })
})

class Files extends FsDevice {
  protected override fuse({ writable, reply }: FsFuseRequest): Outcome {
    writable.copyFrom(Uint8Array.of(1, 2, 3))
    reply.out.len = 99
  }
  protected override forget(): Outcome {}
  protected override batchForget(): Outcome {}
  protected override interrupt(): Outcome {}
}

class FullFiles extends Files {
  protected override fuse(): Outcome {
    throw new Error('the disk is full')
  }
}

describe('a reply of FUSE', () => {
  const header = '28000000 26000000 0a0b0c0d00000000 0100000000000000 00000000 00000000 00000000 0000 0000'

  test('says how long it is, whatever the handler thinks', () => {
    const send = connect(new Files({ config: { num_request_queues: 1 } }), 1)
    expect(send(header, 24)).toBe('13000000000000000a0b0c0d00000000010203')
  })

  test('says so in a refusal too, and repeats what lies in a struct of the request', () => {
    const send = connect(new FullFiles({ config: { num_request_queues: 1 } }), 1)
    expect(send(header, 24)).toBe('10000000fbffffff0a0b0c0d00000000')
  })

  test('says so to a request that is too short', () => {
    const send = connect(new Files({ config: { num_request_queues: 1 } }), 1)
    expect(send('28000000 26000000', 16)).toBe('10000000eaffffff0000000000000000')
  })
})

describe('an interrupt of FUSE', () => {
  class Interrupted extends Files {
    answer: () => Outcome = () => {}
    protected override interrupt(): Outcome {
      return this.answer()
    }
  }
  const files = new Interrupted({ config: { num_request_queues: 1 } })
  const send = connect(files, 0)
  const interrupt = '30000000 24000000 0b00000000000000 0000000000000000 00000000 00000000 00000000 0000 0000 0a00000000000000'
  const fails = (): never => {
    throw new Error('meant to fail')
  }

  test.each([
    ['is not answered after success', () => {}, ''],
    ['may have to be sent again: EAGAIN', () => fuse_error.eagain, '10000000 f5ffffff 0b00000000000000'],
    ['may not be known: ENOSYS', () => UNKNOWN, '10000000 daffffff 0b00000000000000'],
    ['may fail: EIO', fails, '10000000 fbffffff 0b00000000000000'],
  ] as const)('%s', (_, answer, expected) => {
    files.answer = answer
    expect(send(interrupt, 16)).toBe(expected.replaceAll(' ', ''))
  })

  test('may be malformed: EINVAL', () => {
    expect(send(interrupt.slice(0, -8), 16)).toBe('10000000eaffffff0b00000000000000')
  })
})
