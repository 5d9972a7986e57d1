/** What the model holds for small descriptions. Members are shown as `offset +size name: type`, expressions with the source of each name. */
import { describe, expect, it } from 'vitest'
import {
  type Chapter,
  checkShapes,
  type Expression,
  type Member,
  type Model,
  type Request,
  resolve,
  SourceFile,
  type Struct,
  type Tree,
  type Type,
} from '../generator/index.ts'

/** A description in several lines, indented as the code around it. */
function yaml(parts: TemplateStringsArray, ...values: string[]): string {
  const lines = String.raw(parts, ...values)
    .replace(/^\n/, '')
    .split('\n')
  const indent = Math.min(...lines.filter((line) => line.trim() !== '').map((line) => line.length - line.trimStart().length))
  return lines.map((line) => line.slice(indent)).join('\n')
}

interface Text {
  text: string
  path?: string
  builtin?: boolean
}

function load(...files: (string | Text)[]): Model {
  const sources = files.map((file, index) => {
    const { text, path = `device/file${index}.yaml`, builtin = true } = typeof file === 'string' ? { text: file } : file
    return new SourceFile(path, path, text, builtin)
  })
  const { model, problems } = resolve(checkShapes(sources))
  expect(problems.map(({ line, code, message }) => `${line} ${code}: ${message}`)).toEqual([])
  return model
}

/** The chapter of one file whose kind and name do not matter. */
function chapter(text: string): Chapter {
  return load(`kind: external\nname: example\n${text}`).chapters[0] as Chapter
}

function find(chapters: Chapter, name: string): Struct {
  const found = [...chapters.structs, ...chapters.registers].find((struct) => struct.name === name)
  if (found === undefined) throw new Error(`there is no ${name} among ${chapters.structs.map((struct) => struct.name).join(', ')}`)
  return found
}

function structOf(text: string, name = 's'): Struct {
  return find(chapter(text), name)
}

/** An expression with the source of each name: `own.len + 1`. */
function source(tree: Tree): string {
  switch (tree.op) {
    case 'number':
      return String(tree.value)
    case 'feature':
      return `${tree.chapter}:${tree.name}=${tree.bit}`
    case 'field':
      return [tree.from, ...tree.path].join('.')
    case 'queue':
      return 'queue.size'
    case 'caller':
      return `caller.${tree.name}`
    case 'index':
      return 'i'
    case 'constant':
      return `${tree.group}.${tree.name}=${tree.value}`
    case 'sizeof':
      return `sizeof(${tree.struct.name})=${tree.value}`
    case 'not':
      return `not ${source(tree.arg)}`
    case 'binary':
      return `(${source(tree.left)} ${tree.operator} ${source(tree.right)})`
    case 'if':
      return `(${source(tree.value)} if ${source(tree.condition)}${tree.otherwise ? ` else ${source(tree.otherwise)}` : ''})`
  }
}

const shownExpression = (expression: Expression | undefined): string => (expression ? source(expression.tree) : '')

function typeText(type: Type): string {
  switch (type.kind) {
    case 'integer':
      return type.name
    case 'struct':
      return type.name
    case 'bits':
      return `${type.container.name}{${type.fields.map(({ name, bit, bits, reserved }) => `${reserved ? '(reserved)' : name}@${bit}:${bits}`).join(' ')}}`
    case 'union':
      return `union${type.by ? ` by ${[type.by.from, ...type.by.path].join('.')}` : ''} {${type.arms.map((arm) => armText(arm)).join('; ')}}`
    case 'group':
      return `{${type.members.map(shown).join('; ')}}`
    default:
      return type.kind
  }
}

function armText(arm: Member): string {
  return `${arm.is ? `${arm.is.map(({ name, value }) => `${name}=${value}`).join(',')} → ` : ''}${shown(arm)}`
}

/** A member in one line. */
function shown(member: Member): string {
  const { name, type, dims, offset, size, when, area, reserved } = member
  const bound =
    typeof member.with === 'object'
      ? Object.entries(member.with).map(([given, value]) => `${given}=${value === 'caller' ? value : shownExpression(value)}`)
      : []
  const lengths = dims.map((dim) => `[${dim.count ?? shownExpression(dim.length)}]`).join('')
  return [
    `${member.part ? `${member.part} ` : ''}${offset ?? '?'} +${size ?? '?'} ${name || '_'}${lengths}: `,
    `${reserved ? 'reserved ' : ''}${typeText(type)}`,
    when ? ` when ${shownExpression(when)}` : '',
    area ? ` size ${shownExpression(area)}` : '',
    member.with === 'caller' ? ' with caller' : bound.length > 0 ? ` with {${bound.join(', ')}}` : '',
  ].join('')
}

const layout = ({ members, size }: Pick<Struct, 'members' | 'size'>): string[] => [...members.map(shown), `= ${size ?? 'varies'}`]
const givens = ({ given }: Struct): string[] => given.map(({ name, struct }) => (struct ? `${name}: ${struct.chapter}/${struct.name}` : name))

