/** Messages: the frame of what a queue carries, and the requests or events in it. */
import type { Entry, LinuxAst, MemberAst, MessageAst, PartAst, RequestAst } from '../ast.ts'
import { didYouMean } from '../diagnostic.ts'
import type { Echo, Linux, Member, Message, Origin, Part, Reference, Request, Struct } from '../model.ts'
import { identifier } from '../names.ts'
import type { Path } from '../source.ts'
import { type Choice, constantNames, findIndistinct } from './choice.ts'
import { checkPartOrder, type Layouts } from './layouts.ts'
import type { NameScope } from './names.ts'
import { originOf } from './origin.ts'
import { copyMembers, inPart, isOpen } from './place.ts'
import { selectorsOf } from './selectors.ts'
import { type FieldInfo, fieldAt, type Shape, shapeOf, shapeOfStruct } from './shape.ts'
import { StatusResolver } from './status.ts'
import { type ChapterScope, items, list } from './workspace.ts'

/** A message under construction. */
export interface MessageTask {
  chapter: ChapterScope
  name: string
  ast: MessageAst
  path: Path
  kind: Message['kind']
  origin: Origin
}

/** What all requests of a message have in common. */
export interface Frame {
  struct: Struct
  readable: Shape
  writable: Shape
  /** True when the frame has mistakes of its own, which its requests need not repeat. */
  hasProblems: boolean
}

/** A request as it is written. */
export interface RequestTask {
  name: string
  ast: RequestAst
  path: Path
  entries: Record<Part, Entry<MemberAst>[]>
  own: Record<Part, Shape>
}

const parts = ['readable', 'writable'] as const

export class Messages {
  readonly #layouts: Layouts
  readonly #status: StatusResolver

  constructor(layouts: Layouts) {
    this.#layouts = layouts
    this.#status = new StatusResolver(layouts)
  }

  resolve(chapter: ChapterScope): Message[] {
    return Object.entries(chapter.messages).map(([name, ast]) => {
      const kind = ast.events ? 'events' : 'requests'
      return this.#message({ chapter, name, ast, path: ['messages', name], kind, origin: originOf(chapter.origin, ast) })
    })
  }

  #message(task: MessageTask): Message {
    const { chapter, name, ast, path, kind, origin } = task
    if (ast.events && ast.requests)
      chapter.report('misplaced-attribute', [...path, 'events'], 'a message has `requests` or `events`, not both', undefined, 'key')
    if (ast.events && ast.rest)
      chapter.report('misplaced-attribute', [...path, 'rest'], '`rest` is about requests, and these are events', undefined, 'key')
    if (!ast.events && !ast.requests) chapter.report('missing-key', path, `"${name}" has neither requests nor events`, undefined, 'key')
    const frame = this.#frame(task)
    const message: Message = { ...origin, name, chapter: chapter.name, by: list(ast.by).map((text) => text.split('.')), kind, requests: [] }
    if (frame.struct.members.length > 0) {
      message.frame = name
      this.#layouts.add(frame.struct, path)
    }
    const head = ast.head === undefined ? undefined : this.#layouts.workspace.requireStruct(chapter, ast.head, [...path, 'head'])
    if (head) message.head = { chapter: head.chapter.name, name: head.name }
    const headShape = head && shapeOfStruct(this.#layouts.workspace, head)
    const deciding = this.#deciding(task, frame, headShape)
    const requests = this.#requestTasks(task)
    const echo = this.#echo(task, frame, headShape, requests)
    if (echo.length > 0) message.echo = echo
    const status = this.#status.ofMessage(task, frame, requests)
    if (status) message.status = status
    const length = this.#length(task, frame.writable, task)
    if (length) message.length = length
    message.requests = requests.map((request) => {
      const resolved = this.#request(request, task, frame, deciding, message.head)
      const own = this.#ownEcho(request, task, frame, headShape)
      return own.length > 0 ? { ...resolved, echo: own } : resolved
    })
    checkRequestNames(requests, task)
    checkChoices(requests, message.requests, chapter)
    return message
  }

