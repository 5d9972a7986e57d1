/** The skeleton: an abstract device with a method per request. */

import { nodes } from '../../evaluate.ts'
import type { Message } from '../../model.ts'
import { className, identifier } from '../../names.ts'
import { commentLines, docs, numberCode, propertyName } from '../code.ts'
import { citation } from '../wire/constants.ts'
import type { Imports } from '../wire/imports.ts'
import { dependence } from '../wire/needs.ts'
import { conditionWords } from '../wording.ts'
import { bareModule } from './bare.ts'
import { liveFieldEntries } from './config-fields.ts'
import type { DeviceChapter } from './device-chapter.ts'
import { decidingPaths, membersOf } from './fields.ts'
import type { NamedRequest } from './names.ts'
import { payloadText, requestComment } from './request-docs.ts'
import { array, call, indent } from './text.ts'
import { remainingType } from './values.ts'

export class SkeletonEmitter {
  readonly #device: DeviceChapter
  readonly #imports: Imports

  constructor(device: DeviceChapter, imports: Imports) {
    this.#device = device
    this.#imports = imports
  }

  get declared(): string[] {
    const { prefix } = this.#device
    return [`${prefix}Device`, `${prefix}DeviceOptions`, ...this.#device.ofKind('requests').map((request) => this.#typeName(request))]
  }

  statements(): string[] {
    const requests = this.#device.ofKind('requests')
    return [...requests.map((request) => this.#interface(request)), this.#options(), this.#class()].map((text) => `\n${text}`)
  }

  #typeName(request: NamedRequest): string {
    return this.#device.typeName(request)
  }

  #interface(named: NamedRequest): string {
    const { model, needs } = this.#device
    const { readable, writable } = named
    const properties: string[][] = []
    if (readable.class)
      properties.push(['/** The device-readable members, copied from the driver once. */', `readonly header: ${this.#wire(readable.class.name)}`])
    if (writable.class) {
      const open = needs.isOpenStruct(writable.class.struct, 'writable')
      const note = docs(
        `The device-writable members${this.#hasStatus(named) ? '; the status is written when the request is complete' : ''}.`,
        open && 'As long as there is room for; `replyLength` says how much of it is sent.',
      )
      properties.push([...commentLines(note), `readonly reply: ${this.#wire(writable.class.name)}`])
    }
    if (readable.payload)
      properties.push([...commentLines(docs(payloadText(readable.payload))), `readonly readable: ${this.#imports.deviceType('ReadableBytes')}`])
    if (writable.payload)
      properties.push([...commentLines(docs(payloadText(writable.payload))), `readonly writable: ${this.#imports.deviceType('WritableBytes')}`])
    const base = this.#imports.deviceType('DeviceRequest')
    const head = `export interface ${this.#typeName(named)} extends ${base} {`
    const comment = requestComment(model, named)
    if (properties.length === 0) return [...comment, `export type ${this.#typeName(named)} = ${base}`].join('\n')
    return [...comment, head, ...indent(properties.flat()), '}'].join('\n')
  }

  #hasStatus({ request, message }: NamedRequest): boolean {
    return message.status !== undefined || request.status !== undefined
  }

  #wire(name: string): string {
    const { name: chapter } = this.#device.chapter
    return bareModule(this.#device).names.has(name) ? this.#imports.from('device', chapter, name, true) : this.#imports.part(chapter, name, true)
  }