describe('members of a struct', () => {
  it('stand one behind the other, without padding', () => {
    expect(
      layout(
        structOf(yaml`
      structs:
        s: [a: u8, b: le64, "c[3]": le16, d: be32, "e[2][6]": u8]
    `),
      ),
    ).toEqual(['0 +1 a: u8', '1 +8 b: le64', '9 +6 c[3]: le16', '15 +4 d: be32', '19 +12 e[2][6]: u8', '= 31'])
  })

  it('count as present where a condition says whether they are there', () => {
    expect(
      layout(
        structOf(yaml`
      features: {F: 7}
      structs:
        s: [a: u8, b: {type: le16, when: F}, c: u8]
    `),
      ),
    ).toEqual(['0 +1 a: u8', '1 +2 b: le16 when example:F=7', '3 +1 c: u8', '= 4'])
  })

  it('have no known place behind one whose length varies', () => {
    expect(
      layout(
        structOf(yaml`
      structs:
        s: [n: u8, "a[n]": le16, b: u8, rest: bytes, c: u8]
    `),
      ),
    ).toEqual(['0 +1 n: u8', '1 +? a[own.n]: le16', '? +1 b: u8', '? +? rest: bytes', '? +1 c: u8', '= varies'])
  })

  it('may be rows of bits, least significant first', () => {
    expect(
      layout(
        structOf(
          yaml`
            structs:
              s:
                - a: {type: le16, bits: [x: 12, _: {width: 1}, reserved: reserved 3]}
                - _: {type: u8, bits: [_: {union: [p: 4, q: 2]}, r: 4]}
          `,
        ),
      ),
    ).toEqual(['0 +2 a: le16{x@0:12 @12:1 (reserved)@13:3}', '2 +1 _: u8{p@0:4 q@0:2 r@4:4}', '= 3'])
  })

  it('may be unions, as long as the longest arm', () => {
    expect(
      layout(
        structOf(
          yaml`
            constants: {k: {A: 1, B: 2}}
            structs:
              s:
                - kind: {type: u8, enum: k}
                - u: {by: kind, union: [x: {type: u8, is: A}, y: {type: le32, is: [B, 7]}]}
                - _: {union: [v: le16, "w[2]": u8]}
                - z: u8
          `,
        ),
      ),
    ).toEqual([
      '0 +1 kind: u8',
      '1 +4 u: union by own.kind {A=1 → 1 +1 x: u8; B=2,7=7 → 1 +4 y: le32}',
      '5 +2 _: union {5 +2 v: le16; 5 +2 w[2]: u8}',
      '7 +1 z: u8',
      '= 8',
    ])
  })

  it('belong to the parent where the struct around them has no name', () => {
    expect(
      layout(
        structOf(yaml`
        features: {F: 1}
        structs:
          t: [x: le16, y: u8]
          s: [a: u8, _: {when: F, struct: [b: le16, c: u8]}, _: t, d: u8]
      `),
      ),
    ).toEqual(['0 +1 a: u8', '1 +3 _: {1 +2 b: le16; 3 +1 c: u8} when example:F=1', '4 +3 _: {4 +2 x: le16; 6 +1 y: u8}', '7 +1 d: u8', '= 8'])
  })

  it('may have an area that is longer than they are', () => {
    expect(
      layout(
        structOf(yaml`
        structs:
          t: [x: le16]
          s: [a: {type: t, size: 8}, b: {type: t, size: 6 if VIRTIO_F}, c: u8]
        features: {VIRTIO_F: 1}
      `),
      ),
    ).toEqual(['0 +8 a: t size 8', '8 +2 b: t size (6 if example:VIRTIO_F=1)', '10 +1 c: u8', '= 11'])
  })

  it('count in each of two parts from its own start', () => {
    const struct = structOf(yaml`
      structs:
        s:
          readable: [type: le32, data: bytes]
          writable: [data: bytes, status: u8]
    `)
    expect(layout(struct)).toEqual([
      'readable 0 +4 type: le32',
      'readable 4 +? data: bytes',
      'writable 0 +? data: bytes',
      'writable ? +1 status: u8',
      '= varies',
    ])
    expect(struct.twoPart).toBe(true)
  })

  it('bring only what belongs to their part when they are of two parts', () => {
    expect(
      layout(
        structOf(yaml`
      structs:
        t: {readable: [a: le32], writable: [b: u8]}
        s: {readable: [x: t], writable: [_: t, c: u8]}
    `),
      ),
    ).toEqual(['readable 0 +4 x: t', 'writable 0 +1 _: {writable 0 +1 b: u8}', 'writable 1 +1 c: u8', '= 6'])
  })

  it('take their legacy byte order from the struct or the file', () => {
    const order = (text: string): string[] => structOf(text).members.map(({ name, legacy }) => `${name} ${legacy}`)
    expect(
      order(
        yaml`
          legacy: native
          structs:
            s: {legacy: same, fields: [a: le16, b: {type: le16, legacy: native}, _: {legacy: native, struct: [c: le16]}]}
        `,
      ),
    ).toEqual(['a same', 'b native', ' native'])
    expect(order('legacy: native\nstructs:\n  s: [a: le16]')).toEqual(['a native'])
    expect(order('structs:\n  s: [a: le16]')).toEqual(['a same'])
  })
})

describe('config and registers', () => {
  it('have fixed places: `at`, or behind the one before', () => {
    expect(
      layout(
        structOf(yaml`
      registers:
        s: [a: le32, b: {type: u8, at: 0x10}, c: u8, d: {type: bytes, at: 0x100}]
    `),
      ),
    ).toEqual(['0 +4 a: le32', '16 +1 b: u8', '17 +1 c: u8', '256 +? d: bytes', '= varies'])
  })

  it('may have a place that depends on something', () => {
    const { members } = structOf(yaml`
      let: {msix: caller}
      registers:
        s: [a: le32, b: {type: bytes, at: 24 if msix else 20}]
    `)
    expect(members.map((member) => `${member.offset} ${shownExpression(member.at)}`)).toEqual(['0 ', 'null (24 if caller.msix else 20)'])
  })

  it('keep the places of members in groups', () => {
    expect(
      layout(
        structOf(yaml`
      features: {F: 1}
      registers:
        s: [a: le32, _: {when: F, struct: [b: {type: le16, at: 8}, c: le16]}, d: u8]
    `),
      )[1],
    ).toBe('4 +8 _: {8 +2 b: le16; 10 +2 c: le16} when example:F=1')
  })

  it('are fixed inside nested structs too', () => {
    const found = chapter(yaml`
      features: {F: 1}
      config:
        s: [a: {struct: [b: {type: u8, when: F, access: rw}, c: u8]}]
    `)
    expect(found.config).toBe('s')
    expect(find(found, 's_a').role).toBe('config')
    expect(layout(find(found, 's_a'))).toEqual(['0 +1 b: u8 when example:F=1', '1 +1 c: u8', '= 2'])
  })

  it('hold access, bank, pair and reset', () => {
    const { members } = structOf(
      yaml`
        features: {F: 1}
        registers:
          s:
            - sel: {type: u8, access: w, reset: 3}
            - lo: {type: le32, bank: sel}
            - hi: {type: le32, bank: [sel], pair: {name: both, low: lo}, access: rw if F and sel == 2}
            - clear: {type: u8, access: rw, clears: sel}
      `,
    )
    expect(
      members.map(({ access, bank, pair, reset, clears }) => ({
        ...(access && { access: `${access.mode} ${shownExpression(access.when)}`.trim() }),
        bank,
        pair,
        reset,
        clears,
      })),
    ).toEqual([
      { access: 'w', reset: 3 },
      { bank: ['sel'] },
      { access: 'rw (example:F=1 and (own.sel == 2))', bank: ['sel'], pair: { name: 'both', low: 'lo' } },
      { access: 'rw', clears: 'sel' },
    ])
  })
})

