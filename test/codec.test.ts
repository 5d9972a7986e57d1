import { describe, expect, test } from 'vitest'
import { bytes, described, features, type Plain } from './support/described.ts'

describe('integers', () => {
  const { both, decode, encode } = described(`
structs:
  all: [a: u8, b: le16, c: be16, d: u16, e: le32, f: be32, g: u32]
  wide: [id: le64, be: be64, size: {type: le64, unit: byte}, cid: {type: u64, range: 0 .. 7}]
  time: [now: {type: le64, unit: ns}]
  signs: [magic: {type: le32, const: 0x74726976}, x: u8]
  constant_length: [n: {type: u8, const: 2}, "x[n]": u8]
`)

  test('have the byte order of their type; that of the guest is little-endian', () => {
    both('all', '01 0203 0203 0203 04050607 04050607 04050607', {
      a: 1,
      b: 0x0302,
      c: 0x0203,
      d: 0x0302,
      e: 0x07060504,
      f: 0x04050607,
      g: 0x07060504,
    })
  })

  test('of 64 bits are a bigint, with a unit or a range a number', () => {
    both('wide', 'ffffffffffffffff 0000000000000001 ffffffffffff1f00 0500000000000000', {
      id: 0xffff_ffff_ffff_ffffn,
      be: 1n,
      size: Number.MAX_SAFE_INTEGER,
      cid: 5,
    })
  })

  test('of 64 bits in nanoseconds are a bigint: the time since 1970 has more than 53 bits', () => {
    both('time', '0000a8cf9a1f5718', { now: 0x1857_1f9a_cfa8_0000n })
  })

  test('that say a length say it also where only their constant does', () => {
    expect(encode('constant_length', {})).toBe('020000')
  })

  test('of 64 bits that are a number read 2^53 and more as the nearest number', () => {
    const value = decode('wide', `${'00'.repeat(16)}ffffffffffffffff0100000000002000`)
    expect(value.size).toBe(2 ** 64)
    expect(value.cid).toBeGreaterThan(Number.MAX_SAFE_INTEGER)
  })

  test('may be given as a number where a bigint is meant', () => {
    expect(encode('wide', { id: 258 })).toBe(`0201${'00'.repeat(30)}`)
  })

  test('that are missing are zero, or their constant', () => {
    expect(encode('signs', {})).toBe('7669727400')
    expect(() => encode('signs', { magic: 1 })).toThrow(new RangeError('magic must be 1953655158, not 1'))
  })
})

describe('bit-fields', () => {
  const { both, decode, encode, read } = described(`
features: {WIDE: 0}
structs:
  named: [flags: {type: le16, bits: [low: 3, reserved: reserved 5, high: 8]}]
  nameless: [_: {type: be32, bits: [vq: 16, off: 15, wrap: 1]}, last: u8]
  views:
    - _:
        type: le16
        bits:
          - _: {union: [narrow: {width: 8, when: not WIDE}, wide: {width: 12, when: WIDE}]}
          - rest: 4
  list: ["pairs[2]": {type: u8, bits: [a: 4, b: 4]}]
  constant: [_: {type: u8, bits: [_: {width: 4, const: 0xe}, x: 4]}]
  either: [_: {type: u8, bits: [_: {union: [x: 8, y: {width: 8, const: 7}]}]}]
`)

  test('with a name are an object, counted from the least significant bit', () => {
    both('named', '05 a7', { flags: { low: 5, high: 0xa7 } })
  })

  test('without a name belong to the parent, in the byte order of their integer', () => {
    both('nameless', '8001 1234 ff', { vq: 0x1234, off: 1, wrap: 1, last: 0xff })
  })

  test('may be views of each other: those whose condition holds are there', () => {
    both('views', 'bc 3a', { wide: 0xabc, rest: 3 }, features('WIDE'))
    expect(decode('views', 'bc 30')).toEqual({ narrow: 0xbc, rest: 3 })
    expect(() => encode('views', { wide: 1 })).toThrow(new RangeError('wide is not there: it exists only with WIDE'))
  })

  test('are elements of arrays', () => {
    both('list', '21 43', {
      pairs: [
        { a: 1, b: 2 },
        { a: 3, b: 4 },
      ],
    })
  })

  test('without a name keep their constant', () => {
    expect(encode('constant', { x: 5 })).toBe('5e')
    expect(encode('either', {})).toBe('07')
    expect(encode('either', { x: 5 })).toBe('05')
  })

  test('are listed one by one, reserved ones included', () => {
    expect(read('named', '05a7').fields.map(({ path, offset, size, bit, bits, value }) => [path, offset, size, bit, bits, value])).toEqual([
      ['flags.low', 0, 2, 0, 3, 5],
      ['flags.reserved', 0, 2, 3, 5, 0],
      ['flags.high', 0, 2, 8, 8, 0xa7],
    ])
  })

  test('must fit', () => {
    expect(() => encode('named', { flags: { low: 8 } })).toThrow(new RangeError('flags.low must be an integer from 0 to 7, not 8'))
  })
})

