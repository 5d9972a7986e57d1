/** Holds the description against Linux's own headers, through the C compiler: numbers, sizes, offsets, and bytes. */
import type { Model } from '../model.ts'
import type { Check, Expectation } from './check.ts'
import { CannotCompare, Compiler } from './compiler.ts'
import { type Expectations, expectationsOf } from './expectations.ts'
import { probe, runChecks } from './program.ts'
import { emptyReport, type LinuxItem, type LinuxReport } from './report.ts'
import { type FeatureBits, type RoundOutput, Rounds, type WireModules } from './rounds.ts'
import type { HeaderStruct } from './structs.ts'

export { formatLinuxReport } from './format.ts'
export type { LinuxItem, LinuxProperty, LinuxReport } from './report.ts'
export type { FeatureBits, WireModules } from './rounds.ts'

export interface LinuxOptions {
  /** Include folder with `linux/`; by default the system's. */
  headers?: string | undefined
  /** The compiler, by default `gcc`. */
  cc?: string | undefined
  /** Repeats the values of an earlier run. */
  seed?: number | undefined
  /** Values per struct, by default 3. */
  rounds?: number | undefined
  /** Generated modules by chapter, to be compared too. */
  wire?: WireModules | undefined
  /** A set that has every feature, for the generated modules; by default an object that has nothing but `has`. */
  features?: FeatureBits | undefined
  onProgress?: ((step: string) => void) | undefined
}

/** The description is about these headers; what newer ones lack is a mistake, what older ones lack is not. */
const describedVersion = [6, 12] as const

/**
 * Compares the description with Linux's headers. Where it cannot be done the report says why in `skipped`; that is no failure.
 *
 * @throws RangeError when `rounds` or `seed` is no integer from 0 to 2^32 - 1
 */
export async function compareWithLinux(model: Model, options: LinuxOptions = {}): Promise<LinuxReport> {
  const { rounds = 3, seed = Math.floor(Math.random() * 0x1_0000_0000), onProgress } = options
  checkInteger('rounds', rounds)
  checkInteger('seed', seed)
  const report = emptyReport(seed)
  const compiler = new Compiler(options.cc ?? 'gcc', options.headers)
  try {
    report.headers = await compiler.findHeaders()
    const expectations = expectationsOf(model)
    const comparison = new Rounds(model, seed, options.wire, options.features ?? { has: () => true })
    onProgress?.('looking for the names')
    const present = await probe(compiler, expectations.headers, [...probesOf(expectations), ...comparison.probes(expectations.structs, rounds)])
    const { checks, structs } = sort(expectations, present, report)
    onProgress?.('comparing numbers and bytes')
    const made = structs.flatMap((target) => comparison.make(target, rounds, present))
    const output = await runChecks(compiler, expectations.headers, checks, made)
    const wrong = judge(checks, output.values, report)
    report.compared.rounds = made.length
    for (const [index, round] of made.entries()) {
      // Bytes follow sizes and offsets: where those are wrong already they say nothing new.
      if (!wrong.has(round.target)) comparison.compare(round, output.rounds.get(index) as RoundOutput)
    }
    report.mismatches.push(...comparison.mismatches)
    return report
  } catch (error) {
    if (!(error instanceof CannotCompare)) throw error
    report.skipped = error.message
    return report
  } finally {
    compiler.dispose()
  }
}

function checkInteger(name: string, value: number): void {
  if (!Number.isInteger(value) || value < 0 || value > 0xffff_ffff)
    throw new RangeError(`${name} must be an integer from 0 to 4294967295, not ${value}`)
}

function* probesOf({ numbers, structs, none }: Expectations): Generator<string> {
  for (const { probe } of [...numbers, ...structs.flatMap(({ whole, fields }) => [whole, ...fields]), ...none]) if (probe !== undefined) yield probe
}

/** A check that will be made, and what it is about. */
interface Pending extends Check {
  item: LinuxItem
  name: string
  struct?: HeaderStruct
}

/** Sorts the expectations by whether the headers have them. */
function sort(expectations: Expectations, present: ReadonlySet<string>, report: LinuxReport): { checks: Pending[]; structs: HeaderStruct[] } {
  const checks: Pending[] = []
  const { compared } = report
  const counters = { feature: 'features', constant: 'constants', id: 'ids', register: 'registers', struct: 'structs', field: 'fields' } as const
  const take = ({ item, probe, checks: own }: Expectation, struct?: HeaderStruct): boolean => {
    if (!present.has(probe)) {
      addAbsent(item, report)
      return false
    }
    compared[counters[item.kind]]++
    for (const check of own) checks.push({ ...check, item, name: item.name, ...(struct ? { struct } : {}) })
    return true
  }
  for (const number of expectations.numbers) take(number)
  const grown = grownStructs(expectations.structs, present)
  const structs = expectations.structs.filter((struct) => {
    const { whole, fields } = struct
    if (!take({ ...whole, checks: [] })) return false
    let complete = true
    let moved = false
    for (const field of fields) {
      const held = field.holds !== undefined && grown.has(field.holds)
      const there = take(
        complete ? { ...field, checks: field.checks.filter(({ property }) => property !== 'size' || !held) } : { ...field, checks: [] },
        struct,
      )
      moved ||= held || (there && !complete)
      complete &&= there && !held
    }
    // Without its last members an older header is smaller, and right; what stands behind others is elsewhere in it.
    if (complete) for (const check of whole.checks) checks.push({ ...check, item: whole.item, name: whole.item.name, struct })
    return !moved
  })
  for (const { item, probe } of expectations.none) (probe !== undefined && present.has(probe) ? report.appeared : report.textOnly).push(item)
  return { checks, structs }
}

/** Structs that older headers have without some of their fields, or with another such struct inside. */
function grownStructs(structs: readonly HeaderStruct[], present: ReadonlySet<string>): Set<string> {
  const grown = new Set<string>()
  const isGrown = ({ whole, fields }: HeaderStruct): boolean =>
    present.has(whole.probe) && fields.some(({ probe, holds }) => !present.has(probe) || (holds !== undefined && grown.has(holds)))
  for (let size = -1; size !== grown.size; ) {
    size = grown.size
    for (const each of structs) if (isGrown(each)) grown.add(`${each.chapter.name}.${each.struct.name}`)
  }
  return grown
}

function addAbsent(item: LinuxItem, report: LinuxReport): void {
  const [major = 0, minor = 0] = (report.headers.version ?? '').split('.').map(Number)
  const older = major < describedVersion[0] || (major === describedVersion[0] && minor < describedVersion[1])
  if (older) report.absent.push(item)
  else report.mismatches.push({ ...item, property: 'name', ours: item.linux, theirs: 'nothing of that name' })
}

/** Judges the numbers; gives the structs that are wrong. */
function judge(checks: readonly Pending[], values: ReadonlyMap<number, bigint>, report: LinuxReport): Set<HeaderStruct> {
  const wrong = new Set<HeaderStruct>()
  for (const [index, { item, property, ours, expected: wanted, struct }] of checks.entries()) {
    // C's negative numbers come as 64 bits.
    const expected = BigInt.asUintN(64, wanted)
    const theirs = values.get(index) ?? expected
    const found: LinuxItem = { ...item, property, ours: number(ours), theirs: number(theirs) }
    if (theirs === expected && ours !== expected) report.differs.push(found)
    if (theirs === expected) continue
    report.mismatches.push(ours === expected ? found : { ...found, why: `declared is ${number(expected)}` })
    if (struct) wrong.add(struct)
  }
  return wrong
}

function number(value: bigint): string {
  return value < 0x1_0000n ? String(value) : `0x${value.toString(16)}`
}