describe('a name in an expression', () => {
  const length = (text: string): string => shownExpression(structOf(text).members.find(({ name }) => name === 'x')?.dims[0]?.length)

  it('is a member first, at any depth, then `given`, `let`, feature, constant', () => {
    expect(
      length(yaml`
      let: {n: 1}
      constants: {g: {n: 2}}
      structs:
        s: [n: u8, "x[n]": u8]
    `),
    ).toBe('own.n')
    expect(
      length(yaml`
      structs:
        t: [bits: {type: u8, bits: [n: 8]}]
        s: [t: t, "x[t.bits.n]": u8]
    `),
    ).toBe('own.t.bits.n')
    expect(
      length(yaml`
      let: {n: 1}
      structs:
        s: {given: {n: number}, fields: ["x[n]": u8]}
    `),
    ).toBe('given.n')
    expect(
      length(yaml`
      let: {n: 1 + m, m: caller}
      constants: {g: {n: 2}}
      structs:
        s: ["x[n]": u8]
    `),
    ).toBe('(1 + caller.m)')
    expect(length('constants: {g: {n: 2}}\nstructs:\n  s: ["x[n * 2]": u8]')).toBe('(g.n=2 * 2)')
    expect(length('structs:\n  s: ["x[queue.size]": u8]')).toBe('queue.size')
    expect(length('structs:\n  t: [a: le32]\n  s: ["x[sizeof(t)]": u8]')).toBe('sizeof(t)=4')
    expect(
      length(yaml`
      config: {c: [n: u8]}
      structs:
        s: [n: u8, "x[config.n]": u8]
    `),
    ).toBe('config.n')
  })

  it('of a member without a name’s member is one of the parent', () => {
    expect(length('structs:\n  t: [n: u8]\n  s: [_: t, "x[n]": u8]')).toBe('own.n')
    expect(length('structs:\n  s: [_: {type: u8, bits: [n: 8]}, "x[n]": u8]')).toBe('own.n')
  })

  it('may be one of the readable part in the writable one, also by that word', () => {
    const struct = structOf(yaml`
      structs:
        s:
          readable: [n: u8, m: u8]
          writable: [m: u8, "a[n]": u8, "b[m]": u8, "c[readable.m]": u8]
    `)
    expect(struct.members.slice(3).map(({ dims }) => shownExpression(dims[0]?.length))).toEqual(['readable.n', 'own.m', 'readable.m'])
  })

  it('is taken from the groups of the field that it is held against', () => {
    const { members } = structOf(
      yaml`
        constants: {one: {A: 1, B: 2}, two: {A: 9, C: 4}}
        structs:
          s:
            - one: {type: u8, enum: one}
            - two: {type: u8, flags: two}
            - a: {type: u8, when: one == A and two has A or A != two}
            - b: {type: u8, enum: two, const: A | C}
      `,
    )
    expect(shownExpression(members[2]?.when)).toBe('(((own.one == one.A=1) and (own.two has two.A=9)) or (two.A=9 != own.two))')
    expect(members[3]?.const).toBe(13)
  })

  it('is a mask where `has` asks a set for one of its bits', () => {
    expect(
      shownExpression(
        structOf(yaml`
        constants: {g: {BIT: 3}}
        structs:
          s: [f: {type: u8, set: g}, x: {type: u8, when: f has BIT}]
      `).members[1]?.when,
      ),
    ).toBe('(own.f has (1 << g.BIT=3))')
  })

  it('may be a feature or constant of a common chapter, or of one that is used', () => {
    const model = load(
      {
        text: yaml`
        kind: common
        name: common
        features: {F: 32}
        constants: {limits: {MAX: 3}}
      `,
        path: 'common/common.yaml',
      },
      { text: 'kind: external\nname: other\nconstants: {sizes: {SIZE: 5}}', path: 'external/other.yaml' },
      yaml`
        kind: device
        name: example
        id: 1000
        uses: [other]
        structs:
          s: ["x[MAX + SIZE]": {type: u8, when: F}]
      `,
    )
    const [x] = find(model.chapters.find(({ name }) => name === 'example') as Chapter, 's').members
    expect([shownExpression(x?.dims[0]?.length), shownExpression(x?.when), x?.dims[0]?.count]).toEqual([
      '(limits.MAX=3 + sizes.SIZE=5)',
      'common:F=32',
      8,
    ])
  })

  it('keeps its text in one line', () => {
    expect(
      structOf(yaml`
        features: {F: 1, G: 2}
        structs:
          s:
            - a:
                type: u8
                when: >
                  F
                  and   G
      `).members[0]?.when?.text,
    ).toBe('F and G')
  })
})

