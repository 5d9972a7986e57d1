/** The shape of a YAML file: zod for the keys and kinds of values. Names and meanings are checked by `resolve`. See docs/language.md. */
import { z } from 'zod'
import type { BitAst, Entry, MemberAst } from './ast.ts'
import { aspects } from './model.ts'

const name = z.string().regex(/^[A-Za-z_][A-Za-z0-9_-]*$/, 'a name: letters, digits, "_" and "-", not starting with a digit')
const text = z.string().min(1)
const number = z.union([z.int(), z.bigint()])
/** A number, or an expression that gives one. */
const value = z.union([number, text])
const expression = z.union([text, z.boolean(), number])
/** What can differ between this description and the text; see docs/drift.md. */
const aspect = z.enum(aspects)
const names = z.union([name, z.array(name).min(1)])
/** A field, at any depth: `cap.offset`. */
const field = z.string().regex(/^[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z_][A-Za-z0-9_-]*)*$/, 'the name of a field, or a path to one')
/** A name of the specification; `is` may also take a bare number. */
const selector = z.union([text, number])

const linuxName = z.union([text, z.strictObject({ name: text.optional(), value: value.optional(), size: z.int().optional(), why: text.optional() })])

const origin = {
  source: text.optional().describe('where it comes from: oasis-1.4 (default), linux-6.12, fuse, v4l2, qemu-10.0, prose'),
  section: text.optional().describe('label of the section; continues that of the item around it'),
  since: text.optional().describe('first version that has it'),
  doc: text.optional().describe('one or two sentences'),
}
const wasNames = z
  .union([text, z.array(text).min(1)])
  .optional()
  .describe('older names')
const legacyOrder = z.enum(['native', 'same']).optional().describe('byte order on the legacy interface')
const linux = linuxName.optional().describe("Linux's name; none: not in the headers; or {name, value, size, why}")

const bitAttributes = {
  enum: name.optional(),
  flags: names.optional(),
  set: name.optional(),
  const: value.optional(),
  when: expression.optional(),
  doc: text.optional(),
}
const bitFieldValue: z.ZodType<BitAst> = z.lazy(() =>
  z.union([
    z.int().min(1).max(64),
    z.string().regex(/^reserved \d+$/, '"reserved N"'),
    z.strictObject({ width: z.union([z.int().min(1).max(64), z.string().regex(/^reserved \d+$/)]), ...bitAttributes }),
    z.strictObject({ union: z.array(bitField).min(1) }),
  ]),
)
const bitField: z.ZodType<Entry<BitAst>> = z.lazy(() => oneKey(bitFieldValue)).meta({ id: 'bitField' })

/** A mapping with one key: `- capacity: le64`. That is checked first: with more keys it is not known which one is the name. */
function oneKey<T>(item: z.ZodType<T>) {
  return z
    .record(z.string(), z.unknown())
    .refine((entry) => Object.keys(entry).length === 1, 'an item of this list has exactly one key, its name')
    .pipe(z.record(z.string(), item))
}

const memberValue: z.ZodType<MemberAst> = z
  .lazy(() =>
    z.union([
      text,
      z.strictObject({
        type: text.optional().describe('le32, u8, a struct, reserved T, bytes, body …'),
        struct: z.array(member).min(1).optional().describe('members of a nested anonymous struct'),
        union: z
          .union([name, z.array(member).min(1)])
          .optional()
          .describe('arms, or the group whose constants hold structs'),
        bits: z.array(bitField).min(1).optional().describe('bit-fields, least significant first'),
        enum: name.optional().describe('group the value is one of'),
        flags: names.optional().describe('group(s) of masks'),
        set: name.optional().describe('group whose constants are bit numbers'),
        mask: value.optional().describe('bits that hold the enum'),
        when: expression.optional().describe('condition'),
        by: text.optional().describe('deciding field of the union'),
        is: z
          .union([selector, z.array(selector).min(1)])
          .optional()
          .describe('constants that select this arm'),
        size: value.optional().describe('length of the area in bytes, whatever is in it'),
        stride: value.optional().describe('bytes from one element to the next'),
        until: text.optional().describe('the list ends where this holds for an element'),
        framed: z.boolean().optional().describe('has a descriptor of its own'),
        with: z
          .union([z.literal('caller'), z.record(name, value)])
          .optional()
          .describe('binds the given names of the struct'),
        range: text.optional().describe('A .. B'),
        count: text.optional().describe('A .. B elements'),
        multiple: value.optional().describe('length in bytes is a multiple of'),
        const: value.optional(),
        reset: value.optional().describe('value after reset'),
        unit: text.optional(),
        access: text.optional().describe("the driver's access: r, w, rw, rc, or rw if COND"),
        clears: field.optional(),
        bank: z.union([field, z.array(field).min(1)]).optional(),
        at: value.optional().describe('offset'),
        pair: z.strictObject({ name, low: field }).optional(),
        legacy: legacyOrder,
        was: wasNames,
        linux,
        spec: text.optional().describe("the text's own declaration"),
        ...origin,
      }),
    ]),
  )
  .meta({ id: 'memberValue' })
