/** The C programs: the probe for names, and the check of numbers and bytes. */
import type { Check } from './check.ts'
import type { Compiler } from './compiler.ts'
import type { Round, RoundOutput } from './rounds.ts'
import { leafValue } from './sample.ts'
import { render } from './template.ts'

/** Finds out which of the expressions the headers can compile, in one run of the compiler. */
export async function probe(compiler: Compiler, headers: readonly string[], expressions: Iterable<string>): Promise<Set<string>> {
  // The compiler reports an unknown identifier once, so each stands in the list once.
  const probes = [...new Set(expressions)]
  const { badLines, errors } = await compiler.check('probe.c', render('linux-probe.c.hbs', { headers, probes }))
  const elsewhere = errors.filter((line) => !line.startsWith('virtgen:'))
  if (elsewhere.length > 0) throw new Error(`the C compiler does not get through the headers:\n${elsewhere.slice(0, 10).join('\n')}`)
  return new Set(probes.filter((_, index) => !badLines.has(index + 1)))
}

export interface CheckOutput {
  /** What the headers have, by index of the check; empty when all of it is as expected. */
  values: Map<number, bigint>
  rounds: Map<number, RoundOutput>
}

/** Compiles the check and runs it. Where a number is not as expected it is compiled again without assertions, to print what the headers have. */
export async function runChecks(
  compiler: Compiler,
  headers: readonly string[],
  checks: readonly (Check & { name: string })[],
  rounds: readonly Round[],
): Promise<CheckOutput> {
  const source = render('linux-check.c.hbs', {
    headers,
    checks: checks.map((check, index) => ({ index, expression: check.expression, expected: `0x${check.expected.toString(16)}`, name: check.name })),
    rounds: rounds.map(describeRound),
    areaSize: Math.max(0x1_0000, ...rounds.map(({ encoded }) => encoded.length * 2)),
  })
  let result = await compiler.run('check.c', source)
  if (result.stdout === undefined) result = await compiler.run('check.c', source, ['-DVIRTGEN_PRINT'])
  if (result.stdout === undefined)
    throw new Error(`the check of Linux's headers does not compile; this is a mistake of virtgen:\n${result.errors.slice(0, 10).join('\n')}`)
  return parse(result.stdout, rounds)
}

function describeRound(round: Round, index: number) {
  const { sample, target, encoded, given } = round
  const puts = sample.leaves.map((leaf) => {
    const value = leafValue(leaf, sample.values)
    return value instanceof Uint8Array
      ? `PUT_BYTES(s->${leaf.c}, ${list(value)});`
      : `PUT(s->${leaf.c}, 0x${((value ?? 0n) | (leaf.constant ?? 0n)).toString(16)}ULL);`
  })
  const gets = sample.leaves.map((leaf, at) =>
    leaf.bytes === undefined ? `GET(${at}, s->${leaf.c});` : `GET_BYTES(${at}, s->${leaf.c}, ${leaf.bytes});`,
  )
  return { index, type: target.type, length: encoded.length, puts, gets, bytes: list(given), bytesLength: given.length }
}

function list(bytes: Uint8Array): string {
  return [...bytes].join(', ')
}

function parse(stdout: string, rounds: readonly Round[]): CheckOutput {
  const output: CheckOutput = { values: new Map(), rounds: new Map() }
  for (const line of stdout.split('\n')) {
    const match = /^(\d+)([=wr]) ?(.*)$/.exec(line)
    if (match === null) continue
    const index = Number(match[1])
    const rest = (match[3] as string).trim()
    if (match[2] === '=') output.values.set(index, BigInt(`0x${rest}`))
    else if (match[2] === 'w') output.rounds.set(index, { written: bytesOf(rest), read: new Map() })
    else for (const item of rest.split(' ')) addRead(item, output.rounds.get(index) as RoundOutput, rounds[index] as Round)
  }
  return output
}

function addRead(item: string, output: RoundOutput, round: Round): void {
  const [leaf, text] = item.split('=') as [string, string]
  const index = Number(leaf)
  output.read.set(index, round.sample.leaves[index]?.bytes === undefined ? BigInt(`0x${text}`) : bytesOf(text))
}

function bytesOf(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, 'hex'))
}
