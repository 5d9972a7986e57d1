/** YAML to model: names, types, packed offsets, conditions and queue numbers. Every problem is collected. */
import type { Diagnostic } from '../diagnostic.ts'
import type { Loaded } from '../load.ts'
import type { Chapter, Condition, Kind, Let, Model, Struct } from '../model.ts'
import type { SourceFile } from '../source.ts'
import { resolveGroups } from './constants.ts'
import { resolveDevices } from './devices.ts'
import { checkExports } from './exports.ts'
import { Expressions } from './expressions.ts'
import { checkRequirements, isOverFeatures, resolveFeatures } from './features.ts'
import { checkGeneratedNames } from './generated-names.ts'
import { checkOwnName, Layouts } from './layouts.ts'
import { Messages } from './messages.ts'
import { Names } from './names.ts'
import { originOf } from './origin.ts'
import { resolveQueues } from './queues.ts'
import { resolveSharedMemory } from './shared-memory.ts'
import { resolveErrata, resolveVectors } from './vectors.ts'
import { type ChapterScope, list, Workspace } from './workspace.ts'

export interface Resolved {
  /** Incomplete where there are problems. */
  model: Model
  /** In the order of files and lines. */
  problems: Diagnostic[]
}

const kindOrder: readonly Kind[] = ['common', 'ring', 'transport', 'device', 'protocol', 'external']

/** Resolves what was loaded. */
export function resolve(loaded: Loaded): Resolved {
  const workspace = new Workspace(loaded.files, brokenChapters(loaded))
  const names = new Names(workspace)
  const expressions = new Expressions(workspace, names, (declaration) => layouts.sizeOf(declaration))
  const layouts = new Layouts(workspace, names, expressions)
  const messages = new Messages(layouts)
  const scopes = [...workspace.chapters.values()].sort(byKindAndName)
  const resolved = new Map(usedFirst(scopes, workspace).map((scope) => [scope, resolveChapter(scope, layouts, messages)]))
  const chapters = scopes.map((scope) => resolved.get(scope) as Chapter)
  const devices = resolveDevices(scopes)
  checkRequirements(chapters, (name) => workspace.chapter(name))
  for (const chapter of chapters) checkExports(workspace.chapter(chapter.name), chapter, layouts)
  const model: Model = { version: '1.4', source: 'oasis-1.4', devices, chapters }
  const isSound = loaded.problems.length === 0 && loaded.sources.every(({ problems }) => problems.length === 0)
  if (isSound) checkGeneratedNames(model, (name) => workspace.chapter(name))
  const problems = [...loaded.problems, ...loaded.sources.flatMap((source) => source.problems)].sort(byPlace)
  return { model, problems: unique(problems) }
}

/** A chapter behind those that it uses: the order of a chapter's structs must not depend on which other chapters are there. */
function usedFirst(scopes: readonly ChapterScope[], workspace: Workspace): ChapterScope[] {
  const order = new Set<ChapterScope>()
  const visited = new Set<ChapterScope>()
  const visit = (scope: ChapterScope): void => {
    if (visited.has(scope)) return
    visited.add(scope)
    for (const name of scope.ast.uses ?? []) {
      const used = workspace.chapters.get(name)
      if (used) visit(used)
    }
    order.add(scope)
  }
  for (const scope of scopes) visit(scope)
  return [...order]
}

/** Files that cannot be used: names that they may hold are not reported as unknown. */
function brokenChapters({ files, sources }: Loaded): { name: string; kind: string }[] {
  const usable = new Set(files.map(({ source }) => source))
  return sources.filter((source) => !usable.has(source)).map(chapterOf)
}

/** What a file says that it describes, or what its place in the folder says. */
function chapterOf({ value, path }: SourceFile): { name: string; kind: string } {
  const { name, kind } = (typeof value === 'object' ? (value ?? {}) : {}) as { name?: unknown; kind?: unknown }
  const steps = path.replace(/\.ya?ml$/, '').split('/')
  return { name: typeof name === 'string' ? name : (steps.at(-1) ?? ''), kind: typeof kind === 'string' ? kind : (steps.at(-2) ?? '') }
}

