/** Messages: the frame of what a queue carries, and the requests or events in it. */
import type { Entry, MemberAst, MessageAst, PartAst, RequestAst, StatusAst, Value } from '../ast.ts'
import { didYouMean } from '../diagnostic.ts'
import type { ConstantValue, Linux, Member, Message, Part, Reference, Request, Status, Struct } from '../model.ts'
import { reservedWords } from '../names.ts'
import type { Path } from '../source.ts'
import type { Layouts } from './layouts.ts'
import type { Names, NameScope } from './names.ts'
import { type FieldInfo, fieldAt, type Shape, shapeOf, shapeOfStruct } from './shape.ts'
import { type ChapterScope, list, onlyEntry, type Workspace } from './workspace.ts'

export class Messages {
  readonly #workspace: Workspace
  readonly #names: Names
  readonly #layouts: Layouts

  constructor(workspace: Workspace, names: Names, layouts: Layouts) {
    this.#workspace = workspace
    this.#names = names
    this.#layouts = layouts
  }

  resolve(chapter: ChapterScope): Message[] {
    return Object.entries(chapter.messages).map(([name, ast]) => this.#message(chapter, name, ast))
  }

  #message(chapter: ChapterScope, name: string, ast: MessageAst): Message {
    const path: Path = ['messages', name]
    const kind = ast.events ? 'events' : 'requests'
    if (ast.events && ast.requests) chapter.report('misplaced-attribute', [...path, 'events'], 'a message has `requests` or `events`, not both', undefined, 'key')
    if (!ast.events && !ast.requests) chapter.report('missing-key', path, `"${name}" has neither requests nor events`, undefined, 'key')
    const frame = this.#frame(chapter, name, ast, path)
    const message: Message = { ...chapter.origin(ast), name, chapter: chapter.name, by: [], kind, requests: [] }
    if (frame.struct.members.length > 0) {
      message.frame = name
      this.#layouts.add(frame.struct)
    }
    const head = this.#head(chapter, ast.head, path)
    if (head) message.head = head.reference
    const by = list(ast.by)
    message.by = by.map((text) => text.split('.'))
    const deciding = by.map((text) => this.#deciding(text, [...path, 'by'], chapter, frame, head?.shape))
    const status = this.#status(ast.status, [...path, 'status'], chapter, frame.writable)
    if (status) message.status = status as Status
    const names = new Map<string, number>()
    for (const [index, entry] of (ast.requests ?? ast.events ?? []).entries()) {
      const [requestName, requestAst] = onlyEntry(entry)
      const at = [...path, kind, index, requestName]
      if (names.has(requestName)) chapter.report('duplicate-name', at, `"${requestName}" stands twice in "${name}"`, undefined, 'key')
      if (reservedWords.has(requestName) && requestName === 'constructor') chapter.report('reserved-word', at, `"${requestName}" cannot name a request`, undefined, 'key')
      names.set(requestName, index)
      message.requests.push(this.#request(chapter, message, requestName, requestAst ?? {}, at, frame, deciding, ast))
    }
    return message
  }

  #frame(chapter: ChapterScope, name: string, ast: MessageAst, path: Path): Frame {
    const attributes = { source: ast.source, section: ast.section, since: ast.since, doc: ast.doc, legacy: ast.legacy }
    const struct = this.#layouts.empty(chapter, name, path, attributes as never, 'message')
    struct.linux = linuxOfFrame(chapter, name, path, ast.linux)
    struct.twoPart = true
    const entries = { readable: partEntries(ast.readable), writable: partEntries(ast.writable) }
    const readable = shapeOf(this.#workspace, chapter, entries.readable)
    const writable = shapeOf(this.#workspace, chapter, entries.writable)
    for (const part of ['readable', 'writable'] as const) {
      const scope: NameScope = part === 'readable' ? { chapter, own: readable } : { chapter, own: writable, readable }
      struct.members.push(...this.#members(entries[part], struct, part, [...path, part], scope))
    }
    this.#layouts.finish(struct, path, chapter)
    return { struct, entries, readable, writable }
  }

  #members(entries: readonly Entry<MemberAst>[], struct: Struct, part: Part, path: Path, scope: NameScope): Member[] {
    return this.#layouts.members(entries, { chapter: scope.chapter, struct, path, scope, role: 'message', part, legacy: struct.legacy })
  }

  #head(chapter: ChapterScope, name: string | undefined, path: Path): { reference: Reference; shape: Shape } | undefined {
    if (name === undefined) return undefined
    const declaration = this.#workspace.findStruct(chapter, name)
    if (declaration) return { reference: { chapter: declaration.chapter.name, name }, shape: shapeOfStruct(this.#workspace, declaration) }
    chapter.report('unknown-struct', [...path, 'head'], `no struct is named "${name}"`, didYouMean(name, this.#workspace.structNames(chapter)))
    return undefined
  }

  #deciding(text: string, path: Path, chapter: ChapterScope, frame: Frame, head: Shape | undefined): FieldInfo | undefined {
    const steps = text.split('.')
    const found = [head, frame.readable, frame.writable].flatMap((shape) => (shape && fieldAt(shape, steps)) ?? [])[0]
    if (found === undefined) {
      const candidates = [head, frame.readable, frame.writable].flatMap((shape) => [...(shape?.keys() ?? [])])
      chapter.report('unknown-field', path, `the frame has no field "${text}"`, didYouMean(text, candidates))
    }
    return found
  }

  #status(ast: StatusAst | undefined, path: Path, chapter: ChapterScope, writable: Shape, inherited?: FieldInfo): Partial<Status> | undefined {
    if (ast === undefined) return undefined
    const status: Partial<Status> = {}
    let field = inherited
    if (ast.field !== undefined) {
      status.field = ast.field.split('.')
      field = fieldAt(writable, status.field)
      if (field === undefined && writable.size > 0) chapter.report('unknown-field', [...path, 'field'], `the writable part has no field "${ast.field}"`, didYouMean(ast.field, writable.keys()))
    }
    for (const key of ['ok', 'failed', 'unknown'] as const) {
      const value = ast[key]
      if (value === undefined) continue
      if (key === 'unknown' && value === 'none') status.unknown = 'none'
      else {
        const constant = this.#names.selector(value, [...path, key], chapter, field)
        if (constant) status[key] = constant
      }
    }
    if (ast.error !== undefined) {
      const declaration = this.#workspace.findStruct(chapter, ast.error)
      if (declaration) status.error = { chapter: declaration.chapter.name, name: ast.error }
      else chapter.report('unknown-struct', [...path, 'error'], `no struct is named "${ast.error}"`, didYouMean(ast.error, this.#workspace.structNames(chapter)))
    }
    return status
  }

  #request(
    chapter: ChapterScope,
    message: Message,
    name: string,
    ast: RequestAst,
    path: Path,
    frame: Frame,
    deciding: readonly (FieldInfo | undefined)[],
    messageAst: MessageAst,
  ): Request {
    const entries = { readable: partEntries(ast.readable), writable: partEntries(ast.writable) }
    const own = { readable: shapeOf(this.#workspace, chapter, entries.readable), writable: shapeOf(this.#workspace, chapter, entries.writable) }
    const readable = merge(own.readable, frame.readable)
    const writable = merge(own.writable, frame.writable)
    // What Linux has is the frame; the whole is a struct of the text only.
    const struct: Struct = { ...frame.struct, name: ast.struct ?? `${message.name}_${name}`, members: [], linux: { name: null } }
    const origin = chapter.origin(messageAst, ast)
    const scopes = { readable: { chapter, own: readable }, writable: { chapter, own: writable, readable } }
    const members: Record<Part, Member[]> = { readable: [], writable: [] }
    for (const part of ['readable', 'writable'] as const) {
      members[part] = this.#members(entries[part], struct, part, typeof ast[part] === 'string' ? path : [...path, part], scopes[part])
    }
    const request: Request = { ...origin, name, is: this.#is(ast, path, chapter, deciding), members: [...members.readable, ...members.writable] }
    if (ast.doc === undefined) delete request.doc
    const when = this.#names.expression(ast.when, [...path, 'when'], { chapter, own: readable })
    if (when) request.when = when
    const inherited = messageAst.status?.field === undefined ? undefined : (fieldAt(writable, messageAst.status.field.split('.')) ?? undefined)
    const status = this.#status(ast.status ?? (ast.ok === undefined ? undefined : { ok: ast.ok }), ast.status ? [...path, 'status'] : path, chapter, writable, inherited)
    if (status) request.status = status
    const spans = this.#names.expression(ast.spans, [...path, 'spans'], { chapter, own: writable, readable })
    if (spans) request.spans = spans
    const fds = this.#names.expression(ast.fds, [...path, 'fds'], { chapter, own: readable })
    if (fds) request.fds = fds
    struct.members = whole(frame.struct.members, members)
    if (ast.struct !== undefined) {
      request.struct = ast.struct
      Object.assign(struct, origin)
    }
    this.#layouts.finish(struct, path, chapter)
    if (ast.struct !== undefined) this.#layouts.add(struct)
    return request
  }

  /** Alternatives of constants, one per deciding field each. */
  #is(ast: RequestAst, path: Path, chapter: ChapterScope, deciding: readonly (FieldInfo | undefined)[]): ConstantValue[][] {
    if (ast.is === undefined) return []
    const alternatives: Value[][] =
      deciding.length < 2 ? list(ast.is as Value | Value[]).map((value) => [value]) : Array.isArray((ast.is as Value[])[0]) ? (ast.is as unknown as Value[][]) : [ast.is as Value[]]
    return alternatives.flatMap((values) => {
      if (values.length !== Math.max(1, deciding.length)) {
        chapter.report('wrong-type', [...path, 'is'], `\`by\` names ${deciding.length} fields, this has ${values.length} constants`)
        return []
      }
      const constants = values.map((value, index) => this.#names.selector(value, [...path, 'is'], chapter, deciding[index]))
      return constants.every((constant) => constant !== undefined) ? [constants as ConstantValue[]] : []
    })
  }
}

interface Frame {
  struct: Struct
  entries: Record<Part, Entry<MemberAst>[]>
  readable: Shape
  writable: Shape
}

/** A frame is a struct of the headers only where the description says so; one for each part, as a rule. */
function linuxOfFrame(chapter: ChapterScope, name: string, path: Path, linux: MessageAst['linux']): Linux {
  if (linux === undefined) return { name: null }
  return typeof linux === 'object' && ('readable' in linux || 'writable' in linux) ? { name: null, parts: linux } : chapter.linux(name, path, { linux })
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
  return (['readable', 'writable'] as const).flatMap((part) => {
    const members = frame.filter((member) => member.part === part)
    const body = members.findIndex((member) => member.type.kind === 'body')
    const copies = members.map((member) => ({ ...member }))
    if (body < 0) return [...copies, ...own[part]]
    return [...copies.slice(0, body), ...own[part], ...copies.slice(body + 1)]
  })
}
