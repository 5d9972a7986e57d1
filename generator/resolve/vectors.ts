/** Test vectors and errata: that what they are about exists. */
import type { VectorAst } from '../ast.ts'
import { didYouMean } from '../diagnostic.ts'
import type { Aspect, Chapter, Erratum, Member, Message, Struct, Vector } from '../model.ts'
import type { Path } from '../source.ts'
import type { Layouts } from './layouts.ts'
import { originOf } from './origin.ts'
import type { ChapterScope } from './workspace.ts'

/** What bytes can be of: a struct, or a request or event, which has two parts and needs what the program binds. */
type Subject = Pick<Struct, 'name' | 'chapter' | 'twoPart' | 'given'>

function resolveVector(scope: ChapterScope, layouts: Layouts, messages: readonly Message[], ast: VectorAst, path: Path): Vector | undefined {
  const struct = findSubject(scope, layouts, messages, ast)
  if (struct === undefined) {
    const requests = messages.flatMap((message) => message.requests.map(({ name }) => `${message.name}.${name}`))
    const names = [...layouts.workspace.structNames(scope), ...Object.keys(scope.messages), ...requests]
    scope.reportUnknown('unknown-struct', ast.of, [...path, 'of'], `no struct is named "${ast.of}"`, didYouMean(ast.of, names))
  } else checkStruct(scope, ast, struct, path)
  checkContext(scope, layouts, ast, path)
  const bytes = typeof ast.bytes === 'string' ? ast.bytes.replaceAll(/\s+/g, '') : ''
  const isHex = typeof ast.bytes === 'string' && /^([0-9a-fA-F]{2})*$/.test(bytes)
  if (!isHex)
    scope.report('wrong-type', [...path, 'bytes'], 'expected pairs of hexadecimal digits', 'quote them: YAML reads digits alone as a number')
  if (struct === undefined || !isHex) return undefined
  return {
    ...originOf(scope.origin, ast),
    of: { chapter: struct.chapter, name: ast.of },
    ...(ast.cites === undefined ? {} : { cites: ast.cites }),
    ...(ast.part === undefined ? {} : { part: ast.part }),
    bytes: bytes.toLowerCase(),
    value: ast.value,
    context: {
      ...(ast.features ? { features: ast.features } : {}),
      ...(ast.config ? { config: ast.config } : {}),
      ...(ast.queue_size === undefined ? {} : { queueSize: ast.queue_size }),
      ...(ast.caller ? { caller: ast.caller } : {}),
      ...(ast.given ? { given: ast.given } : {}),
    },
  }
}

function findSubject(scope: ChapterScope, layouts: Layouts, messages: readonly Message[], { of: name, part }: VectorAst): Subject | undefined {
  const [messageName, requestName] = name.split('.')
  if (requestName === undefined) return findStruct(scope, layouts, name)
  const message = messages.find((candidate) => candidate.name === messageName)
  const request = message?.requests.find((candidate) => candidate.name === requestName)
  const given = request?.members.filter((member) => member.part === part).flatMap((member) => boundByProgram(member, layouts))
  return message && given ? { name, chapter: message.chapter, twoPart: true, given } : undefined
}

/** The `given` names of a member that are bound to `caller`. */
function boundByProgram({ type, with: bound }: Member, layouts: Layouts): Struct['given'] {
  const inside = type.kind === 'group' ? type.members.flatMap((inner) => boundByProgram(inner, layouts)) : []
  const reference = type.kind === 'group' ? type.struct : type.kind === 'struct' ? type : undefined
  const names = (reference && layouts.find(reference)?.given) ?? []
  return [...inside, ...names.filter(({ name }) => bound === 'caller' || bound?.[name] === 'caller')]
}

/** A struct that is declared, or the frame of a message or of one of its requests. */
function findStruct(scope: ChapterScope, layouts: Layouts, name: string): Struct | undefined {
  const declaration = layouts.workspace.findStruct(scope, name)
  return declaration ? layouts.struct(declaration) : layouts.byChapter.get(scope.name)?.find((struct) => struct.name === name)
}

