/**
 * The model: what `spec/` says, resolved. Plain data without classes or cycles; it prints as JSON (`virtgen model --json`, where a bigint becomes a
 * decimal string) and is the only thing an emitter reads.
 */

/** The whole description: every chapter, in the order of kinds, then of device ids or names. */
export interface Model {
  /** Version of the specification, `1.4`. */
  version: string
  /** Default source of every item, `oasis-1.4`. */
  source: string
  /** The table of device ids, ascending, those without a chapter included. */
  devices: DeviceId[]
  chapters: Chapter[]
}

export type Kind = 'common' | 'ring' | 'transport' | 'device' | 'protocol' | 'external'

/** Where an item comes from and what is to be said of it. */
export interface Origin {
  source: string
  /** Full section label, `Device Types / Block Device / Feature bits`. */
  section?: string
  since?: string
  doc?: string
}

export interface DeviceId {
  id: number
  /** The chapter's name, or the name a chapter would have. */
  name: string
  /** The specification's words for the device. */
  title: string
  linux: Linux
}

export interface Chapter extends Origin {
  kind: Kind
  name: string
  title: string
  /** Device id, for devices. */
  id?: number
  /** Path of the YAML file below its spec folder, with forward slashes. */
  file: string
  /** False when it came by `--spec`. */
  builtin: boolean
  /** Chapters whose names it uses, those of kind `common` not included. */
  uses: string[]
  /** Linux headers with the same things, `linux/virtio_blk.h`. */
  headers: string[]
  /** Names of Linux headers that are knowingly not described, or their beginning and `*`, with the reason. */
  leftOut: Record<string, string>
  lets: Let[]
  features: Feature[]
  rules: Condition[]
  groups: Group[]
  /** Structs in order of declaration; the config struct, two-part structs and the frames of messages are among them. */
  structs: Struct[]
  /** Name of the struct that is the device's configuration space. */
  config?: string
  /** Register blocks (transports). */
  registers: Struct[]
  queues: Queue[]
  messages: Message[]
  sharedMemory: SharedMemory[]
  errata: Erratum[]
  vectors: Vector[]
}

/** What Linux's headers call the item. */
export interface Linux {
  /** Its name there; null: the headers (6.12) do not have it. */
  name: string | null
  /** The value there, where it differs. */
  value?: number | bigint
  /** The size there, where it differs. */
  size?: number
  /** Why name, value or size differ. */
  why?: string
  /** Of a layout in two parts: the header's struct for each. */
  parts?: Partial<Record<Part, string>>
}

export interface Let extends Origin {
  name: string
  /** Absent: the program that uses the layout knows the value (`caller`). */
  value?: Expression
  /** The program may say another value than this one. */
  default?: number
}

export interface Feature extends Origin {
  name: string
  /** Bit number, 0–127. */
  bit: number
  legacy: boolean
  requires?: Condition
  /** What a device that offers it offers too, while a driver need not accept that. */
  offeredWith?: Condition
  suggests?: Condition
  assumed?: Condition
  /** Feature or reason for which it knowingly sits on a bit that is not free. */
  sharesBit?: string
  was: string[]
  linux: Linux
}

/** A group of constants. */
export interface Group extends Origin {
  name: string
  chapter: string
  /** The group of another chapter whose id space these values belong to. */
  extends?: { chapter: string; group: string }
  constants: Constant[]
  ranges: { from: number | bigint; to: number | bigint; owner: string }[]
  linux: Linux
}

export interface Constant extends Origin {
  name: string
  value: number | bigint
  when?: Condition
  /** Struct that the constant stands for, where it selects one. */
  holds?: Reference
  /** An end marker: its value moves with the version. */
  marker: boolean
  was: string[]
  linux: Linux
}

/** A name in a chapter. */
export interface Reference {
  chapter: string
  name: string
}

export type Part = 'readable' | 'writable'

