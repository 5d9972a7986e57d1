/** The files under resolution: what is declared where, which names a chapter may use, and the problems found. */
import type { FileAst, GroupAst, GroupAttributes, MemberAst, Entry, MessageAst, OriginAst, StructAst, StructAttributes } from '../ast.ts'
import { type Diagnostic, type DiagnosticCode, didYouMean } from '../diagnostic.ts'
import type { LoadedFile } from '../load.ts'
import type { Linux, Origin, Reference } from '../model.ts'
import type { Path, SourceFile, Target } from '../source.ts'
import { linuxOf } from './origin.ts'

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
  attributes: GroupAttributes
}

/** One file with its declarations. */
export class ChapterScope {
  readonly name: string
  readonly ast: FileAst
  readonly source: SourceFile
  readonly structs = new Map<string, StructDeclaration>()
  readonly groups = new Map<string, GroupDeclaration>()
  /** This chapter, those it uses, and the common ones, in that order. */
  reach: ChapterScope[] = []

  constructor({ ast, source }: LoadedFile) {
    this.name = ast.name
    this.ast = ast
    this.source = source
    for (const section of ['structs', 'config', 'registers'] as const) {
      for (const [name, struct] of Object.entries(ast[section] ?? {})) {
        const path: Path = [section, name]
        if (this.structs.has(name)) this.report('duplicate-name', path, `the struct "${name}" is declared twice in this chapter`, undefined, 'key')
        else this.structs.set(name, { chapter: this, name, section, path, attributes: structAttributes(struct) })
      }
    }
    for (const [name, group] of Object.entries(ast.constants ?? {})) {
      this.groups.set(name, { chapter: this, name, path: ['constants', name], attributes: groupAttributes(group) })
    }
  }

  report(code: DiagnosticCode, path: Path, message: string, hint?: string, target?: Target): void {
    this.source.report(code, path, message, hint, target)
  }

  get messages(): Record<string, MessageAst> {
    return this.ast.messages ?? {}
  }

  /** Source, section and the like of an item, given those of the items around it. */
  origin(...items: (OriginAst | undefined)[]): Origin {
    const origin: Origin = { source: this.ast.source ?? 'oasis-1.4' }
    const sections = [this.ast.section]
    for (const item of items) {
      if (item?.source !== undefined) origin.source = item.source
      if (item?.since !== undefined) origin.since = item.since
      sections.push(item?.section)
    }
    const section = sections.filter((part) => part !== undefined).join(' / ')
    if (section !== '') origin.section = section
    const doc = items.at(-1)?.doc
    if (doc !== undefined) origin.doc = doc
    return origin
  }

  linux(name: string, path: Path, item: { linux?: unknown } | undefined): Linux {
    return linuxOf(this, name, path, item?.linux as never)
  }
}

/** All chapters. */
export class Workspace {
  readonly chapters = new Map<string, ChapterScope>()

  constructor(files: readonly LoadedFile[]) {
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
    const common = [...this.chapters.values()].filter((chapter) => chapter.ast.kind === 'common')
    for (const chapter of this.chapters.values()) {
      const used = (chapter.ast.uses ?? []).flatMap((name, index) => {
        const found = this.chapters.get(name)
        if (found === undefined) {
          chapter.report('unknown-chapter', ['uses', index], `no chapter is named "${name}"`, didYouMean(name, this.chapters.keys()))
        }
        return found ?? []
      })
      chapter.reach = [...new Set([chapter, ...used, ...common])]
    }
  }

  chapter(name: string): ChapterScope {
    return this.chapters.get(name) as ChapterScope
  }

  /** The struct a name stands for in a chapter. */
  findStruct(chapter: ChapterScope, name: string): StructDeclaration | undefined {
    for (const reach of chapter.reach) {
      const found = reach.structs.get(name)
      if (found !== undefined) return found
    }
    return undefined
  }

  /** Names of structs in reach, for hints. */
  structNames(chapter: ChapterScope): string[] {
    return chapter.reach.flatMap((reach) => [...reach.structs.keys()])
  }

  findGroup(chapter: ChapterScope, name: string): GroupDeclaration | undefined {
    for (const reach of chapter.reach) {
      const found = reach.groups.get(name)
      if (found !== undefined) return found
    }
    return undefined
  }

  /** The group a field names, reported when it does not exist. */
  requireGroup(chapter: ChapterScope, name: string | undefined, path: Path): Reference | undefined {
    if (name === undefined) return undefined
    const found = this.findGroup(chapter, name)
    if (found !== undefined) return { chapter: found.chapter.name, name }
    chapter.report('unknown-group', path, `no group of constants is named "${name}"`, didYouMean(name, chapter.reach.flatMap((reach) => [...reach.groups.keys()])))
    return undefined
  }

  /** A group and those of any chapter that extend it. */
  familyOf({ chapter, name }: Reference): GroupDeclaration[] {
    return [...this.chapters.values()].flatMap((other) =>
      [...other.groups.values()].filter((group) => {
        if (group.name === name && group.chapter.name === chapter) return true
        return group.attributes.extends === name && this.findGroup(other, name)?.chapter.name === chapter
      }),
    )
  }

  get problems(): Diagnostic[] {
    return [...this.chapters.values()].flatMap((chapter) => chapter.source.problems)
  }
}

function structAttributes(struct: StructAst): StructAttributes {
  return Array.isArray(struct) ? { fields: struct } : struct
}

function groupAttributes(group: GroupAst): GroupAttributes {
  const values = (group as GroupAttributes).values
  return typeof values === 'object' && values !== null && !('value' in values) ? (group as GroupAttributes) : { values: group as GroupAttributes['values'] }
}

/** The name and the attributes of a list item with one key. */
export function onlyEntry<T>(entry: Entry<T>): [string, T] {
  return Object.entries(entry)[0] as [string, T]
}

/** A member in its long form. */
export function memberAttributes(member: MemberAst): Exclude<MemberAst, string> {
  return typeof member === 'string' ? { type: member } : member
}

/** A list where one or many names may stand. */
export function list<T>(value: T | T[] | undefined): T[] {
  return value === undefined ? [] : Array.isArray(value) ? value : [value]
}