  #frame(task: MessageTask): Frame {
    const { chapter, name, ast, path, origin } = task
    const legacy = ast.legacy ?? chapter.ast.legacy ?? 'same'
    const struct = this.#layouts.empty({ chapter, name, role: 'message', origin, legacy }, path)
    struct.linux = linuxOf(chapter, name, path, ast.linux)
    struct.twoPart = true
    checkPartOrder(chapter, path, ast)
    const before = chapter.source.problems.length
    const entries = { readable: partEntries(ast.readable), writable: partEntries(ast.writable) }
    const readable = shapeOf(this.#layouts.workspace, chapter, entries.readable)
    const writable = shapeOf(this.#layouts.workspace, chapter, entries.writable)
    const scopes = { readable: { chapter, own: readable }, writable: { chapter, own: writable, readable } }
    for (const part of parts) struct.members.push(...this.#members(entries[part], struct, part, [...path, part], scopes[part], origin))
    this.#layouts.finish(struct, path, chapter)
    return { struct, readable, writable, hasProblems: chapter.source.problems.length > before }
  }

  #members(entries: readonly Entry<MemberAst>[], struct: Struct, part: Part, path: Path, scope: NameScope, origin: Origin): Member[] {
    return this.#layouts.members(entries, { chapter: scope.chapter, struct, path, scope, role: 'message', part, legacy: struct.legacy, origin })
  }

  /** The fields that `by` names: of the head, or of the part that whoever chooses has written. */
  #deciding({ chapter, ast, path, kind }: MessageTask, frame: Frame, head: Shape | undefined): (FieldInfo | undefined)[] {
    const [own, other] = kind === 'requests' ? [frame.readable, frame.writable] : [frame.writable, frame.readable]
    return list(ast.by).map((text, index) => {
      const steps = text.split('.')
      const at = Array.isArray(ast.by) ? [...path, 'by', index] : [...path, 'by']
      const found = (head && fieldAt(head, steps)) ?? fieldAt(own, steps)
      if (found?.kind === 'number') return found
      if (found) chapter.report('wrong-operand', at, `"${text}" has no single value`)
      else if (fieldAt(other, steps)) chapter.report('part-mismatch', at, `"${text}" stands in the part that is written later`)
      else
        chapter.reportUnknown(
          'unknown-field',
          text,
          at,
          `the frame has no field "${text}"`,
          didYouMean(text, [...(head?.keys() ?? []), ...own.keys()]),
        )
      return undefined
    })
  }