describe('what a struct needs from outside', () => {
  /** More structs, and what else is in the chapter, beside one that needs another and a number. */
  const beside = (structs: string, rest = ''): Chapter =>
    chapter(
      `${yaml`
      structs:
        flf: [len: le32]
        vlf: {given: {flf: flf, n: number}, fields: ["a[flf.len]": u8, "b[n]": u8]}
    `.trimEnd()}\n${structs.replaceAll(/^(?=.)/gm, '  ')}\n${rest}`,
    )

  it('is `given`, and whoever embeds it binds it', () => {
    const found = beside('s: [flf: flf, k: u8, tail: {type: vlf, with: {flf: flf, n: k + 1}}]')
    expect(givens(find(found, 'vlf'))).toEqual(['flf: example/flf', 'n'])
    expect(layout(find(found, 'vlf'))).toEqual(['0 +? a[given.flf.len]: u8', '? +? b[given.n]: u8', '= varies'])
    expect(layout(find(found, 's'))[2]).toBe('5 +? tail: vlf with {flf=own.flf, n=(own.k + 1)}')
    expect(givens(find(found, 's'))).toEqual([])
  })

  it('goes on outwards where the program knows it', () => {
    const found = beside(yaml`
      inner: [k: u8, tail: {type: vlf, with: {flf: caller, n: k}}]
      outer: [inner: {type: inner, with: caller}]
      s: [flf: flf, outer: {type: outer, with: {flf: flf}}]
    `)
    expect(givens(find(found, 'inner'))).toEqual(['flf: example/flf'])
    expect(layout(find(found, 'inner'))[1]).toBe('1 +? tail: vlf with {flf=given.flf, n=own.k}')
    expect(givens(find(found, 'outer'))).toEqual(['flf: example/flf'])
    expect(layout(find(found, 'outer'))[0]).toBe('0 +? inner: inner with {flf=given.flf}')
    expect(layout(find(found, 's'))[1]).toBe('4 +? outer: outer with {flf=own.flf}')
  })

  it('is shared where two members need the same from the caller', () => {
    const found = beside(yaml`
      s:
        given: {n: number}
        fields: [x: {type: vlf, with: {flf: caller, n: n}}, y: {type: vlf, with: {flf: caller, n: n}, size: 4}]
    `)
    expect(givens(find(found, 's'))).toEqual(['n', 'flf: example/flf'])
  })

  it('is asked of the caller at last where a request embeds it', () => {
    const [message] = beside(
      '',
      yaml`
        messages:
          m:
            requests:
              - all: {readable: [t: {type: vlf, with: caller}]}
              - some: {writable: [k: u8, t: {type: vlf, with: {flf: caller, n: k}}]}
      `,
    ).messages
    expect(message?.requests.map(({ members }) => members.map(shown))).toEqual([
      ['readable 0 +? t: vlf with caller'],
      ['writable 0 +1 k: u8', 'writable 1 +? t: vlf with {flf=caller, n=own.k}'],
    ])
  })

  it('is replaced by the names of the parent in the members of a struct without a name', () => {
    const found = beside(yaml`
      s: [hdr: flf, k: u8, _: {type: vlf, with: {flf: hdr, n: k}}]
      t: [_: {type: vlf, with: caller}]
    `)
    expect(layout(find(found, 's'))[2]).toBe('5 +? _: {5 +? a[own.hdr.len]: u8; ? +? b[own.k]: u8} with {flf=own.hdr, n=own.k}')
    expect(layout(find(found, 't'))[0]).toBe('0 +? _: {0 +? a[given.flf.len]: u8; ? +? b[given.n]: u8} with {flf=given.flf, n=given.n}')
    expect(givens(find(found, 't'))).toEqual(['flf: example/flf', 'n'])
    // The struct itself is as it was.
    expect(layout(find(found, 'vlf'))[0]).toBe('0 +? a[given.flf.len]: u8')
  })

  it('may be what decides a union', () => {
    const found = chapter(
      yaml`
        let: {revision: caller}
        constants: {k: {A: 1}}
        structs:
          hdr: [type: {type: u8, enum: k}]
          s: {given: {hdr: hdr}, fields: [u: {by: hdr.type, union: [x: {type: u8, is: A}]}, v: {by: revision, union: [y: {type: u8, is: 2}]}]}
      `,
    )
    expect(layout(find(found, 's')).slice(0, 2)).toEqual([
      '0 +1 u: union by given.hdr.type {A=1 → 0 +1 x: u8}',
      '1 +1 v: union by given.revision {2=2 → 1 +1 y: u8}',
    ])
    expect(givens(find(found, 's'))).toEqual(['hdr: example/hdr', 'revision'])
  })
})

