/** What generated documentation says of conditions and bounds, and the names of request types. */
import { describe, expect, it } from 'vitest'
import { requestType } from '../generator/emit/device/names.ts'
import { boundWords, conditionWords, countWords } from '../generator/emit/wording.ts'
import type { Expression } from '../generator/index.ts'

const expression = (text: string): Expression =>
  ({
    text,
    tree: /^\w+$/.test(text) && !Number.isNaN(Number(text)) ? { op: 'number', value: Number(text) } : { op: 'caller', name: text },
  }) as Expression
const bounds = (least: string, most: string): [Expression, Expression] => [expression(least), expression(most)]

describe('a condition in words', () => {
  it.each([
    ['VIRTIO_F_X', 'with VIRTIO_F_X'],
    ['VIRTIO_F_X and VIRTIO_F_Y', 'with VIRTIO_F_X and VIRTIO_F_Y'],
    ['not VIRTIO_F_X', 'without VIRTIO_F_X'],
    ['flags has M_RD', 'where flags has M_RD'],
    ['not out_hdr.flags has M_RD', 'where out_hdr.flags lacks M_RD'],
    ['VIRTIO_F_X and not flags has A', 'where VIRTIO_F_X and flags lacks A'],
    ['config.services has 1 << MAC', 'where config.services has bit MAC'],
    ['not protocol has\n 1 << LOG', 'where protocol lacks bit LOG'],
    ['config.size != 0', 'where config.size is not 0'],
    ['not size == 0', 'where size is not 0'],
    ['reply.size > 0', 'where reply.size > 0'],
    ['not (a or b)', 'where not (a or b)'],
  ])('%j: %s', (text, words) => {
    expect(conditionWords(expression(text))).toBe(words)
  })
})

describe('bounds in words', () => {
  it.each([
    ['1', '16', '1 to 16'],
    ['0', '16', 'at most 16'],
    ['1', '0xffffffff', 'at least 1'],
    ['hdr.len', '0xffffffff', 'at least hdr.len'],
    ['1', 'config.max', '1 to config.max'],
    ['0', '0xffffffff', undefined],
  ])('%s .. %s: %s', (least, most, words) => {
    expect(boundWords(bounds(least, most), 0xffff_ffffn)).toBe(words)
  })

  it('counts one thing in the singular', () => {
    expect(countWords(bounds('1', '0xffffffff'), 'bytes')).toBe('At least 1 byte.')
    expect(countWords(bounds('0', '21'), 'elements')).toBe('At most 21 elements.')
    expect(countWords(bounds('0', '0xffffffff'), 'bytes')).toBeUndefined()
  })
})

describe('the type of a request or event', () => {
  it.each([
    ['Blk', 'Read', 'requests', 'BlkReadRequest'],
    ['Input', 'Input', 'events', 'InputEvent'],
    ['Console', 'ConsolePort', 'events', 'ConsolePortEvent'],
    ['Media', 'V4l2Event', 'events', 'MediaV4l2Event'],
    ['Vsock', 'CreditRequest', 'requests', 'VsockCreditRequest'],
    ['Can', 'Cancel', 'requests', 'CanCancelRequest'],
    ['Request', 'Request', 'requests', 'RequestRequest'],
  ] as const)('%s, %s in %s: %s', (prefix, typeName, kind, name) => {
    expect(requestType(prefix, typeName, kind)).toBe(name)
  })
})