  /** Members of the frame, or of the head and of what every reply begins with. */
  #echo({ chapter, ast, path, kind }: MessageTask, frame: Frame, head: Shape | undefined, requests: readonly RequestTask[]): Echo {
    const answered = requests.filter(({ entries }) => entries.writable.length > 0).map(({ own }) => own.writable)
    const bring = (to: string): boolean => ast.status?.error !== undefined && ast.status.field?.split('.')[0] === to.split('.')[0]
    if (ast.echo && kind === 'events')
      chapter.report('misplaced-attribute', [...path, 'echo'], '`echo` repeats a request, and these are events', undefined, 'key')
    const targets = (to: string): Shape[] => (bring(to) && !fieldAt(frame.writable, to.split('.')) ? answered : [frame.writable])
    return this.#copies(ast.echo, path, chapter, targets, head ?? frame.readable)
  }

  /** Members of the frame where it has some for the reply, as a refusal may be no more than that; else of the request's own reply. */
  #ownEcho({ ast, path, own }: RequestTask, { chapter, kind }: MessageTask, frame: Frame, head: Shape | undefined): Echo {
    if (ast.echo && kind === 'events')
      chapter.report('misplaced-attribute', [...path, 'echo'], '`echo` repeats a request, and these are events', undefined, 'key')
    const hasReply = frame.struct.members.some(({ part, type }) => part === 'writable' && type.kind !== 'body')
    return this.#copies(ast.echo, path, chapter, () => [hasReply ? frame.writable : own.writable], head ?? frame.readable)
  }

  /** What is copied is as wide on one side as on the other. */
  #copies(echo: MessageAst['echo'], path: Path, chapter: ChapterScope, targets: (to: string) => readonly Shape[], from: Shape): Echo {
    return Object.entries(echo ?? {}).map(([to, source]) => {
      const at = [...path, 'echo', to]
      const [target] = targets(to).map((reply) => this.#number(chapter, reply, to, at, 'the frame', 'key'))
      const read = this.#number(chapter, from, source, at, 'the frame')
      if (target && read && target.bits !== read.bits) chapter.report('wrong-operand', at, `"${to}" and "${source}" have different widths`)
      return { to: to.split('.'), from: source.split('.') }
    })
  }

  /** The member of the reply that says how many bytes are written. */
  #length({ ast, path }: MessageTask | RequestTask, writable: Shape, { chapter, kind }: MessageTask): string[] | undefined {
    if (ast.length === undefined) return undefined
    const at = [...path, 'length']
    if (kind === 'events') chapter.report('misplaced-attribute', at, '`length` is about replies, and these are events', undefined, 'key')
    else if (this.#number(chapter, writable, ast.length, at, 'the writable part')) return ast.length.split('.')
    return undefined
  }

  #number(chapter: ChapterScope, shape: Shape, name: string, at: Path, of: string, where?: 'key'): FieldInfo | undefined {
    const found = fieldAt(shape, name.split('.'))
    if (found?.kind === 'number') return found
    if (found) chapter.report('wrong-operand', at, `"${name}" has no single value`, undefined, where)
    else chapter.reportUnknown('unknown-field', name, at, `${of} has no field "${name}"`, didYouMean(name, shape.keys()), where)
    return undefined
  }

  #requestTasks({ chapter, ast, path, kind }: MessageTask): RequestTask[] {
    return items(ast[kind]).map(({ index, name, value }) => {
      const request = value ?? {}
      const entries = { readable: partEntries(request.readable), writable: partEntries(request.writable) }
      const own = {
        readable: shapeOf(this.#layouts.workspace, chapter, entries.readable),
        writable: shapeOf(this.#layouts.workspace, chapter, entries.writable),
      }
      return { name, ast: request, path: [...path, kind, index, name], entries, own }
    })
  }

  #request(
    task: RequestTask,
    message: MessageTask,
    frame: Frame,
    deciding: readonly (FieldInfo | undefined)[],
    head: Reference | undefined,
  ): Request {
    const { name, ast, path, entries, own } = task
    const { chapter } = message
    const origin = originOf(message.origin, ast)
    const readable = merge(own.readable, frame.readable)
    const writable = merge(own.writable, frame.writable)
    const scopes = { readable: { chapter, own: readable }, writable: { chapter, own: writable, readable } }
    const whole = ast.struct ?? `${message.name}_${name}`
    const struct: Struct = { ...frame.struct, ...origin, name: whole, members: [], linux: linuxOf(chapter, whole, path, ast.linux) }
    if (origin.doc === undefined) delete struct.doc
    checkPartOrder(chapter, path, ast)
    const members = { readable: [] as Member[], writable: [] as Member[] }
    for (const part of parts) members[part] = this.#members(entries[part], struct, part, [...path, part], scopes[part], origin)
    const request: Request = {
      ...origin,
      name,
      is: selectorsOf(ast.is, path, chapter, deciding, this.#layouts.expressions),
      members: [...members.readable, ...members.writable],
    }
    this.#addAttributes(request, task, message, scopes)
    this.#finish(struct, frame, members, task, chapter)
    this.#addLeniency(request, struct.members, task, message)
    if (ast.struct !== undefined) this.#name(request, struct, task)
    if (head) this.#checkHead(struct, head, task, message)
    return request
  }

  #addAttributes(request: Request, task: RequestTask, message: MessageTask, scopes: Record<Part, NameScope>): void {
    const { ast, path } = task
    const { expressions } = this.#layouts
    const when = expressions.condition(ast.when, [...path, 'when'], scopes.readable)
    if (when) request.when = when
    const status = this.#status.ofRequest(task, message, scopes.writable.own ?? new Map())
    if (status) request.status = status
    const length = this.#length(task, scopes.writable.own ?? new Map(), message)
    if (length) request.length = length
    const spans = expressions.number(ast.spans, [...path, 'spans'], scopes.writable)
    if (spans) request.spans = spans
    const fds = expressions.number(ast.fds, [...path, 'fds'], scopes.readable)
    if (fds) request.fds = fds
    const replyFds = expressions.number(ast.reply_fds, [...path, 'reply_fds'], scopes.writable)
    if (replyFds) request.replyFds = replyFds
    for (const key of ['fds', 'reply_fds'] as const) {
      if (ast[key] === undefined || message.chapter.ast.kind === 'protocol') continue
      message.chapter.report('misplaced-attribute', [...path, key], 'descriptors are passed in protocols only', undefined, 'key')
    }
  }

  /** What a driver may leave out or add. */
  #addLeniency(
    request: Request,
    members: readonly Member[],
    { ast, path, entries }: RequestTask,
    { chapter, ast: message, kind }: MessageTask,
  ): void {
    const has = (part: Part): boolean => entries[part].length > 0 || partEntries(message[part]).length > 0
    for (const [key, part] of [
      ['reply', 'writable'],
      ['rest', 'readable'],
    ] as const) {
      if (ast[key] === undefined) continue
      if (kind === 'events')
        chapter.report('misplaced-attribute', [...path, key], `\`${key}\` is about requests, and these are events`, undefined, 'key')
      else if (!has(part)) chapter.report('misplaced-attribute', [...path, key], `"${request.name}" has no ${part} part`, undefined, 'key')
    }
    if (ast.reply) request.replyOptional = true
    if (ast.reply === 'failures') request.onlyFailures = true
    // An open member takes all there is.
    const takesAll = (member: Member): boolean => isOpen(member) || (member.type.kind === 'group' && member.type.members.some(takesAll))
    if ((ast.rest ?? message.rest) && has('readable') && !members.some((member) => member.part === 'readable' && takesAll(member)))
      request.restIgnored = true
  }

  /** Places the members of a request behind those of the frame. */
  #finish(struct: Struct, frame: Frame, members: Record<Part, Member[]>, { path }: RequestTask, chapter: ChapterScope): void {
    for (const member of [...members.readable, ...members.writable]) {
      if (member.type.kind !== 'body') continue
      chapter.report(
        'misplaced-attribute',
        this.#layouts.pathOf(member) ?? path,
        '`body` stands in the frame of a message, not in its requests',
        undefined,
        'key',
      )
    }
    struct.members = whole(frame.struct.members, members)
    if (frame.hasProblems) this.#layouts.place(struct)
    else this.#layouts.finish(struct, path, chapter)
  }

  /** The text lists frame and request together: so does the model. */
  #name(request: Request, struct: Struct, { path }: RequestTask): void {
    request.struct = struct.name
    this.#layouts.add(struct, [...path, 'struct'])
  }

  #checkHead(struct: Struct, head: Reference, { name, path }: RequestTask, { chapter, kind }: MessageTask): void {
    const part = kind === 'requests' ? 'readable' : 'writable'
    if (this.#layouts.isIncomplete(struct) || this.#beginsWith(inPart(struct.members, part), head)) return
    chapter.report(
      'head-mismatch',
      path,
      `"${name}" does not begin with "${head.name}"`,
      `the first member of its ${part} part is a ${head.name}, at any depth`,
      'key',
    )
  }

  #beginsWith([first]: readonly Member[], head: Reference): boolean {
    if (first === undefined) return false
    const { type } = first
    const reference = type.kind === 'group' ? type.struct : type.kind === 'struct' ? type : undefined
    if (reference?.chapter === head.chapter && reference.name === head.name) return true
    if (type.kind === 'group') return this.#beginsWith(type.members, head)
    const struct = type.kind === 'struct' ? this.#layouts.find(type) : undefined
    return struct !== undefined && this.#beginsWith(inPart(struct.members, first.part), head)
  }
}

