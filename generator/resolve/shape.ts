/** Names of fields in reach of an expression, read off the YAML before any layout is computed: lengths and `by` may name fields behind them. */
import type { BitAst, Entry, MemberAst, MemberAttributes, Names } from '../ast.ts'
import { integerOf } from './integers.ts'
import { type ChapterScope, items, list, memberAttributes, type StructDeclaration, type Workspace } from './workspace.ts'

/** A field that an expression can name. */
export interface FieldInfo {
  name: string
  /** Only a number has a value in an expression. */
  kind: 'number' | 'array' | 'struct' | 'union' | 'bits'
  /** Width of a number, where it is known. */
  bits?: number | undefined
  /** Groups its constants come from. */
  groups: string[]
  /** The one among them whose constants are numbers of bits. */
  set?: string | undefined
  /** Where those groups are looked up. */
  chapter: ChapterScope
  /** Fields inside, for dotted paths. */
  nested?: (() => Shape) | undefined
  /** Its type, where that is a struct with a name. */
  struct?: StructDeclaration | undefined
}

/** The fields of one level. */
export type Shape = ReadonlyMap<string, FieldInfo>

/** The shape of a list of members. `inside` holds the structs whose members they already are: a struct may wrongly contain itself. */
export function shapeOf(
  workspace: Workspace,
  chapter: ChapterScope,
  members: readonly Entry<MemberAst>[] | undefined,
  inside: readonly StructDeclaration[] = [],
): Shape {
  const fields = new Map<string, FieldInfo>()
  const add = (field: FieldInfo): void => {
    if (!fields.has(field.name)) fields.set(field.name, field)
  }
  for (const { name: key, value } of items(members)) {
    const attributes = memberAttributes(value)
    const name = key.split('[')[0] as string
    const struct = attributes.type === undefined ? undefined : workspace.findStruct(chapter, attributes.type)
    const nested = nestedShape(workspace, chapter, attributes, struct, name === '_' ? inside : [])
    // What has no name belongs to its parent.
    if (name === '_') for (const field of nested?.().values() ?? []) add(field)
    else add({ name, kind: kindOf(key, attributes, struct), bits: widthOf(attributes), ...groupsOf(attributes), chapter, nested, struct })
    // Joined registers can be named too.
    if (attributes.pair) add({ name: attributes.pair.name, kind: 'number', bits: joinedWidth(attributes), ...groupsOf(attributes), chapter })
  }
  return fields
}

/** The shape of a struct, of both its parts where it has two. */
export function shapeOfStruct(workspace: Workspace, declaration: StructDeclaration, inside: readonly StructDeclaration[] = []): Shape {
  const { attributes, chapter } = declaration
  const members = attributes.fields ?? [...(attributes.readable ?? []), ...(attributes.writable ?? [])]
  return shapeOf(workspace, chapter, members, [...inside, declaration])
}

function nestedShape(
  workspace: Workspace,
  chapter: ChapterScope,
  { struct, union, bits }: MemberAttributes,
  declaration: StructDeclaration | undefined,
  inside: readonly StructDeclaration[],
): (() => Shape) | undefined {
  if (struct) return () => shapeOf(workspace, chapter, struct, inside)
  if (Array.isArray(union)) return () => shapeOf(workspace, chapter, union, inside)
  if (bits) return () => shapeOfBits(chapter, bits)
  return declaration && (() => (inside.includes(declaration) ? new Map() : shapeOfStruct(workspace, declaration, inside)))
}

function shapeOfBits(chapter: ChapterScope, bits: readonly Entry<BitAst>[]): Shape {
  const fields = new Map<string, FieldInfo>()
  for (const { name, value } of items(bits)) {
    if (typeof value === 'object' && 'union' in value) {
      for (const [inner, info] of shapeOfBits(chapter, value.union)) fields.set(inner, info)
    } else if (name !== '_') {
      const attributes = typeof value === 'object' ? value : { width: value }
      fields.set(name, { name, kind: 'number', bits: bitWidth(attributes.width).bits, ...groupsOf(attributes), chapter })
    }
  }
  return fields
}

function kindOf(key: string, { type, struct, union, bits }: MemberAttributes, declaration: StructDeclaration | undefined): FieldInfo['kind'] {
  if (key.includes('[') || type === 'bytes' || type === 'body') return 'array'
  if (bits) return 'bits'
  if (union !== undefined) return 'union'
  return struct || declaration ? 'struct' : 'number'
}

function widthOf({ type }: MemberAttributes): number | undefined {
  const integer = integerOf(type?.replace(/^reserved\s+/, ''))
  return integer && integer.bytes * 8
}

function joinedWidth(attributes: MemberAttributes): number | undefined {
  const width = widthOf(attributes)
  return width && width * 2
}

/** `3`, or `reserved 3`. */
export function bitWidth(width: number | string): { bits: number; reserved: boolean } {
  return { bits: Number(String(width).replace('reserved ', '')), reserved: typeof width === 'string' }
}

/** The groups that a field's values come from. */
export function groupsOf(attributes: { enum?: string; flags?: Names; set?: string }): Pick<FieldInfo, 'groups' | 'set'> {
  return { groups: [...list(attributes.enum), ...list(attributes.flags), ...list(attributes.set)], set: attributes.set }
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
