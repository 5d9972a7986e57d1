/** Turns what zod finds into diagnostics at the place they are about. */
import type { z } from 'zod'
import { didYouMean } from './diagnostic.ts'
import { fileSchema } from './schema.ts'
import type { Path, SourceFile } from './source.ts'

type Issue = z.core.$ZodIssue

/** Reports the issues; gives the places that cannot be used. */
export function reportIssues(source: SourceFile, issues: readonly Issue[]): Path[] {
  return issues.flatMap((issue) => reportIssue(source, issue, []))
}

function reportIssue(source: SourceFile, issue: Issue, parent: Path): Path[] {
  const path = [...parent, ...(issue.path as (string | number)[])]
  switch (issue.code) {
    case 'unrecognized_keys': {
      for (const key of issue.keys) {
        // A comma inside { } ends the text before it; what follows looks like a key.
        const hint = key.includes(' ') ? 'a text with a comma needs quotes inside { }' : didYouMean(key, keysAt(path))
        source.report('unknown-key', [...path, key], `unknown key "${key}"`, hint, 'key')
      }
      return path.length === 0 ? issue.keys.map((key) => [key]) : [path]
    }
    case 'invalid_union': {
      const branch = bestBranch(issue.errors)
      if (branch !== undefined) return branch.flatMap((inner) => reportIssue(source, inner, path))
      source.report('wrong-type', path, 'a value of this kind does not stand here')
      return [path]
    }
    case 'invalid_key':
      source.report('wrong-type', path, `"${String(path.at(-1))}" is not a name`, 'letters, digits, "_" and "-", not starting with a digit', 'key')
      return [path]
    case 'invalid_type':
    case 'invalid_value':
      if (isMissing(source, path))
        source.report('missing-key', path.slice(0, -1), `the key "${String(path.at(-1))}" is missing`, expectation(issue), 'key')
      else source.report('wrong-type', path, `expected ${expectation(issue)}`)
      return [path]
    default:
      source.report('wrong-type', path, issue.message)
      return [path]
  }
}

/** Of the branches of a union the one that came farthest is the one that was meant. */
function bestBranch(branches: Issue[][]): Issue[] | undefined {
  const depth = (issue: Issue): number =>
    issue.code === 'invalid_union'
      ? Math.max(issue.path.length, ...issue.errors.flat().map((inner) => issue.path.length + depth(inner)))
      : issue.path.length
  const kind = (branch: Issue[]): number => (branch.some((issue) => issue.path.length === 0 && issue.code === 'invalid_type') ? 0 : 1)
  const score = (branch: Issue[]): number => kind(branch) * 1000 + Math.min(...branch.map(depth), 99) * 10 - Math.min(branch.length, 9)
  return [...branches].filter((branch) => branch.length > 0).sort((a, b) => score(b) - score(a))[0]
}

function expectation(issue: Issue): string {
  if (issue.code === 'invalid_value') return issue.values.map((value) => `"${String(value)}"`).join(' or ')
  if (issue.code !== 'invalid_type') return issue.message
  return kindWords[issue.expected] ?? issue.expected
}

const kindWords: Readonly<Record<string, string>> = {
  object: 'a mapping',
  record: 'a mapping',
  array: 'a list',
  string: 'text',
  int: 'an integer',
  number: 'a number',
  bigint: 'a number',
  boolean: 'true or false',
  null: 'nothing',
}

function isMissing(source: SourceFile, path: Path): boolean {
  let value = source.value
  for (const step of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, step)) return true
    value = (value as Record<string | number, unknown>)[step]
  }
  return path.length > 0 && value === undefined
}

/** What is used of zod's own description of a schema. */
interface Definition {
  shape?: Record<string, Schema>
  options?: Schema[]
  element?: Schema
  valueType?: Schema
  innerType?: Schema
  getter?: () => Schema
}
interface Schema {
  _zod: { def: Definition }
}

/** The keys that may stand in the mapping at a path. */
function keysAt(path: Path): string[] {
  let level = forms(fileSchema as unknown as Schema)
  for (const step of path) {
    level = level.flatMap(({ _zod: { def } }) => {
      const next = typeof step === 'number' ? def.element : (def.shape?.[step] ?? def.valueType)
      return next === undefined ? [] : forms(next)
    })
  }
  return [...new Set(level.flatMap(({ _zod: { def } }) => Object.keys(def.shape ?? {})))]
}

/** A schema as the alternatives it stands for, without wrappers. */
function forms(schema: Schema): Schema[] {
  const { options, innerType, getter } = schema._zod.def
  if (options) return options.flatMap(forms)
  if (getter) return forms(getter())
  return innerType ? forms(innerType) : [schema]
}
