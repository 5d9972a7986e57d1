import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ExpressionError, parseExpression, parseMemberName, parseRange, type Syntax, toNumber } from '../generator/expression.ts'

/** A tree as text with all its parentheses, `((a + 1) == b)`. */
function shown(syntax: Syntax): string {
  switch (syntax.op) {
    case 'number':
      return String(syntax.value)
    case 'name':
      return syntax.path.join('.')
    case 'sizeof':
      return `sizeof(${syntax.name})`
    case 'not':
      return `(not ${shown(syntax.arg)})`
    case 'binary':
      return `(${shown(syntax.left)} ${syntax.operator} ${shown(syntax.right)})`
    case 'if':
      return `(${shown(syntax.value)} if ${shown(syntax.condition)}${syntax.otherwise ? ` else ${shown(syntax.otherwise)}` : ''})`
  }
}

const read = (text: string): string => shown(parseExpression(text))

/** What is wrong with a text, with the characters that are meant in brackets: `1 + [*] 2: expected …`. */
function refused(text: string, parse: (text: string) => unknown = parseExpression): string {
  try {
    parse(text)
  } catch (error) {
    if (!(error instanceof ExpressionError)) throw error
    const { offset, length, message } = error
    return `${text.slice(0, offset)}[${text.slice(offset, offset + length)}]${text.slice(offset + length)}: ${message}`
  }
  return 'not refused'
}

describe('an expression', () => {
  it.each([
    ['12', '12'],
    ['0x1F', '31'],
    ['0Xff', '255'],
    ['007', '7'],
    ['18446744073709551615', '18446744073709551615'],
    ['VIRTIO_F_VERSION_1', 'VIRTIO_F_VERSION_1'],
    ['hdr.len', 'hdr.len'],
    ['config.zoned.write_granularity', 'config.zoned.write_granularity'],
    ['command-specific-data', 'command-specific-data'],
    ['sizeof(virtq_desc)', 'sizeof(virtq_desc)'],
    ['sizeof ( virtq_desc )', 'sizeof(virtq_desc)'],
    ['(((a)))', 'a'],
    ['  a\n+\tb ', '(a + b)'],
    ['a+b', '(a + b)'],
    ['a - b', '(a - b)'],
    ['2-1', '(2 - 1)'],
    ['a<<2', '(a << 2)'],
    ['iffy', 'iffy'],
    ['nothing.if', 'nothing.if'],
  ])('%j is read as %s', (text, tree) => {
    expect(read(text)).toBe(tree)
  })

  it('holds numbers beyond 2^53 exactly, and others as numbers', () => {
    expect(parseExpression('9007199254740991')).toMatchObject({ op: 'number', value: 9007199254740991 })
    expect(parseExpression('9007199254740993')).toMatchObject({ op: 'number', value: 9007199254740993n })
    expect(toNumber(2n ** 53n)).toBe(2n ** 53n)
    expect(toNumber(-(2n ** 53n))).toBe(-(2n ** 53n))
    expect(toNumber(-(2n ** 53n) + 1n)).toBe(Number.MIN_SAFE_INTEGER)
  })

  it('holds the position of every part', () => {
    expect(parseExpression('a.b + (sizeof(s) - 1)')).toEqual({
      op: 'binary',
      operator: '+',
      left: { op: 'name', path: ['a', 'b'], at: 0, end: 3 },
      right: {
        op: 'binary',
        operator: '-',
        left: { op: 'sizeof', name: 's', nameAt: 14, at: 7, end: 16 },
        right: { op: 'number', value: 1, at: 19, end: 20 },
        // With the parentheses.
        at: 6,
        end: 21,
      },
      at: 0,
      end: 21,
    })
    expect(parseExpression(' not a if b else c')).toMatchObject({
      op: 'if',
      at: 1,
      end: 18,
      value: { op: 'not', at: 1, end: 6 },
      condition: { at: 10, end: 11 },
      otherwise: { at: 17, end: 18 },
    })
  })
})