describe('a nested struct', () => {
  it('is one of its own, named after its place', () => {
    const found = chapter(yaml`
      structs:
        s: [a: u8, part: {struct: [b: le16, deep: {struct: [c: u8]}]}, "list[2]": {struct: [d: u8]}]
    `)
    expect(found.structs.map(({ name, within }) => `${name}${within ? ` in ${within.struct}.${within.member}` : ''}`)).toEqual([
      's_part_deep in s_part.deep',
      's_part in s.part',
      's_list in s.list',
      's',
    ])
    expect(layout(find(found, 's'))).toEqual(['0 +1 a: u8', '1 +3 part: s_part', '4 +2 list[2]: s_list', '= 6'])
  })

  it('is named after its union too where another one has the name', () => {
    const found = chapter(yaml`
      structs:
        s: [a: {union: [x: {struct: [p: u8]}]}, b: {union: [x: {struct: [q: u8]}]}]
    `)
    expect(found.structs.map(({ name }) => name)).toEqual(['s_x', 's_b_x', 's'])
  })

  it('gets what it uses of the structs around it as `given`, through every level', () => {
    const found = chapter(
      yaml`
        structs:
          hdr: [len: u8]
          s:
            - n: u8
            - hdr: hdr
            - flags: {type: u8, bits: [up: 8]}
            - a: {struct: [m: u8, b: {struct: ["x[n]": u8, "y[m]": u8, "z[hdr.len + flags.up]": u8]}]}
      `,
    )
    expect(givens(find(found, 's_a_b'))).toEqual(['n', 'm', 'hdr_len', 'flags_up'])
    expect(layout(find(found, 's_a_b')).slice(0, 3)).toEqual([
      '0 +? x[given.n]: u8',
      '? +? y[given.m]: u8',
      '? +? z[(given.hdr_len + given.flags_up)]: u8',
    ])
    expect(givens(find(found, 's_a'))).toEqual(['n', 'hdr_len', 'flags_up'])
    expect(layout(find(found, 's_a'))[1]).toBe('1 +? b: s_a_b with {n=given.n, m=own.m, hdr_len=given.hdr_len, flags_up=given.flags_up}')
    expect(layout(find(found, 's'))[3]).toBe('3 +? a: s_a with {n=own.n, hdr_len=own.hdr.len, flags_up=own.flags.up}')
    expect(givens(find(found, 's'))).toEqual([])
  })

  it('may use what is given to the struct around it, and what the caller knows', () => {
    const found = chapter(
      yaml`
        let: {N: caller}
        structs:
          hdr: [len: u8]
          user: {given: {hdr: hdr}, fields: ["x[hdr.len]": u8]}
          s: {given: {hdr: hdr}, fields: [a: {struct: ["x[hdr.len]": u8, "y[N]": u8, z: {type: user, with: {hdr: hdr}}]}]}
      `,
    )
    expect(givens(find(found, 's_a'))).toEqual(['hdr_len', 'hdr: example/hdr'])
    expect(layout(find(found, 's_a')).slice(0, 3)).toEqual(['0 +? x[given.hdr_len]: u8', '? +? y[caller.N]: u8', '? +? z: user with {hdr=given.hdr}'])
    expect(layout(find(found, 's'))[0]).toBe('0 +? a: s_a with {hdr_len=given.hdr.len, hdr=given.hdr}')
  })

  it('may use the readable part from the writable one', () => {
    const found = chapter(yaml`
      structs:
        s: {readable: [n: u8, m: u8], writable: [m: u8, a: {struct: ["x[n]": u8, "y[readable.m]": u8]}]}
    `)
    expect(layout(find(found, 's_a')).slice(0, 2)).toEqual(['0 +? x[given.n]: u8', '? +? y[given.readable_m]: u8'])
    expect(layout(find(found, 's'))[3]).toBe('writable 1 +? a: s_a with {n=readable.n, readable_m=readable.m}')
  })

  it('hands on what it takes from the caller', () => {
    const found = chapter(
      yaml`
        structs:
          t: {given: {n: number}, fields: ["x[n]": u8]}
          s: [a: {struct: [b: {type: t, with: caller}]}]
        messages:
          m: {requests: [r: {readable: [c: {struct: [d: {type: t, with: caller}]}]}]}
      `,
    )
    expect([givens(find(found, 's_a')), givens(find(found, 's'))]).toEqual([['n'], ['n']])
    expect(layout(find(found, 's'))[0]).toBe('0 +? a: s_a with {n=given.n}')
    expect(found.messages[0]?.requests[0]?.members.map(shown)).toEqual(['readable 0 +? c: m_r_c with {n=caller}'])
  })

  it('sees the fields around it in `by`, and constants of their groups', () => {
    const found = chapter(
      yaml`
        constants: {k: {A: 1}, l: {A: 2}}
        structs:
          s: [kind: {type: u8, enum: l}, a: {struct: [u: {by: kind, union: [x: {type: u8, is: A}]}]}]
      `,
    )
    expect(layout(find(found, 's_a'))[0]).toBe('0 +1 u: union by given.kind {A=2 → 0 +1 x: u8}')
  })
})

describe('constants', () => {
  it('may be expressions over others', () => {
    const { groups } = chapter(yaml`
      constants:
        a: {X: 3, Y: X << 8 | Z, W: {value: 1 << 63, marker: true}}
        b: {Z: 0x10, X: 4, 5 .. 0xff: vendor}
    `)
    expect(groups.map(({ constants, ranges }) => [constants.map(({ name, value }) => `${name}=${value}`), ranges])).toEqual([
      [['X=3', 'Y=784', 'W=9223372036854775808'], []],
      [['Z=16', 'X=4'], [{ from: 5, to: 255, owner: 'vendor' }]],
    ])
  })

  it('of groups that extend one belong to its id space, on the device whose chapter they stand in', () => {
    const model = load(
      {
        text: yaml`
          kind: common
          name: admin
          constants: {ids: {A: {value: 1, holds: has_x}}}
          structs:
            has_x: [x: u8]
            s: [id: {type: le16, enum: ids}, data: {by: id, union: ids}]
        `,
        path: 'common/admin.yaml',
      },
      yaml`
        kind: device
        name: net
        id: 1
        constants:
          net_ids: {extends: ids, values: {B: {value: 0x800, holds: has_y}, C: {value: 0x801, holds: has_y}}}
        structs:
          has_y: [y: le32]
          t: [id: {type: le16, enum: ids}, z: {type: u8, when: id == B}]
      `,
      yaml`
        kind: device
        name: crypto
        id: 20
        uses: [net]
        constants:
          crypto_ids: {extends: ids, values: {D: {value: 0x800, holds: has_x}, E: {value: 0x801, holds: has_z}}}
        structs: {has_z: [z: le64]}
      `,
    )
    const [admin, net] = model.chapters as [Chapter, Chapter]
    expect(net.groups[0]?.extends).toEqual({ chapter: 'admin', group: 'ids' })
    expect(layout(find(admin, 's'))).toEqual([
      '0 +2 id: le16',
      '2 +? data: union by own.id {' +
        'A=1,D=2048 → 2 +1 has_x: has_x when ((own.id == 1) or ((caller.device_id == 20) and (own.id == 2048))); ' +
        'B=2048,C=2049 → 2 +4 has_y: has_y when (caller.device_id == 1); ' +
        'E=2049 → 2 +8 has_z: has_z when (caller.device_id == 20)}',
      '= varies',
    ])
    expect(shownExpression(find(net, 't').members[1]?.when)).toBe('(own.id == net_ids.B=2048)')
  })

  it('of another group that only has the same name do not', () => {
    const model = load(
      yaml`
        kind: external
        name: a
        constants: {ids: {A: {value: 1, holds: x}}}
        structs:
          x: [p: u8]
          s: [id: {type: u8, enum: ids}, u: {by: id, union: ids}]
      `,
      yaml`
        kind: external
        name: b
        constants: {ids: {B: {value: 2, holds: y}}, more: {extends: ids, values: {C: {value: 3, holds: y}}}}
        structs: {y: [q: u8]}
      `,
    )
    expect(layout(find(model.chapters[0] as Chapter, 's'))[1]).toBe('1 +? u: union by own.id {A=1 → 1 +1 x: x}')
  })

  it('make a struct the head of a list', () => {
    const found = chapter(
      yaml`
        constants: {kinds: {A: {value: 1, holds: item}}}
        structs:
          head: {by: type, size: length + 4, fields: [type: {type: le16, enum: kinds}, length: le16]}
          item: [head: head, x: le32]
          s: ["items[]": {type: head, until: type == 0}]
      `,
    )
    const { head } = find(found, 'head')
    expect([head?.by, shownExpression(head?.size)]).toEqual([['type'], '(own.length + 4)'])
    expect(shownExpression(find(found, 's').members[0]?.until)).toBe('(own.type == 0)')
    expect(found.groups[0]?.constants[0]?.holds).toEqual({ chapter: 'example', name: 'item' })
  })
})

