/** YAML to model: names, types, packed offsets, conditions and queue numbers. Every problem is collected. */
import type { Diagnostic } from '../diagnostic.ts'
import { evaluate } from '../evaluate.ts'
import type { Loaded } from '../load.ts'
import type { Chapter, DeviceId, Kind, Let, Model, Queue, SharedMemory } from '../model.ts'
import { className, identifier, reservedWords, usedGlobals } from '../names.ts'
import type { Path } from '../source.ts'
import { resolveGroups } from './constants.ts'
import { resolveFeatures } from './features.ts'
import { Layouts } from './layouts.ts'
import { Messages } from './messages.ts'
import { Names } from './names.ts'
import { type ChapterScope, list, onlyEntry, Workspace } from './workspace.ts'

export interface Resolved {
  /** Incomplete where there are problems. */
  model: Model
  /** In the order of files and lines. */
  problems: Diagnostic[]
}

const kindOrder: readonly Kind[] = ['common', 'ring', 'transport', 'device', 'protocol', 'external']

/** Resolves what was loaded. */
export function resolve(loaded: Loaded): Resolved {
  const workspace = new Workspace(loaded.files)
  const names = new Names(workspace)
  const layouts = new Layouts(workspace, names)
  const messages = new Messages(workspace, names, layouts)
  const scopes = [...workspace.chapters.values()].sort(byKindAndName)
  const chapters = scopes.map((scope) => resolveChapter(scope, workspace, names, layouts, messages))
  layouts.checkDeclaredOffsets()
  const devices = resolveDevices(scopes)
  for (const scope of scopes) checkNames(scope, chapters)
  const problems = [...loaded.problems, ...loaded.sources.flatMap((source) => source.problems)].sort(byPlace)
  return { model: { version: '1.4', source: 'oasis-1.4', devices, chapters }, problems: unique(problems) }
}

function resolveChapter(scope: ChapterScope, workspace: Workspace, names: Names, layouts: Layouts, messages: Messages): Chapter {
  const { ast, source } = scope
  const features = resolveFeatures(workspace, names, scope)
  const groups = resolveGroups(workspace, names, scope)
  const registers = []
  for (const declaration of scope.structs.values()) {
    const struct = layouts.struct(declaration)
    if (struct && declaration.section === 'registers') registers.push(struct)
  }
  const resolvedMessages = messages.resolve(scope)
  const configs = Object.keys(ast.config ?? {})
  if (configs.length > 1) scope.report('duplicate-name', ['config', configs[1] as string], '`config` holds exactly one struct', 'structs inside it stand in `structs`', 'key')
  const chapter: Chapter = {
    ...scope.origin({ ...(ast.doc === undefined ? {} : { doc: ast.doc }) }),
    kind: ast.kind,
    name: ast.name,
    title: ast.title ?? ast.name,
    file: source.path,
    builtin: source.builtin,
    uses: (ast.uses ?? []).filter((name) => workspace.chapters.has(name)),
    headers: list(ast.header),
    lets: resolveLets(scope, names),
    features,
    rules: (ast.rules ?? []).flatMap((rule, index) => names.expression(rule, ['rules', index], { chapter: scope }) ?? []),
    groups,
    structs: inDeclarationOrder(scope, layouts),
    registers,
    queues: resolveQueues(scope, workspace, names),
    messages: resolvedMessages,
    sharedMemory: resolveSharedMemory(scope, names),
    errata: (ast.errata ?? []).map((erratum) => ({ ...scope.origin(erratum), at: erratum.at, text: erratum.text, truth: erratum.truth, why: erratum.why })),
    vectors: (ast.vectors ?? []).flatMap((vector, index) => resolveVector(scope, workspace, vector, ['vectors', index])),
  }
  if (ast.id !== undefined) chapter.id = ast.id
  else if (ast.kind === 'device') scope.report('missing-key', ['name'], 'a device needs an `id`', undefined, 'key')
  if (configs[0] !== undefined) chapter.config = configs[0]
  return chapter
}

