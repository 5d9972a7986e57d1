import { describe, expect, test } from 'vitest'
import { type CodecContext, decodeStruct } from '../generator/index.ts'
import { bytes, described, features, type Plain } from './support/described.ts'
import { loadText } from './support/description.ts'
import { fromHex, toHex } from './support/plain.ts'

describe('areas', () => {
  const { both, decode, encode } = described(`
features: {NEW: 0}
structs:
  inner: [a: u8, b: u8]
  padded: [x: {type: inner, size: 4}, y: u8]
  optional: [x: {type: inner, size: 4 if not NEW}, y: u8]
  sized: [len: u8, data: {type: bytes, size: len}, y: u8]
  listed: [len: u8, "items[]": {type: le16, size: len - 1}, y: u8]
  item: [n: u8, "x[n]": u8]
  nested: [len: u8, body: {type: item, size: len}, y: u8]
`)

  test('are longer than what is in them, or ignore the rest', () => {
    both('padded', '01020000 03', { x: { a: 1, b: 2 }, y: 3 })
    expect(decode('padded', '01020909 03')).toEqual({ x: { a: 1, b: 2 }, y: 3 })
  })

  test('are as long as their content where their condition does not hold', () => {
    both('optional', '01020000 03', { x: { a: 1, b: 2 }, y: 3 })
    both('optional', '0102 03', { x: { a: 1, b: 2 }, y: 3 }, features('NEW'))
  })

  test('give open content its length', () => {
    both('sized', '02 aabb 07', { len: 2, data: bytes(0xaa, 0xbb), y: 7 })
    both('listed', '05 0100 0200 07', { len: 5, items: [1, 2], y: 7 })
    expect(encode('sized', { len: 4, data: bytes(1) })).toBe('040100000000')
  })

  test('refuse content that is too long', () => {
    expect(() => encode('sized', { len: 1, data: bytes(1, 2) })).toThrow(new RangeError('data takes 2 bytes, allowed are 0 .. 1 (len)'))
  })

  test('cut what claims more, and are cut themselves', () => {
    expect(decode('nested', '02 05aa bb')).toEqual({ len: 2, body: { n: 5, x: bytes(0xaa) }, y: 0xbb })
    expect(decode('nested', 'ff 01aa bb')).toEqual({ len: 255, body: { n: 1, x: bytes(0xaa) }, y: 0 })
    expect(decode('nested', '00 bb')).toEqual({ len: 0, body: { n: 0, x: bytes() }, y: 0xbb })
  })
})

describe('id spaces that devices share', () => {
  const chapters = [
    `kind: common
name: ids
constants: {ids: {ONE: {value: 1, holds: one}}}
structs: {one: [a: u8], s: [id: u8, data: {by: id, union: ids}]}`,
    'kind: device\nname: x\nid: 1001\nconstants: {x_ids: {extends: ids, values: {IS_X: {value: 8, holds: x}}}}\nstructs: {x: [b: le16]}',
    'kind: device\nname: y\nid: 1002\nconstants: {y_ids: {extends: ids, values: {IS_Y: {value: 8, holds: y}, IS_ONE: {value: 9, holds: one}}}}\nstructs: {y: [c: be16]}',
  ]
  const model = loadText(...chapters)
  const decode = (hex: string, id: number) =>
    decodeStruct(model, { chapter: 'ids', name: 's' }, fromHex(hex), { caller: { device_id: id } }).value.data

  test('mean what the device says', () => {
    expect(decode('080102', 1001)).toEqual({ arm: 'x', x: { b: 0x201 } })
    expect(decode('080102', 1002)).toEqual({ arm: 'y', y: { c: 0x102 } })
    expect(decode('080102', 1003)).toEqual({ arm: undefined, bytes: bytes(1, 2) })
    expect([1001, 1002].map((id) => decode('0107', id))).toEqual(Array(2).fill({ arm: 'one', one: { a: 7 } }))
    expect(decode('0907', 1002)).toEqual({ arm: 'one', one: { a: 7 } })
    expect(decode('0907', 1001)).toEqual({ arm: undefined, bytes: bytes(7) })
  })

  test('need to know it', () => {
    expect(() => decodeStruct(model, { chapter: 'ids', name: 's' }, fromHex('080102'), {})).toThrow(/context\.caller\.device_id/)
  })
})