describe('queues', () => {
  it('are numbered alone or in rows', () => {
    const { queues } = chapter(
      yaml`
        features: {MQ: 1}
        let: {N: config.pairs if MQ else 1}
        config: {c: [pairs: le16]}
        queues:
          - rx: {each: 1 .. N, index: 2 * (i - 1), carries: m}
          - tx: {each: 1 .. N, index: 2 * (i - 1) + 1}
          - ctrl: {index: 2 * N, when: MQ, spec: controlq}
        messages:
          m: {requests: [r: ]}
      `,
    )
    expect(
      queues.map(({ name, index, each, when, carries, spec }) => [
        name,
        source(index.tree),
        each?.map(({ text }) => text),
        shownExpression(when),
        carries?.name,
        spec,
      ]),
    ).toEqual([
      ['rx', '(2 * (i - 1))', ['1', 'N'], '', 'm', undefined],
      ['tx', '((2 * (i - 1)) + 1)', ['1', 'N'], '', undefined, undefined],
      ['ctrl', '(2 * (config.pairs if example:MQ=1 else 1))', undefined, 'example:MQ=1', undefined, 'controlq'],
    ])
    expect(source(queues[0]?.each?.[1].tree as Tree)).toBe('(config.pairs if example:MQ=1 else 1)')
  })
})

describe('messages', () => {
  const blk = `
constants:
  types: {IN: 0, OUT: 1}
  results: {OK: 0, ERROR: 1, ODD: 2}
messages:
  req:
    linux: {readable: outhdr}
    by: type
    readable: [type: {type: le32, enum: types}, data: body]
    writable: [data: body, status: {type: u8, enum: results}]
    status: {field: status, ok: OK, failed: ERROR, malformed: ODD, unknown: none}
    requests:
      - read: {is: IN, writable: [sector: le64, data: bytes]}
      - write: {is: OUT, struct: write_req, readable: ["data[]": u8], ok: ODD}
`
  const requests = (message: Chapter['messages'][number] | undefined): Request[] => message?.requests ?? []

  it('have a frame, which is a struct of two parts', () => {
    const found = chapter(blk)
    expect(layout(find(found, 'req'))).toEqual([
      'readable 0 +4 type: le32',
      'readable 4 +? data: body',
      'writable 0 +? data: body',
      'writable ? +1 status: u8',
      '= varies',
    ])
    expect([find(found, 'req').role, found.messages[0]?.frame, found.messages[0]?.by]).toEqual(['message', 'req', [['type']]])
  })

  it('say what Linux calls each part', () => {
    expect(find(chapter(blk), 'req').linux).toEqual({ name: null, parts: { readable: 'outhdr' } })
    expect(find(chapter(blk), 'write_req').linux).toEqual({ name: null })
  })

  it('have requests, with members behind those of the frame', () => {
    const [message] = chapter(blk).messages
    expect(
      requests(message).map(({ name, is, members }) => [
        name,
        is.flat().map(({ name: constant, value }) => `${constant}=${value}`),
        members.map(shown),
      ]),
    ).toEqual([
      ['read', ['IN=0'], ['writable 0 +8 sector: le64', 'writable 8 +? data: bytes']],
      ['write', ['OUT=1'], ['readable 4 +? data[]: u8']],
    ])
  })

  it('list frame and request together where the text does', () => {
    expect(layout(find(chapter(blk), 'write_req'))).toEqual([
      'readable 0 +4 type: le32',
      'readable 4 +? data[]: u8',
      'writable 0 +1 status: u8',
      '= varies',
    ])
  })

  it('have a status, which a request may override', () => {
    const [message] = chapter(blk).messages
    expect(message?.status).toEqual({
      field: ['status'],
      ok: [{ name: 'OK', value: 0 }],
      failed: { name: 'ERROR', value: 1 },
      malformed: { name: 'ODD', value: 2 },
      unknown: 'none',
    })
    expect(requests(message).map(({ status }) => status)).toEqual([undefined, { ok: [{ name: 'ODD', value: 2 }] }])
  })

  it('may have the status in the replies of the requests, with constants of that field', () => {
    const [message] = chapter(
      yaml`
        constants: {one: {OK: 5}, two: {OK: 6}}
        structs:
          hdr: [code: {type: le32, enum: two}]
        messages:
          m:
            writable: [_: body]
            status: {field: hdr.code, ok: OK, error: hdr}
            requests:
              - a: {readable: [x: u8], writable: [hdr: hdr, y: u8]}
              - b: {readable: [x: u8], when: F}
        features: {F: 1}
      `,
    ).messages
    expect(message?.status).toEqual({ field: ['hdr', 'code'], ok: [{ name: 'OK', value: 6 }], error: { chapter: 'example', name: 'hdr' } })
  })

  it('may be chosen in two levels, or by a field of a head', () => {
    const [two, head] = chapter(
      yaml`
        constants: {classes: {MAC: 1, MQ: 4}, mac: {SET: 0, ADD: 1}, mq: {SET: 0}}
        structs:
          hdr: [type: {type: u8, enum: classes}]
          big: [hdr: hdr, x: u8]
        messages:
          two:
            by: [class, command]
            readable: [class: {type: u8, enum: classes}, command: {type: u8, flags: [mac, mq]}]
            requests:
              - a: {is: [MAC, ADD]}
              - b: {is: [[MAC, SET], [MQ, SET]]}
          head:
            head: hdr
            by: type
            requests:
              - a: {is: MAC, readable: big}
      `,
    ).messages
    const shownIs = (message: Chapter['messages'][number] | undefined): string[] =>
      requests(message).map(({ is }) => is.map((constants) => constants.map(({ name, value }) => `${name}=${value}`).join(' ')).join(', '))
    expect(shownIs(two)).toEqual(['MAC=1 ADD=1', 'MAC=1 SET=0, MQ=4 SET=0'])
    expect([shownIs(head), head?.head]).toEqual([['MAC=1'], { chapter: 'example', name: 'hdr' }])
  })

  it('may be events, which the device fills in', () => {
    const [message] = chapter(
      yaml`
        constants: {k: {A: 1}}
        messages:
          m: {by: type, writable: [type: {type: u8, enum: k}, _: body], events: [a: {is: A, writable: [x: u8]}]}
      `,
    ).messages
    expect([message?.kind, requests(message).map(({ members }) => members.map(shown))]).toEqual(['events', [['writable 1 +1 x: u8']]])
  })

  it('keep the frame of each request apart from that of the others', () => {
    const found = chapter(
      yaml`
        messages:
          m:
            readable: [a: u8]
            writable: [_: body, _: {struct: [status: u8]}]
            requests:
              - r: {struct: one, writable: [x: le64]}
              - s: {struct: two, readable: [y: u8], writable: [x: le16]}
      `,
    )
    expect([layout(find(found, 'one')).at(-2), layout(find(found, 'two')).at(-2)]).toEqual([
      'writable 8 +1 _: {writable 8 +1 status: u8}',
      'writable 2 +1 _: {writable 2 +1 status: u8}',
    ])
  })
})

