/** Queues: their indices, alone or in rows, and what they carry. */
import type { QueueAst } from '../ast.ts'
import { didYouMean } from '../diagnostic.ts'
import { evaluate, nodes } from '../evaluate.ts'
import type { Queue } from '../model.ts'
import { identifier } from '../names.ts'
import type { Path } from '../source.ts'
import type { Expressions } from './expressions.ts'
import { originOf } from './origin.ts'
import { type ChapterScope, items, type Workspace } from './workspace.ts'

const maximumIndex = 65535n
/** How many queues of a row are compared with the others when the end of the row is not known. */
const maximumRow = 16n

export function resolveQueues(scope: ChapterScope, workspace: Workspace, expressions: Expressions): Queue[] {
  const taken = new Map<bigint, string>()
  const names = new Map<string, string>()
  return items(scope.ast.queues).flatMap(({ index: position, name, value: ast }) => {
    const path: Path = ['queues', position, name]
    checkName(name, names, path, scope)
    const queue = resolveQueue(name, ast, path, scope, workspace, expressions)
    if (queue) checkIndices(queue, taken, path, scope)
    return queue ?? []
  })
}

function checkName(name: string, names: Map<string, string>, path: Path, scope: ChapterScope): void {
  const id = identifier(name)
  const other = names.get(id)
  if (other === name) scope.report('duplicate-name', path, `the queue "${name}" stands twice`, undefined, 'key')
  else if (other !== undefined) scope.report('name-collision', path, `"${other}" and "${name}" both become "${id}"`, undefined, 'key')
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(id))
    scope.report('wrong-type', path, `"${name}" is not a name`, 'what the text calls the queue stands in `spec`', 'key')
  names.set(id, name)
}

function resolveQueue(
  name: string,
  ast: QueueAst,
  path: Path,
  scope: ChapterScope,
  workspace: Workspace,
  expressions: Expressions,
): Queue | undefined {
  const each = expressions.range(ast.each, [...path, 'each'], { chapter: scope })
  const index = expressions.number(ast.index, [...path, 'index'], { chapter: scope, index: ast.each !== undefined })
  const carries = ast.carries === undefined ? undefined : carrier(ast.carries, [...path, 'carries'], scope, workspace)
  const when = expressions.condition(ast.when, [...path, 'when'], { chapter: scope })
  if (index === undefined) return undefined
  if (ast.each !== undefined && ![...nodes(index.tree)].some(({ op }) => op === 'index')) {
    scope.report(
      'duplicate-queue',
      [...path, 'index'],
      `every queue of "${name}" has the index ${index.text}`,
      '`i` is the number of the queue in the row',
    )
  }
  const queue: Queue = { ...originOf(scope.origin, ast), name, index }
  if (each) queue.each = each
  if (when) queue.when = when
  if (carries) queue.carries = carries
  if (ast.spec !== undefined) queue.spec = ast.spec
  return queue
}

function carrier(name: string, path: Path, scope: ChapterScope, workspace: Workspace): Queue['carries'] {
  const select = (chapter: ChapterScope): true | undefined => (Object.hasOwn(chapter.messages, name) ? true : undefined)
  const found = scope.reach.find(select)
  workspace.checkAmbiguous(scope, name, select, path)
  if (found) return { chapter: found.name, name }
  scope.reportUnknown(
    'unknown-message',
    name,
    path,
    `no message is named "${name}"`,
    didYouMean(
      name,
      scope.reach.flatMap((chapter) => Object.keys(chapter.messages)),
    ),
  )
  return undefined
}

/** Indices do not move when a queue is absent, so a condition is no excuse for sharing one. */
function checkIndices(queue: Queue, taken: Map<bigint, string>, path: Path, scope: ChapterScope): void {
  const indices = indicesOf(queue)
  const from = queue.each && evaluate(queue.each[0].tree)
  const to = queue.each && evaluate(queue.each[1].tree)
  if (from !== undefined && to !== undefined && from > to) scope.report('value-range', [...path, 'each'], `the range ${from} .. ${to} is empty`)
  const wrong = indices.find((index) => index < 0n || index > maximumIndex)
  if (wrong !== undefined)
    scope.report('value-range', [...path, 'index'], `the index ${wrong} of "${queue.name}" is not between 0 and ${maximumIndex}`)
  const double = indices.find((index) => taken.has(index))
  if (double !== undefined) scope.report('duplicate-queue', [...path, 'index'], `"${queue.name}" has the index of "${taken.get(double)}", ${double}`)
  for (const index of indices) taken.set(index, queue.name)
}

function indicesOf({ index, each }: Queue): bigint[] {
  const from = each ? evaluate(each[0].tree) : undefined
  if (each === undefined || from === undefined) return [evaluate(index.tree)].filter((value) => value !== undefined)
  const to = evaluate(each[1].tree)
  const last = to === undefined || to - from >= maximumIndex ? from + maximumRow - 1n : to
  const indices: bigint[] = []
  for (let i = from; i <= last; i++) {
    const value = evaluate(index.tree, { index: i })
    if (value !== undefined) indices.push(value)
  }
  return [...new Set(indices)]
}