describe('lists of heads', () => {
  const { both, decode, encode } = described(`
constants:
  types: {NONE: 0, ONE: {value: 1, holds: one}, TWO: {value: 2, holds: two}}
  more: {extends: types, values: {THREE: {value: 3, holds: three}}}
structs:
  head: {by: type, size: length + 2, fields: [_: {type: u8, bits: [type: {width: 4, enum: types}, reserved: reserved 4]}, length: u8]}
  one: [head: head, x: le16]
  two: [_: head, data: bytes]
  three: [head: head, "inner[]": head]
  list: ["items[]": head]
  ended: [n: u8, "items[]": {type: head, until: type == 0, size: n}, last: u8]
  counted: [n: u8, "items[n]": head, last: u8]
`)

  test('tell the struct of each element by its constant', () => {
    both('list', '01020500 0203aabbcc', {
      items: [
        { arm: 'one', one: { head: { type: 1, length: 2 }, x: 5 } },
        { arm: 'two', two: { type: 2, length: 3, data: bytes(0xaa, 0xbb, 0xcc) } },
      ],
    })
    both('counted', '01 01020500 ff', { n: 1, items: [{ arm: 'one', one: { head: { type: 1, length: 2 }, x: 5 } }], last: 255 })
  })

  test('go on behind an element that is longer than its struct, or of a kind nobody knows', () => {
    both('list', '010305 0000 0901aa 01020600', {
      items: [
        { arm: 'one', one: { head: { type: 1, length: 3 }, x: 5 } },
        { arm: undefined, bytes: bytes(9, 1, 0xaa) },
        { arm: 'one', one: { head: { type: 1, length: 2 }, x: 6 } },
      ],
    })
  })

  test('know the constants of groups that extend the id space, to any depth', () => {
    const deep = { arm: 'three', three: { head: { type: 3, length: 4 }, inner: [{ arm: 'one', one: { head: { type: 1, length: 2 }, x: 5 } }] } }
    both('list', '0304 01020500', { items: [deep] })
  })

  test('leave as bytes what is shorter than the struct of its kind', () => {
    expect(decode('list', '0101aa 01020500')).toEqual({
      items: [
        { arm: undefined, bytes: bytes(1, 1, 0xaa) },
        { arm: 'one', one: { head: { type: 1, length: 2 }, x: 5 } },
      ],
    })
  })

  test('end where an element says so, where its area ends, or where an element claims more than there is', () => {
    both('ended', '06 01020500 0000 ff', { n: 6, items: [{ arm: 'one', one: { head: { type: 1, length: 2 }, x: 5 } }], last: 255 })
    expect(decode('list', '01020500 01ff00')).toEqual({ items: [{ arm: 'one', one: { head: { type: 1, length: 2 }, x: 5 } }] })
    expect(decode('list', '01020500 01')).toEqual({ items: [{ arm: 'one', one: { head: { type: 1, length: 2 }, x: 5 } }] })
  })

  test('refuse an element that is not what its head says', () => {
    const one = (head: Plain, x = 5): Plain => ({ items: [{ arm: 'one', one: { head, x } }] })
    expect(() => encode('list', one({ type: 1, length: 1 }))).toThrow(new RangeError('items[0] takes 4 bytes, but its head says 3 (length + 2)'))
    expect(() => encode('list', one({ type: 2, length: 2 }))).toThrow(new RangeError('items[0] is a one: its type must be 1, not 2'))
    expect(() => encode('list', { items: [{ arm: 'four' }] })).toThrow(TypeError)
    expect(() => encode('list', { items: [{ arm: undefined, bytes: bytes(9) }] })).toThrow(/^items\[0\]: head needs at least 2 bytes/)
  })
})