function resolveChapter(scope: ChapterScope, layouts: Layouts, messages: Messages): Chapter {
  const { ast, source } = scope
  const { workspace, expressions } = layouts
  const features = resolveFeatures(workspace, expressions, scope)
  const groups = resolveGroups(workspace, expressions, scope)
  const registers = resolveStructs(scope, layouts)
  const resolvedMessages = messages.resolve(scope)
  const config = configOf(scope)
  const structs = [...(layouts.byChapter.get(scope.name) ?? [])]
  return {
    ...scope.origin,
    ...(ast.doc === undefined ? {} : { doc: ast.doc }),
    kind: ast.kind,
    name: ast.name,
    title: ast.title ?? ast.name,
    ...(ast.id === undefined ? {} : { id: ast.id }),
    file: source.path,
    builtin: source.builtin,
    uses: (ast.uses ?? []).filter((name) => workspace.chapters.has(name)),
    headers: list(ast.header),
    leftOut: ast.left_out ?? {},
    lets: resolveLets(scope, expressions),
    features,
    rules: resolveRules(scope, expressions),
    groups,
    structs,
    ...(config === undefined ? {} : { config }),
    registers,
    queues: resolveQueues(scope, workspace, expressions),
    messages: resolvedMessages,
    sharedMemory: resolveSharedMemory(scope, expressions),
    errata: resolveErrata(scope, layouts, resolvedMessages),
    vectors: resolveVectors(scope, layouts, resolvedMessages),
  }
}

/** Resolves all structs of a chapter; gives its register blocks. */
function resolveStructs(scope: ChapterScope, layouts: Layouts): Struct[] {
  return [...scope.structs.values()].flatMap((declaration) => {
    const struct = layouts.struct(declaration)
    return struct && declaration.section === 'registers' ? [struct] : []
  })
}

function configOf(scope: ChapterScope): string | undefined {
  const [first, ...others] = Object.keys(scope.ast.config ?? {})
  for (const other of others) {
    scope.report(
      'duplicate-config',
      ['config', other],
      `\`config\` holds exactly one struct, and that is "${first}"`,
      'structs inside it stand in `structs`',
      'key',
    )
  }
  return first
}

function resolveLets(scope: ChapterScope, expressions: Expressions): Let[] {
  return Object.entries(scope.ast.let ?? {}).map(([name, value]) => {
    checkOwnName(name, ['let', name], scope)
    const tree = expressions.letTree(scope, name)
    if (typeof value === 'object') return { ...originOf(scope.origin, value), name, default: value.default }
    return value !== 'caller' && tree ? { ...scope.origin, name, value: { text: String(value), tree } } : { ...scope.origin, name }
  })
}

function resolveRules(scope: ChapterScope, expressions: Expressions): Condition[] {
  return (scope.ast.rules ?? []).flatMap((rule, index) => {
    const condition = expressions.condition(rule, ['rules', index], { chapter: scope })
    return condition && isOverFeatures(condition, scope, ['rules', index]) ? [condition] : []
  })
}

function byKindAndName(a: ChapterScope, b: ChapterScope): number {
  const kind = kindOrder.indexOf(a.ast.kind) - kindOrder.indexOf(b.ast.kind)
  return kind || (a.ast.id ?? 0) - (b.ast.id ?? 0) || (a.name < b.name ? -1 : 1)
}

function byPlace(a: Diagnostic, b: Diagnostic): number {
  return a.file < b.file ? -1 : a.file > b.file ? 1 : a.line - b.line || a.column - b.column
}

/** The same mistake is met once per use; it is reported once. */
function unique(problems: readonly Diagnostic[]): Diagnostic[] {
  const seen = new Set<string>()
  return problems.filter(({ code, file, line, column, message }) => {
    const key = JSON.stringify([code, file, line, column, message])
    return !seen.has(key) && seen.add(key)
  })
}