/** Structs as they are written, the nested ones before those around them; frames of messages come last. */
function inDeclarationOrder(scope: ChapterScope, layouts: Layouts): Chapter['structs'] {
  return [...(layouts.byChapter.get(scope.name) ?? [])]
}

function resolveLets(scope: ChapterScope, names: Names): Let[] {
  return Object.entries(scope.ast.let ?? {}).map(([name, value]) => {
    if (value === 'caller') return { ...scope.origin(), name }
    const tree = names.letTree(scope, name)
    return tree ? { ...scope.origin(), name, value: { text: String(value), tree } } : { ...scope.origin(), name }
  })
}

function resolveQueues(scope: ChapterScope, workspace: Workspace, names: Names): Queue[] {
  const indices = new Map<bigint, string>()
  const seen = new Set<string>()
  return (scope.ast.queues ?? []).flatMap((entry, position) => {
    const [name, ast] = onlyEntry(entry)
    const path: Path = ['queues', position, name]
    if (seen.has(name)) scope.report('duplicate-name', path, `the queue "${name}" stands twice`, undefined, 'key')
    seen.add(name)
    const each = names.range(ast.each, [...path, 'each'], { chapter: scope })
    const index = names.expression(ast.index, [...path, 'index'], { chapter: scope, index: each !== undefined })
    if (index === undefined) return []
    const queue: Queue = { ...scope.origin(ast), name, index }
    if (each) queue.each = each
    const first = evaluate(index.tree, each ? { index: evaluate(each[0].tree) } : {})
    const other = first === undefined ? undefined : indices.get(first)
    if (other !== undefined) scope.report('duplicate-queue', [...path, 'index'], `"${name}" has the index of "${other}", ${first}`)
    if (first !== undefined) indices.set(first, name)
    const when = names.expression(ast.when, [...path, 'when'], { chapter: scope })
    if (when) queue.when = when
    if (ast.spec !== undefined) queue.spec = ast.spec
    if (ast.carries !== undefined) {
      const carrier = scope.reach.find((chapter) => Object.hasOwn(chapter.messages, ast.carries as string))
      if (carrier) queue.carries = { chapter: carrier.name, name: ast.carries }
      else scope.report('unknown-message', [...path, 'carries'], `no message is named "${ast.carries}"`)
    }
    void workspace
    return [queue]
  })
}

function resolveSharedMemory(scope: ChapterScope, names: Names): SharedMemory[] {
  const regions: SharedMemory[] = []
  for (const [name, ast] of Object.entries(scope.ast.shared_memory ?? {})) {
    const path: Path = ['shared_memory', name]
    const attributes = typeof ast === 'object' ? ast : { id: ast }
    const range = /^(\w+) \.\. (\w+)$/.exec(String(attributes.id))
    const from = range ? Number(range[1]) : Number(names.number(attributes.id, path, scope))
    const region: SharedMemory = { ...scope.origin(attributes), name, id: from }
    if (range) region.to = Number(range[2])
    const last = region.to ?? region.id
    if (!(from >= 0 && last <= 255 && from <= last)) scope.report('value-range', path, `the shared memory id ${attributes.id} is not between 0 and 255`)
    if (regions.some((other) => other.id <= last && from <= (other.to ?? other.id))) scope.report('overlap', path, `the id of "${name}" belongs to another region`, undefined, 'key')
    const when = names.expression(attributes.when, [...path, 'when'], { chapter: scope })
    if (when) region.when = when
    regions.push(region)
  }
  return regions
}