export interface Struct extends Origin {
  name: string
  chapter: string
  /**
   * `struct`: packed, a member without its condition is absent. `config`, `registers`: fixed, such a member is meaningless. `message`: the frame of a
   * message, in two parts. `foreign`: only the size is known.
   */
  role: 'struct' | 'config' | 'registers' | 'message' | 'foreign'
  /** Name of the member of an enclosing struct that it was written in; such a struct has no name of its own in the text. */
  within?: { struct: string; member: string }
  /** In order. Those of the device-writable part follow those of the readable part. */
  members: Member[]
  /** True when the members have parts. */
  twoPart: boolean
  /** Values the layout needs from outside. */
  given: { name: string; struct?: Reference }[]
  /** Length in bytes with every conditional member present; null when it varies. */
  size: number | null
  /** `by` and `size` of a head of a list. */
  head?: { by: string[]; size: Expression }
  /** Declared total length when it is an expression. */
  length?: Expression
  /** True when it belongs to the legacy interface only. */
  legacyInterface: boolean
  legacy: 'native' | 'same'
  was: string[]
  linux: Linux
  /** The text's own declaration where it differs. */
  spec?: string
}

/** One member of a layout. */
export interface Member extends Origin {
  /** Empty for an anonymous group, union or bit container. */
  name: string
  part?: Part
  type: Type
  /** Array lengths, outermost first. */
  dims: Dim[]
  /** The writer writes 0, the reader ignores it. */
  reserved: boolean
  /** Offset from the start of the part with every conditional member present; null behind a variable member. */
  offset: number | null
  /** Length of all elements in bytes with every conditional member present; null when it varies. */
  size: number | null
  /** In config and registers: an offset that depends on something, `24 if msix else 20`. */
  at?: Expression
  when?: Condition
  /** Constants of an arm, by which the union chooses it. */
  is?: ConstantValue[]
  enum?: Reference
  flags?: Reference[]
  set?: Reference
  /** Bits of the field that hold the enum. */
  mask?: number | bigint
  /** Length of the area, whatever is in it. */
  area?: Expression
  stride?: Expression
  until?: Condition
  framed: boolean
  /** Bindings of the `given` names of its struct; `caller`: the program knows. */
  with?: 'caller' | Record<string, Expression | 'caller'>
  range?: [Expression, Expression]
  count?: [Expression, Expression]
  multiple?: Expression
  const?: number | bigint
  reset?: number | bigint
  unit?: string
  access?: Access
  /** Register whose bits a written one clears. */
  clears?: string
  /** Members that select what is seen here. */
  bank?: string[]
  /** On a high half: the joined register. */
  pair?: { name: string; low: string }
  legacy: 'native' | 'same'
  was: string[]
  linux: Linux
  /** The text's own declaration where it differs. */
  spec?: string
}

export interface Access {
  mode: 'r' | 'w' | 'rw' | 'rc'
  /** Condition under which `mode` holds; else it is readable only. */
  when?: Condition
}

export interface Dim {
  /** Number of elements, null when it varies. */
  count: number | null
  /** Absent for an open array. */
  length?: Expression
}

export type Type =
  | { kind: 'integer'; name: IntegerName; bytes: 1 | 2 | 4 | 8; endian: 'le' | 'be' | 'native' | 'none' }
  | { kind: 'bytes' }
  | { kind: 'body' }
  | { kind: 'struct'; chapter: string; name: string; size: number | null }
  | { kind: 'bits'; container: IntegerType; fields: BitField[] }
  /** `group`: one arm per constant that holds a struct; such a union is as long as the chosen arm, others as the longest. */
  | { kind: 'union'; by?: FieldPath; arms: Member[]; group?: Reference }
  /** Members at the parent's level; `struct` when they are those of a named struct. */
  | { kind: 'group'; members: Member[]; struct?: Reference }

export type IntegerType = Extract<Type, { kind: 'integer' }>
export type IntegerName = 'u8' | 'char' | 'le8' | 'le16' | 'le32' | 'le64' | 'be16' | 'be32' | 'be64' | 'u16' | 'u32' | 'u64'

export interface BitField {
  /** Empty for bits without a name. */
  name: string
  /** Lowest bit, counted from the least significant. */
  bit: number
  bits: number
  reserved: boolean
  when?: Condition
  enum?: Reference
  flags?: Reference[]
  set?: Reference
  const?: number | bigint
  doc?: string
}

export interface ConstantValue {
  name: string
  value: number | bigint
}

