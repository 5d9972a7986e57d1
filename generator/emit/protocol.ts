/**
 * The requests of a protocol as tables: what a program needs to know of a message before it looks at it, and the classes for what it says.
 * One object per list of messages, one property per request.
 */
import { requestStruct } from '../codec/session.ts'
import type { Chapter, ConstantValue, Expression, Model, Part, Request, Struct, Tree } from '../model.ts'
import { identifier } from '../names.ts'
import { docs, exportConst, exportType, printFile, propertyName, quote, type Statement } from './code.ts'
import type { EmittedFile } from './index.ts'
import { sizeBounds } from './message-size.ts'
import { type MessageShape, messageShape, type PartClass, type RequestShape } from './parts.ts'
import { condition, type ExpressionScope, numeric } from './wire/expression.ts'
import { Imports } from './wire/imports.ts'
import { header } from './wire/index.ts'
import { Needs, usesReadable } from './wire/needs.ts'

export function emitProtocols(model: Model, chapters: readonly Chapter[]): EmittedFile[] {
  const needs = new Needs(model)
  return chapters.flatMap((chapter) => {
    if (chapter.kind !== 'protocol' || chapter.messages.length === 0) return []
    const path = `protocol/${chapter.name}.ts`
    return [{ path, text: printFile(path, header(model, chapter), new ProtocolEmitter(model, chapter, needs).statements()) }]
  })
}

class ProtocolEmitter {
  readonly #model: Model
  readonly #chapter: Chapter
  readonly #needs: Needs
  readonly #imports: Imports
  /** Names that the program gives, of all requests together. */
  readonly #caller: ReadonlySet<string>

  constructor(model: Model, chapter: Chapter, needs: Needs) {
    this.#model = model
    this.#chapter = chapter
    this.#needs = needs
    this.#imports = new Imports(model, chapter.name, 'protocol')
    this.#caller = new Set(
      chapter.messages.flatMap((message) =>
        message.requests.flatMap((request) => {
          const whole = requestStruct(model, message, request)
          return [...needs.context(whole, 'readable').caller, ...needs.context(whole, 'writable').caller]
        }),
      ),
    )
  }

  statements(): Statement[] {
    const body = [this.#contextType(), ...this.#chapter.messages.map((message) => this.#table(messageShape(this.#model, this.#needs, message)))]
    return [...this.#imports.statements(), ...body]
  }

  #contextType(): string {
    this.#imports.runtimeType('FeatureSet')
    this.#imports.runtimeType('ProtocolRequest')
    const names = [...this.#caller].map((name) => `readonly ${identifier(name)}: number`).join('; ')
    return exportType(
      'Context',
      `{ readonly features: FeatureSet${names === '' ? '' : `; readonly caller: { ${names} }`} }`,
      docs('What reading and writing a message depends on besides its bytes.'),
    )
  }

  #table(shape: MessageShape): string {
    const entries = shape.requests.filter(({ request }) => hasNumber(request)).map((request) => this.#entry(request))
    const name = identifier(shape.message.name)
    return exportConst(name, `{\n${entries.join('\n')}\n} as const satisfies Record<string, ProtocolRequest>`, docs(shape.message.doc))
  }

  #entry(shape: RequestShape): string {
    const { message, request, readable, writable } = shape
    const whole = requestStruct(this.#model, message, request)
    const [id] = request.is[0] as [ConstantValue]
    const lines = [
      `id: ${this.#constant(id.name, id.value)},`,
      `name: ${quote(identifier(request.name))},`,
      `constant: ${quote(id.name)},`,
      ...this.#presence(request.when),
      `size: ${sizeCode(whole, 'readable', this.#needs)},`,
      `replySize: ${sizeCode(whole, 'writable', this.#needs)},`,
      ...(readable.payload || writable.payload ? ['open: true,'] : []),
      this.#function('answers', ['context: Context'], answersCode(whole, this.#scope(whole, 'writable', 'reply'))),
      this.#function(
        'fds',
        [`request: ${this.#type(readable.class)}`, 'context: Context'],
        this.#count(request.fds, this.#scope(whole, 'readable', 'request')),
      ),
      this.#function(
        'replyFds',
        [`reply: ${this.#type(writable.class)}`, 'context: Context'],
        this.#count(request.replyFds, this.#scope(whole, 'writable', 'reply')),
      ),
      ...this.#accessors(shape),
    ]
    const comment = [request.doc].filter(Boolean).map((text) => `  /** ${(text as string).replaceAll('*/', '*\\/')} */\n`)
    return `${comment.join('')}  ${propertyName(identifier(request.name))}: {\n${lines.map((line) => `    ${line}`).join('\n')}\n  },`
  }

  #accessors({ readable, writable, message }: RequestShape): string[] {
    const header = readable.class
    const reply = writable.class
    const value = (part: PartClass | undefined): string =>
      part === undefined ? 'object' : `Partial<${this.#imports.part(message.chapter, `${part.name}Value`, true)}>`
    const type = this.#type(header)
    return [
      this.#function('request', ['context: Context'], this.#construct(header), type),
      this.#function('reply', ['context: Context', `request: ${type}`], this.#construct(reply), this.#type(reply)),
      this.#function('encode', [`value: ${value(header)}`, 'context: Context'], this.#encode(header), 'Uint8Array'),
      this.#function('encodeReply', [`value: ${value(reply)}`, 'context: Context', `request: ${type}`], this.#encode(reply), 'Uint8Array'),
    ]
  }

  #construct(part: PartClass | undefined): string {
    if (part === undefined) return this.#nothing()
    const name = this.#class(part)
    const args = [this.#hasLayout(part) && `${name}.layout(context)`, this.#usesRequest(part) && '{ readable: request }'].filter(Boolean)
    return `new ${name}(${args.join(', ')})`
  }

  #encode(part: PartClass | undefined): string {
    if (part === undefined) return this.#nothing()
    const parts = [this.#hasLayout(part) && '...context', this.#usesRequest(part) && 'given: { readable: request }'].filter(Boolean)
    const context = parts.length === 0 ? '' : parts.length === 1 && this.#hasLayout(part) ? ', context' : `, { ${parts.join(', ')} }`
    return `${this.#class(part)}.encode(value${context})`
  }

  /** A request that is never answered. */
  #nothing(): string {
    return `${this.#imports.runtime('noMembers')}()`
  }

  #hasLayout(part: PartClass): boolean {
    return this.#needs.hasContext(part.struct, part.part)
  }

  #usesRequest(part: PartClass): boolean {
    return part.part === 'writable' && usesReadable(part.struct)
  }

  #class(part: PartClass): string {
    return this.#imports.part(part.struct.chapter, part.name)
  }

  #type(part: PartClass | undefined): string {
    return part === undefined ? this.#imports.runtimeType('Struct') : this.#class(part)
  }

  /** A method that names only the parameters up to the last one that it uses. */
  #function(name: string, parameters: readonly string[], result: string, type?: string): string {
    const words = new Set(result.match(/\w+/g))
    const nameOf = (parameter: string): string => parameter.slice(0, parameter.indexOf(':'))
    const last = parameters.findLastIndex((parameter) => words.has(nameOf(parameter)))
    const shown = parameters.slice(0, last + 1).map((parameter) => (words.has(nameOf(parameter)) ? parameter : `_${parameter}`))
    return `${name}: (${shown.join(', ')})${type === undefined ? '' : `: ${type}`} => ${result},`
  }

  #count(expression: Expression | undefined, scope: ExpressionScope): string {
    return expression === undefined ? '0' : numeric(expression, scope)
  }

  #scope(struct: Struct, part: Part, own: string): ExpressionScope {
    const members = struct.members.filter((member) => member.part === part)
    return { needs: this.#needs, imports: this.#imports, struct, members, context: 'context', own, given: 'given' }
  }

  #constant(name: string, value: number | bigint): string {
    return this.#imports.constant({ op: 'constant', chapter: this.#chapter.name, group: '', name, value }) ?? String(value)
  }

  /** The bits without which a request does not exist, as far as its condition is a bit. */
  #presence(when: Expression | undefined): string[] {
    if (when === undefined) return []
    const { tree } = when
    if (tree.op === 'feature') return [`feature: ${this.#imports.feature(tree)},`]
    const bit = protocolFeatureOf(tree)
    return bit === undefined ? [] : [`protocolFeature: ${this.#constant(bit.name, bit.value)},`]
  }
}