function resolveVector(scope: ChapterScope, workspace: Workspace, ast: NonNullable<ChapterScope['ast']['vectors']>[number], path: Path): Chapter['vectors'] {
  const message = Object.hasOwn(scope.messages, ast.of) ? { chapter: scope, name: ast.of } : undefined
  const declaration = workspace.findStruct(scope, ast.of) ?? message
  if (declaration === undefined) {
    scope.report('unknown-struct', [...path, 'of'], `no struct is named "${ast.of}"`)
    return []
  }
  const bytes = typeof ast.bytes === 'string' ? ast.bytes.replaceAll(/\s+/g, '') : undefined
  if (bytes === undefined || !/^([0-9a-fA-F]{2})*$/.test(bytes)) {
    scope.report('wrong-type', [...path, 'bytes'], 'expected pairs of hexadecimal digits', 'quote them: YAML reads digits alone as a number')
    return []
  }
  const context: Chapter['vectors'][number]['context'] = {}
  if (ast.features) context.features = ast.features
  if (ast.config) context.config = ast.config
  if (ast.queue_size !== undefined) context.queueSize = ast.queue_size
  if (ast.given) context.given = ast.given
  return [
    {
      ...scope.origin(ast),
      of: { chapter: declaration.chapter.name, name: ast.of },
      ...(ast.part === undefined ? {} : { part: ast.part }),
      bytes: bytes.toLowerCase(),
      value: ast.value,
      context,
    },
  ]
}

/** The table of ids: that of the common chapter, and devices that came beside it. */
function resolveDevices(scopes: readonly ChapterScope[]): DeviceId[] {
  const devices = new Map<number, DeviceId & { scope: ChapterScope }>()
  const names = new Map<string, number>()
  const add = (scope: ChapterScope, path: Path, device: DeviceId): void => {
    const other = devices.get(device.id)
    if (other) scope.report('duplicate-id', path, `the id ${device.id} belongs to "${other.name}" (${other.title})`, 'ids are assigned by the specification; see the table in content.yaml')
    else devices.set(device.id, { ...device, scope })
    names.set(device.name, device.id)
  }
  for (const scope of scopes) {
    for (const [name, { id, title, linux }] of Object.entries(scope.ast.devices ?? {})) {
      const path: Path = ['devices', name]
      add(scope, [...path, 'id'], { id, name, title, linux: scope.linux(name, path, linux === undefined ? { linux: 'none' } : { linux }) })
    }
  }
  for (const scope of scopes) {
    const { id, name, title } = scope.ast
    if (id === undefined) continue
    const listed = names.get(name)
    if (listed === undefined) add(scope, ['id'], { id, name, title: title ?? name, linux: { name: null } })
    else if (listed !== id) scope.report('duplicate-id', ['id'], `"${name}" has the id ${id}, the table of ids says ${listed}`)
  }
  return [...devices.values()].map(({ scope: _, ...device }) => device).sort((a, b) => a.id - b.id)
}

/** Names that the generated module of a chapter exports. */
function checkNames(scope: ChapterScope, chapters: readonly Chapter[]): void {
  const chapter = chapters.find(({ name }) => name === scope.name) as Chapter
  const seen = new Map<string, string>()
  const claim = (name: string, original: string, path: Path): void => {
    const other = seen.get(name)
    if (other !== undefined) scope.report('name-collision', path, `"${other}" and "${original}" both become "${name}"`, undefined, 'key')
    if (reservedWords.has(name) || usedGlobals.has(name)) scope.report('reserved-word', path, `"${original}" becomes "${name}", which TypeScript or the generated code needs`, undefined, 'key')
    seen.set(name, original)
  }
  for (const struct of [...chapter.structs, ...chapter.registers]) {
    const section = (['structs', 'config', 'registers', 'messages'] as const).find((key) => Object.hasOwn(scope.ast[key] ?? {}, struct.name))
    const path: Path = section ? [section, struct.name] : struct.within ? structPath(scope, struct.within.struct) : []
    if (struct.role === 'registers') claim(identifier(struct.name), struct.name, path)
    else for (const part of struct.twoPart ? ['Readable', 'Writable'] : ['']) claim(className(struct.name) + part, struct.name, path)
  }
  for (const feature of chapter.features) claim(identifier(feature.name), feature.name, ['features', feature.name])
  for (const group of chapter.groups) if (group.constants.length > 0) claim(identifier(group.name), group.name, ['constants', group.name])
}

function structPath(scope: ChapterScope, name: string): Path {
  const section = (['structs', 'config', 'registers', 'messages'] as const).find((key) => Object.hasOwn(scope.ast[key] ?? {}, name))
  return section ? [section, name] : []
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
