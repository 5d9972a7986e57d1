/** What the names of expressions stand for: fields, `given` and `let` names, features and constants in reach. */
import type { FeatureAttributes } from '../ast.ts'
import type { FieldPath } from '../model.ts'
import { ownValue } from '../own.ts'
import { type FieldInfo, type Shape, shapeOfStruct } from './shape.ts'
import type { ChapterScope, GroupDeclaration, StructDeclaration, Workspace } from './workspace.ts'

/** What the names of an expression may mean. */
export interface NameScope {
  chapter: ChapterScope
  /** Fields of the struct itself. */
  own?: Shape | undefined
  /** The readable part, from the writable one. */
  readable?: Shape | undefined
  given?: ReadonlyMap<string, Given> | undefined
  /** `i` of a repeated queue. */
  index?: boolean | undefined
  /** Of a nested struct: the names around it. What it uses of them becomes a `given` name of its own; `need` says which. */
  around?: { scope: NameScope; need(found: FoundField): string } | undefined
}

/** What a struct needs from outside: another struct, or a number. */
export interface Given {
  struct?: StructDeclaration | undefined
}

export interface FoundField {
  /** As it is written. */
  text: string
  /** Undefined where the path begins with a field and goes on with none. */
  info: FieldInfo | undefined
  from: FieldPath['from']
  path: string[]
  /** Position in the written path of the first step that does not exist. */
  missing: number
  /** What could stand there. */
  candidates: string[]
  /** True when it was found around the struct, not in it. */
  isAround: boolean
}

export class Names {
  readonly #workspace: Workspace

  constructor(workspace: Workspace) {
    this.#workspace = workspace
  }

  /** A field by the order of look-up. */
  field(path: readonly string[], scope: NameScope): FoundField | undefined {
    const [first, ...rest] = path as [string, ...string[]]
    if (rest.length > 0 && first === 'config') {
      const config = this.#config(scope.chapter)
      if (config) return within(config, path, 1, 'config')
    }
    if (rest.length > 0 && first === 'readable' && scope.readable) return within(scope.readable, path, 1, 'readable')
    if (scope.own?.has(first)) return within(scope.own, path, 0, 'own')
    if (scope.around) {
      const found = this.field(path, scope.around.scope)
      return found && { ...found, isAround: found.from !== 'config' }
    }
    if (scope.readable?.has(first)) return within(scope.readable, path, 0, 'readable')
    const given = scope.given?.get(first)
    return given && this.#given(given, path, scope.chapter)
  }

  #given({ struct }: Given, path: readonly string[], chapter: ChapterScope): FoundField {
    const [name] = path as [string]
    const itself: FieldInfo = {
      name,
      kind: struct ? 'struct' : 'number',
      groups: [],
      chapter,
      struct,
      nested: struct && (() => shapeOfStruct(this.#workspace, struct)),
    }
    return { ...within(new Map([[name, itself]]), path, 0, 'given'), path: [...path] }
  }

  /** The configuration space that `config.x` means: the chapter's own, or that of the one device it uses. */
  #config(chapter: ChapterScope): Shape | undefined {
    for (const reach of chapter.reach) {
      const name = Object.keys(reach.ast.config ?? {})[0]
      const declaration = name === undefined ? undefined : reach.structs.get(name)
      if (declaration) return shapeOfStruct(this.#workspace, declaration)
    }
    return undefined
  }

  feature(name: string, chapter: ChapterScope): { chapter: string; bit: number } | undefined {
    for (const reach of chapter.reach) {
      const feature = ownValue<number | FeatureAttributes>(reach.ast.features, name)
      if (feature !== undefined) return { chapter: reach.name, bit: typeof feature === 'number' ? feature : feature.bit }
    }
    return undefined
  }

  let(name: string, chapter: ChapterScope): { chapter: ChapterScope } | undefined {
    for (const reach of chapter.reach) {
      const value = ownValue(reach.ast.let, name)
      if (value !== undefined) return { chapter: reach }
    }
    return undefined
  }

  /** Groups in reach that have a constant of that name. */
  groupsWith(name: string, chapter: ChapterScope): GroupDeclaration[] {
    return chapter.reach.flatMap((reach) => [...reach.groups.values()].filter((group) => Object.hasOwn(group.attributes.values, name)))
  }

  /** The groups of a field, those that extend them, and those that they extend. */
  groupsOf(field: FieldInfo): GroupDeclaration[] {
    return field.groups.flatMap((name) => {
      const group = this.#workspace.findGroup(field.chapter, name)
      return group === undefined ? [] : this.#workspace.family(group)
    })
  }

  /** Everything that could be meant, for hints. */
  candidates(scope: NameScope): string[] {
    const around = scope.around === undefined ? [] : this.candidates(scope.around.scope)
    const chapters = scope.chapter.reach.flatMap((chapter) => [
      ...Object.keys(chapter.ast.let ?? {}),
      ...Object.keys(chapter.ast.features ?? {}),
      ...[...chapter.groups.values()].flatMap((group) => Object.keys(group.attributes.values)),
    ])
    return [...(scope.own?.keys() ?? []), ...(scope.readable?.keys() ?? []), ...(scope.given?.keys() ?? []), ...around, ...chapters]
  }
}

/** The field that a path, but for its first steps, has in a shape. */
function within(shape: Shape, path: readonly string[], skip: number, from: FieldPath['from']): FoundField {
  let level: Shape | undefined = shape
  let info: FieldInfo | undefined
  for (let step = skip; step < path.length; step++) {
    info = level?.get(path[step] as string)
    if (info === undefined)
      return { text: path.join('.'), info, from, path: path.slice(skip), missing: step, candidates: [...(level?.keys() ?? [])], isAround: false }
    level = info.nested?.()
  }
  return { text: path.join('.'), info, from, path: path.slice(skip), missing: path.length, candidates: [], isAround: false }
}