  #options(): string {
    const { prefix, config, chapter } = this.#device
    const base = this.#imports.deviceType('RequestDeviceOptions')
    const comment = commentLines(docs(`Options of {@link ${prefix}Device}.`))
    const caller = this.#device.callerNames()
    if (config === undefined && caller.length === 0) return [...comment, `export type ${prefix}DeviceOptions = ${base}`].join('\n')
    const value = config && this.#imports.class({ chapter: chapter.name, name: config.name }, 'Value', true)
    const rest = config?.members.some(({ reset }) => reset !== undefined) ? 'have their values after reset or are zero' : 'are zero'
    return [
      ...comment,
      `export interface ${prefix}DeviceOptions extends ${base} {`,
      ...indent([
        ...(value
          ? [`/** What the configuration space holds at first; members that are not given ${rest}. */`, `readonly config?: Partial<${value}>`]
          : []),
        ...this.#device.callerMember(),
      ]),
      '}',
    ].join('\n')
  }

  #class(): string {
    const { prefix, chapter, model } = this.#device
    const requests = this.#device.ofKind('requests')
    const events = this.#device.ofKind('events')
    const base = this.#imports.device(events.length > 0 ? 'EventDevice' : 'RequestDevice')
    const config = this.#configType()
    const comment = commentLines(
      docs(
        `${chapter.title}, without what it does: the protocol is here, a class that extends it has a method for each request.`,
        requests.length > 0 &&
          'A method returns nothing when the request has succeeded, a status, PARKED to complete the request later, UNKNOWN where the device does not ' +
            'know it, or a promise. What it throws is answered with the status for failures.',
        citation(model, chapter),
      ),
    )
    const body = [
      ...this.#make(),
      ...requests.flatMap((request) => ['', ...this.#method(request)]),
      ...events.flatMap((event) => ['', ...this.#sender(event)]),
    ]
    return [...comment, `export abstract class ${prefix}Device extends ${base}${config ? `<${config}>` : ''} {`, ...indent(body), '}'].join('\n')
  }

  #configType(): string | undefined {
    const { config, chapter } = this.#device
    if (config === undefined) return undefined
    const name = className(config.name)
    return this.#isConfigBare(name)
      ? this.#imports.from('device', chapter.name, name)
      : this.#imports.class({ chapter: chapter.name, name: config.name }, '')
  }

  #isConfigBare(name: string): boolean {
    return bareModule(this.#device).names.has(name)
  }

  #make(): string[] {
    const { prefix } = this.#device
    const config = this.#configType()
    const info = this.#imports.from('device', this.#device.chapter.name, 'device')
    const space = this.#imports.device('ConfigSpace')
    const rest = config && `${this.#liveFields()}, new ${config}()`
    const made =
      config === undefined
        ? `new ${space}(new Uint8Array(0))`
        : this.#isConfigBare(config)
          ? `new ${space}(new Uint8Array(${this.#device.configLength}), ${rest}, ${this.#firstConfig()})`
          : `new ${space}(${config}.encode(${this.#firstConfig()}), ${rest})`
    return [`constructor(options: ${prefix}DeviceOptions = {}) {`, ...indent([`super(${info}, options, ${made})`]), '}']
  }

  /** The fields that are more than bytes which the driver reads. */
  #liveFields(): string {
    const live = liveFieldEntries(this.#device, this.#imports)
    if (live === undefined) return this.#imports.from('messages', this.#device.chapter.name, 'configFields')
    return array(live)
  }

  /** The bytes of the configuration space at first, as a value. */
  #firstConfig(): string {
    const values = (this.#device.config?.members ?? []).flatMap(({ name, reset }) =>
      reset === undefined ? [] : [`${propertyName(identifier(name))}: ${numberCode(reset)}`],
    )
    return values.length === 0 ? 'options.config ?? {}' : `{ ${values.join(', ')}, ...options.config }`
  }

  #method(named: NamedRequest): string[] {
    const outcome = this.#imports.deviceType('Outcome')
    const comment = requestComment(this.#device.model, named, [this.#queueNote(named.message)])
    const signature = `(request: ${this.#typeName(named)}): ${outcome}`
    if (this.#isOptional(named)) return [...comment, `protected ${named.method}?${signature}`]
    return [...comment, `protected abstract ${named.method}${signature}`]
  }

  /** A request that need not exist: what it takes is negotiated, or only queues carry it that need not exist. */
  #isOptional({ request, message }: NamedRequest): boolean {
    if (request.when && (dependence([request.when]) === 'context' || [...nodes(request.when.tree)].some(({ op }) => op === 'feature'))) return true
    return this.#isOnOptionalQueues(message)
  }

  #isOnOptionalQueues(message: Message): boolean {
    const queues = this.#device.queuesOf(message)
    return queues.length > 0 && queues.every(({ when }) => when !== undefined)
  }

  #queueNote(message: Message): string | undefined {
    const queues = this.#device.queuesOf(message)
    if (!this.#isOnOptionalQueues(message)) return undefined
    const conditions = [...new Set(queues.map(({ when }) => when && conditionWords(when)))]
    return conditions.length === 1 ? `Its queues exist only ${conditions[0]}.` : undefined
  }

  #sender(named: NamedRequest): string[] {
    const { model, needs } = this.#device
    const { message, writable } = named
    const { spans } = named.request
    const several = this.#device.hasSeveralQueues(message)
    const value = writable.class && remainingType(this.#device, this.#imports, writable.class, decidingPaths(needs, named), membersOf(writable.class))
    const payload = writable.payload && (identifier(writable.payload.name) || 'body')
    const parameters = [
      ...(several ? ['queue: number'] : []),
      ...(value ? [`value: ${value}`] : []),
      ...(payload ? [`${payload === 'queue' || payload === 'value' ? 'payload' : payload}: Uint8Array`] : []),
    ]
    const buffers = spans ? 'too few buffers' : 'no buffer'
    const result = payload
      ? `@returns how many bytes of the payload were sent; undefined where the driver has given ${buffers}`
      : `@returns false where the driver has given ${buffers}`
    const tags = [...(several ? ['@param queue - index of the queue'] : []), result]
    const spansNote = spans && `It may take several buffers; their number is filled in: ${spans.text}.`
    const comment = requestComment(model, named, [this.#queueNote(message), payloadText(writable.payload), spansNote], tags)
    const queue = several ? 'queue' : `this.queueOf(${this.#imports.from('device', this.#device.chapter.name, identifier(message.name))}) ?? -1`
    const table = this.#imports.from('device', this.#device.chapter.name, 'events')
    const payloadName = payload && (payload === 'queue' || payload === 'value' ? 'payload' : payload)
    const sent = call('this.sendEvent(', [`${table}.${named.key}`, queue, value ? 'value' : 'undefined', payloadName ?? 'undefined'], ')').join('\n')
    return [
      ...comment,
      ...call(`protected ${named.method}(`, parameters, `): ${payload ? 'number | undefined' : 'boolean'} {`),
      ...indent(`return ${sent}${payload ? '' : ' !== undefined'}`.split('\n')),
      '}',
    ]
  }
}