describe('a list of elements within elements', () => {
  const { decode, read } = described(`
constants: {types: {DEEP: {value: 1, holds: deep}}}
structs:
  head: {by: type, size: length, fields: [type: {type: u8, enum: types}, length: le16]}
  deep: [head: head, "inner[]": head]
  list: ["items[]": head]
`)

  test('end before an element that is shorter than its head', () => {
    expect(decode('list', '010300 010200 010300')).toEqual({ items: [{ arm: 'deep', deep: { head: { type: 1, length: 3 }, inner: [] } }] })
    expect(decode('list', '010000')).toEqual({ items: [] })
  })

  test('is read to a certain depth', () => {
    const depth = 3000
    const nested = Array.from(
      { length: depth },
      (_, level) => `01${toHex(Uint8Array.from([((depth - level) * 3) & 255, ((depth - level) * 3) >> 8]))}`,
    ).join('')
    const value = decode('list', nested) as { items?: [{ arm: string; deep: { inner: unknown } }] }
    let levels = 0
    for (let items = value.items as unknown; Array.isArray(items) && items[0]?.arm === 'deep'; items = items[0].deep.inner) levels++
    expect(levels).toBe(32)
    expect(read('list', nested).fields.at(-1)?.value).toBeInstanceOf(Uint8Array)
  })
})

describe('elements of a list', () => {
  const { both, decode } = described(`
structs:
  item: [a: u8, b: u8]
  ended: ["items[]": {type: item, until: a == 0}]
  spaced:
    readable: [count: u8, size: u8]
    writable: ["items[count]": {type: item, stride: size}, status: u8]
  empty: [n: le32, "items[n]": nothing, "none[n][0]": u8]
  nothing: [x: {type: u8, when: 0 == 1}]
`)

  test('end where one says so', () => {
    expect(decode('ended', '0102 0304 0005 0607')).toEqual({
      items: [
        { a: 1, b: 2 },
        { a: 3, b: 4 },
      ],
    })
  })

  test('stand as far apart as the other side asked', () => {
    const at = (size: number): CodecContext => ({ given: { readable: { count: 2, size } } })
    both(
      'spaced',
      '010200 030400 ff',
      {
        items: [
          { a: 1, b: 2 },
          { a: 3, b: 4 },
        ],
        status: 255,
      },
      at(3),
      'writable',
    )
    both(
      'spaced',
      '01 03 ff',
      {
        items: [
          { a: 1, b: 0 },
          { a: 3, b: 0 },
        ],
        status: 255,
      },
      at(1),
      'writable',
    )
    expect(decode('spaced', '0102 ff', at(0), 'writable')).toMatchObject({ items: [] })
  })

  test('that take no bytes are not read for ever', () => {
    const { items, none } = decode('empty', 'ffffffff') as { items: unknown[]; none: unknown[] }
    expect(items.length).toBeLessThanOrEqual(4)
    expect(none.length).toBeLessThanOrEqual(4)
  })
})

describe('structs of two parts', () => {
  const { both, decode, encode } = described(
    `
structs:
  request:
    readable: [type: u8, "cmd[]": {type: u8, framed: true}, data: bytes]
    writable: ["answer[len]": u8, "more[type]": u8, status: u8]
  sized: {readable: [n: u8], writable: ["x[n]": u8]}
  nested: {readable: [s: sized, k: u8], writable: [s: sized, "y[k]": u8]}
  bad: {readable: [len: u8], writable: ["x[len]": u8]}
`.replace('"answer[len]": u8, ', ''),
  )

  test('need to know which part is meant', () => {
    expect(() => decode('request', '00')).toThrow(new TypeError('request has two parts: say "readable" or "writable", not undefined'))
  })

  test('take the length of a framed member from the caller', () => {
    both('request', '01 aabb ccdd', { type: 1, cmd: bytes(0xaa, 0xbb), data: bytes(0xcc, 0xdd) }, { caller: { cmd_length: 2 } }, 'readable')
    expect(() => decode('request', '01', {}, 'readable')).toThrow(/needs context.caller.cmd_length/)
    expect(() => encode('request', { cmd: bytes(1) }, { caller: { cmd_length: 0 } }, 'readable')).toThrow(RangeError)
    expect(encode('request', { cmd: bytes(1) }, {}, 'readable')).toBe('0001')
  })

  test('look from the writable part at the readable one', () => {
    both('request', 'aabb 00', { more: bytes(0xaa, 0xbb), status: 0 }, { given: { readable: { type: 2 } } }, 'writable')
    expect(() => decode('request', 'aabb', {}, 'writable')).toThrow(new TypeError('"type" of request needs context.given.readable'))
  })

  test('stand in the part of the struct around them', () => {
    both('nested', '01 02', { s: { n: 1 }, k: 2 }, {}, 'readable')
    both('nested', 'aa bbcc', { s: { x: bytes(0xaa) }, y: bytes(0xbb, 0xcc) }, { given: { readable: { s: { n: 1 }, k: 2 } } }, 'writable')
  })
})