/** Frames and requests are structs of the headers only where the description says so; one for each part, as a rule. */
function linuxOf(chapter: ChapterScope, name: string, path: Path, linux: MessageAst['linux']): Linux {
  if (linux === undefined) return { name: null }
  return typeof linux === 'object' && ('readable' in linux || 'writable' in linux)
    ? { name: null, parts: linux }
    : chapter.linux(name, path, linux as LinuxAst)
}

/** The name of a struct stands for its members. */
function partEntries(part: PartAst | undefined): Entry<MemberAst>[] {
  return part === undefined ? [] : typeof part === 'string' ? [{ _: part }] : part
}

function merge(first: Shape, second: Shape): Shape {
  return new Map([...second, ...first])
}

/** The frame with a request's own members in place of `body`; a part without a `body` ends in one. */
function whole(frame: readonly Member[], own: Record<Part, Member[]>): Member[] {
  return parts.flatMap((part) => {
    const members = frame.filter((member) => member.part === part)
    const body = members.findIndex((member) => member.type.kind === 'body')
    const copies = copyMembers(members, part)
    if (body < 0) return [...copies, ...own[part]]
    return [...copies.slice(0, body), ...own[part], ...copies.slice(body + 1)]
  })
}

function checkRequestNames(requests: readonly RequestTask[], { chapter, name: message }: MessageTask): void {
  const seen = new Map<string, string>()
  for (const { name, path } of requests) {
    const id = identifier(name)
    const other = seen.get(id)
    if (other === name) chapter.report('duplicate-name', path, `"${name}" stands twice in "${message}"`, undefined, 'key')
    else if (other !== undefined) chapter.report('name-collision', path, `"${other}" and "${name}" both become "${id}"`, undefined, 'key')
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(id))
      chapter.report('wrong-type', path, `"${name}" is not a name`, 'letters, digits, "_" and "-", not starting with a digit', 'key')
    else if (id === 'constructor') chapter.report('reserved-word', path, `"${name}" cannot name a request`, 'JavaScript needs it for itself', 'key')
    seen.set(id, name)
  }
}

/** Constants, conditions or parts tell requests apart. */
function checkChoices(tasks: readonly RequestTask[], requests: readonly Request[], chapter: ChapterScope): void {
  const choices = requests.map(({ name, is, when }, index): Choice => {
    const { ast } = tasks[index] as RequestTask
    return { name, is, when, parts: parts.filter((part) => ast[part] !== undefined).join(' ') }
  })
  findIndistinct(choices, (index, earlier, shared) => {
    const { path, name, ast } = tasks[index] as RequestTask
    if (shared !== undefined) {
      chapter.report(
        'duplicate-arm',
        [...path, 'is'],
        `${constantNames(shared)} already selects "${earlier.name}"`,
        'conditions that exclude each other would tell them apart',
        'key',
      )
    } else if (ast.is === undefined) {
      chapter.report('duplicate-arm', path, `nothing tells "${name}" from "${earlier.name}"`, 'give `is`, `when`, or other parts', 'key')
    }
  })
}