describe('structs in structs', () => {
  const { both, read, encode } = described(`
features: {MORE: 0}
structs:
  inner: [a: u8, reserved: reserved u8, b-c: le16]
  outer:
    - first: inner
    - _: {when: MORE, struct: [x: u8, y: u8]}
    - _: inner
    - z: {struct: [deep: u8]}
    - list[2]: inner
`)
  const hex = '01 00 0200 0a 0b 03 00 0400 05 06 00 0700 08 00 0900'

  test('nest, or put their members beside those of the parent', () => {
    both(
      'outer',
      hex,
      {
        first: { a: 1, b_c: 2 },
        x: 10,
        y: 11,
        a: 3,
        b_c: 4,
        z: { deep: 5 },
        list: [
          { a: 6, b_c: 7 },
          { a: 8, b_c: 9 },
        ],
      },
      features('MORE'),
    )
  })

  test('move up where a group is absent', () => {
    both('outer', hex.replace('0a 0b ', ''), {
      first: { a: 1, b_c: 2 },
      a: 3,
      b_c: 4,
      z: { deep: 5 },
      list: [
        { a: 6, b_c: 7 },
        { a: 8, b_c: 9 },
      ],
    })
    expect(() => encode('outer', { x: 1 })).toThrow(RangeError)
  })

  test('list their fields by dotted paths; what is absent is missing', () => {
    const { fields } = read('outer', hex.replace('0a 0b ', ''))
    expect(fields.map(({ path, offset, missing }) => `${offset} ${path}${missing ? ' missing' : ''}`)).toEqual([
      '0 first.a',
      '1 first.reserved',
      '2 first.b_c',
      '4 x missing',
      '4 y missing',
      '4 a',
      '5 reserved',
      '6 b_c',
      '8 z.deep',
      '9 list[0].a',
      '10 list[0].reserved',
      '11 list[0].b_c',
      '13 list[1].a',
      '14 list[1].reserved',
      '15 list[1].b_c',
    ])
  })

  test('refuse names that nothing has', () => {
    expect(() => encode('outer', { first: { d: 1 } })).toThrow(new TypeError('first.d is no member of inner'))
  })
})

