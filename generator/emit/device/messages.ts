/** The tables of a device chapter: its requests and events, its queues, and what is known of the configuration space. */
import { familyOf } from '../../codec/choice.ts'
import { nodes } from '../../evaluate.ts'
import type { ConstantValue, Member, Message, Part, Status, Tree } from '../../model.ts'
import { className, identifier } from '../../names.ts'
import { isBigint } from '../../values.ts'
import { commentLines, docs, numberCode, propertyName, quote } from '../code.ts'
import type { PartClass, PartShape } from '../parts.ts'
import { citation, exportedConstants } from '../wire/constants.ts'
import { condition, fieldCode, numeric, parenthesise } from '../wire/expression.ts'
import type { Imports } from '../wire/imports.ts'
import { dependence, type Needs, usesReadable } from '../wire/needs.ts'
import { checkLines } from './check.ts'
import { configFieldEntries } from './config-fields.ts'
import type { DeviceChapter } from './device-chapter.ts'
import { decidingCode, decidingPart, decidingPaths, endOf, findField, flagBits, hex, membersOf } from './fields.ts'
import type { NamedRequest } from './names.ts'
import { queuesFunction } from './queues.ts'
import { array, arrow, closure, indent, lowerFirst, object } from './text.ts'

type Entries = [string, string | undefined][]

export class MessagesEmitter {
  readonly #device: DeviceChapter
  readonly #imports: Imports
  /** Constants of the module by what they say. Layouts that are the same are one constant, as the runtime keeps an accessor for each. */
  readonly #shares = new Map<string, string>()
  readonly #constants: string[] = []
  /** For devices alone: nothing that only drivers ask for. */
  readonly #bare: boolean
  #usesContext = false

  constructor(device: DeviceChapter, imports: Imports, bare = false) {
    this.#device = device
    this.#imports = imports
    this.#bare = bare
  }

