/** Names of fields in reach of an expression, read off the YAML before any layout is computed: lengths and `by` may name fields behind them. */
import type { BitAst, Entry, MemberAst, Names } from '../ast.ts'
import { type ChapterScope, list, memberAttributes, onlyEntry, type StructDeclaration, type Workspace } from './workspace.ts'

/** A field that an expression can name. */
export interface FieldInfo {
  name: string
  /** Groups its constants come from. */
  groups: string[]
  /** The one among them whose constants are numbers of bits. */
  set?: string | undefined
  /** Where those groups are looked up. */
  chapter: ChapterScope
  /** Fields inside, for dotted paths. */
  nested?: (() => Shape) | undefined
  /** True for arrays and open payloads, which have no value in an expression. */
  plural: boolean
}

/** The fields of one level. */
export type Shape = ReadonlyMap<string, FieldInfo>

/** The shape of a list of members. */
export function shapeOf(workspace: Workspace, chapter: ChapterScope, members: readonly Entry<MemberAst>[] | undefined, depth = 0): Shape {
  const fields = new Map<string, FieldInfo>()
  if (depth > 32) return fields
  for (const entry of members ?? []) {
    const [key, ast] = onlyEntry(entry)
    const attributes = memberAttributes(ast)
    const name = key.split('[')[0] as string
    const nested = nestedShape(workspace, chapter, attributes, depth + 1)
    if (name === '_') {
      for (const [inner, info] of nested?.() ?? []) if (!fields.has(inner)) fields.set(inner, info)
    } else if (!fields.has(name)) {
      fields.set(name, {
        name,
        groups: groupsOf(attributes),
        set: attributes.set,
        chapter,
        nested,
        plural: key.includes('[') || attributes.type === 'bytes' || attributes.type === 'body',
      })
    }
    // Joined registers can be named too.
    if (attributes.pair && !fields.has(attributes.pair.name)) {
      fields.set(attributes.pair.name, { name: attributes.pair.name, groups: groupsOf(attributes), set: attributes.set, chapter, plural: false })
    }
  }
  return fields
}

/** The shape of a struct, of one part of it where it has two. */
export function shapeOfStruct(workspace: Workspace, declaration: StructDeclaration, depth = 0): Shape {
  const { attributes, chapter } = declaration
  const members = attributes.fields ?? [...(attributes.readable ?? []), ...(attributes.writable ?? [])]
  return shapeOf(workspace, chapter, members, depth)
}

function nestedShape(
  workspace: Workspace,
  chapter: ChapterScope,
  attributes: ReturnType<typeof memberAttributes>,
  depth: number,
): (() => Shape) | undefined {
  const { struct, union, bits, type } = attributes
  if (struct) return () => shapeOf(workspace, chapter, struct, depth)
  if (Array.isArray(union)) return () => shapeOf(workspace, chapter, union, depth)
  if (bits) return () => shapeOfBits(chapter, bits)
  const declaration = type === undefined ? undefined : workspace.findStruct(chapter, type)
  return declaration && (() => shapeOfStruct(workspace, declaration, depth))
}

function shapeOfBits(chapter: ChapterScope, bits: readonly Entry<BitAst>[]): Shape {
  const fields = new Map<string, FieldInfo>()
  for (const entry of bits) {
    const [name, ast] = onlyEntry(entry)
    if (typeof ast === 'object' && 'union' in ast) {
      for (const [inner, info] of shapeOfBits(chapter, ast.union)) fields.set(inner, info)
    } else if (name !== '_') {
      fields.set(name, { name, ...(typeof ast === 'object' ? { groups: groupsOf(ast), set: ast.set } : { groups: [] }), chapter, plural: false })
    }
  }
  return fields
}

function groupsOf(attributes: { enum?: string; flags?: Names; set?: string; union?: unknown }): string[] {
  return [...list(attributes.enum), ...list(attributes.flags), ...list(attributes.set)]
}

/** The field at a dotted path. */
export function fieldAt(shape: Shape, path: readonly string[]): FieldInfo | undefined {
  let level: Shape | undefined = shape
  let field: FieldInfo | undefined
  for (const step of path) {
    field = level?.get(step)
    if (field === undefined) return undefined
    level = field.nested?.()
  }
  return field
}
