/** Where the result of a request is written, and its values for success and failure. */
import type { StatusAst, Value } from '../ast.ts'
import { didYouMean } from '../diagnostic.ts'
import type { ConstantValue, Reference, Status } from '../model.ts'
import type { Path } from '../source.ts'
import type { Layouts } from './layouts.ts'
import type { Frame, MessageTask, RequestTask } from './messages.ts'
import { type FieldInfo, fieldAt, type Shape } from './shape.ts'
import { type ChapterScope, list } from './workspace.ts'

export class StatusResolver {
  readonly #layouts: Layouts

  constructor(layouts: Layouts) {
    this.#layouts = layouts
  }

  /** The status of all requests. Its field stands in the frame, or in every request that is answered. */
  ofMessage({ chapter, ast, path, kind }: MessageTask, frame: Frame, requests: readonly RequestTask[]): Status | undefined {
    if (ast.status === undefined) return undefined
    const at: Path = [...path, 'status']
    if (kind === 'events') chapter.report('misplaced-attribute', at, '`status` answers a request, and these are events', undefined, 'key')
    const steps = (ast.status.field ?? '').split('.')
    const inFrame = fieldAt(frame.writable, steps)
    const answered = requests.filter((request) => request.entries.writable.length > 0)
    const field = inFrame ?? answered.map((request) => fieldAt(request.own.writable, steps)).find((found) => found !== undefined)
    if (!this.#checkField(ast.status.field as string, field, [...at, 'field'], chapter, frame.writable)) return undefined
    for (const request of answered) {
      if (inFrame || request.ast.status?.field !== undefined || fieldAt(request.own.writable, steps)) continue
      chapter.reportUnknown(
        'unknown-field',
        ast.status.field as string,
        request.path,
        `"${request.name}" has no field "${ast.status.field}" for its status`,
        undefined,
        'key',
      )
    }
    return this.#values(ast.status, at, chapter, field) as Status
  }

  /** What a request says of its own status, in place of that of its message. */
  ofRequest(task: RequestTask, { chapter, ast: message }: MessageTask, writable: Shape): Partial<Status> | undefined {
    const { ast, path } = task
    if (ast.status === undefined && ast.ok === undefined) return undefined
    const text = ast.status?.field ?? message.status?.field
    if (text === undefined) {
      const [at, what] = ast.status === undefined ? [[...path, 'ok'], '`ok`'] : [[...path, 'status'], '`status`']
      chapter.report('missing-key', at, `${what} needs a \`field\`, where the result is written`, undefined, 'key')
      return undefined
    }
    const field = fieldAt(writable, text.split('.'))
    if (ast.status?.field !== undefined && !this.#checkField(text, field, [...path, 'status', 'field'], chapter, writable)) return undefined
    const status: Partial<Status> = ast.status ? this.#values(ast.status, [...path, 'status'], chapter, field) : {}
    const ok = this.#successes(ast.ok, [...path, 'ok'], chapter, field)
    if (ok.length > 0) status.ok = ok
    if (status.error) this.#checkOwnError(text.split('.'), status.error, task, chapter)
    if (ast.ok === undefined && ast.status?.ok === undefined && message.status === undefined) {
      chapter.report('missing-key', [...path, 'status'], '`status` needs `ok`, the value for success', undefined, 'key')
    }
    return status
  }

  /** A refusal is the whole reply of such a request: nothing else is known of where its status stands. */
  #checkOwnError([first = '']: readonly string[], error: Reference, { entries: { writable }, path }: RequestTask, chapter: ChapterScope): void {
    const [only, ...others] = writable
    const member = only?.[first]
    const type = typeof member === 'string' ? member : member?.type
    if (type === error.name && others.length === 0) return
    const hint = 'an `error` of a request is the struct of its only device-writable member'
    chapter.report('wrong-operand', [...path, 'status', 'error'], `"${error.name}" is not the reply of this request`, hint)
  }

  #checkField(text: string, field: FieldInfo | undefined, path: Path, chapter: ChapterScope, writable: Shape): boolean {
    if (field?.kind === 'number') return true
    if (field) chapter.report('wrong-operand', path, `"${text}" has no single value`)
    else chapter.reportUnknown('unknown-field', text, path, `the writable part has no field "${text}"`, didYouMean(text, writable.keys()))
    return false
  }

  #values(ast: StatusAst, path: Path, chapter: ChapterScope, field: FieldInfo | undefined): Partial<Status> {
    const status: Partial<Status> = {}
    if (ast.field !== undefined) status.field = ast.field.split('.')
    const ok = this.#successes(ast.ok, [...path, 'ok'], chapter, field)
    if (ok.length > 0) status.ok = ok
    for (const key of ['failed', 'malformed', 'unknown'] as const) {
      const value = ast[key]
      if (value === undefined) continue
      if (key === 'unknown' && value === 'none') status.unknown = 'none'
      else {
        const constant = this.#layouts.expressions.selector(value, [...path, key], chapter, field)
        if (constant) status[key] = constant
      }
    }
    const error = ast.error === undefined ? undefined : this.#layouts.workspace.requireStruct(chapter, ast.error, [...path, 'error'])
    if (error) status.error = { chapter: error.chapter.name, name: error.name }
    return status
  }

  #successes(ok: StatusAst['ok'], path: Path, chapter: ChapterScope, field: FieldInfo | undefined): ConstantValue[] {
    const { expressions } = this.#layouts
    return list<Value>(ok).flatMap((value, index) => expressions.selector(value, Array.isArray(ok) ? [...path, index] : path, chapter, field) ?? [])
  }
}
