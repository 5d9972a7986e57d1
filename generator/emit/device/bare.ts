/**
 * What a device of a type needs and nothing else: accessors without plain values, and tables without what only drivers ask for. Skeletons stand on it, so that a page
 * loads no more.
 */
import { findStruct } from '../../facts.ts'
import type { Member, Model, Part, Reference, Struct } from '../../model.ts'
import { className } from '../../names.ts'
import { isBytes } from '../../values.ts'
import { printFile, type Statement } from '../code.ts'
import type { EmittedFile } from '../index.ts'
import type { PartClass } from '../parts.ts'
import { BareStructEmitter, needsValues } from '../wire/bare-struct.ts'
import { Imports } from '../wire/imports.ts'
import { header } from '../wire/index.ts'
import { type Needs, usesReadable } from '../wire/needs.ts'
import type { DeviceChapter } from './device-chapter.ts'
import { MessagesEmitter } from './messages.ts'
import { checkDeclared } from './names.ts'

interface Wanted {
  struct: Struct
  part: Part | undefined
  names?: { name: string; readable?: string }
}

/** Classes that can be bare are declared in the module; the others are imported whole. */
class BareImports extends Imports {
  override readonly tables = 'device'
  /** By name, in the order in which they were asked for. */
  readonly wanted = new Map<string, Wanted>()
  readonly #model: Model
  readonly #parts: ReadonlyMap<string, PartClass>
  readonly #whole: ReadonlySet<string>

  constructor(device: DeviceChapter, whole: ReadonlySet<string>) {
    super(device.model, device.chapter.name, 'device')
    this.#model = device.model
    this.#parts = bareParts(device)
    this.#whole = whole
  }

  override class(reference: Reference, suffix: string, type = false): string {
    const [, partSuffix = '', companion = ''] = /^(Readable|Writable)?(Layout|Context|Given)?$/.exec(suffix) ?? []
    const name = className(reference.name) + partSuffix
    const struct = findStruct(this.#model, reference)
    const isOurs = suffix === partSuffix + companion && struct !== undefined && struct.role !== 'foreign' && !this.#whole.has(name)
    if (!isOurs) return super.class(reference, suffix, type)
    const part = partSuffix === 'Readable' ? 'readable' : partSuffix === 'Writable' ? 'writable' : undefined
    return this.#want(name, { struct, part }) + companion
  }

  override part(chapter: string, name: string, type = false): string {
    const class_ = this.#parts.get(name)
    if (class_ === undefined || this.#whole.has(name)) return super.part(chapter, name, type)
    const { struct, part, readable } = class_
    return this.#want(name, { struct, part, names: { name, ...(readable === undefined ? {} : { readable }) } })
  }

  #want(name: string, wanted: Wanted): string {
    if (!this.wanted.has(name)) this.wanted.set(name, wanted)
    return name
  }
}

/** Events are made of plain values: their classes are whole. */
function bareParts({ messages }: DeviceChapter): Map<string, PartClass> {
  const requests = messages.filter(({ message }) => message.kind === 'requests')
  return new Map(requests.flatMap(({ classes }) => classes.map((class_) => [class_.name, class_] as const)))
}

interface BareModule extends EmittedFile {
  /** The classes that it exports. */
  names: ReadonlySet<string>
}

const modules = new WeakMap<DeviceChapter, BareModule>()

export function bareModule(device: DeviceChapter): BareModule {
  const known = modules.get(device)
  if (known !== undefined) return known
  const made = emitModule(device)
  modules.set(device, made)
  return made
}

function emitModule(device: DeviceChapter): BareModule {
  const { model, chapter, needs, config } = device
  const path = `device/${chapter.name}.ts`
  const whole = new Set<string>(hasBareConfig(device) ? [] : [className(device.config?.name ?? '')])
  // One that cannot be bare makes those whole that it stands in: begun again until all fit.
  for (;;) {
    const imports = new BareImports(device, whole)
    const emitter = new MessagesEmitter(device, imports, true)
    if (config !== undefined) imports.class({ chapter: chapter.name, name: config.name }, '')
    const tables = emitter.statements()
    const classes = new Map<string, Statement[]>()
    for (const [name, { struct, part, names }] of imports.wanted)
      classes.set(name, new BareStructEmitter(model, imports, needs, struct, part, names).statements())
    const texts = new Map([...classes].map(([name, statements]) => [name, printFile(path, '', statements).trim()] as const))
    const failed = [...texts].filter(([, text]) => needsValues(text))
    if (failed.length > 0) {
      for (const [name] of failed) {
        whole.add(name)
        // What it is given is of the same kind.
        const readable = imports.wanted.get(name)?.names?.readable
        if (readable !== undefined) whole.add(readable)
      }
      continue
    }
    const body = [...[...texts.values()].map((text) => `\n${text}`), ...tables]
    imports.keep(body.join('\n'))
    checkDeclared(path, imports.names, [...emitter.declared, ...classes.keys()])
    const text = printFile(path, header(model, chapter), [...imports.statements(), ...body])
    return { path, text, names: new Set(classes.keys()) }
  }
}

/** The configuration space of a device can be written member by member. */
function hasBareConfig({ config, needs }: DeviceChapter): boolean {
  return config !== undefined && config.size !== null && config.members.every((member) => isPlain(needs, member))
}

function isPlain(needs: Needs, member: Member): boolean {
  const { type, dims, name, size, reserved } = member
  if (size === null || member.with !== undefined) return false
  if (reserved || (type.kind === 'integer' && dims.length === 0)) return true
  if (name === '') return false
  if (type.kind !== 'struct' || dims.length > 0) return isBytes(member) && dims.length <= 1
  const struct = needs.struct(type)
  return struct.role !== 'foreign' && !usesReadable(struct) && struct.members.every((inner) => isPlain(needs, inner))
}