/** A condition or length: its text and what the text means. */
export interface Expression {
  text: string
  tree: Tree
}
export type Condition = Expression

/** A path to a field: `own` members of the struct, the `readable` part, a `given` struct, or the configuration space. */
export interface FieldPath {
  from: 'own' | 'readable' | 'given' | 'config'
  path: string[]
}

export type BinaryOperator = '+' | '-' | '*' | '/' | '&' | '|' | '<<' | '>>' | '==' | '!=' | '<' | '<=' | '>' | '>=' | 'has' | 'and' | 'or'

export type Tree =
  | { op: 'number'; value: number | bigint }
  | { op: 'feature'; chapter: string; name: string; bit: number }
  | ({ op: 'field' } & FieldPath)
  | { op: 'queue'; property: 'size' }
  | { op: 'caller'; name: string; default?: number }
  | { op: 'index'; name: 'i' }
  | { op: 'constant'; chapter: string; group: string; name: string; value: number | bigint }
  | { op: 'sizeof'; struct: Reference; value: number }
  | { op: 'not'; arg: Tree }
  | { op: 'binary'; operator: BinaryOperator; left: Tree; right: Tree }
  | { op: 'if'; value: Tree; condition: Tree; otherwise?: Tree }

export interface Queue extends Origin {
  name: string
  /** Index, symbolic in `i` for repeated queues. */
  index: Expression
  each?: [Expression, Expression]
  when?: Condition
  carries?: Reference
  spec?: string
}

export interface Message extends Origin {
  name: string
  chapter: string
  /** Name of the struct of the model that holds the frame (two parts), if the frame has members. */
  frame?: string
  by: string[][]
  head?: Reference
  /** Members of the reply that repeat members of the request. */
  echo?: Echo
  status?: Status
  /** The member of the reply that says how many bytes are written. */
  length?: string[]
  kind: 'requests' | 'events'
  requests: Request[]
}

export type Echo = { to: string[]; from: string[] }[]

export interface Status {
  field: string[]
  /** One or more; the first is what the device writes where its author says nothing. */
  ok: ConstantValue[]
  failed?: ConstantValue
  /** Absent: as `failed`. */
  malformed?: ConstantValue
  unknown?: ConstantValue | 'none'
  error?: Reference
}

export interface Request extends Origin {
  name: string
  is: ConstantValue[][]
  when?: Condition
  /** Members of its own, those of the readable part first. */
  members: Member[]
  status?: Partial<Status>
  /** In place of that of the message. */
  length?: string[]
  /** In place of that of the message. */
  echo?: Echo
  /** The driver may leave out the device-writable part. */
  replyOptional?: true
  /** Success is not answered: nothing is written. */
  onlyFailures?: true
  /** Bytes behind the members of the device-readable part are ignored. */
  restIgnored?: true
  /** Name under which the text lists frame and request together. */
  struct?: string
  spans?: Expression
  /** File descriptors that go with the readable part, and with the writable one. */
  fds?: Expression
  replyFds?: Expression
}

export interface SharedMemory extends Origin {
  name: string
  id: number
  /** Last id of a range. */
  to?: number
  when?: Condition
}

/** In what a description can differ from the text: the item is there on one side only, or something about it is not the same. */
export const aspects = [
  'missing',
  'extra',
  'name',
  'value',
  'type',
  'length',
  'bits',
  'offset',
  'size',
  'order',
  'direction',
  'condition',
  'requires',
  'legacy',
] as const
export type Aspect = (typeof aspects)[number]

export interface Erratum extends Origin {
  /** What it is about, `virtio_net_config.duplex`. */
  at: string
  /** In what the description differs from what the text declares there; empty: the sentence is about something else. */
  departs: Aspect[]
  text: string
  truth: string
  why: string
}

export interface Vector extends Origin {
  /** A struct, a message, or a request or event as `message.request`. */
  of: Reference
  /** Whose bytes they are: file and line of the text or of a driver's source. */
  cites?: string
  part?: Part
  bytes: string
  value: unknown
  context: {
    features?: string[]
    config?: Record<string, unknown>
    queueSize?: number
    caller?: Record<string, number>
    given?: Record<string, unknown>
  }
}
