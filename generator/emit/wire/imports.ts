/** What a generated module imports: from the contract, and from the modules of other chapters. */
import { findStruct } from '../../facts.ts'
import type { Model, Reference, Tree } from '../../model.ts'
import { className, identifier } from '../../names.ts'
import { importStatement } from '../code.ts'
import { exportedConstants } from './constants.ts'

export const contract = 'virtgen/codegen/v1/wire'
export const deviceContract = 'virtgen/codegen/v1/device'

/** Folders of generated modules, one module per chapter in each. */
export type Folder = 'wire' | 'parts' | 'protocol' | 'messages' | 'device' | 'skeleton' | 'driver'

export class Imports {
  /** Where the tables of messages are. */
  readonly tables: Folder = 'messages'
  readonly #model: Model
  readonly #chapter: string
  readonly #folder: Folder
  readonly #modules = new Map<string, Map<string, boolean>>()

  constructor(model: Model, chapter: string, folder: Folder = 'wire') {
    this.#model = model
    this.#chapter = chapter
    this.#folder = folder
  }

  #use(module: string, name: string, type = false): string {
    const names = this.#modules.get(module) ?? new Map<string, boolean>()
    this.#modules.set(module, names)
    names.set(name, (names.get(name) ?? true) && type)
    return name
  }

  /** A name of the contract. */
  runtime(name: string): string {
    return this.#use(contract, name)
  }

  runtimeType(name: string): string {
    return this.#use(contract, name, true)
  }

  /** A name of the contract of devices and drivers. */
  device(name: string): string {
    return this.#use(deviceContract, name)
  }

  deviceType(name: string): string {
    return this.#use(deviceContract, name, true)
  }

  /** A module of a chapter: the published entry of a built-in one, the file beside of one that extends it. */
  #module(chapter: string, folder: Folder): string {
    const found = this.#model.chapters.find(({ name }) => name === chapter)
    if (found?.builtin) return `virtgen/${folder}/${chapter}`
    return folder === this.#folder ? `./${chapter}.js` : `../${folder}/${chapter}.js`
  }

  /** A name that the module of a chapter exports. */
  from(folder: Folder, chapter: string, name: string, type = false): string {
    return folder === this.#folder && chapter === this.#chapter ? name : this.#use(this.#module(chapter, folder), name, type)
  }

  feature({ chapter, name }: Extract<Tree, { op: 'feature' }>): string {
    return this.from('wire', chapter, identifier(name))
  }

  /** The exported name of a constant, or undefined when it has none of its own. */
  constant({ chapter, name, value }: Extract<Tree, { op: 'constant' }>): string | undefined {
    const found = this.#model.chapters.find((candidate) => candidate.name === chapter)
    if (found === undefined || typeof value === 'bigint' || !exportedConstants(found).has(name)) return undefined
    return this.from('wire', chapter, name)
  }

  /** A class of a struct, or a name that goes with it (`Value`, `Layout`). */
  class(reference: Reference, suffix: string, type = false): string {
    const isFrame = findStruct(this.#model, reference)?.role === 'message'
    return this.from(isFrame ? 'parts' : 'wire', reference.chapter, className(reference.name) + suffix, type)
  }

  /** A class of the part of a request, or a name that goes with it. */
  part(chapter: string, name: string, type = false): string {
    return this.from('parts', chapter, name, type)
  }

  /** Every name that is imported. */
  get names(): string[] {
    return [...this.#modules.values()].flatMap((names) => [...names.keys()])
  }

  /** Forgets what was asked for and is not in the text after all. */
  keep(text: string): void {
    const words = new Set(text.match(/[\w$]+/g))
    for (const [module, names] of this.#modules) {
      for (const name of names.keys()) if (!words.has(name)) names.delete(name)
      if (names.size === 0) this.#modules.delete(module)
    }
  }

  statements(): string[] {
    return [...this.#modules]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([module, names]) =>
        importStatement(
          module,
          [...names].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, type]) => ({ name, type })),
        ),
      )
  }
}