describe('arrays', () => {
  const { both, decode, encode } = described(`
constants: {sizes: {THREE: 3}}
let: {extra: caller}
config: {space: [n: u8]}
structs:
  fixed: ["mac[6]": u8, "name[THREE]": char, "words[2]": le16, "ids[2]": le64]
  counted: [entries: u8, "macs[entries][6]": u8, tail: u8]
  computed: [mask: u8, "table[mask + 1]": le16, len: u8, "quarter[len / 4]": u8]
  open: [x: u8, "items[]": le16]
  middle: [x: u8, data: bytes, status: u8, code: le16]
  rows: ["data[][4]": u8, status: u8]
  behind: [data: bytes, "tail[len]": u8, len: u8]
  outside: ["a[config.n]": u8, "b[queue.size]": le16, "c[extra * 2]": u8]
  joined: [low: u8, high: {type: u8, pair: {name: both, low: low}}, "x[both]": u8]
  element: [n: u8, "x[n]": u8]
  elements: [count: u8, "list[count]": element]
`)

  test('of bytes are a Uint8Array, others an array', () => {
    both('fixed', '010203040506 414200 0100 0200 0300000000000000 0400000000000000', {
      mac: bytes(1, 2, 3, 4, 5, 6),
      name: bytes(0x41, 0x42, 0),
      words: [1, 2],
      ids: [3n, 4n],
    })
  })

  test('are as long as the fields say, row by row', () => {
    both('counted', '02 010203040506 0708090a0b0c ff', { entries: 2, macs: [bytes(1, 2, 3, 4, 5, 6), bytes(7, 8, 9, 10, 11, 12)], tail: 255 })
    both('counted', '00 ff', { entries: 0, macs: [], tail: 255 })
    both('computed', '01 0500 0600 09 0a0b', { mask: 1, table: [5, 6], len: 9, quarter: bytes(10, 11) })
  })

  test('may depend on what stands elsewhere', () => {
    both('outside', '01 0200 0300 0405', { a: bytes(1), b: [2, 3], c: bytes(4, 5) }, { config: { n: 1 }, queueSize: 2, caller: { extra: 1 } })
  })

  test('hold elements of different length', () => {
    both('elements', '02 01aa 02bbcc', {
      count: 2,
      list: [
        { n: 1, x: bytes(0xaa) },
        { n: 2, x: bytes(0xbb, 0xcc) },
      ],
    })
  })

  test('without a length take what is left, also in the middle', () => {
    both('open', '01 0200 0300', { x: 1, items: [2, 3] })
    both('middle', '01 aabb 02 0300', { x: 1, data: bytes(0xaa, 0xbb), status: 2, code: 3 })
    both('middle', '01 02 0300', { x: 1, data: bytes(), status: 2, code: 3 })
    both('rows', '01020304 05060708 ff', { data: [bytes(1, 2, 3, 4), bytes(5, 6, 7, 8)], status: 255 })
  })

  test('find their end by a field that stands behind them', () => {
    both('behind', 'aabb 010203 03', { data: bytes(0xaa, 0xbb), tail: bytes(1, 2, 3), len: 3 })
  })

  test('take whole elements only', () => {
    expect(decode('open', '01 0200 03')).toEqual({ x: 1, items: [2] })
    expect(decode('rows', '01020304 0506 ff')).toEqual({ data: [bytes(1, 2, 3, 4)], status: 255 })
  })

  test('that claim more than there is read as what is there, and what follows as zero', () => {
    expect(decode('counted', 'ff 010203040506 0708')).toEqual({ entries: 255, macs: [bytes(1, 2, 3, 4, 5, 6)], tail: 0 })
    expect(decode('elements', 'ff 0107 0901')).toEqual({
      count: 255,
      list: [
        { n: 1, x: bytes(7) },
        { n: 9, x: bytes(1) },
      ],
    })
  })

  test('that are not there do not make the rest an error', () => {
    expect(decode('counted', '05')).toEqual({ entries: 5, macs: [], tail: 0 })
    expect(() => decode('middle', '0102')).toThrow(new RangeError('middle needs at least 4 bytes, there are 2'))
  })

  test('may be as long as two joined halves say', () => {
    both('joined', '01 00 aa', { low: 1, high: 0, x: bytes(0xaa) })
    expect(() => encode('joined', { low: 1, high: 1 })).not.toThrow()
    expect(encode('joined', { low: 1, high: 1 })).toHaveLength(2 * (2 + 257))
  })

  test('must have the length that the fields say', () => {
    expect(() => encode('counted', { entries: 2, macs: [bytes(1, 2, 3, 4, 5, 6)] })).toThrow(
      new RangeError('macs must have 2 elements (entries), not 1'),
    )
    expect(() => encode('counted', { entries: 1, macs: [bytes(1, 2)] })).toThrow(new RangeError('macs[0] must have 6 bytes, not 2'))
    expect(encode('counted', { entries: 1 })).toBe('0100000000000000')
  })

  test('of bytes may be given as a list or as hexadecimal digits', () => {
    expect(encode('open', { x: 1, items: [] })).toBe('01')
    expect(encode('middle', { data: [1, 2] })).toBe('000102000000')
    expect(encode('middle', { data: '0a 0B' })).toBe('000a0b000000')
    expect(() => encode('middle', { data: 'xy' })).toThrow(TypeError)
    expect(() => encode('middle', { data: [256] })).toThrow(new RangeError('data[0] must be an integer from 0 to 255, not 256'))
  })

  test('need a context that says what they depend on', () => {
    expect(() => decode('outside', '0102')).toThrow(new TypeError('"config.n" of outside needs context.config.n'))
    expect(() => decode('outside', '0102', { config: { n: 0 } })).toThrow(/needs context.queueSize/)
    expect(() => decode('outside', '0102', { config: { n: 0 }, queueSize: 0 })).toThrow(/needs context.caller.extra/)
  })
})