describe('the origin of an item', () => {
  const found = chapter(`section: File
source: prose
since: '1.2'
doc: Of the file.
constants:
  g: {section: Group, doc: Of the group., values: {A: 1, B: {value: 2, section: Constant, source: linux-6.12, doc: Of the constant.}}}
structs:
  s:
    section: Struct
    doc: Of the struct.
    fields:
      - a: {type: u8, section: Member}
      - b: {section: Inner, since: '1.4', struct: [c: u8, d: {type: u8, section: Inner}]}
      - _: {section: Group, doc: Of the group., struct: [e: u8]}
  t: [f: u8]
messages:
  m: {section: Message, requests: [r: {section: Request, readable: [x: u8, y: {type: u8, section: Field}]}]}
`)
  const origin = ({ source: from, section, since, doc }: { source: string; section?: string; since?: string; doc?: string }): string =>
    [from, since, section, doc].filter(Boolean).join(' | ')

  it('is inherited from file to struct to member; sections are joined, and `doc` is its own', () => {
    expect([found, ...['s', 's_b', 't'].map((name) => find(found, name))].map(origin)).toEqual([
      'prose | 1.2 | File | Of the file.',
      'prose | 1.2 | File / Struct | Of the struct.',
      'prose | 1.4 | File / Struct / Inner',
      'prose | 1.2 | File',
    ])
    expect(find(found, 's').members.map(origin)).toEqual([
      'prose | 1.2 | File / Struct / Member',
      'prose | 1.4 | File / Struct / Inner',
      'prose | 1.2 | File / Struct / Group | Of the group.',
    ])
    // A section that is named again is not said twice.
    expect(find(found, 's_b').members.map(origin)).toEqual(['prose | 1.4 | File / Struct / Inner', 'prose | 1.4 | File / Struct / Inner'])
    const [, , group] = find(found, 's').members
    expect(group?.type.kind === 'group' && group.type.members.map(origin)).toEqual(['prose | 1.2 | File / Struct / Group'])
  })

  it('is inherited from group to constant, and from message to request to member', () => {
    expect(found.groups[0]?.constants.map(origin)).toEqual([
      'prose | 1.2 | File / Group',
      'linux-6.12 | 1.2 | File / Group / Constant | Of the constant.',
    ])
    const [request] = (found.messages[0] as Chapter['messages'][number]).requests as [Request]
    expect([origin(request), ...request.members.map(origin)]).toEqual([
      'prose | 1.2 | File / Message / Request',
      'prose | 1.2 | File / Message / Request',
      'prose | 1.2 | File / Message / Request / Field',
    ])
  })

  it('is the specification where nothing is said', () => {
    expect(origin(structOf('structs: {s: [a: u8]}'))).toBe('oasis-1.4')
  })
})