describe('the precedence of operators, that of Python,', () => {
  it.each([
    ['a if b or c else d or e', '(a if (b or c) else (d or e))'],
    ['a if b else c if d else e', '(a if b else (c if d else e))'],
    ['a or b and c', '(a or (b and c))'],
    ['a and b or c', '((a and b) or c)'],
    ['not a and b', '((not a) and b)'],
    ['not not a', '(not (not a))'],
    ['not a == b', '(not (a == b))'],
    ['a == b and c != d', '((a == b) and (c != d))'],
    ['a has b | c', '(a has (b | c))'],
    ['a & b == c', '((a & b) == c)'],
    ['a < b | c', '(a < (b | c))'],
    ['a | b & c', '(a | (b & c))'],
    ['a & b << c', '(a & (b << c))'],
    ['a << b + c', '(a << (b + c))'],
    ['a + b * c', '(a + (b * c))'],
    ['a - b - c', '((a - b) - c)'],
    ['a / b / c', '((a / b) / c)'],
    ['a << b >> c', '((a << b) >> c)'],
    ['a | b | c', '((a | b) | c)'],
    ['a or b or c', '((a or b) or c)'],
    ['(a + b) * c', '((a + b) * c)'],
    ['a - (b - c)', '(a - (b - c))'],
    ['2 * (i - 1) + 1', '((2 * (i - 1)) + 1)'],
    ['A << 8 | 0x02', '((A << 8) | 2)'],
    ['qalign - 1 - (end - 1 & qalign - 1)', '((qalign - 1) - ((end - 1) & (qalign - 1)))'],
  ])('reads %s as %s', (text, tree) => {
    expect(read(text)).toBe(tree)
  })
})

describe('a text that is no expression', () => {
  it.each([
    ['', '[]: expected a number or a name, found end of the expression'],
    ['   ', '   []: expected a number or a name, found end of the expression'],
    ['1 +', '1 +[]: expected a number or a name, found end of the expression'],
    ['1 + * 2', '1 + [*] 2: expected a number or a name, found "*"'],
    ['a b', 'a [b]: expected an operator or the end, found "b"'],
    ['a = b', 'a [=] b: unexpected "="'],
    ['a && b', 'a &[&] b: expected a number or a name, found "&"'],
    ['!a', '[!]a: unexpected "!"'],
    ['a ? b : c', 'a [?] b : c: unexpected "?"'],
    ['-1', '[-]1: expected a number or a name, found "-"'],
    ['(a', '(a[]: expected ")", found end of the expression'],
    ['a)', 'a[)]: expected an operator or the end, found ")"'],
    ['()', '([)]: expected a number or a name, found ")"'],
    ['a < b < c', 'a < b [<] c: expected an operator or the end, found "<"'],
    ['a == not b', 'a == [not] b: expected a number or a name, found "not"'],
    ['a if', 'a if[]: expected a number or a name, found end of the expression'],
    ['a else b', 'a [else] b: expected an operator or the end, found "else"'],
    ['if', '[if]: expected a number or a name, found "if"'],
    ['sizeof', 'sizeof[]: expected "(", found end of the expression'],
    ['sizeof(1)', 'sizeof([1]): expected the name of a struct, found "1"'],
    ['sizeof(a + b)', 'sizeof(a [+] b): expected ")", found "+"'],
    ['0x', '0[x]: expected an operator or the end, found "x"'],
    ['1.5', '1[.]5: unexpected "."'],
    ['a.', 'a[.]: unexpected "."'],
    ['a..b', 'a[..]b: expected an operator or the end, found ".."'],
    ['a[0]', 'a[[]0]: unexpected "["'],
    ['"a"', '["]a": unexpected """'],
    ['é', '[é]: unexpected "é"'],
  ])('%j is refused: %s', (text, message) => {
    expect(refused(text)).toBe(message)
  })
})

describe('a range', () => {
  const shownRange = (text: string): string => parseRange(text).map(shown).join(' .. ')

  it('has two ends', () => {
    expect(shownRange('1 .. config.n - 1')).toBe('1 .. (config.n - 1)')
    expect(shownRange('0..5')).toBe('0 .. 5')
    expect(shownRange('(N - 1) * 2 .. 3 if a else 4')).toBe('((N - 1) * 2) .. (3 if a else 4)')
  })

  it.each([
    ['1', '1[]: expected "..", found end of the expression'],
    ['1 ..', '1 ..[]: expected a number or a name, found end of the expression'],
    ['.. 1', '[..] 1: expected a number or a name, found ".."'],
    ['1 .. 2 .. 3', '1 .. 2 [..] 3: expected an operator or the end, found ".."'],
    ['1 to 2', '1 [to] 2: expected "..", found "to"'],
  ])('%j is refused: %s', (text, message) => {
    expect(refused(text, parseRange)).toBe(message)
  })
})