/** Requests that are told apart by one number of their own. */
function hasNumber({ is }: Request): boolean {
  return is.length === 1 && is[0]?.length === 1
}

function sizeCode(struct: Struct, part: Part, needs: Needs): string {
  const { least, most } = sizeBounds(
    needs,
    struct.members.filter((member) => member.part === part),
  )
  return `{ least: ${least}, most: ${Number.isFinite(most) ? most : 'Number.POSITIVE_INFINITY'} }`
}

/** The constant N of `protocol_features has 1 << N`. */
function protocolFeatureOf(tree: Tree): Extract<Tree, { op: 'constant' }> | undefined {
  if (tree.op !== 'binary' || tree.operator !== 'has' || tree.left.op !== 'caller') return undefined
  const { right } = tree
  return right.op === 'binary' && right.operator === '<<' && right.right.op === 'constant' ? right.right : undefined
}

/** Says whether any of the reply is there where the request does not ask for one. */
function answersCode(struct: Struct, scope: ExpressionScope): string {
  const conditions = struct.members.flatMap(({ part, when }) => (part === 'writable' ? [when] : []))
  if (conditions.some((when) => when === undefined)) return 'true'
  const trees = conditions.map((when) => unasked((when as Expression).tree)).filter((tree) => tree.op !== 'number')
  return [...new Set(trees.map((tree) => condition({ text: '', tree }, scope)))].join(' || ') || 'false'
}

/** The condition of a reply where all fields of the request that ask for one are 0. */
function unasked(tree: Tree): Tree {
  const no: Tree = { op: 'number', value: 0 }
  if (tree.op === 'field' && tree.from === 'readable') return no
  if (tree.op !== 'binary' || (tree.operator !== 'and' && tree.operator !== 'or')) return tree
  const left = unasked(tree.left)
  const right = unasked(tree.right)
  const isNo = (side: Tree): boolean => side.op === 'number' && side.value === 0
  if (tree.operator === 'and') return isNo(left) || isNo(right) ? no : { ...tree, left, right }
  if (isNo(left)) return right
  return isNo(right) ? left : { ...tree, left, right }
}
