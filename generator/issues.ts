/** Turns what zod finds into diagnostics at the place they are about. */
import type { z } from 'zod'
import { didYouMean, nearest } from './diagnostic.ts'
import { ownValue, valueAt } from './own.ts'
import { fileSchema } from './schema.ts'
import type { Path, SourceFile } from './source.ts'

type Issue = z.core.$ZodIssue

/** Reports the issues; gives the places that cannot be used. */
export function reportIssues(source: SourceFile, issues: readonly Issue[], parent: Path = []): Path[] {
  const misspelt = new Set(issues.flatMap((issue) => meantKeys(issue, parent)))
  return issues.flatMap((issue) => {
    const path = [...parent, ...(issue.path as Path)]
    // A key that is missing because it is misspelt is one mistake, not two.
    return misspelt.has(JSON.stringify(path)) && isMissing(source, path) ? [path] : reportIssue(source, issue, parent)
  })
}

/** Where the keys would stand that unknown ones seem to mean. */
function meantKeys(issue: Issue, parent: Path): string[] {
  if (issue.code !== 'unrecognized_keys') return []
  const path = [...parent, ...(issue.path as Path)]
  return issue.keys.map((key) => JSON.stringify([...path, nearest(key, keysAt(path))]))
}

function reportIssue(source: SourceFile, issue: Issue, parent: Path): Path[] {
  const path = [...parent, ...(issue.path as (string | number)[])]
  switch (issue.code) {
    case 'unrecognized_keys':
      for (const key of issue.keys) source.report('unknown-key', [...path, key], `unknown key "${key}"`, keyHint(source, [...path, key]), 'key')
      return path.length === 0 ? issue.keys.map((key) => [key]) : [path]
    case 'invalid_union': {
      const branch = bestBranch(issue.errors)
      const isOfNoKind = branch === undefined || issue.errors.every(isWrongKind)
      if (!isOfNoKind) return reportIssues(source, branch, path)
      break
    }
    case 'invalid_key':
      source.report('wrong-type', path, `"${String(path.at(-1))}" is not a name`, 'letters, digits, "_" and "-", not starting with a digit', 'key')
      return [path]
  }
  if (isMissing(source, path)) {
    const key = String(path.at(-1))
    const expected = expectation(issue)
    source.report('missing-key', path.slice(0, -1), `the key "${key}" is missing`, expected && `\`${key}\` is ${expected}`, 'key')
  } else if (issue.code === 'custom') source.report('wrong-type', path, issue.message)
  else source.report('wrong-type', path, `expected ${expectation(issue) ?? issue.message}`)
  return [path]
}

function keyHint(source: SourceFile, path: Path): string | undefined {
  const key = String(path.at(-1))
  const near = didYouMean(key, keysAt(path.slice(0, -1)))
  // A comma inside { } ends the text before it; what follows looks like a key.
  return near ?? (valueAt(source.value, path) === null ? 'inside { } a text with a comma needs quotes' : undefined)
}

/** True where the value is of none of the kinds that a branch allows. */
function isWrongKind(branch: readonly Issue[]): boolean {
  return branch.some(
    (issue) => issue.path.length === 0 && (issue.code === 'invalid_type' || (issue.code === 'invalid_union' && issue.errors.every(isWrongKind))),
  )
}

/** Of the branches of a union the one that came farthest is the one that was meant. */
function bestBranch(branches: Issue[][]): Issue[] | undefined {
  const depth = (issue: Issue): number =>
    issue.code === 'invalid_union'
      ? Math.max(issue.path.length, ...issue.errors.flat().map((inner) => issue.path.length + depth(inner)))
      : issue.path.length
  const score = (branch: Issue[]): number => (isWrongKind(branch) ? 0 : 1000) + Math.min(...branch.map(depth), 99) * 10 - Math.min(branch.length, 9)
  return [...branches].filter((branch) => branch.length > 0).sort((a, b) => score(b) - score(a))[0]
}

/** What could stand there, in words. */
function expectation(issue: Issue): string | undefined {
  const different = [...new Set(expectations(issue))]
  return different.length < 2 ? different[0] : `${different.slice(0, -1).join(', ')} or ${different.at(-1)}`
}

function expectations(issue: Issue): string[] {
  switch (issue.code) {
    case 'invalid_value':
      return issue.values.map((value) => `"${String(value)}"`)
    case 'invalid_type':
      return kindWords[issue.expected] === undefined ? [] : [kindWords[issue.expected] as string]
    case 'invalid_union':
      return issue.errors.flatMap((branch) => branch.filter(({ path }) => path.length === 0).flatMap(expectations))
    case 'too_small':
      return [issue.origin === 'string' ? 'text, and this is empty' : issue.origin === 'array' ? 'at least one item' : `at least ${issue.minimum}`]
    case 'too_big':
      return [`at most ${issue.maximum}`]
    default:
      return []
  }
}

const kindWords: Readonly<Record<string, string>> = {
  object: 'a mapping',
  record: 'a mapping',
  array: 'a list',
  string: 'text',
  int: 'an integer',
  number: 'an integer',
  bigint: 'an integer',
  boolean: 'true or false',
  null: 'nothing',
}

function isMissing(source: SourceFile, path: Path): boolean {
  return path.length > 0 && valueAt(source.value, path) === undefined
}

/** What is used of zod's own description of a schema. */
interface Definition {
  shape?: Record<string, Schema>
  options?: Schema[]
  element?: Schema
  valueType?: Schema
  innerType?: Schema
  getter?: () => Schema
  out?: Schema
}
interface Schema {
  _zod: { def: Definition }
}

/** The keys that may stand in the mapping at a path. */
function keysAt(path: Path): string[] {
  let level = forms(fileSchema as unknown as Schema)
  for (const step of path) {
    level = level.flatMap(({ _zod: { def } }) => {
      const next = typeof step === 'number' ? def.element : (ownValue(def.shape, step) ?? def.valueType)
      return next === undefined ? [] : forms(next)
    })
  }
  return [...new Set(level.flatMap(({ _zod: { def } }) => Object.keys(def.shape ?? {})))]
}

/** A schema as the alternatives it stands for, without wrappers. */
function forms(schema: Schema): Schema[] {
  const { options, innerType, getter, out } = schema._zod.def
  if (options) return options.flatMap(forms)
  const inner = getter?.() ?? innerType ?? out
  return inner ? forms(inner) : [schema]
}