describe('requests', () => {
  const { both, decode, encode } = described(`
constants: {types: {READ: 1, WRITE: 2}}
messages:
  frame:
    by: type
    readable: [type: {type: u8, enum: types}, data: body]
    writable: [_: body, status: u8]
    requests:
      - read: {is: READ, readable: [n: u8], writable: ["data[n]": u8]}
      - write: {is: WRITE, readable: [data: bytes]}
`)

  test('have their members in place of the body', () => {
    both('frame.read', '01 02', { type: 1, n: 2 }, {}, 'readable')
    both('frame.read', 'aabb 00', { data: bytes(0xaa, 0xbb), status: 0 }, { given: { readable: { type: 1, n: 2 } } }, 'writable')
    both('frame.write', '00', { status: 0 }, {}, 'writable')
  })

  test('leave the body of a bare frame as bytes', () => {
    both('frame', '01 aabb', { type: 1, data: bytes(0xaa, 0xbb) }, {}, 'readable')
    both('frame', 'aabb 05', { body: bytes(0xaa, 0xbb), status: 5 }, {}, 'writable')
    expect(encode('frame', { status: 5 }, {}, 'writable')).toBe('05')
  })

  test('are known by their names', () => {
    expect(() => decode('frame.erase', '00', {}, 'readable')).toThrow(new TypeError('the chapter "t" has no struct "frame.erase"'))
  })
})

describe('config and registers', () => {
  const { both, decode, encode, read } = described(`
let: {msix: caller}
features: {MAC: 0, MTU: 1}
constants: {kinds: {ONE: 1}}
config:
  space:
    - mac[2]: {type: u8, when: MAC}
    - status: le16
    - mtu: {type: le16, when: MTU}
    - pad: reserved u8
    - u: {by: status, union: [a: {type: le32, is: 1}, b: {type: u8, is: 2}]}
registers:
  block:
    - Magic: {at: 0x0, type: le32}
    - Low: {at: 0x8, type: le32}
    - High: {at: 0xc, type: le32, pair: {name: Both, low: Low}}
    - Vector: {at: 0x10, type: le16, when: msix}
    - Config: {at: 0x12 if msix else 0x10, type: bytes}
`)

  test('show what means nothing, in its place', () => {
    both('space', '0102 0100 0304 00 05060708', { mac: bytes(1, 2), status: 1, mtu: 0x0403, u: { arm: 'a', a: 0x08070605 } })
    both(
      'space',
      '0102 0200 0304 00 05060708'.replace('060708', '000000'),
      { mac: bytes(1, 2), status: 2, mtu: 0x0403, u: { arm: 'b', b: 5 } },
      features('MAC'),
    )
  })

  test('may end before what means nothing, not before anything else', () => {
    const { value, fields } = decodeShort()
    expect(value).toEqual({ Magic: 1, Low: 2, High: 3, Config: bytes() })
    expect(fields.filter(({ missing }) => missing).map(({ path }) => path)).toEqual(['Vector'])
    expect(() => decode('space', '0102 01')).toThrow(new RangeError('space needs at least 11 bytes, there are 3'))
    function decodeShort() {
      return read('block', '01000000 00000000 02000000 03000000', { caller: { msix: 0 } })
    }
  })

  test('have members at offsets that depend on something', () => {
    both(
      'block',
      '01000000 00000000 02000000 03000000 0400 aabb',
      { Magic: 1, Low: 2, High: 3, Vector: 4, Config: bytes(0xaa, 0xbb) },
      { caller: { msix: 1 } },
    )
    expect(decode('block', '01000000 00000000 02000000 03000000 aabbcc', { caller: { msix: 0 } })).toMatchObject({ Config: bytes(0xaa, 0xbb, 0xcc) })
    expect(encode('block', { Magic: 1, Config: bytes(0xaa) }, { caller: { msix: 0 } })).toBe(`01000000${'00'.repeat(12)}aa`)
  })

  test('list their fields in the order of the bytes', () => {
    const { fields } = read('block', '00'.repeat(0x14), { caller: { msix: 1 } })
    expect(fields.map(({ path, offset }) => `${offset} ${path}`)).toEqual(['0 Magic', '8 Low', '12 High', '16 Vector', '18 Config'])
  })
})