describe('the name of a member', () => {
  it('may have lengths, each with its place', () => {
    expect(parseMemberName('capacity')).toEqual({ name: 'capacity', dims: [] })
    expect(parseMemberName('_')).toEqual({ name: '_', dims: [] })
    expect(parseMemberName('macs[entries][6]')).toEqual({
      name: 'macs',
      dims: [
        { text: 'entries', at: 5 },
        { text: '6', at: 14 },
      ],
    })
    expect(parseMemberName('x[ n + 1 ]')).toEqual({ name: 'x', dims: [{ text: 'n + 1', at: 3 }] })
    expect(parseMemberName('data[]')).toEqual({ name: 'data', dims: [{ text: '', at: 5 }] })
  })

  it.each([
    ['9p', '[9p]: expected the name of a member'],
    ['', '[]: expected the name of a member'],
    ['a b', 'a[ b]: expected "[length]" behind the name, found " b"'],
    ['a[1', 'a[[1]: expected "[length]" behind the name, found "[1"'],
    ['a[1]]', 'a[1][]]: expected "[length]" behind the name, found "]"'],
  ])('%j is refused: %s', (text, message) => {
    expect(refused(text, parseMemberName)).toBe(message)
  })
})

// --- properties -----------------------------------------------------------------------------------------------------------------------------

/** Binary operators with their strength; comparisons do not chain. */
const strength: Record<string, number> = {
  or: 1,
  and: 2,
  '==': 4,
  '!=': 4,
  '<': 4,
  '<=': 4,
  '>': 4,
  '>=': 4,
  has: 4,
  '|': 5,
  '&': 6,
  '<<': 7,
  '>>': 7,
  '+': 8,
  '-': 8,
  '*': 9,
  '/': 9,
}

type Plain =
  | { op: 'leaf'; text: string }
  | { op: 'not'; arg: Plain }
  | { op: 'binary'; operator: string; left: Plain; right: Plain }
  | { op: 'if'; value: Plain; condition: Plain; otherwise?: Plain | undefined }

const trees: fc.Arbitrary<Plain> = fc.letrec<{ tree: Plain; leaf: Plain; not: Plain; binary: Plain; if: Plain }>((tie) => ({
  tree: fc.oneof({ maxDepth: 6, depthIdentifier: 'tree' }, tie('leaf'), tie('not'), tie('binary'), tie('if')),
  leaf: fc
    .constantFrom('a', 'b.c', 'd-e', 'x_1', '0', '17', '0xff', '18446744073709551615', 'sizeof(s)')
    .map((text) => ({ op: 'leaf' as const, text })),
  not: fc.record({ op: fc.constant('not' as const), arg: tie('tree') }),
  binary: fc.record({
    op: fc.constant('binary' as const),
    operator: fc.constantFrom(...Object.keys(strength)),
    left: tie('tree'),
    right: tie('tree'),
  }),
  if: fc.record({
    op: fc.constant('if' as const),
    value: tie('tree'),
    condition: tie('tree'),
    otherwise: fc.option(tie('tree'), { nil: undefined }),
  }),
})).tree

/** A tree as text; parentheses where the place asks for something stronger, or everywhere. */
function written(tree: Plain, needed: number, everywhere: boolean): string {
  const wrap = (text: string, own: number): string => (everywhere || own < needed ? `(${text})` : text)
  const inner = (part: Plain, at: number): string => written(part, everywhere ? 10 : at, everywhere)
  switch (tree.op) {
    case 'leaf':
      return tree.text
    case 'not':
      return wrap(`not ${inner(tree.arg, 3)}`, 3)
    case 'binary': {
      const own = strength[tree.operator] as number
      return wrap(`${inner(tree.left, own === 4 ? 5 : own)} ${tree.operator} ${inner(tree.right, own + 1)}`, own)
    }
    case 'if': {
      // Without `else` it would take that of the one around it.
      const otherwise = tree.otherwise ? ` else ${inner(tree.otherwise, 0)}` : ''
      return wrap(`${inner(tree.value, 1)} if ${inner(tree.condition, 1)}${otherwise}`, 0)
    }
  }
}