describe('given structs', () => {
  const { both, decode } = described(`
constants: {kinds: {NONE: 0, PLAIN: 1, KEYED: 2}}
structs:
  plain_flf: [len: u8]
  keyed_flf: [hdr: plain_flf, key_len: u8]
  flf:
    - op: {size: 4, by: kind, union: [plain: {type: plain_flf, is: PLAIN}, keyed: {type: keyed_flf, is: KEYED}]}
    - kind: {type: u8, enum: kinds}
  plain_vlf: {given: {flf: plain_flf}, fields: ["data[flf.len]": u8]}
  keyed_vlf: {given: {flf: keyed_flf}, fields: ["key[flf.key_len if flf.hdr.len else 0]": u8, "data[flf.hdr.len]": u8]}
  vlf:
    given: {flf: flf}
    fields:
      - op:
          by: flf.kind
          union:
            - plain: {type: plain_vlf, with: {flf: flf.op.plain}, is: PLAIN}
            - keyed: {type: keyed_vlf, with: {flf: flf.op.keyed}, is: KEYED}
  both: [head: flf, body: {type: vlf, with: {flf: head}}, status: u8]
  counted: {given: {n: number}, fields: ["x[n]": u8]}
  numbers: [n: u8, twice: {type: counted, with: {n: n * 2}}, asked: {type: counted, with: caller}]
  inside: [n: u8, sub: {struct: [m: u8, "x[n + m]": u8]}]
`)

  test('are found along paths through unions', () => {
    const head = { op: { arm: 'keyed', keyed: { hdr: { len: 2 }, key_len: 1 } }, kind: 2 }
    both('both', '02010000 02 cc aabb 07', { head, body: { op: { arm: 'keyed', keyed: { key: bytes(0xcc), data: bytes(0xaa, 0xbb) } } }, status: 7 })
    both('both', '01000000 01 cc 07', {
      head: { op: { arm: 'plain', plain: { len: 1 } }, kind: 1 },
      body: { op: { arm: 'plain', plain: { data: bytes(0xcc) } } },
      status: 7,
    })
  })

  test('come from the context at the outermost level', () => {
    both(
      'vlf',
      'aabb',
      { op: { arm: 'plain', plain: { data: bytes(0xaa, 0xbb) } } },
      { given: { flf: { op: { arm: 'plain', plain: { len: 2 } }, kind: 1 } } },
    )
    expect(() => decode('vlf', 'aabb')).toThrow(/needs context.given.flf/)
  })

  test('leave a variable union without an arm as bytes, but not what stands behind it', () => {
    both('both', '09080706 00 aabb 07', {
      head: { op: { arm: undefined, bytes: bytes(9, 8, 7, 6) }, kind: 0 },
      body: { op: { arm: undefined, bytes: bytes(0xaa, 0xbb) } },
      status: 7,
    })
  })

  test('may be numbers, computed by the parent or known to the caller', () => {
    both('numbers', '01 aabb cc', { n: 1, twice: { x: bytes(0xaa, 0xbb) }, asked: { x: bytes(0xcc) } }, { given: { n: 1 } })
  })

  test('are the fields of the struct around, for one that is written inside it', () => {
    both('inside', '01 02 aabbcc', { n: 1, sub: { m: 2, x: bytes(0xaa, 0xbb, 0xcc) } })
  })
})