describe('a description', () => {
  const common = {
    text: yaml`
      kind: common
      name: content
      devices:
        net: {id: 1, title: network device, linux: VIRTIO_ID_NET}
        blk: {id: 2, title: block device}
    `,
    path: 'common/content.yaml',
  }

  it('has its chapters by kind, then by device id or name, and the table of ids ascending', () => {
    const model = load(
      { text: 'kind: external\nname: fuse', path: 'external/fuse.yaml' },
      'kind: device\nname: ant\nid: 9\ntitle: Ant',
      { text: 'kind: transport\nname: pci', path: 'transport/pci.yaml' },
      { text: 'kind: transport\nname: mmio', path: 'transport/mmio.yaml' },
      'kind: device\nname: blk\nid: 2',
      common,
    )
    expect(model.chapters.map(({ name }) => name)).toEqual(['content', 'mmio', 'pci', 'blk', 'ant', 'fuse'])
    expect(model.devices.map(({ id, name, title, linux }) => `${id} ${name} ${title} ${linux.name}`)).toEqual([
      '1 net network device VIRTIO_ID_NET',
      '2 blk block device null',
      '9 ant Ant null',
    ])
  })

  it('can be extended by a file of somebody else, which uses structs and constants of the built-in one', () => {
    const pci = {
      text: `
kind: transport
name: pci
constants:
  cap_type: {COMMON: 1, VENDOR: 9}
structs:
  pci_cap:
    by: cfg_type
    size: cap_len
    fields: [cap_vndr: {type: u8, const: 0x09}, cap_next: u8, cap_len: u8, cfg_type: {type: u8, enum: cap_type}, offset: le32, length: le32]
`,
      path: 'transport/pci.yaml',
    }
    const vendor = {
      text: `
kind: device
name: vendor-thing
id: 60
title: Vendor's thing
uses: [pci]
constants:
  vendor_type: {extends: cap_type, values: {THING: {value: 0x80, holds: vendor_cap}}}
structs:
  vendor_cap: [cap: pci_cap, "data[cap.cap_len - sizeof(pci_cap)]": {type: u8, when: cap.cfg_type == THING or cap.cfg_type == VENDOR}]
`,
      path: 'device/thing.yaml',
      builtin: false,
    }
    const model = load(common, pci, vendor)
    const thing = model.chapters.find(({ name }) => name === 'vendor-thing') as Chapter
    expect([thing.builtin, thing.uses, thing.file, model.chapters.filter(({ builtin }) => builtin).map(({ name }) => name)]).toEqual([
      false,
      ['pci'],
      'device/thing.yaml',
      ['content', 'pci'],
    ])
    expect(layout(find(thing, 'vendor_cap'))).toEqual([
      '0 +12 cap: pci_cap',
      '12 +? data[(own.cap.cap_len - sizeof(pci_cap)=12)]: u8 when ((own.cap.cfg_type == vendor_type.THING=128) or (own.cap.cfg_type == cap_type.VENDOR=9))',
      '= varies',
    ])
    expect(find(thing, 'vendor_cap').members[0]?.type).toMatchObject({ kind: 'struct', chapter: 'pci', name: 'pci_cap' })
    expect(model.devices.at(-1)).toEqual({ id: 60, name: 'vendor-thing', title: "Vendor's thing", linux: { name: null } })
  })

  it('knows what an erratum is about: a field, a request, or anything else by its name', () => {
    const found = chapter(
      yaml`
        messages: {m: {readable: [a: u8], requests: [do_it: {}]}}
        errata:
          - {at: m.a, text: t, truth: u, why: v}
          - {at: m.do_it, text: t, truth: u, why: v}
          - {at: something, text: t, truth: u, why: v}
      `,
    )
    expect(found.errata.map(({ at }) => at)).toEqual(['m.a', 'm.do_it', 'something'])
  })

  it('holds shared memory, errata, vectors and what Linux has', () => {
    const found = chapter(
      yaml`
        section: Example
        header: linux/example.h
        features: {F: {bit: 3, linux: {name: G, value: 1 << 3, why: Masks there.}}}
        shared_memory: {a: 1, b: {id: 2 .. 5, when: F}}
        errata: [{at: s.a, text: t, truth: u, why: v, section: Part}]
        vectors: [{of: s, bytes: 01 02, value: {a: 513}, features: [F], queue_size: 4}]
        structs: {s: [a: le16]}
      `,
    )
    expect(found.headers).toEqual(['linux/example.h'])
    expect(found.features[0]?.linux).toEqual({ name: 'G', value: 8, why: 'Masks there.' })
    expect(found.sharedMemory.map(({ name, id, to, when }) => [name, id, to, shownExpression(when)])).toEqual([
      ['a', 1, undefined, ''],
      ['b', 2, 5, 'example:F=3'],
    ])
    expect(found.errata).toEqual([{ source: 'oasis-1.4', section: 'Example / Part', at: 's.a', departs: [], text: 't', truth: 'u', why: 'v' }])
    expect(found.vectors).toEqual([
      {
        source: 'oasis-1.4',
        section: 'Example',
        of: { chapter: 'example', name: 's' },
        bytes: '0102',
        value: { a: 513 },
        context: { features: ['F'], queueSize: 4 },
      },
    ])
  })

  it('holds what features require, suggest and share', () => {
    const { features, rules } = chapter(
      yaml`
        features:
          A: {bit: 1, requires: B or not C, was: OLD}
          B: {bit: 2, suggests: A, assumed: not C, legacy: true}
          C: {bit: 1, shares_bit: A}
        rules: [A or B]
      `,
    )
    expect(
      features.map((feature) => [
        feature.name,
        feature.bit,
        shownExpression(feature.requires),
        shownExpression(feature.suggests),
        shownExpression(feature.assumed),
        feature.legacy,
        feature.sharesBit,
        feature.was,
      ]),
    ).toEqual([
      ['A', 1, '(example:B=2 or not example:C=1)', '', '', false, undefined, ['OLD']],
      ['B', 2, '', 'example:A=1', 'not example:C=1', true, undefined, []],
      ['C', 1, '', '', '', false, 'A', []],
    ])
    expect(rules.map(({ text }) => text)).toEqual(['A or B'])
  })
})