function expected(tree: Plain): string {
  switch (tree.op) {
    case 'leaf':
      return tree.text.startsWith('0x') ? '255' : tree.text
    case 'not':
      return `(not ${expected(tree.arg)})`
    case 'binary':
      return `(${expected(tree.left)} ${tree.operator} ${expected(tree.right)})`
    case 'if':
      return `(${expected(tree.value)} if ${expected(tree.condition)}${tree.otherwise ? ` else ${expected(tree.otherwise)}` : ''})`
  }
}

function* parts(syntax: Syntax): Generator<Syntax> {
  yield syntax
  if (syntax.op === 'not') yield* parts(syntax.arg)
  if (syntax.op === 'binary') for (const side of [syntax.left, syntax.right]) yield* parts(side)
  if (syntax.op === 'if') for (const side of [syntax.value, syntax.condition, ...(syntax.otherwise ? [syntax.otherwise] : [])]) yield* parts(side)
}

describe('any expression', () => {
  it('is read as it was written, with the parentheses it needs or with all', () => {
    fc.assert(
      fc.property(trees, fc.boolean(), (tree, everywhere) => {
        expect(read(written(tree, 0, everywhere))).toBe(expected(tree))
      }),
    )
  })

  it('has parts that are expressions themselves, at their positions', () => {
    fc.assert(
      fc.property(trees, (tree) => {
        const text = written(tree, 0, false)
        for (const part of parts(parseExpression(text))) expect(read(text.slice(part.at, part.end))).toBe(shown(part))
      }),
    )
  })
})

describe('any text', () => {
  it('is an expression or refused, with a place inside it or just behind', () => {
    const pieces = fc.oneof(
      fc.string({ maxLength: 4 }),
      fc.constantFrom('a', '1', '0x', ' ', '(', ')', '..', ' if ', ' else ', ' not ', ' and ', 'sizeof(', '<<', '==', '-', '.'),
    )
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 12 }), (some) => {
        const text = some.join('')
        for (const parse of [parseExpression, parseRange, parseMemberName]) {
          try {
            parse(text)
          } catch (error) {
            if (!(error instanceof ExpressionError)) throw error
            expect(error.offset).toBeGreaterThanOrEqual(0)
            expect(error.offset).toBeLessThanOrEqual(text.length)
            expect(error.length).toBeGreaterThanOrEqual(1)
          }
        }
      }),
      { numRuns: 500 },
    )
  })
})

describe('an expression that is too deep or too long', () => {
  const many = 100_000

  it.each([
    ['parentheses', '('.repeat(many)],
    ['parentheses that close', `${'('.repeat(many)}a${')'.repeat(many)}`],
    ['negations', `${'not '.repeat(many)}a`],
    ['sums', `${'a + '.repeat(many)}a`],
    ['conjunctions', `${'a and '.repeat(many)}a`],
    ['alternatives', `${'a if b else '.repeat(many)}a`],
    ['sizes', 'sizeof('.repeat(many)],
    ['spaces', `a${' '.repeat(many)}b`],
    ['a number', '9'.repeat(many)],
    ['a path', `a${'.a'.repeat(many)}`],
  ])('is refused or read without harm: %s', (_, text) => {
    const started = performance.now()
    expect(() => {
      try {
        parseExpression(text)
      } catch (error) {
        if (!(error instanceof ExpressionError)) throw error
      }
    }).not.toThrow()
    expect(performance.now() - started).toBeLessThan(5_000)
  })

  it('is refused where it passes the limit', () => {
    expect(refused(`${'('.repeat(150)}a${')'.repeat(150)}`)).toMatch(/\[\(\].*: nested too deeply$/)
    expect(refused(`${'a + '.repeat(600)}a`)).toMatch(/: an expression of more than 1000 words$/)
    expect(read(`${'('.repeat(90)}a${')'.repeat(90)}`)).toBe('a')
    expect(shown(parseExpression(`${'a + '.repeat(400)}a`))).toMatch(/^\(+a \+ a\)/)
  })
})
