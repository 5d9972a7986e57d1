/** `queues`: which queues there are, with what is negotiated and configured. */
import { evaluate, nodes } from '../../evaluate.ts'
import type { Queue, Reference } from '../../model.ts'
import { identifier } from '../../names.ts'
import { quote } from '../code.ts'
import { condition, numeric } from '../wire/expression.ts'
import type { Imports } from '../wire/imports.ts'
import type { DeviceChapter } from './device-chapter.ts'
import { indent, object } from './text.ts'

/** Queue indices have 16 bits on every transport. */
const maximumIndex = 0xffff

/** The function, as text. */
export function queuesFunction(device: DeviceChapter, imports: Imports): string[] {
  const { chapter, config } = device
  imports.deviceType('QueueInfo')
  imports.runtimeType('FeatureSet')
  const lines = chapter.queues.flatMap((queue) => queueLines(device, imports, queue))
  const uses = (name: string): boolean => lines.some((line) => line.includes(name))
  const usesConfig = uses('context.config')
  const usesContext = uses('context.')
  const context: string[] = []
  if (usesContext) {
    const accessor =
      usesConfig && config
        ? `new ${imports.class({ chapter: chapter.name, name: config.name }, '')}().at(${imports.runtime('viewOf')}(config))`
        : undefined
    context.push(
      `const context = ${object([
        ['features', uses('context.features') ? 'features' : undefined],
        ['config', accessor],
        ['queueSize', uses('context.queueSize') ? '0' : undefined],
      ])}`,
    )
  }
  const features = uses('context.features') ? 'features' : '_features'
  return [
    `export function queues(${features}: FeatureSet, ${usesConfig ? 'config' : '_config'}: Uint8Array): QueueInfo[] {`,
    ...indent([...context, 'const list: QueueInfo[] = []', ...lines, 'return list']),
    '}',
  ]
}

function queueLines(device: DeviceChapter, imports: Imports, queue: Queue): string[] {
  const scope = device.scope(imports, undefined, [])
  // How many there are is not for the description to say where only the program knows.
  if (asksProgram(queue)) return [`// \`${queue.name}\` depends on what only the program knows.`]
  const index = numeric(queue.index, scope).replaceAll(/\+ \((\w+ \* \w+)\)/g, '+ $1')
  const lines = queue.each ? rowLines(device, imports, queue, index) : [push(device, imports, queue, index, isConstant(queue))]
  if (queue.when === undefined) return lines
  const when = condition(queue.when, scope)
  return lines.length === 1 && lines[0]?.startsWith('list') ? [`if (${when}) ${lines[0]}`] : [`if (${when}) {`, ...indent(lines), '}']
}

function asksProgram({ index, each, when }: Queue): boolean {
  return [index, ...(each ?? []), ...(when ? [when] : [])].some(({ tree }) => [...nodes(tree)].some(({ op }) => op === 'caller'))
}

function isConstant({ index }: Queue): boolean {
  return evaluate(index.tree) !== undefined
}

/** A row ends where its count says, and at the last index that a queue can have: the count may be the other side's. */
function rowLines(device: DeviceChapter, imports: Imports, queue: Queue, index: string): string[] {
  const scope = device.scope(imports, undefined, [])
  const [from, to] = queue.each as NonNullable<Queue['each']>
  const first = numeric(from, scope)
  const end = evaluate(to.tree) === undefined ? `Math.min(${numeric(to, scope)}, ${maximum(first)})` : numeric(to, scope)
  return [
    `for (let i = ${first}, last = ${end}; i <= last; i++) {`,
    ...indent([`const index = ${index}`, `if (index >= 0 && index <= ${maximumIndex}) ${push(device, imports, queue, 'index', true)}`]),
    '}',
  ]
}

function maximum(first: string): string {
  return /^\d+$/.test(first) ? String(Number(first) + maximumIndex) : `${first} + ${maximumIndex}`
}

function push(device: DeviceChapter, imports: Imports, queue: Queue, index: string, safe: boolean): string {
  const entry = object([
    ['index', index === 'index' ? 'index' : index],
    ['name', quote(queue.name)],
    ['i', queue.each ? 'i' : undefined],
    ['message', carried(device, imports, queue.carries)],
  ])
  const line = `list.push(${entry})`
  return safe ? line : `if (${index} >= 0 && ${index} <= ${maximumIndex}) ${line}`
}

/** The table of what a queue carries; that of another device chapter is imported. */
function carried({ model, chapter }: DeviceChapter, imports: Imports, carries: Reference | undefined): string {
  if (carries === undefined) return 'undefined'
  const owner = model.chapters.find(({ name }) => name === carries.chapter)
  if (owner?.kind !== 'device') return 'undefined'
  return owner === chapter ? identifier(carries.name) : imports.from(imports.tables, owner.name, identifier(carries.name))
}