describe('unions', () => {
  const { both, decode, encode, read } = described(`
features: {F: 0}
constants:
  kinds: {A: 1, B: 2, C: 3, BIG: 0x13}
  small: {A: 1, B: 2, C: 3}
  marks: {MARK: 0x80, OTHER: 0x40}
config: {space: [kind: {type: u8, enum: kinds}]}
structs:
  named:
    - kind: {type: u8, enum: kinds}
    - u: {by: kind, union: [a: {type: u8, is: A}, b: {is: [B, C], struct: [x: u8, y: le16]}]}
    - last: u8
  nameless:
    - _: {by: kind, union: ["a[2]": {type: u8, is: A}, b: {type: le32, is: B}]}
    - _: {type: u8, bits: [kind: {width: 4, enum: small}, rest: 4]}
  flagged:
    - kind: {type: u8, enum: kinds, flags: marks}
    - u: {by: kind, union: [a: {type: u8, is: A}, b: {type: u8, is: B}]}
  masked: [kind: {type: u8, enum: small, mask: 0x03}, u: {by: kind, union: [a: {type: u8, is: A}, c: {type: u8, is: C}]}]
  fallback: [kind: {type: u8, enum: kinds}, u: {by: kind, union: [raw: {type: u8}, f: {type: u8, when: F}, a: {type: u8, is: A}]}]
  configured: [u: {by: config.kind, union: [a: {type: u8, is: A}, b: {type: le16, is: B}]}]
  views: [u: {union: [word: le32, "raw[4]": u8, half: le16, late: {type: u8, when: F}]}, x: u8]
  flat: [_: {union: [word: le16, _: {struct: [low: u8, high: u8]}]}]
  address: [addr: {union: [short: {type: le16, bits: [_: {width: 8, const: 0}, a: 8]}, long: {type: le16, bits: [_: {width: 4, const: 0xf}, b: 12]}]}]
  halves: [u: {union: [first: {type: le16, bits: [x: 8, reserved: reserved 8]}, second: {type: le16, bits: [reserved: reserved 8, y: 8]}]}]
  room: [len: u8, kind: {type: u8, enum: kinds}, u: {size: len, by: kind, union: [a: {type: le32, is: A}, b: {type: u8, is: B}]}, last: u8]
  open: [kind: {type: u8, enum: kinds}, u: {by: kind, union: [a: {type: bytes, is: A}, b: {type: u8, is: B}]}, last: u8]
`)

  test('with a name say which arm it is, and are as long as the longest', () => {
    both('named', '01 05 0000 ff', { kind: 1, u: { arm: 'a', a: 5 }, last: 255 })
    both('named', '03 05 0600 ff', { kind: 3, u: { arm: 'b', b: { x: 5, y: 6 } }, last: 255 })
  })

  test('keep the bytes where no arm is selected', () => {
    both('named', '09 010203 ff', { kind: 9, u: { arm: undefined, bytes: bytes(1, 2, 3) }, last: 255 })
  })

  test('without a name put the selected arm beside the other members; the deciding bits may stand behind', () => {
    both('nameless', '04050607 72', { b: 0x07060504, kind: 2, rest: 7 })
    both('nameless', '0405 0000 71', { a: bytes(4, 5), kind: 1, rest: 7 })
    expect(decode('nameless', '04050607 70')).toEqual({ kind: 0, rest: 7 })
  })

  test('go by the enum, whatever flags stand beside it', () => {
    both('flagged', 'c2 07', { kind: 0xc2, u: { arm: 'b', b: 7 } })
    both('masked', 'ff 07', { kind: 0xff, u: { arm: 'c', c: 7 } })
  })

  test('go by a condition where no constant fits, else take the arm that has neither', () => {
    both('fallback', '01 07', { kind: 1, u: { arm: 'a', a: 7 } }, features('F'))
    both('fallback', '02 07', { kind: 2, u: { arm: 'f', f: 7 } }, features('F'))
    both('fallback', '02 07', { kind: 2, u: { arm: 'raw', raw: 7 } })
  })

  test('go by the configuration space', () => {
    both('configured', '0102', { u: { arm: 'b', b: 0x0201 } }, { config: { kind: 2 } })
    expect(() => decode('configured', '0102')).toThrow(new TypeError('kind decides about configured: it needs context.config.kind'))
  })

  test('without a deciding field show every view of the bytes', () => {
    both('views', '01020304 05', { u: { word: 0x04030201, raw: bytes(1, 2, 3, 4), half: 0x0201 }, x: 5 })
    both('views', '01020304 05', { u: { word: 0x04030201, raw: bytes(1, 2, 3, 4), half: 0x0201, late: 1 }, x: 5 }, features('F'))
    both('flat', '0102', { word: 0x0201, low: 1, high: 2 })
  })

  test('are written from the views that are given', () => {
    expect(encode('views', { u: { half: 0x0201 }, x: 5 })).toBe('0102000005')
    expect(encode('flat', { high: 2 })).toBe('0002')
  })

  test('join the views that are given', () => {
    both('halves', '0102', { u: { first: { x: 1 }, second: { y: 2 } } })
  })

  test('leave an arm as bytes that does not fit into its area', () => {
    both('room', '02 01 aabb ff', { len: 2, kind: 1, u: { arm: undefined, bytes: bytes(0xaa, 0xbb) }, last: 255 })
    both('room', '05 01 01000000 00 ff', { len: 5, kind: 1, u: { arm: 'a', a: 1 }, last: 255 })
  })

  test('leave out a view whose constants are not in the bytes', () => {
    both('address', '0012', { addr: { short: { a: 0x12 } } })
    both('address', '2f01', { addr: { long: { b: 0x12 } } })
  })

  test('are as long as the selected arm where one has no length of its own', () => {
    both('open', '01 aabbcc ff', { kind: 1, u: { arm: 'a', a: bytes(0xaa, 0xbb, 0xcc) }, last: 255 })
    both('open', '02 aa ff', { kind: 2, u: { arm: 'b', b: 0xaa }, last: 255 })
  })

  test('refuse an arm that is not selected', () => {
    expect(() => encode('named', { kind: 1, u: { arm: 'b', b: {} } })).toThrow(new RangeError('u.arm must be "a", which kind selects, not "b"'))
    expect(() => encode('nameless', { kind: 1, b: 1 })).toThrow(new RangeError('b is not there: kind selects "a"'))
    expect(() => encode('views', { u: { late: 1 } })).toThrow(new RangeError('u.late is not there: it exists only with F'))
  })

  test('list the bytes of what is not selected', () => {
    expect(read('named', '09010203ff').fields.map(({ path, offset, size }) => [path, offset, size])).toEqual([
      ['kind', 0, 1],
      ['u', 1, 3],
      ['last', 4, 1],
    ])
  })
})

