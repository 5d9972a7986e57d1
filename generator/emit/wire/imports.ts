/** What a generated module imports: from the contract, and from the modules of other chapters. */
import type { Model, Reference, Tree } from '../../model.ts'
import { className, identifier } from '../../names.ts'
import { importStatement } from '../code.ts'
import { exportedConstants } from './constants.ts'

export const contract = 'virtgen/codegen/v1/wire'

export class Imports {
  readonly #model: Model
  readonly #chapter: string
  readonly #modules = new Map<string, Map<string, boolean>>()

  constructor(model: Model, chapter: string) {
    this.#model = model
    this.#chapter = chapter
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

  /** The module of another chapter: the published entry of a built-in one, the file beside of one that extends it. */
  #module(chapter: string): string {
    const found = this.#model.chapters.find(({ name }) => name === chapter)
    return found?.builtin ? `virtgen/wire/${chapter}` : `./${chapter}.js`
  }

  feature({ chapter, name }: Extract<Tree, { op: 'feature' }>): string {
    return chapter === this.#chapter ? identifier(name) : this.#use(this.#module(chapter), identifier(name))
  }

  /** The exported name of a constant, or undefined when it has none of its own. */
  constant({ chapter, name, value }: Extract<Tree, { op: 'constant' }>): string | undefined {
    const found = this.#model.chapters.find((candidate) => candidate.name === chapter)
    if (found === undefined || typeof value === 'bigint' || !exportedConstants(found).has(name)) return undefined
    return chapter === this.#chapter ? name : this.#use(this.#module(chapter), name)
  }

  /** A class of a struct, or a name that goes with it (`Value`, `Layout`). */
  class(reference: Reference, suffix: string, type = false): string {
    const name = className(reference.name) + suffix
    return reference.chapter === this.#chapter ? name : this.#use(this.#module(reference.chapter), name, type)
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
