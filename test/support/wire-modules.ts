/** The generated classes of a model by struct, and their contexts: how tests call generated code for any struct. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { type CodecContext, encodeStruct } from '../../generator/codec.ts'
import { emitAll } from '../../generator/emit/index.ts'
import { usesReadable } from '../../generator/emit/wire/needs.ts'
import { findStruct } from '../../generator/facts.ts'
import type { Model, Part, Reference } from '../../generator/model.ts'
import { className, identifier } from '../../generator/names.ts'

/** What every generated class has. */
export interface WireClass {
  decode(bytes: Uint8Array, context?: unknown): Record<string, unknown>
  encode(value: Record<string, unknown>, context?: unknown): Uint8Array
  layout?(context: unknown): Record<string, number>
  new (...args: unknown[]): { at(view: DataView): WireStruct } & WireStruct
}

export type WireStruct = Record<string, unknown> & { $size: number; $minimum: number }

type Module = Record<string, unknown>

/** Emits the chapters that extend the built-in description to `test/generated`, and loads all modules of a model. */
export async function loadWire(model: Model): Promise<WireModules> {
  for (const { path, text } of emitAll(model, { chapters: 'extension' })) writeIfChanged(`test/generated/${path}`, text)
  const modules = new Map<string, Module>()
  for (const { name, builtin } of model.chapters) {
    const root = builtin ? 'generated' : 'test/generated'
    const files = ['wire', 'parts'].map((folder) => `${root}/${folder}/${name}.ts`).filter((file) => existsSync(file))
    const loaded = await Promise.all(files.map((file) => import(/* @vite-ignore */ `../../${file}`) as Promise<Module>))
    modules.set(name, Object.assign({}, ...loaded))
  }
  return new WireModules(model, modules)
}

function writeIfChanged(file: string, text: string): void {
  try {
    if (readFileSync(file, 'utf8') === text) return
  } catch {
    mkdirSync(dirname(file), { recursive: true })
  }
  writeFileSync(file, text)
}

export class WireModules {
  readonly #model: Model
  readonly #modules: ReadonlyMap<string, Module>
  /** Classes that do not have the name of their struct, by chapter, struct and part. */
  readonly #names: ReadonlyMap<string, string>

  constructor(model: Model, modules: ReadonlyMap<string, Module>, names: ReadonlyMap<string, string> = new Map()) {
    this.#model = model
    this.#modules = modules
    this.#names = names
  }

  /** The same modules for a model that has the parts of requests as structs. */
  withParts({ model, names }: { model: Model; names: ReadonlyMap<string, string> }): WireModules {
    return new WireModules(model, this.#modules, names)
  }

  class(reference: Reference, part?: Part): WireClass {
    const twoPart = findStruct(this.#model, reference)?.twoPart
    const suffix = !twoPart ? '' : part === 'writable' ? 'Writable' : 'Readable'
    const name = this.#names.get(`${reference.chapter}/${reference.name} ${part}`) ?? className(reference.name) + suffix
    const found = this.#modules.get(reference.chapter)?.[name]
    if (found === undefined) throw new Error(`${reference.chapter} exports no ${name}`)
    return found as WireClass
  }

  /** A context of the codec as generated code takes it: features as a set, given values as accessors. */
  context(reference: Reference, context: CodecContext, part?: Part): Record<string, unknown> {
    return {
      features: this.#features(context.features ?? new Set()),
      config: context.config ?? {},
      queueSize: context.queueSize ?? 0,
      caller: context.caller ?? {},
      given: this.#given(reference, context, part),
    }
  }

  #features(names: ReadonlySet<string>): FeatureSet {
    const known = this.#model.chapters.flatMap((chapter) => chapter.features)
    return FeatureSet.of(...[...names].flatMap((name) => known.find((feature) => feature.name === name)?.bit ?? []))
  }

  #given(reference: Reference, context: CodecContext, part: Part | undefined): Record<string, unknown> {
    const struct = findStruct(this.#model, reference)
    const entries = (struct?.given ?? []).map(({ name, struct: type }): [string, unknown] => {
      const value = context.given?.[name]
      return [identifier(name), type ? this.accessor(type, (value ?? {}) as Record<string, unknown>, context, part) : value]
    })
    const readable = context.given?.readable
    if (struct && part === 'writable' && readable !== undefined && usesReadable(struct))
      entries.push(['readable', this.accessor(reference, readable as Record<string, unknown>, context, 'readable')])
    return Object.fromEntries(entries)
  }

  /** An accessor over the bytes of a plain value. */
  accessor(reference: Reference, value: Record<string, unknown>, context: CodecContext, part?: Part): WireStruct {
    const type = this.class(reference, part)
    const wireContext = this.context(reference, context, part)
    const bytes = encodeStruct(this.#model, reference, value, context, part)
    const struct = findStruct(this.#model, reference)
    const args = [...(type.layout ? [type.layout(wireContext)] : []), ...((struct?.given.length ?? 0) > 0 ? [wireContext.given] : [])]
    return new type(...args).at(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength))
  }
}