describe('what cannot be written', () => {
  const { encode, decode } = described(`
structs:
  inner: [n: u8, wide: le64, size: {type: le64, unit: byte}]
  outer: ["list[2]": inner, reserved: reserved u8]
`)
  const refused: [string, Plain, Error][] = [
    ['too large', { list: [{ n: 1 }, { n: 256 }] }, new RangeError('list[1].n must be an integer from 0 to 255, not 256')],
    ['negative', { list: [{ n: -1 }, {}] }, new RangeError('list[0].n must be an integer from 0 to 255, not -1')],
    ['a fraction', { list: [{ n: 1.5 }, {}] }, new RangeError('list[0].n must be an integer from 0 to 255, not 1.5')],
    [
      'beyond 64 bits',
      { list: [{ wide: 2n ** 64n }, {}] },
      new RangeError('list[0].wide must be an integer from 0 to 18446744073709551615, not 18446744073709551616'),
    ],
    [
      'beyond what a number holds',
      { list: [{ size: 2 ** 53 }, {}] },
      new RangeError('list[0].size must be an integer from 0 to 9007199254740991, not 9007199254740992'),
    ],
    ['no number', { list: [{ n: '1' }, {}] }, new TypeError('list[0].n must be a number, not "1"')],
    ['no object', { list: [5, {}] }, new TypeError('list[0] must be an object, not 5')],
    ['no array', { list: {} }, new TypeError('list must be an array, not an object')],
    ['too few', { list: [{}] }, new RangeError('list must have 2 elements, not 1')],
    ['unknown', { lists: [] }, new TypeError('lists is no member of outer')],
    ['reserved', { reserved: 0 }, new TypeError('reserved is no member of outer')],
  ]

  test.each(refused)('%s', (_, value, error) => {
    expect(() => encode('outer', value)).toThrow(error)
  })

  test('nor read: fewer bytes than the fixed members need', () => {
    expect(() => decode('outer', '00'.repeat(34))).toThrow(new RangeError('outer needs at least 35 bytes, there are 34'))
  })
})
