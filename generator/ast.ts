/** The types of a YAML file as the schema lets it through. Names and meanings are not checked yet. */

export type Num = number | bigint
/** A number, or an expression that gives one. */
export type Value = Num | string
export type Names = string | string[]
export type Entry<T> = Record<string, T>

export interface OriginAst {
  source?: string
  section?: string
  since?: string
  doc?: string
}

/** A name whose value the program may say. */
export interface LetAst extends OriginAst {
  default: number
}

export type LinuxAst = string | { name?: string; value?: Value; size?: number; why?: string }
export type Legacy = 'native' | 'same'

export interface BitAttributes {
  enum?: string
  flags?: Names
  set?: string
  const?: Value
  when?: Value | boolean
  doc?: string
}
export type BitAst = number | string | ({ width: number | string } & BitAttributes) | { union: Entry<BitAst>[] }

export interface MemberAttributes extends OriginAst {
  type?: string
  struct?: Entry<MemberAst>[]
  union?: string | Entry<MemberAst>[]
  bits?: Entry<BitAst>[]
  enum?: string
  flags?: Names
  set?: string
  mask?: Value
  when?: Value | boolean
  by?: string
  is?: Value | Value[]
  size?: Value
  stride?: Value
  until?: string
  framed?: boolean
  with?: 'caller' | Record<string, Value>
  range?: string
  count?: string
  multiple?: Value
  const?: Value
  reset?: Value
  unit?: string
  access?: string
  clears?: string
  bank?: Names
  at?: Value
  pair?: { name: string; low: string }
  legacy?: Legacy
  was?: Names
  linux?: LinuxAst
  spec?: string
}
export type MemberAst = string | MemberAttributes

export interface StructAttributes extends OriginAst {
  fields?: Entry<MemberAst>[]
  readable?: Entry<MemberAst>[]
  writable?: Entry<MemberAst>[]
  given?: Record<string, string>
  by?: string
  size?: Value
  interface?: 'legacy'
  legacy?: Legacy
  was?: Names
  linux?: LinuxAst
  spec?: string
}
export type StructAst = Entry<MemberAst>[] | StructAttributes

export interface ConstantAttributes extends OriginAst {
  value: Value
  when?: Value | boolean
  holds?: string
  marker?: boolean
  alias?: boolean
  was?: Names
  linux?: LinuxAst
}
export type ConstantAst = Value | ConstantAttributes
export interface GroupAttributes extends OriginAst {
  values: Record<string, ConstantAst>
  extends?: string
  linux?: LinuxAst
}
export type GroupAst = Record<string, ConstantAst> | GroupAttributes

/** True for `{values, …}`. A constant may be named `values`; its value is then no mapping of constants. */
export function isLongGroup(group: unknown): group is GroupAttributes {
  const values = (group as { values?: unknown } | null | undefined)?.values
  return typeof values === 'object' && values !== null && !('value' in values)
}

export interface FeatureAttributes extends OriginAst {
  bit: number
  requires?: Value | boolean
  offered_with?: Value | boolean
  suggests?: Value | boolean
  assumed?: Value | boolean
  legacy?: boolean
  shares_bit?: string
  was?: Names
  linux?: LinuxAst
}

export type PartAst = string | Entry<MemberAst>[]
export interface StatusAst {
  field?: string
  ok?: Value | Value[]
  failed?: Value
  malformed?: Value
  unknown?: Value
  error?: string
}
export interface RequestAst extends OriginAst {
  is?: Value | (Value | Value[])[]
  when?: Value | boolean
  readable?: PartAst
  writable?: PartAst
  ok?: Value | Value[]
  status?: StatusAst
  length?: string
  echo?: Record<string, string>
  reply?: 'optional' | 'failures'
  rest?: 'ignored'
  struct?: string
  linux?: MessageAst['linux']
  spans?: Value | boolean
  fds?: Value | boolean
  reply_fds?: Value | boolean
}
export interface MessageAst extends OriginAst {
  by?: string | string[]
  head?: string
  echo?: Record<string, string>
  length?: string
  readable?: PartAst
  writable?: PartAst
  rest?: 'ignored'
  status?: StatusAst
  requests?: Entry<RequestAst | null>[]
  events?: Entry<RequestAst | null>[]
  linux?: LinuxAst | { readable?: string; writable?: string }
  legacy?: Legacy
}

export interface QueueAst extends OriginAst {
  index: Value | boolean
  each?: string
  when?: Value | boolean
  carries?: string
  spec?: string
}

export interface VectorAst extends OriginAst {
  of: string
  cites?: string
  part?: 'readable' | 'writable'
  bytes: Value
  value: unknown
  features?: string[]
  config?: Record<string, unknown>
  queue_size?: number
  caller?: Record<string, number>
  given?: Record<string, unknown>
}

export interface FileAst extends OriginAst {
  kind: 'device' | 'common' | 'ring' | 'transport' | 'protocol' | 'external'
  name: string
  title?: string
  id?: number
  uses?: string[]
  legacy?: Legacy
  header?: Names
  left_out?: Record<string, string>
  let?: Record<string, Value | boolean | LetAst>
  devices?: Record<string, { id: number; title: string; linux?: LinuxAst }>
  features?: Record<string, number | FeatureAttributes>
  rules?: string[]
  constants?: Record<string, GroupAst>
  structs?: Record<string, StructAst>
  config?: Record<string, StructAst>
  registers?: Record<string, StructAst>
  queues?: Entry<QueueAst>[]
  messages?: Record<string, MessageAst>
  shared_memory?: Record<string, number | string | ({ id: number | string; when?: Value | boolean } & OriginAst)>
  errata?: ({ at: string | string[]; departs?: string | string[]; text: string; truth: string; why: string } & OriginAst)[]
  vectors?: VectorAst[]
}
