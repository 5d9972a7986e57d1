/** The driver client: a method per request that returns a promise, and one per event that takes a handler. */
import { identifier } from '../../names.ts'
import { commentLines, docs, quote } from '../code.ts'
import { citation } from '../wire/constants.ts'
import type { Imports } from '../wire/imports.ts'
import { writableFields } from './config-fields.ts'
import type { DeviceChapter } from './device-chapter.ts'
import { decidingPaths, membersOf } from './fields.ts'
import type { NamedRequest } from './names.ts'
import { payloadText, requestComment } from './request-docs.ts'
import { array, call, indent } from './text.ts'
import { remainingType, replyType } from './values.ts'

interface Parameter {
  name: string
  type: string
  doc: string | undefined
}

export class DriverEmitter {
  readonly #device: DeviceChapter
  readonly #imports: Imports

  constructor(device: DeviceChapter, imports: Imports) {
    this.#device = device
    this.#imports = imports
  }

  get declared(): string[] {
    const { prefix } = this.#device
    return [`${prefix}Driver`, ...this.#device.ofKind('events').map((event) => this.#eventType(event))]
  }

  statements(): string[] {
    return [...this.#device.ofKind('events').map((event) => this.#eventTypeStatement(event)), this.#class()].map((text) => `\n${text}`)
  }

  #messages(name: string): string {
    return this.#imports.from('messages', this.#device.chapter.name, name)
  }

  #eventType(event: NamedRequest): string {
    return this.#device.typeName(event)
  }

  #eventTypeStatement(event: NamedRequest): string {
    const { class: class_, payload } = event.writable
    const own = class_ && replyType(this.#device, this.#imports, class_, undefined, membersOf(class_))
    const rest = [
      '/** Index of the queue it came on. */',
      'readonly queue: number',
      ...(payload ? [`readonly ${identifier(payload.name) || 'body'}: Uint8Array`] : []),
    ]
    const literal = ['{', ...indent(rest), '}'].join('\n')
    const comment = requestComment(this.#device.model, event, [payloadText(payload)])
    return [...comment, `export type ${this.#eventType(event)} = ${own ? `${own} & ` : ''}${literal}`].join('\n')
  }

  #class(): string {
    const { prefix, chapter, model } = this.#device
    const base = this.#imports.device('DeviceDriver')
    const comment = commentLines(
      docs(`A driver of ${chapter.title}: a method for each request, which resolves when the device has answered.`, citation(model, chapter)),
    )
    const body = [
      ...this.#statics(),
      ...this.#make(),
      ...this.#device.ofKind('requests').flatMap((request) => ['', ...this.#method(request)]),
      ...this.#device.ofKind('events').flatMap((event) => ['', ...this.#listener(event)]),
    ]
    return [...comment, `export class ${prefix}Driver extends ${base} {`, ...indent(body), '}'].join('\n')
  }

  #statics(): string[] {
    const { chapter, config } = this.#device
    const set = this.#imports.runtime('FeatureSet')
    const known = chapter.features.filter(({ legacy }) => !legacy).map(({ name }) => this.#imports.from('wire', chapter.name, identifier(name)))
    const id = chapter.id === undefined ? '0' : this.#imports.from('wire', chapter.name, 'DEVICE_ID')
    const queues = this.#messages('queues')
    const info = this.#imports.deviceType('QueueInfo')
    const features = array(known, known.length > 4)
    return [
      '/** Device id. */',
      `static readonly deviceId = ${id}`,
      '/** Features of the device type, those of the legacy interface not included. */',
      ...(known.length === 0
        ? [`static readonly features = ${set}.empty`]
        : `static readonly features = ${set}.of(${features.slice(1, -1)})`.split('\n')),
      '/** Length of the configuration space in bytes. */',
      `static readonly configLength = ${this.#device.configLength}`,
      ...(config && config.size === null
        ? [
            '/** Its length, as its first members say it. */',
            'static configSize(start: Uint8Array): number {',
            `  return new ${this.#imports.class({ chapter: chapter.name, name: config.name }, '')}().at(${this.#imports.runtime('viewOf')}(start)).$size`,
            '}',
          ]
        : []),
      ...(config
        ? ['/** Its fields, which are read by their own widths. */', `static readonly configFields = ${this.#messages('configFields')}`]
        : []),
      '',
      '/** The queues that there are with these features and this configuration. */',
      `static queues(features: ${set}, config: Uint8Array): ${info}[] {`,
      `  return ${queues}(features, config)`,
      '}',
    ]
  }

