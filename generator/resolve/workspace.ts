/** The files under resolution: what is declared where, which names a chapter may use, and the problems found. */
import {
  type Entry,
  type FileAst,
  type GroupAst,
  type GroupAttributes,
  isLongGroup,
  type LinuxAst,
  type MemberAst,
  type MemberAttributes,
  type MessageAst,
  type Names,
  type StructAst,
  type StructAttributes,
} from '../ast.ts'
import { type DiagnosticCode, didYouMean } from '../diagnostic.ts'
import type { LoadedFile } from '../load.ts'
import type { Linux, Origin, Reference } from '../model.ts'
import type { Path, SourceFile, Target } from '../source.ts'
import { fileOrigin, linuxOf } from './origin.ts'

/** Where a struct is written: `structs`, `config` or `registers` of a file. */
export interface StructDeclaration {
  chapter: ChapterScope
  name: string
  section: 'structs' | 'config' | 'registers'
  path: Path
  attributes: StructAttributes
}

export interface GroupDeclaration {
  chapter: ChapterScope
  name: string
  path: Path
  /** Where its constants stand: below `values` in the long form. */
  valuesPath: Path
  attributes: GroupAttributes
}

/** One file with its declarations. */
export class ChapterScope {
  readonly name: string
  readonly ast: FileAst
  readonly source: SourceFile
  readonly origin: Origin
  readonly structs = new Map<string, StructDeclaration>()
  readonly groups = new Map<string, GroupDeclaration>()
  /** This chapter, those it uses, and the common ones, in that order. */
  reach: ChapterScope[] = []
  /** True when a file in reach could not be read: that a name is unknown may be no mistake. */
  isIncomplete = false
  readonly #lost: LoadedFile['lost']

  constructor({ ast, source, lost }: LoadedFile) {
    this.name = ast.name
    this.ast = ast
    this.source = source
    this.#lost = lost
    this.origin = fileOrigin(ast)
    for (const section of ['structs', 'config', 'registers'] as const) {
      for (const [name, struct] of Object.entries(ast[section] ?? {})) {
        const path: Path = [section, name]
        if (this.structs.has(name)) this.report('duplicate-name', path, `the struct "${name}" is declared twice in this chapter`, undefined, 'key')
        else this.structs.set(name, { chapter: this, name, section, path, attributes: structAttributes(struct) })
      }
    }
    for (const [name, group] of Object.entries(ast.constants ?? {})) {
      const path: Path = ['constants', name]
      this.groups.set(name, {
        chapter: this,
        name,
        path,
        valuesPath: isLongGroup(group) ? [...path, 'values'] : path,
        attributes: groupAttributes(group),
      })
    }
  }

  report(code: DiagnosticCode, path: Path, message: string, hint?: string, target?: Target): void {
    this.source.report(code, path, message, hint, target)
  }

