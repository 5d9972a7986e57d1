/** The values of constants: C expressions over numbers, names and function-like macros. */
import type { DeclaredConstant } from './declarations.ts'

/** Nothing in a specification nests deeper. */
const deepest = 64
const mostSteps = 10_000

export class Values {
  readonly #constants = new Map<string, DeclaredConstant>()
  /** Values of names, as far as they are known; null: none. */
  #steps = 0
  readonly #known = new Map<string, bigint | null>()

  constructor(constants: Iterable<DeclaredConstant>) {
    for (const constant of constants) if (!this.#constants.has(constant.name)) this.#constants.set(constant.name, constant)
  }

  /** Undefined where it is no number. */
  number(expression: string): bigint | undefined {
    this.#steps = 0
    try {
      return this.#evaluate(expression, new Map(), 0)
    } catch (error) {
      if (error instanceof NoNumber) return undefined
      throw error
    }
  }

  #named({ name, value }: DeclaredConstant, depth: number): bigint {
    const known = this.#known.get(name)
    if (known === null) throw new NoNumber()
    if (known !== undefined) return known
    // A name that leads back to itself has none.
    this.#known.set(name, null)
    const result = this.#evaluate(value, new Map(), depth)
    this.#known.set(name, result)
    return result
  }

  #evaluate(expression: string, bound: ReadonlyMap<string, bigint>, depth: number): bigint {
    // Macros that use macros twice each would never end.
    if (++this.#steps > mostSteps || depth > deepest || expression.length > 10_000) throw new NoNumber()
    const tokens = expression.match(/0[xX][0-9a-fA-F]+|\d+|\w+|<<|>>|[-+*/%|&^~(),]|\S/g) ?? []
    let at = 0
    const next = (): string => tokens[at++] ?? ''
    const need = (text: string): void => {
      if (next() !== text) throw new NoNumber()
    }
    let nested = 0
    const atom = (): bigint => {
      const token = next()
      if (++nested > 1000) throw new NoNumber()
      if (token === '(') {
        const value = sum(0)
        need(')')
        return value
      }
      if (token === '-') return -atom()
      if (token === '+') return atom()
      if (token === '~') return ~atom()
      const digits = /^(0[xX][0-9a-fA-F]+|\d+)[uUlL]*$/.exec(token)?.[1]
      if (digits !== undefined) return BigInt(/^0\d/.test(digits) ? digits.replace(/^0+(?=\d)/, '') : digits)
      if (!/^[A-Za-z_]\w*$/.test(token)) throw new NoNumber()
      const known = bound.get(token)
      if (known !== undefined) return known
      const constant = this.#constants.get(token)
      if (constant === undefined) throw new NoNumber()
      if (constant.parameters === undefined) return this.#named(constant, depth + 1)
      need('(')
      const given = new Map<string, bigint>()
      for (const [index, parameter] of constant.parameters.entries()) {
        if (index > 0) need(',')
        given.set(parameter, sum(0))
      }
      need(')')
      return this.#evaluate(constant.value, given, depth + 1)
    }
    const levels: readonly string[][] = [['|'], ['^'], ['&'], ['<<', '>>'], ['+', '-'], ['*', '/', '%']]
    const sum = (level: number): bigint => {
      if (level === levels.length) return atom()
      let left = sum(level + 1)
      while (levels[level]?.includes(tokens[at] ?? '')) left = apply(next(), left, sum(level + 1))
      return left
    }
    const value = sum(0)
    // What may stand behind: a semicolon, or words in parentheses.
    if (at < tokens.length && tokens[at] !== ';' && tokens[at] !== '(') throw new NoNumber()
    return value
  }
}

class NoNumber extends Error {}

function apply(operator: string, left: bigint, right: bigint): bigint {
  if ((operator === '<<' || operator === '>>') && (right < 0n || right > 127n)) throw new NoNumber()
  if ((operator === '/' || operator === '%') && right === 0n) throw new NoNumber()
  switch (operator) {
    case '|':
      return left | right
    case '^':
      return left ^ right
    case '&':
      return left & right
    case '<<':
      return left << right
    case '>>':
      return left >> right
    case '+':
      return left + right
    case '-':
      return left - right
    case '*':
      return left * right
    case '/':
      return left / right
    default:
      return left % right
  }
}

/** As facts have it: a number, or a decimal string where a number is not exact. */
export function factNumber(value: bigint): number | string {
  return value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value.toString()
}