/** The part that the bytes are of, and what the layout needs from outside. */
function checkStruct(scope: ChapterScope, ast: VectorAst, struct: Subject, path: Path): void {
  if (struct.twoPart && ast.part === undefined)
    scope.report('missing-key', path, `"${struct.name}" has two parts: \`part\` is missing`, '`readable` or `writable`', 'key')
  if (!struct.twoPart && ast.part !== undefined)
    scope.report('misplaced-attribute', [...path, 'part'], `"${struct.name}" has no parts`, undefined, 'key')
  const given = [...struct.given.map(({ name }) => name), ...(ast.part === 'writable' ? ['readable'] : [])]
  for (const name of Object.keys(ast.given ?? {})) {
    if (!given.includes(name))
      scope.report('unknown-given', [...path, 'given', name], `"${struct.name}" does not need "${name}"`, didYouMean(name, given), 'key')
  }
  const missing = struct.given.map(({ name }) => name).filter((name) => !Object.hasOwn(ast.given ?? {}, name))
  const at = ast.given ? [...path, 'given'] : path
  if (missing.length > 0) scope.report('missing-given', at, `"${struct.name}" needs ${missing.join(', ')} from outside`, 'add it to `given`', 'key')
}

/** What the vector assumes of its surroundings. */
function checkContext(scope: ChapterScope, layouts: Layouts, ast: VectorAst, path: Path): void {
  ast.features?.forEach((name, index) => {
    if (layouts.names.feature(name, scope)) return
    const names = scope.reach.flatMap((chapter) => Object.keys(chapter.ast.features ?? {}))
    scope.reportUnknown('unknown-name', name, [...path, 'features', index], `no feature is named "${name}"`, didYouMean(name, names))
  })
  for (const name of Object.keys(ast.config ?? {})) {
    const found = layouts.names.field(['config', name], { chapter: scope })
    if (found?.info) continue
    const hint = didYouMean(name, found?.candidates ?? [])
    scope.reportUnknown('unknown-field', name, [...path, 'config', name], `the configuration space has no field "${name}"`, hint, 'key')
  }
}

export function resolveErrata(scope: ChapterScope, layouts: Layouts, messages: readonly Message[]): Erratum[] {
  const requests = new Set(messages.flatMap((message) => message.requests.map((request) => `${message.name}.${request.name}`)))
  const check = (at: string, path: Path): void => {
    const [name, ...steps] = at.split('.') as [string, ...string[]]
    const struct = steps.length > 0 && !requests.has(at) ? findStruct(scope, layouts, name) : undefined
    // A name without a struct is something of the text: a queue, a constant, a sentence.
    if (struct) checkField(scope, layouts, struct, steps, path, name.length + 1)
  }
  return (scope.ast.errata ?? []).flatMap((ast, index) => {
    const { text, truth, why } = ast
    const departs = [ast.departs ?? []].flat() as Aspect[]
    return [ast.at].flat().map((at, position): Erratum => {
      const path = ['errata', index, 'at']
      check(at, Array.isArray(ast.at) ? [...path, position] : path)
      return { ...originOf(scope.origin, ast), at, departs, text, truth, why }
    })
  })
}

function checkField(scope: ChapterScope, layouts: Layouts, struct: Struct, steps: readonly string[], path: Path, offset: number): void {
  let members: readonly Member[] = struct.members
  let at = offset
  for (const step of steps) {
    const names = new Map(members.flatMap((member) => namesAt(member, layouts)))
    const inside = names.get(step)
    if (inside === undefined) {
      scope.reportUnknown('unknown-field', step, path, `"${struct.name}" has no field "${steps.join('.')}"`, didYouMean(step, names.keys()), {
        offset: at,
        length: step.length,
      })
      return
    }
    members = inside()
    at += step.length + 1
  }
}

/** Names that a member gives its struct, each with what is inside. */
function namesAt(member: Member, layouts: Layouts): [string, () => readonly Member[]][] {
  const { type, name } = member
  const none = (): readonly Member[] => []
  if (type.kind === 'group') return type.members.flatMap((inner) => namesAt(inner, layouts))
  if (type.kind === 'bits' && name === '') return type.fields.map((field) => [field.name, none])
  if (type.kind === 'union' && name === '') return type.arms.flatMap((arm) => namesAt(arm, layouts))
  if (type.kind === 'union') return [[name, () => type.arms]]
  if (type.kind === 'struct') return [[name, () => layouts.find(type)?.members ?? []]]
  if (type.kind === 'bits') return [[name, () => type.fields.map((field) => ({ ...member, name: field.name, type: type.container }))]]
  return [[name, none], ...(member.pair ? [[member.pair.name, none] as [string, () => readonly Member[]]] : [])]
}

export function resolveVectors(scope: ChapterScope, layouts: Layouts, messages: readonly Message[]): Chapter['vectors'] {
  return (scope.ast.vectors ?? []).flatMap((vector, index) => resolveVector(scope, layouts, messages, vector, ['vectors', index]) ?? [])
}
