/** What conditions say of one another, found by trying values for everything they depend on. */
import { type Environment, evaluate, nodes } from '../evaluate.ts'
import type { Expression, Tree } from '../model.ts'

/** More combinations than this are not tried; then nothing is claimed. */
const maximumTrials = 4096

/** True when a condition over features alone always holds, false when it never does; so are those that are written as true and false. */
export function alwaysOrNever({ tree }: Expression): boolean | undefined {
  if (tree.op === 'number') return tree.value !== 0
  const all = [...nodes(tree)]
  const isOverFeatures = all.some(({ op }) => op === 'feature') && all.every(({ op }) => !['field', 'queue', 'caller', 'index'].includes(op))
  const results = (isOverFeatures ? outcomes([tree]) : undefined)?.map(([holds]) => holds)
  if (results === undefined) return undefined
  return results.every(Boolean) ? true : results.some(Boolean) ? undefined : false
}

/** True when two conditions never hold at once, as far as trying can tell; a missing one always holds. */
export function areExclusive(first: Expression | undefined, second: Expression | undefined): boolean {
  const trees = [first, second].flatMap((condition) => condition?.tree ?? [])
  if (trees.length === 0) return false
  const results = outcomes(trees)
  return results === undefined || !results.some((values) => values.every(Boolean))
}

/** What the trees come to for every combination of trial values; undefined where these are too many. */
function outcomes(trees: readonly Tree[]): boolean[][] | undefined {
  const all = trees.flatMap((tree) => [...nodes(tree)])
  const variables = [
    ...new Map(all.flatMap((node) => (nameOf(node) === undefined ? [] : [[nameOf(node) as string, node.op === 'feature']])) as [string, boolean][]),
  ]
  const numbers = trialNumbers(all)
  const choices = variables.map(([, isFeature]) => (isFeature ? [0n, 1n] : numbers))
  if (choices.reduce((product, values) => product * values.length, 1) > maximumTrials) return undefined
  let combinations: bigint[][] = [[]]
  for (const values of choices) combinations = combinations.flatMap((combination) => values.map((value) => [...combination, value]))
  return combinations.map((combination) => {
    const values = new Map(variables.map(([name], index) => [name, combination[index] as bigint]))
    const environment = environmentOf(values)
    return trees.map((tree) => (evaluate(tree, environment) ?? 0n) !== 0n)
  })
}

/** Every number that is compared with, its neighbours, and all of them as masks. */
function trialNumbers(all: readonly Tree[]): bigint[] {
  const numbers = all.flatMap((node) => (node.op === 'number' || node.op === 'constant' || node.op === 'sizeof' ? [BigInt(node.value)] : []))
  const mask = numbers.reduce((sum, number) => sum | number, 0n)
  return [...new Set([0n, 1n, mask, ...numbers.flatMap((number) => [number - 1n, number, number + 1n])])].filter((number) => number >= 0n)
}

function nameOf(node: Tree): string | undefined {
  switch (node.op) {
    case 'feature':
      return `feature ${node.chapter} ${node.name}`
    case 'field':
      return fieldName(node)
    case 'queue':
      return 'queue'
    case 'caller':
      return `caller ${node.name}`
    case 'index':
      return 'index'
    default:
      return undefined
  }
}

function fieldName({ from, path }: { from: string; path: readonly string[] }): string {
  return `field ${from} ${path.join('.')}`
}

function environmentOf(values: ReadonlyMap<string, bigint>): Environment {
  const features = new Map(
    [...values].filter(([name]) => name.startsWith('feature ')).map(([name, value]) => [name.split(' ')[2] as string, value !== 0n]),
  )
  return {
    feature: (name) => features.get(name),
    field: (path) => values.get(fieldName(path)),
    queueSize: values.get('queue'),
    caller: (name) => values.get(`caller ${name}`),
    index: values.get('index'),
  }
}