  /** Reports a name that nothing has, unless it was lost with a part of a file that has mistakes of its own. */
  reportUnknown(code: DiagnosticCode, name: string, path: Path, message: string, hint?: string, target?: Target): void {
    const isLost = this.isIncomplete || this.reach.some((chapter) => name.split('.').some((step) => chapter.#lost.names.has(step)))
    if (!isLost) this.report(code, path, message, hint, target)
  }

  /** True when something inside a path was left out for a mistake of its own. */
  hasLost(path: Path): boolean {
    return this.#lost.paths.some((lost) => path.every((step, index) => lost[index] === step))
  }

  get messages(): Record<string, MessageAst> {
    return this.ast.messages ?? {}
  }

  linux(name: string, path: Path, linux: LinuxAst | undefined): Linux {
    return linuxOf(this, name, path, linux)
  }
}

/** All chapters. */
export class Workspace {
  readonly chapters = new Map<string, ChapterScope>()
  readonly #extended = new Map<GroupDeclaration, GroupDeclaration>()

  /** @param broken - names and kinds of files that could not be read */
  constructor(files: readonly LoadedFile[], broken: readonly { name: string; kind: string }[] = []) {
    for (const file of files) {
      const earlier = this.chapters.get(file.ast.name)
      if (earlier === undefined) this.chapters.set(file.ast.name, new ChapterScope(file))
      else {
        file.source.report(
          'duplicate-chapter',
          ['name'],
          `the chapter "${file.ast.name}" is already described in ${earlier.source.file}`,
          'rename one of the two; a description can be extended, not replaced',
        )
      }
    }
    for (const chapter of this.chapters.values()) this.#connect(chapter, broken)
    for (const chapter of this.chapters.values()) this.#connectGroups(chapter)
  }

  #connect(chapter: ChapterScope, broken: readonly { name: string; kind: string }[]): void {
    const uses = chapter.ast.uses ?? []
    chapter.isIncomplete = broken.some(({ name, kind }) => kind === 'common' || uses.includes(name))
    const used = uses.flatMap((name, index) => {
      const found = this.chapters.get(name)
      if (found === undefined)
        chapter.reportUnknown('unknown-chapter', name, ['uses', index], `no chapter is named "${name}"`, didYouMean(name, this.chapters.keys()))
      return found ?? []
    })
    const common = [...this.chapters.values()].filter(({ ast }) => ast.kind === 'common')
    chapter.reach = [...new Set([chapter, ...used, ...common])]
  }

  #connectGroups(chapter: ChapterScope): void {
    for (const group of chapter.groups.values()) {
      const { extends: name } = group.attributes
      const parent = name === undefined ? undefined : this.findGroup(chapter, name)
      if (parent === undefined) continue
      this.#extended.set(group, parent)
      const trail = [group, ...this.#above(group)]
      if (trail.at(-1) === group && trail.length > 1) {
        chapter.report('extends-cycle', [...group.path, 'extends'], `groups extend each other: ${trail.map((step) => step.name).join(' → ')}`)
        this.#extended.delete(group)
      }
    }
  }

  /** What a group extends, and what that extends; ends early where it comes back to the group. */
  #above(group: GroupDeclaration): GroupDeclaration[] {
    const found: GroupDeclaration[] = []
    for (let above = this.#extended.get(group); above !== undefined; above = above === group ? undefined : this.#extended.get(above))
      found.push(above)
    return found
  }

  /** The id space of a group: itself, those that extend it, and those that it extends. */
  family(group: GroupDeclaration): GroupDeclaration[] {
    const below = [...this.#extended.keys()].filter((other) => this.#above(other).includes(group))
    return [group, ...below, ...this.#above(group)]
  }

  /** A group and those that extend it. */
  withExtensions(group: GroupDeclaration): GroupDeclaration[] {
    return [group, ...[...this.#extended.keys()].filter((other) => this.#above(other).includes(group))]
  }

  parent(group: GroupDeclaration): GroupDeclaration | undefined {
    return this.#extended.get(group)
  }

  chapter(name: string): ChapterScope {
    return this.chapters.get(name) as ChapterScope
  }

  /** The struct a name stands for in a chapter. */
  findStruct(chapter: ChapterScope, name: string): StructDeclaration | undefined {
    return firstOf(chapter, ({ structs }) => structs.get(name))
  }

  /** The struct a name stands for; a name that nothing or more than one thing has is reported. */
  requireStruct(chapter: ChapterScope, name: string, path: Path, target?: Target): StructDeclaration | undefined {
    const found = this.findStruct(chapter, name)
    if (found === undefined)
      chapter.reportUnknown('unknown-struct', name, path, `no struct is named "${name}"`, didYouMean(name, this.structNames(chapter)), target)
    this.checkAmbiguous(chapter, name, ({ structs }) => structs.get(name), path, target)
    return found
  }

  /** Names of structs in reach, for hints. */
  structNames(chapter: ChapterScope): string[] {
    return chapter.reach.flatMap((reach) => [...reach.structs.keys()])
  }

  findGroup(chapter: ChapterScope, name: string): GroupDeclaration | undefined {
    return firstOf(chapter, ({ groups }) => groups.get(name))
  }

  /** The group a field names, reported when it does not exist. */
  requireGroup(chapter: ChapterScope, name: string | undefined, path: Path): Reference | undefined {
    if (name === undefined) return undefined
    const found = this.findGroup(chapter, name)
    if (found === undefined) {
      const hint = didYouMean(
        name,
        chapter.reach.flatMap((reach) => [...reach.groups.keys()]),
      )
      chapter.reportUnknown('unknown-group', name, path, `no group of constants is named "${name}"`, hint)
      return undefined
    }
    this.checkAmbiguous(chapter, name, ({ groups }) => groups.get(name), path)
    return { chapter: found.chapter.name, name }
  }

  /** The groups a field names, one or several. */
  requireGroups(chapter: ChapterScope, names: Names | undefined, path: Path): Reference[] {
    return list(names).flatMap((name, index) => this.requireGroup(chapter, name, Array.isArray(names) ? [...path, index] : path) ?? [])
  }

  /** A chapter's own names come first; of two chapters it uses, none does. */
  checkAmbiguous(chapter: ChapterScope, name: string, select: (reach: ChapterScope) => unknown, path: Path, target?: Target): void {
    if (select(chapter) !== undefined) return
    const found = chapter.reach.filter((reach) => select(reach) !== undefined)
    if (found.length < 2) return
    const where = found.map((reach) => reach.name).join(' and ')
    chapter.report('ambiguous-name', path, `"${name}" stands in ${where}`, 'a chapter can use only one of them', target)
  }
}

function firstOf<T>(chapter: ChapterScope, select: (reach: ChapterScope) => T | undefined): T | undefined {
  for (const reach of chapter.reach) {
    const found = select(reach)
    if (found !== undefined) return found
  }
  return undefined
}

function structAttributes(struct: StructAst): StructAttributes {
  return Array.isArray(struct) ? { fields: struct } : struct
}

function groupAttributes(group: GroupAst): GroupAttributes {
  return isLongGroup(group) ? group : { values: group }
}

/** The items of a list, each a mapping with one key. What was left out of a file is a hole in the list and is passed over. */
export function items<T>(list: readonly Entry<T>[] | undefined): { index: number; name: string; value: T }[] {
  const found: { index: number; name: string; value: T }[] = []
  list?.forEach((entry, index) => {
    // A list that has been copied holds undefined in place of a hole.
    if (entry === undefined) return
    const [name, value] = Object.entries(entry)[0] as [string, T]
    found.push({ index, name, value })
  })
  return found
}

/** A member in its long form. */
export function memberAttributes(member: MemberAst): MemberAttributes {
  return typeof member === 'string' ? { type: member } : member
}

/** A list where one or many names may stand. */
export function list<T>(value: T | T[] | undefined): T[] {
  return value === undefined ? [] : Array.isArray(value) ? value : [value]
}