const member: z.ZodType<Entry<MemberAst>> = z.lazy(() => oneKey(memberValue)).meta({ id: 'member' })
const members = z.array(member).min(1)
const given = z.record(name, text).optional().describe('name: struct, or name: number')

const struct = z.union([
  members,
  z.strictObject({
    fields: members.optional(),
    readable: members.optional(),
    writable: members.optional(),
    given,
    by: text.optional().describe('this struct is the head of the struct the constant holds'),
    size: value.optional().describe('whole length'),
    interface: z.literal('legacy').optional().describe('belongs to the legacy interface only'),
    legacy: legacyOrder,
    was: wasNames,
    linux,
    spec: text.optional(),
    ...origin,
  }),
])

const constant = z.union([
  value,
  z.strictObject({
    value,
    when: expression.optional(),
    holds: name.optional(),
    marker: z.boolean().optional(),
    alias: z.boolean().optional(),
    was: wasNames,
    linux,
    ...origin,
  }),
])
const constantKey = z.union([z.string(), z.number()])
const values = z.record(constantKey, constant)
const group = z.union([
  z.strictObject({ values, extends: name.optional(), linux, ...origin }),
  values.refine((entries) => !('values' in entries), 'not a group'),
])

const feature = z.union([
  z.int(),
  z.strictObject({
    bit: z.int(),
    requires: expression.optional(),
    offered_with: expression.optional(),
    suggests: expression.optional(),
    assumed: expression.optional(),
    legacy: z.boolean().optional(),
    shares_bit: text.optional(),
    was: wasNames,
    linux,
    ...origin,
  }),
])

const part = z.union([name, z.array(member)])
const successes = z.union([selector, z.array(selector).min(1)]).describe('success; of several, the first is what the device writes by default')
const statusShape = {
  field: text,
  ok: successes,
  failed: selector.optional(),
  malformed: selector.optional().describe('for a request that is not as it has to be; by default as failed'),
  unknown: selector.optional(),
  error: name.optional(),
}
const echo = z.record(field, field).optional().describe('members of the reply that repeat members of the request')
const replyLength = field.optional().describe('the member of the reply that says how many bytes are written')
/** A struct with two parts may be two structs in Linux's headers. */
const partsLinux = z.union([linuxName, z.strictObject({ readable: text.optional(), writable: text.optional() })])
const request = z.strictObject({
  is: z.union([selector, z.array(z.union([selector, z.array(selector)])).min(1)]).optional(),
  when: expression.optional(),
  readable: part.optional(),
  writable: part.optional(),
  ok: successes.optional(),
  status: z.strictObject({ ...statusShape, field: text.optional(), ok: successes.optional() }).optional(),
  length: replyLength,
  echo,
  reply: z
    .enum(['optional', 'failures'])
    .optional()
    .describe('optional: the driver may leave out the device-writable part; failures: it may, and nothing is written into it for success'),
  rest: z.literal('ignored').optional().describe('bytes behind the members of the device-readable part are ignored'),
  struct: name.optional().describe('name under which the text lists frame and request together'),
  linux: partsLinux.optional().describe("Linux's name of it"),
  spans: expression.optional(),
  fds: expression.optional(),
  reply_fds: expression.optional(),
  ...origin,
})
const requests = z.array(oneKey(z.union([z.null(), request]))).min(1)
const message = z.strictObject({
  by: z.union([text, z.array(text).min(2)]).optional(),
  head: name.optional(),
  echo,
  readable: part.optional(),
  writable: part.optional(),
  rest: z.literal('ignored').optional().describe('as of its requests, for all of them'),
  status: z.strictObject(statusShape).optional(),
  length: replyLength,
  requests: requests.optional(),
  events: requests.optional(),
  linux: partsLinux.optional(),
  legacy: legacyOrder,
  ...origin,
})