  #make(): string[] {
    const { chapter, config } = this.#device
    const host = this.#imports.deviceType('DriverHost')
    const caller = this.#device.callerMember()
    const base = this.#imports.deviceType('DeviceDriverOptions')
    const options = caller.length === 0 ? base : `${base} & { ${caller.at(-1)} }`
    const written = writableFields(this.#device).map(quote)
    const name = config && this.#imports.class({ chapter: chapter.name, name: config.name }, '')
    return [
      '',
      `constructor(host: ${host}, options: ${options} = {}) {`,
      `  super(host, ${name ? `new ${name}()` : 'undefined'}, options)`,
      '}',
      ...(name
        ? ['', '/** The configuration space as it was read last. */', `override get config(): ${name} {`, `  return super.config as ${name}`, '}']
        : []),
      ...(written.length > 0
        ? [
            '',
            '/**',
            ' * Writes a field of the configuration space and reads the space again.',
            ' *',
            ' * @throws RangeError for a value that does not fit, or a field that may not be written with these features',
            ' */',
            `writeConfig(field: ${written.join(' | ')}, value: number | bigint | Uint8Array): void {`,
            `  this.writeField(${this.#messages('configFields')}, field, value)`,
            '}',
          ]
        : []),
    ]
  }

  #parameters(named: NamedRequest): Parameter[] {
    const { needs } = this.#device
    const { readable, writable, message } = named
    const fields =
      readable.class && remainingType(this.#device, this.#imports, readable.class, decidingPaths(needs, named), membersOf(readable.class))
    const inName = readable.payload && (identifier(readable.payload.name) || 'body')
    const outName = writable.payload && (identifier(writable.payload.name) || 'body')
    const open = writable.class !== undefined && !writable.payload && needs.isOpenStruct(writable.class.struct, 'writable')
    const parameters: Parameter[] = []
    if (fields) parameters.push({ name: 'fields', type: fields, doc: undefined })
    if (inName)
      parameters.push({ name: free(inName, outName), type: this.#imports.deviceType('ReadablePayload'), doc: payloadText(readable.payload) })
    if (outName)
      parameters.push({
        name: free(outName === inName ? `${outName}_out` : outName, undefined),
        type: this.#imports.deviceType('WritablePayload'),
        doc: `${payloadText(writable.payload)} Where to, or how many bytes.`,
      })
    if (open) parameters.push({ name: 'replyLength', type: 'number', doc: 'How many bytes the reply may have.' })
    if (this.#device.hasSeveralQueues(message))
      parameters.push({ name: 'queue?', type: 'number', doc: 'Index of the queue; by default they take turns.' })
    return parameters
  }

  #method(named: NamedRequest): string[] {
    const { model } = this.#device
    const parameters = this.#parameters(named)
    const has = (name: string): string => (parameters.some((each) => each.name.replace('?', '') === name) ? name : 'undefined')
    const payloads = parameters.filter(({ name }) => !['fields', 'queue?', 'replyLength'].includes(name))
    const { readable, writable } = named
    const input = readable.payload ? (payloads[0]?.name ?? 'undefined') : 'undefined'
    const output = writable.payload ? (payloads.at(-1)?.name ?? 'undefined') : has('replyLength')
    const result = this.#result(named)
    const list = [
      this.#messages(identifier(named.message.name)),
      `${this.#messages('requests')}.${named.key}`,
      has('queue'),
      has('fields'),
      input,
      output,
    ]
    const sent = call('this.request(', list, ')').join('\n')
    const tags = parameters.flatMap(({ name, doc }) => (doc === undefined ? [] : [`@param ${name.replace('?', '')} - ${doc}`]))
    const comment = requestComment(model, named, [], tags)
    // Fields may be left out where nothing that must be given follows.
    const isOptional = parameters.every(({ name }) => name === 'fields' || name === 'queue?')
    return [
      ...comment,
      ...call(
        `${named.driverMethod}(`,
        parameters.map(({ name, type }) => `${name}: ${type}${name === 'fields' && isOptional ? ' = {}' : ''}`),
        `): Promise<${result ?? 'void'}> {`,
      ),
      ...indent(`return ${sent} as Promise<${result ?? 'void'}>`.split('\n')),
      '}',
    ]
  }

  /** What a promise resolves to: the members of the reply, without a status that is always the same, and the payload. */
  #result({ message, request, writable }: NamedRequest): string | undefined {
    if (request.onlyFailures) return undefined
    const { field, ok = [] } = { ...message.status, ...request.status }
    const own = writable.class && replyType(this.#device, this.#imports, writable.class, ok.length > 1 ? undefined : field, membersOf(writable.class))
    const payload = writable.payload && `{ ${identifier(writable.payload.name) || 'body'}: Uint8Array }`
    return [own, payload].filter(Boolean).join(' & ') || undefined
  }

  #listener(event: NamedRequest): string[] {
    const { model } = this.#device
    const type = this.#eventType(event)
    const list = [this.#messages(identifier(event.message.name)), `${this.#messages('events')}.${event.key}`, 'handler']
    return [
      ...requestComment(model, event),
      `${event.driverMethod}(handler: (event: ${type}) => void): void {`,
      `  this.listen(${list.join(', ')})`,
      '}',
    ]
  }
}

/** A payload's name as a parameter, beside `fields` and `queue`. */
function free(name: string, other: string | undefined): string {
  return ['fields', 'queue', 'replyLength'].includes(name) ? `${name}Bytes` : name === other ? `${name}_in` : name
}
