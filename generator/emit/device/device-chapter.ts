/** What the modules of one device chapter have in common: its messages with their parts, the names, and the scope of expressions. */
import type { Chapter, Member, Message, Model, Queue, Struct } from '../../model.ts'
import { className, identifier } from '../../names.ts'
import { commentLines, docs } from '../code.ts'
import { type MessageShape, messageShape } from '../parts.ts'
import type { ExpressionScope } from '../wire/expression.ts'
import type { Imports } from '../wire/imports.ts'
import type { Needs } from '../wire/needs.ts'
import { type NamedRequest, nameRequests, requestType } from './names.ts'

export class DeviceChapter {
  readonly model: Model
  readonly needs: Needs
  readonly chapter: Chapter
  readonly messages: readonly MessageShape[]
  readonly requests: readonly NamedRequest[]
  /** The struct of the configuration space. */
  readonly config: Struct | undefined
  /** Beginning of the names of its types: `Blk`. */
  readonly prefix: string

  constructor(model: Model, needs: Needs, chapter: Chapter) {
    this.model = model
    this.needs = needs
    this.chapter = chapter
    this.messages = chapter.messages.map((message) => messageShape(model, needs, message))
    this.requests = nameRequests(chapter, this.messages)
    this.config = chapter.structs.find(({ name }) => name === chapter.config)
    this.prefix = className(chapter.name)
  }

  /** Bytes of the configuration space; of one that varies those that are always there. */
  get configLength(): number {
    if (this.config === undefined) return 0
    return this.config.size ?? Math.max(0, ...this.config.members.map(({ offset, size }) => (offset ?? 0) + (size ?? 0)))
  }

  ofKind(kind: Message['kind']): NamedRequest[] {
    return this.requests.filter(({ message }) => message.kind === kind)
  }

  of(message: Message): NamedRequest[] {
    return this.requests.filter((request) => request.message === message)
  }

  /** Type of a request or event: `BlkReadRequest`. */
  typeName({ typeName, message: { kind } }: NamedRequest): string {
    return requestType(this.prefix, typeName, kind)
  }

  /** Name of the table: `requests.read`. */
  table({ message, key }: NamedRequest): string {
    return `${message.kind}.${key}`
  }

  /** The queues that carry a message. */
  queuesOf(message: Message): Queue[] {
    return this.chapter.queues.filter(({ carries }) => carries?.chapter === message.chapter && carries.name === message.name)
  }

  /** True when there may be several queues at once that carry the message. */
  hasSeveralQueues(message: Message): boolean {
    const queues = this.queuesOf(message)
    return queues.length > 1 || queues.some(({ each }) => each !== undefined)
  }

  /** Scope of expressions that ask for what is negotiated, and for members of `own`. */
  scope(imports: Imports, struct: Struct | undefined, members: readonly Member[], own = ''): ExpressionScope {
    const empty = { name: '', chapter: this.chapter.name, given: [], members: [] } as unknown as Struct
    const scope: ExpressionScope = { needs: this.needs, imports, struct: struct ?? empty, members, context: 'context', own }
    return this.config ? { ...scope, config: this.config.members } : scope
  }

  /** What the program says, as members of a type. */
  callerNames(): string[] {
    return this.chapter.lets
      .filter(({ value }) => value === undefined)
      .map(({ name, default: byDefault }) => `readonly ${identifier(name)}${byDefault === undefined ? '' : '?'}: number`)
  }

  /** The option `caller`, documented; nothing where the program has nothing to say. */
  callerMember(): string[] {
    const names = this.callerNames()
    if (names.length === 0) return []
    const notes = this.chapter.lets.filter(({ value }) => value === undefined).map(({ name, doc }) => doc && `\`${identifier(name)}\`: ${doc}`)
    return [...commentLines(docs('Values that only the program knows.', ...notes)), `readonly caller?: { ${names.join('; ')} }`]
  }

  /** Name of the table of a message. */
  messageName({ name }: Pick<Message, 'name'>): string {
    return identifier(name)
  }
}