describe('structs that say how long they are', () => {
  const { both, decode, encode } = described(`
structs:
  cap: {size: len, fields: [id: u8, len: u8, data: bytes]}
  short: {size: len, fields: [id: u8, len: u8, "x[id]": u8]}
  caps: ["list[]": cap]
  foreign: {source: elsewhere, size: 3}
  holder: [x: u8, f: foreign, "g[2]": foreign]
`)

  test('end there, and what is open in them as well', () => {
    both('caps', '0104aabb 0202 0303cc', {
      list: [
        { id: 1, len: 4, data: bytes(0xaa, 0xbb) },
        { id: 2, len: 2, data: bytes() },
        { id: 3, len: 3, data: bytes(0xcc) },
      ],
    })
    expect(decode('short', '01 04 aa 00')).toEqual({ id: 1, len: 4, x: bytes(0xaa) })
    expect(encode('short', { id: 1, len: 4, x: bytes(0xaa) })).toBe('0104aa00')
  })

  test('are as long as their fixed members at least, and no longer than the bytes', () => {
    expect(decode('caps', '0100 0209aa')).toEqual({
      list: [
        { id: 1, len: 0, data: bytes() },
        { id: 2, len: 9, data: bytes(0xaa) },
      ],
    })
  })

  test('refuse more than they say', () => {
    expect(() => encode('cap', { len: 2, data: bytes(1) })).toThrow(new RangeError('cap is 2 bytes long as "len" says, but its members take 3'))
  })

  test('may be foreign: bytes of a known size', () => {
    both('holder', '01 020304 050607 08090a', { x: 1, f: bytes(2, 3, 4), g: [bytes(5, 6, 7), bytes(8, 9, 10)] })
    both('foreign', '020304', { bytes: bytes(2, 3, 4) })
    expect(() => encode('holder', { f: bytes(1) })).toThrow(new RangeError('f must have 3 bytes, not 1'))
  })
})

describe('features', () => {
  const { both } = described(`
features: {A: {bit: 0, assumed: not (B and C)}, B: 1, C: 2}
structs: {s: [x: u8, y: {type: u8, when: A}, z: {type: u8, when: B and not C}]}
`)

  test('take members away, and count as negotiated where the text says so', () => {
    both('s', '01 02', { x: 1, y: 2 })
    both('s', '01 02 03', { x: 1, y: 2, z: 3 }, features('B'))
    both('s', '01', { x: 1 }, features('B', 'C'))
    both('s', '01 02', { x: 1, y: 2 }, features('A', 'B', 'C'))
  })
})

describe('the guest of a legacy interface', () => {
  const { both } = described(`
legacy: native
structs: {s: [a: le16, b: {type: le16, legacy: same}, c: u16, d: be16, _: {type: le16, bits: [e: 4, f: 12]}]}
`)

  test('may have another byte order', () => {
    const value = { a: 0x0102, b: 0x0102, c: 0x0102, d: 0x0102, e: 2, f: 0x10 }
    both('s', '0102 0201 0102 0102 0102', value, { guest: 'big-endian' })
    both('s', '0201 0201 0201 0102 0201', value)
  })
})