  /** What a table says of requests to drivers; events are made by the device itself. */
  #forDrivers<T>(kind: Message['kind'], text: () => T): T | undefined {
    return this.#bare && kind === 'requests' ? undefined : text()
  }

  /** Names that the module declares. */
  get declared(): string[] {
    const { messages } = this.#device
    const tables = ['requests', 'events', 'configFields', 'queues', 'device', 'Context']
    return [...tables, ...messages.map(({ message }) => identifier(message.name)), ...this.#shares.values()]
  }

  statements(): string[] {
    const { chapter, model } = this.#device
    const requests = this.#table('requests')
    const events = this.#table('events')
    const messages = this.#device.messages.map(({ message }) => this.#message(message))
    const queues = [
      ...commentLines(
        docs('The queues that there are with these features and this configuration, in the order of the description.', citation(model, chapter)),
      ),
      ...queuesFunction(this.#device, this.#imports),
    ]
    const tail = [...(this.#bare ? [] : [this.#configFields()]), queues.join('\n'), this.#deviceInfo()]
    return [...this.#context(), ...this.#constants, ...requests, ...events, ...messages, ...tail].map((text) => `\n${text}`)
  }

  #contextType(): string {
    this.#usesContext = true
    return 'Context'
  }

  /** What conditions and layouts ask for; the runtime's context has the same, less exactly typed. */
  #context(): string[] {
    if (!this.#usesContext) return []
    const { chapter, config } = this.#device
    this.#imports.deviceType('RequestContext')
    const caller = this.#device.callerNames()
    const lines = [
      ...(config ? [`readonly config: ${this.#imports.class({ chapter: chapter.name, name: config.name }, '', true)}`] : []),
      ...(caller.length > 0 ? [`readonly caller: { ${caller.join('; ')} }`] : []),
    ]
    const comment = commentLines(docs(`What layouts and conditions of ${chapter.title} depend on.`))
    if (lines.length === 0) return [[...comment, 'type Context = RequestContext'].join('\n')]
    return [[...comment, 'interface Context extends RequestContext {', ...indent(lines), '}'].join('\n')]
  }

  #table(kind: Message['kind']): string[] {
    const all = this.#device.ofKind(kind)
    if (all.length === 0) return []
    this.#imports.deviceType('RequestInfo')
    const keys = all.map(({ key }) => quote(key))
    const type = `Readonly<Record<${keys.join(' | ')}, RequestInfo>>`
    const shown = type.length <= 100 ? type : `Readonly<\n  Record<\n${keys.map((key) => `    | ${key}`).join('\n')},\n    RequestInfo\n  >\n>`
    const entries = all.map((request) => {
      const comment = commentLines(docs(request.request.doc, citation(this.#device.model, request.request)))
      return [...comment, `${propertyName(request.key)}: ${this.#request(request)},`].join('\n')
    })
    const note = kind === 'requests' ? 'The requests of the driver, by the names of their methods.' : 'The events of the device, by name.'
    return [
      [...commentLines(docs(note)), `export const ${kind}: ${shown} = {`, ...indent(entries.flatMap((entry) => entry.split('\n'))), '}'].join('\n'),
    ]
  }

  #request(named: NamedRequest): string {
    const { message, request, readable, writable } = named
    const paths = decidingPaths(this.#device.needs, named)
    const entries: Entries = [
      ['name', quote(request.name)],
      ['id', String(named.id)],
      ['method', quote(named.method)],
      ['is', array(request.is.map((alternative) => array(alternative.map((constant) => this.#constant(constant)))))],
      ['values', this.#forDrivers(message.kind, () => this.#values(paths, request.is[0] ?? []))],
      ['when', this.#when(named)],
      ['mark', message.kind === 'requests' ? this.#forDrivers(message.kind, () => this.#mark(named)) : undefined],
      ['header', this.#layout(readable)],
      ['reply', this.#layout(writable)],
      ['readable', this.#payload(readable)],
      ['writable', this.#payload(writable)],
      ['spans', this.#spans(named)],
      ['refusal', request.status?.error && this.#layout(writable)],
      ['replyOptional', request.replyOptional && 'true'],
      ['onlyFailures', request.onlyFailures && 'true'],
      ['restIgnored', request.restIgnored && 'true'],
      ['check', message.kind === 'requests' ? this.#check(readable.class) : undefined],
      ['status', this.#ownStatus(named)],
      ['setLength', this.#setLength(request.length, writable.class)],
      ['echo', this.#echo(message, request.echo, writable.class)],
    ]
    return object(entries, true)
  }

  #constant({ name, value }: ConstantValue): string {
    const { chapter } = this.#device
    if (typeof value === 'number' && exportedConstants(chapter).get(name)?.value === value)
      return this.#imports.constant({ op: 'constant', chapter: chapter.name, group: '', name, value }) ?? numberCode(value)
    return numberCode(Number(value))
  }

  /** The deciding members, nested as `$set` takes them. */
  #values(paths: readonly string[][], constants: readonly ConstantValue[]): string {
    interface Node {
      [name: string]: Node | string
    }
    const root: Node = {}
    constants.forEach((constant, level) => {
      const path = (paths[level] ?? []).map(identifier)
      let node = root
      for (const step of path.slice(0, -1)) {
        node[step] ??= {}
        node = node[step] as Node
      }
      const last = path.at(-1)
      if (last !== undefined) node[last] = this.#constant(constant)
    })
    const print = (node: Node): string =>
      object(Object.entries(node).map(([name, value]) => [name, typeof value === 'string' ? value : print(value)] as const))
    return print(root)
  }

  /** Writes the deciding values of a header or event where flags stand beside them, which stay; all requests of the message must have them in the same place. */
  #select(message: Message): string | undefined {
    const { model, needs } = this.#device
    const part = decidingPart(message)
    const all = this.#device.of(message).filter((named) => named[part].class !== undefined)
    const class_ = this.#device.messages.find((each) => each.message === message)?.frame[part].class ?? all[0]?.[part].class
    const paths = all[0] && decidingPaths(needs, all[0])
    if (class_ === undefined || paths === undefined) return undefined
    if (all.some((named) => JSON.stringify(decidingPaths(needs, named)) !== JSON.stringify(paths))) return undefined
    const members = membersOf(class_)
    const fields = paths.map((path) => ({ path, bits: flagBits(model, needs, members, path) }))
    if (fields.every(({ bits }) => bits === undefined)) return undefined
    const names = paths.map((_, level) => (paths.length === 1 ? 'value' : `value${level}`))
    const lines = fields.map(({ path, bits }, level) => {
      const code = fieldCode(needs, members, 'header', path)
      return bits === undefined ? `${code} = ${names[level]}` : `${code} = ((${code} & ${hex(bits.flags)}) | ${names[level]}) >>> 0`
    })
    return arrow(`header: ${this.#type(class_)}, [${names.map((name) => `${name} = 0`).join(', ')}]: readonly number[]`, lines)
  }

  /** Name of a class, to make one. */
  #class({ name }: PartClass): string {
    return this.#imports.part(this.#device.chapter.name, name)
  }

  /** Name of a class as a type. */
  #type({ name }: { name: string }): string {
    return this.#imports.part(this.#device.chapter.name, name, true)
  }

  /** A condition may ask for members of the frame; without one it does not hold. */
  #when({ message, request }: NamedRequest): string | undefined {
    if (request.when === undefined) return undefined
    const part = decidingPart(message)
    const frame = this.#device.messages.find((shape) => shape.message === message)?.frame[part].class
    const scope = this.#device.scope(this.#imports, frame?.struct, membersOf(frame), 'frame')
    const code = condition(request.when, scope)
    const context = /\bcontext\./.test(code) ? 'context' : '_context'
    if (!/\bframe\./.test(code) || frame === undefined) return closure([`${context}: ${this.#contextType()}`], code)
    return closure([`${context}: ${this.#contextType()}`, `frame?: ${this.#type(frame)}`], `frame !== undefined && ${parenthesise(code)}`)
  }

  /** Makes `flags has X`, or `not flags has X`, true of a header. */
  #mark({ request, readable }: NamedRequest): string | undefined {
    const { class: class_ } = readable
    if (request.when === undefined || class_ === undefined) return undefined
    const { needs } = this.#device
    const members = needs.members(class_.struct, class_.part)
    const scope = this.#device.scope(this.#imports, class_.struct, members, 'header')
    const lines = askedBits(request.when.tree, true).map(({ path, mask, isSet }) => {
      const place = fieldCode(needs, members, 'header', path)
      const bits = parenthesise(numeric({ text: '', tree: mask }, scope))
      return `${place} = (${place} ${isSet ? `| ${bits}` : `& ~${bits}`}) >>> 0`
    })
    return lines.length === 0 ? undefined : arrow(`header: ${this.#type(class_)}`, lines)
  }

  #layout({ class: class_, suffix, framed }: PartShape): string | undefined {
    if (class_ === undefined) return undefined
    const { needs } = this.#device
    const { part, struct } = class_
    const name = this.#class(class_)
    const looks = part === 'writable' && usesReadable(struct)
    const isVariable = needs.isVariable(struct, part)
    const context = needs.hasContext(struct, part)
    const layout = (length: string): string => `${name}.layout(${this.#layoutContext(class_, framed?.member, length)})`
    const given = class_.readable === undefined ? 'undefined' : '{ readable: header }'
    const parameters = [
      ...(context || looks ? [`${context ? 'context' : '_context'}: ${this.#contextType()}`] : []),
      ...(framed || looks ? [framed ? 'framed: number' : '_framed: number'] : []),
      ...(looks && class_.readable ? [`header: ${this.#type({ name: class_.readable })}`] : []),
    ]
    const made = `new ${name}(${[...(context ? [layout('framed')] : []), ...(looks ? [given] : [])].join(', ')})`
    const text = object([
      ['create', closure(parameters, made)],
      ['suffix', String(suffix)],
      ['outdated', looks || framed ? undefined : this.#outdated(class_)],
      ['usesHeader', looks ? 'true' : undefined],
      ['framedAt', framed && String(framed.offset)],
      ['fill', part === 'writable' ? this.#fill(class_) : undefined],
      ['sizeOf', (isVariable || framed) && !looks && !this.#isBare(class_) ? this.#sizeOf(class_, framed?.member, layout) : undefined],
    ])
    return this.#shared(text, lowerFirst(name), 'LayoutInfo')
  }

  /** Only events are made of plain values. */
  #isBare({ name }: PartClass): boolean {
    return (
      this.#bare && !this.#device.messages.some(({ message, classes }) => message.kind === 'events' && classes.some((class_) => class_.name === name))
    )
  }

  /** Writes the members that always have the same value. */
  #fill(class_: PartClass): string | undefined {
    const lines = constantLines(this.#device.needs, membersOf(class_), 'reply')
    return lines.length === 0 ? undefined : arrow(`reply: ${this.#type(class_)}`, lines)
  }

  /** The runtime's context with the length of the framed member, and the fields of the configuration space as the struct's layout wants them. */
  #layoutContext({ struct, part }: PartClass, framed: Member | undefined, length: string): string {
    const own = framed && `${identifier(framed.name)}_length`
    // What the program must say is checked when the device or client is made, not here.
    const entries = [...this.#device.needs.context(struct, part).caller].map((name) =>
      name === own ? `${name}: ${length}` : `${identifier(name)}: context.caller[${quote(identifier(name))}] as number`,
    )
    return entries.length === 0 ? 'context' : `{ ...context, caller: { ${entries.join(', ')} } }`
  }

  /** Says whether a layout was computed with another configuration. */
  #outdated({ name, part, struct }: PartClass): string | undefined {
    const paths = [...this.#device.needs.context(struct, part).config].map((path) => path.split('.').map(identifier).join('.'))
    if (paths.length === 0) return undefined
    const code = paths.map((path) => `$context.config.${path} !== context.config.${path}`).join(' || ')
    return closure([`{ $layout: { $context } }: ${this.#type({ name })}`, `context: ${this.#contextType()}`], code)
  }

  #sizeOf(class_: PartClass, framed: Member | undefined, layout: (length: string) => string): string {
    const { needs } = this.#device
    const isVariable = needs.isVariable(class_.struct, class_.part)
    const context = needs.hasContext(class_.struct, class_.part)
    const value = `value: Partial<${this.#type({ name: `${class_.name}Value` })}>`
    const length = framed ? `value.${identifier(framed.name)}?.length ?? 0` : ''
    const size = isVariable ? `${this.#class(class_)}.sizeOf(value${context ? `, ${layout(length)}` : ''})` : `${layout(length)}.$size`
    return closure([value, ...(context ? [`context: ${this.#contextType()}`] : [])], size)
  }

  /** One constant of the module for all uses of the same text. */
  #shared(text: string, name: string, type?: string): string {
    const known = this.#shares.get(text)
    if (known !== undefined) return known
    const taken = new Set([...this.#shares.values(), ...this.#device.messages.map(({ message }) => identifier(message.name))])
    let free = name
    for (let number = 2; taken.has(free); number++) free = `${name}${number}`
    this.#shares.set(text, free)
    const annotation = type === undefined ? '' : `: ${this.#imports.deviceType(type)}`
    this.#constants.push(`const ${free}${annotation} = ${text}`)
    return free
  }

  #payload({ payload, class: class_ }: PartShape): string | undefined {
    if (payload === undefined) return undefined
    const { multiple, count, dims } = payload
    const scope = this.#device.scope(this.#imports, undefined, [])
    const inner = dims.slice(1).reduce((product, dim) => product * (dim.count ?? 1), 1)
    const made = (code: string): string => closure(/\bcontext\./.test(code) ? [`context: ${this.#contextType()}`] : [], code)
    const isContext = (list: readonly Parameters<typeof numeric>[0][]): boolean => dependence(list) !== 'content'
    const bytes = (code: string): string => (inner === 1 ? code : `${parenthesise(code)} * ${inner}`)
    const factor = multiple && isContext([multiple]) ? numeric(multiple, scope) : inner > 1 ? String(inner) : undefined
    const bounds = count && isContext(count) ? `[${count.map((each) => bytes(numeric(each, scope))).join(', ')}]` : undefined
    return object([
      ['name', quote(identifier(payload.name) || 'body')],
      ['multiple', factor && made(factor)],
      ['count', bounds && made(bounds)],
      ['claim', this.#claim(payload, class_)],
    ])
  }

  /** `count: len .. X`: the member that says how many bytes of a payload count. */
  #claim({ count }: Member, class_: PartClass | undefined): string | undefined {
    const least = count?.[0].tree
    if (least?.op !== 'field' || least.from !== 'own' || class_ === undefined) return undefined
    const place = fieldCode(this.#device.needs, membersOf(class_), 'members', least.path)
    const members = `members: ${this.#type(class_)}`
    return object([
      ['get', closure([members], place)],
      ['set', arrow(`${members}, length: number`, [`${place} = length`])],
    ])
  }

  /** How many buffers an event takes, and the member that says so. */
  #spans({ request: { spans }, writable: { class: class_ } }: NamedRequest): string | undefined {
    const field = spans && [...nodes(spans.tree)].find((node) => node.op === 'field')
    if (spans === undefined || field?.op !== 'field' || class_ === undefined) return undefined
    const members = membersOf(class_)
    const code = numeric(spans, this.#device.scope(this.#imports, class_.struct, members, 'reply'))
    const place = ['reply', ...field.path.map(identifier)].join('.')
    const reply = `reply: ${this.#type(class_)}`
    return object([
      ['count', closure([reply, ...(/\bcontext\./.test(code) ? [`context: ${this.#contextType()}`] : [])], code)],
      ['set', arrow(`${reply}, count: number`, [`if (${place} !== undefined) ${place} = count`])],
    ])
  }

  #check(class_: PartClass | undefined): string | undefined {
    if (class_ === undefined) return undefined
    const { struct, part } = class_
    const scope = this.#device.scope(this.#imports, struct, this.#device.needs.members(struct, part), 'header')
    const lines = checkLines({ ...scope, model: this.#device.model }, part)
    if (lines.length === 0) return undefined
    const context = lines.some((line) => /\bcontext\./.test(line)) ? `, context: ${this.#contextType()}` : ''
    const [only] = lines
    const expression = lines.length === 1 && only ? /^if \((.*)\) return false$/.exec(only)?.[1] : undefined
    const parameters = `header: ${this.#type(class_)}${context}`
    if (expression !== undefined && !/ (\|\||&&) /.test(expression)) return `(${parameters}) => ${opposite(expression)}`
    return arrow(parameters, [...lines, 'return true'])
  }

  #ownStatus(named: NamedRequest): string | undefined {
    const { message, request, writable } = named
    if (request.status === undefined || writable.class === undefined) return undefined
    const status = { ...message.status, ...request.status }
    return status.field === undefined || status.ok === undefined
      ? undefined
      : this.#status(status as Status, [writable.class], `${lowerFirst(named.typeName)}Status`)
  }

  #messageStatus(message: Message): string | undefined {
    const shape = this.#device.messages.find((each) => each.message === message)
    const own = shape?.requests.flatMap(({ writable }) => writable.class ?? []) ?? []
    const classes = shape?.frame.writable.class ? [shape.frame.writable.class] : own
    return message.status && this.#status(message.status, classes, `${lowerFirst(className(message.name))}Status`)
  }

  /** All classes that are given have the field. */
  #status(status: Status, classes: readonly PartClass[], name: string): string | undefined {
    const { needs, model } = this.#device
    const [class_] = classes
    const members = membersOf(class_)
    const found = findField(needs, members, status.field)
    if (class_ === undefined || found === undefined) return undefined
    const [ok, ...alsoOk] = status.ok as [ConstantValue, ...ConstantValue[]]
    const reply = `reply: ${this.#type(class_)}`
    const code = fieldCode(needs, members, 'reply', status.field)
    const group = (found.field ?? found.member).enum
    const known = group ? familyOf(model, group).flatMap(({ constants }) => constants) : []
    const all: { name: string; value: number | bigint }[] = known.length > 0 ? known : valuesOf(status)
    const names = new Map(all.filter(({ value }) => typeof value === 'number').map((constant) => [constant.value as number, constant.name]))
    const [end, ...otherEnds] = new Set(classes.map((each) => endOf(needs, membersOf(each), status.field)))
    const text = object(
      [
        ['ok', this.#constant(ok)],
        ['alsoOk', alsoOk.length > 0 ? array(alsoOk.map((value) => this.#constant(value))) : undefined],
        ['failed', status.failed && this.#constant(status.failed)],
        ['malformed', status.malformed && this.#constant(status.malformed)],
        ['unknown', status.unknown === undefined ? undefined : status.unknown === 'none' ? quote('none') : this.#constant(status.unknown)],
        ['shrinks', status.error && 'true'],
        ['end', end === undefined || otherEnds.length > 0 ? undefined : String(end)],
        ['get', this.#bare ? undefined : `(${reply}) => ${code}`],
        ['set', arrow(`${reply}, value: number`, [`${code.replace(/^\((.*) \?\? 0\)$/, '$1')} = value`])],
        ['names', this.#bare ? undefined : this.#names(group?.name ?? name, names)],
      ],
      true,
    )
    return this.#shared(text, name, 'StatusInfo')
  }

  /** Writes how many bytes are written. */
  #setLength(path: readonly string[] | undefined, class_: PartClass | undefined): string | undefined {
    if (path === undefined || class_ === undefined) return undefined
    const place = fieldCode(this.#device.needs, membersOf(class_), 'reply', path)
    return arrow(`reply: ${this.#type(class_)}, length: number`, [`${place} = length`])
  }

  /** Copies what the reply repeats of the request. */
  #echo(message: Message, echo: Message['echo'], reply: PartClass | undefined): string | undefined {
    const readable = this.#device.messages.find((each) => each.message === message)?.frame.readable.class
    const source = message.head ?? readable
    if (echo === undefined || reply === undefined || source === undefined) return undefined
    const { needs } = this.#device
    const members = message.head ? needs.struct(message.head).members : membersOf(readable)
    const place = (of: readonly Member[], name: string, path: readonly string[]): string =>
      fieldCode(needs, of, name, path).replace(/^Number\((.*)\)$/, '$1')
    const lines = echo.map(({ to, from }) => `${place(membersOf(reply), 'reply', to)} = ${place(members, 'frame', from)}`)
    const type = message.head ? this.#imports.class(message.head, '', true) : this.#type(source)
    return arrow(`reply: ${this.#type(reply)}, frame: ${type}`, lines)
  }

  #names(group: string, names: ReadonlyMap<number, string>): string {
    const sorted = [...names].sort(([a], [b]) => a - b)
    return this.#shared(object(sorted.map(([value, label]) => [numberCode(value), quote(label)] as const)), `${lowerFirst(className(group))}Names`)
  }

  #message(message: Message): string {
    const shape = this.#device.messages.find((each) => each.message === message)
    const part = decidingPart(message)
    this.#imports.deviceType('MessageInfo')
    const requests = this.#device.of(message)
    const entries: Entries = [
      ['name', quote(message.name)],
      ['kind', quote(message.kind)],
      ['frame', this.#frame(message, part)],
      ['reply', message.kind === 'requests' ? ((shape && this.#layout(shape.frame.writable)) ?? 'undefined') : 'undefined'],
      ['by', this.#by(message, part)],
      ['select', this.#forDrivers(message.kind, () => this.#select(message))],
      ['status', this.#messageStatus(message)],
      ['setLength', this.#setLength(message.length, shape?.frame.writable.class)],
      ['echo', this.#echo(message, message.echo, shape?.frame.writable.class)],
      ['requests', array(requests.map((request) => this.#device.table(request)))],
    ]
    const comment = commentLines(docs(message.doc, citation(this.#device.model, message)))
    return [...comment, `export const ${identifier(message.name)}: MessageInfo = ${object(entries, true)}`].join('\n')
  }

  /** What every request begins with, where something in it decides. */
  #frame(message: Message, part: Part): string | undefined {
    if (message.head) {
      const head = this.#imports.class(message.head, '')
      return this.#shared(
        object([
          ['create', `() => new ${head}()`],
          ['suffix', '0'],
        ]),
        lowerFirst(head),
        'LayoutInfo',
      )
    }
    const shape = this.#device.messages.find((each) => each.message === message)
    const decides = message.by.length > 0 || message.requests.some(({ when }) => dependence([when]) === 'content')
    return decides && shape ? this.#layout(shape.frame[part]) : undefined
  }

  #by(message: Message, part: Part): string {
    const { needs, model } = this.#device
    const shape = this.#device.messages.find((each) => each.message === message)
    const class_ = shape?.frame[part].class
    const type = message.head ? this.#imports.class(message.head, '', true) : class_ && this.#type(class_)
    if (type === undefined || message.by.length === 0) return '[]'
    const members = message.head ? needs.struct(message.head).members : membersOf(class_)
    return array(message.by.map((path) => `(frame) => ${decidingCode(model, needs, members, `(frame as ${type})`, path)}`))
  }

  #configFields(): string {
    this.#imports.deviceType('ConfigField')
    const entries = configFieldEntries(this.#device, this.#imports)
    const { config, model } = this.#device
    const comment = commentLines(docs('The fields of the configuration space.', config && citation(model, config)))
    return [...comment, `export const configFields: readonly ConfigField[] = ${array(entries, entries.length > 0)}`].join('\n')
  }

  #deviceInfo(): string {
    const { chapter, messages, model } = this.#device
    this.#imports.deviceType('DeviceInfo')
    const wire = (name: string): string => this.#imports.from('wire', chapter.name, name)
    const hasFeatures = chapter.features.length > 0
    const entries: Entries = [
      ['id', chapter.id === undefined ? '0' : wire('DEVICE_ID')],
      ['checkFeatures', hasFeatures ? wire('checkFeatures') : '() => []'],
      ['messages', array(messages.map(({ message }) => identifier(message.name)))],
      ['queues', 'queues'],
    ]
    const comment = commentLines(docs(`${chapter.title}: what its skeleton and its driver client are made of.`, citation(model, chapter)))
    return [...comment, `export const device: DeviceInfo = ${object(entries, true)}`].join('\n')
  }
}

function constantLines(needs: Needs, members: readonly Member[], base: string): string[] {
  return members.flatMap((member) => {
    const { type, name, dims, when, reserved } = member
    if (when !== undefined || dims.length > 0 || reserved) return []
    const place = name === '' ? base : `${base}.${identifier(name)}`
    if (type.kind === 'group') return constantLines(needs, type.members, place)
    if (type.kind === 'struct') return constantLines(needs, needs.struct(type).members, place)
    if (member.const === undefined || type.kind !== 'integer' || name === '') return []
    return [`${place} = ${numberCode(isBigint(member) ? BigInt(member.const) : Number(member.const))}`]
  })
}

interface AskedBits {
  path: readonly string[]
  mask: Tree
  isSet: boolean
}

/** The bits of fields that a condition asks for, set or clear. */
function askedBits(tree: Tree, isSet: boolean): AskedBits[] {
  if (tree.op === 'not') return askedBits(tree.arg, !isSet)
  if (tree.op !== 'binary') return []
  const { operator, left, right } = tree
  if (operator === 'and' || operator === 'or') return [...askedBits(left, isSet), ...askedBits(right, isSet)]
  return operator === 'has' && left.op === 'field' && left.from === 'own' ? [{ path: left.path, mask: right, isSet }] : []
}

/** The negation of one test. */
function opposite(test: string): string {
  const operators: Record<string, string> = { '>': '<=', '<': '>=', '!==': '===' }
  const [, left, operator = '', right] = /^([^\s!]+) (>|<|!==) (.+)$/.exec(test) ?? []
  if (left !== undefined) return `${left} ${operators[operator]} ${right}`
  return test.startsWith('!') && !test.includes(' ') ? test.slice(1) : `!(${test})`
}

function valuesOf({ ok, failed, malformed, unknown }: Status): ConstantValue[] {
  return [...ok, failed, malformed, unknown].filter((value): value is ConstantValue => typeof value === 'object')
}