const queue = z.strictObject({
  index: expression,
  each: text.optional(),
  when: expression.optional(),
  carries: name.optional(),
  spec: text.optional().describe("the text's own name of the queue"),
  ...origin,
})

/** One YAML file. */
export const fileSchema = z.strictObject({
  kind: z.enum(['device', 'common', 'ring', 'transport', 'protocol', 'external']),
  name,
  title: text.optional(),
  id: z.int().min(1).max(0xffff).optional().describe('device id'),
  uses: z.array(name).optional(),
  legacy: legacyOrder,
  header: z
    .union([text, z.array(text).min(1)])
    .optional()
    .describe('Linux headers with the same things'),
  left_out: z
    .record(z.string().regex(/^\w+\*?$/, 'a name, or the beginning of names and "*"'), text)
    .optional()
    .describe('names of Linux headers that are not described, each with the reason'),
  let: z
    .record(name, z.union([z.literal('caller'), expression, z.strictObject({ default: z.int().min(0), ...origin })]))
    .optional()
    .describe('names for expressions; caller, or {default, doc}: the program says'),
  devices: z.record(name, z.strictObject({ id: z.int().min(1).max(0xffff), title: text, linux })).optional(),
  features: z.record(name, feature).optional(),
  rules: z.array(text).optional(),
  constants: z.record(name, group).optional(),
  structs: z.record(name, struct).optional(),
  config: z.record(name, struct).optional(),
  registers: z.record(name, struct).optional(),
  queues: z.array(oneKey(queue)).optional(),
  messages: z.record(name, message).optional(),
  shared_memory: z
    .record(name, z.union([z.int(), text, z.strictObject({ id: z.union([z.int(), text]), when: expression.optional(), ...origin })]))
    .optional(),
  errata: z
    .array(
      z.strictObject({
        at: z.union([text, z.array(text).min(1)]).describe('what it is about: a name, struct.field, message.request, or several'),
        departs: z
          .union([aspect, z.array(aspect).min(1)])
          .optional()
          .describe('in what this description differs from the text for that reason'),
        text,
        truth: text,
        why: text,
        ...origin,
      }),
    )
    .optional(),
  vectors: z
    .array(
      z.strictObject({
        of: z.string().regex(/^[A-Za-z_][\w-]*(\.[A-Za-z_][\w-]*)?$/, 'a struct, a message, or message.request'),
        cites: text.optional(),
        part: z.enum(['readable', 'writable']).optional(),
        bytes: z.union([value, z.literal('')]),
        value: z.unknown(),
        features: z.array(name).optional(),
        config: z.record(z.string(), z.unknown()).optional(),
        queue_size: z.int().optional(),
        caller: z.record(name, z.int()).optional(),
        given: z.record(z.string(), z.unknown()).optional(),
        ...origin,
      }),
    )
    .optional(),
  ...origin,
})

/** JSON Schema of a YAML file, for editors. */
export function jsonSchema(): object {
  return z.toJSONSchema(fileSchema, { unrepresentable: 'any', override: ({ zodSchema, jsonSchema }) => bigintAsInteger(zodSchema, jsonSchema) })
}

/** YAML's integers may exceed 2^53; JSON Schema has one word for all of them. */
function bigintAsInteger(schema: { _zod: { def: { type: string } } }, json: Record<string, unknown>): void {
  if (schema._zod.def.type === 'bigint') json.type = 'integer'
}
