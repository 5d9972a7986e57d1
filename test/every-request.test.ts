/**
 * Every request and event of every device type goes driver → queue → skeleton → back: with random values, descriptors cut at random, under features that
 * allow it and under features that do not, answered at once, by a promise and later. What must arrive is worked out from the description, not from generated code.
 */
import { existsSync } from 'node:fs'
import * as fc from 'fast-check'
import { type Struct as Accessor, type FeatureInfo, FeatureSet } from 'virtgen/codegen/v1/wire'
import type { DeviceDriver, DriverType, RequestDevice } from 'virtgen/runtime'
import { type DriverError, PARKED, RequestError } from 'virtgen/runtime'
import {
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_NOTIFICATION_DATA,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_VERSION_1,
} from 'virtgen/wire/content'
import { describe, expect, test } from 'vitest'
import { Session } from '../generator/codec/session.ts'
import { seenStruct } from '../generator/emit/parts.ts'
import { Needs } from '../generator/emit/wire/needs.ts'
import { evaluate, nodes } from '../generator/evaluate.ts'
import { type CodecContext, encodeStruct, requestStruct } from '../generator/index.ts'
import type { Chapter, Expression, FieldPath, Member, Message, Reference, Request, Struct } from '../generator/model.ts'
import { identifier } from '../generator/names.ts'
import type { ConfigField } from '../runtime/config-space.ts'
import type { RequestParts } from '../runtime/request/device-request.ts'
import type { DeviceInfo, MessageInfo, RequestInfo } from '../runtime/request/message.ts'
import { loadEverything } from './support/description.ts'
import { loopback } from './support/loopback.ts'
import { differences } from './support/plain.ts'
import { arbitraryValue, type Fixed, hasViews } from './support/values.ts'

type Plain = Record<string, unknown>
type Random = fc.GeneratorValue
type Methods = Record<string, (...args: unknown[]) => unknown>
type Whole = Accessor & { $get(): object; $set(value: object): void }

const model = loadEverything()
const session = new Session(model, {})
const needs = new Needs(model)
const devices = model.chapters.filter(({ kind, builtin }) => kind === 'device' && builtin)
/** Each of them in half of the runs. */
const ringFeatures = [VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX, VIRTIO_F_RING_PACKED, VIRTIO_F_IN_ORDER, VIRTIO_F_NOTIFICATION_DATA]
const runs = Number(process.env.FUZZ_RUNS ?? 40)

interface Modules {
  chapter: Chapter
  device: Description
  Device: new (options: object) => RequestDevice
  Driver: DriverType<DeviceDriver>
  /** What the configuration space holds: see `support/configs`. */
  config: (random: Random) => Plain
}

/** The tables of a device type, and what its modules say besides. */
interface Description extends DeviceInfo {
  readonly features: readonly FeatureInfo[]
  readonly configFields: readonly ConfigField[]
  /** The classes with plain values, by their names. */
  readonly classes: Readonly<Record<string, new (...given: unknown[]) => Whole>>
}

/** The struct in the same place with plain values, which the accessors of a device do not have. */
function whole({ classes }: Description, struct: Accessor): Whole {
  if ('$get' in struct) return struct as Whole
  const { $layout, $given } = struct as { $layout?: unknown; $given?: unknown }
  const Class = classes[struct.constructor.name]!
  return new Class(...[$layout, $given].filter((each) => each !== undefined)).at(struct.$view, struct.$offset, struct.$length)
}

async function modulesOf(chapter: Chapter): Promise<Modules> {
  const name = chapter.name
  const prefix = (name[0] as string).toUpperCase() + name.slice(1)
  const [wire, parts, skeleton, driver, messages, config] = await Promise.all([
    import(/* @vite-ignore */ `../generated/wire/${name}.ts`),
    existsSync(`generated/parts/${name}.ts`) ? import(/* @vite-ignore */ `../generated/parts/${name}.ts`) : {},
    import(/* @vite-ignore */ `../generated/skeleton/${name}.ts`),
    import(/* @vite-ignore */ `../generated/driver/${name}.ts`),
    import(/* @vite-ignore */ `../generated/messages/${name}.ts`),
    chapter.config ? import(/* @vite-ignore */ `./support/configs/${name}.ts`) : { config: () => ({}) },
  ])
  const device = { ...messages.device, features: wire.features ?? [], configFields: messages.configFields, classes: { ...wire, ...parts } }
  return { chapter, device, Device: skeleton[`${prefix}Device`], Driver: driver[`${prefix}Driver`], config: config.config }
}

/** A device whose every method is the test's. */
function scripted(Device: Modules['Device'], info: Description, answer: (request: RequestParts, method: string) => unknown): Modules['Device'] {
  const Scripted = class extends Device {}
  for (const message of info.messages)
    if (message.kind === 'requests')
      for (const { method } of message.requests)
        Object.defineProperty(Scripted.prototype, method, { value: (request: RequestParts) => answer(request, method) })
  return Scripted
}

/** Bits that no device type has on this interface, whatever its legacy one does with them. */
const reservedBits = new Set(model.chapters.filter(({ kind }) => kind === 'common').flatMap(({ features }) => features.map(({ bit }) => bit)))

/** Some features of the device, those that break a requirement left out; with all that the conditions name, or without some of them. */
function featuresOf(info: Description, conditions: readonly Expression[], wanted: boolean, random: Random): FeatureSet {
  const version1 = 32
  let set = FeatureSet.of(version1)
  for (const { bit } of info.features) if (!reservedBits.has(bit) && random(fc.boolean)) set = set.with(bit)
  const named = conditions.flatMap(({ tree }) => featureBits(tree))
  for (const bit of named) set = wanted ? set.with(bit) : random(fc.boolean) ? set.without(bit) : set
  for (let problems = info.checkFeatures(set, true); problems.length > 0; problems = info.checkFeatures(set, true)) {
    const bit = info.features.find(({ name }) => name === problems[0]?.feature)?.bit
    // A rule of the device belongs to no feature.
    const isNeeded = bit === undefined || (wanted && named.includes(bit))
    set = isNeeded ? set.with(...requiredBits(info, problems[0]?.requires ?? '')) : set.without(bit)
  }
  return set
}

/** Features, and a configuration space, with which all the conditions hold for such a request; or one of them does not. */
function surroundings(trial: Trial, wanted: boolean, random: Random): { features: FeatureSet; config: Plain } {
  const all = conditionsOf(trial)
  const conditions = wanted ? all : all.slice(0, 1)
  const bits = selection(trial)
  for (let attempt = 0; attempt < 200; attempt++) {
    const config = trial.modules.config(random)
    const features = featuresOf(trial.modules.device, conditions, wanted, random)
    const field = ({ from, path }: FieldPath): bigint =>
      from === 'config'
        ? BigInt(valueAt(config, path) as number)
        : bits.filter((fixed) => fixed.path.join() === path.join()).reduce((whole, { value }) => whole | value, 0n)
    const holds = conditions.every(({ tree }) => evaluate(tree, { feature: (_, bit) => features.has(bit), field }) !== 0n)
    if (conditions.length === 0 || holds === wanted) return { features, config }
  }
  throw new Error(`no features and configuration ${wanted ? 'with' : 'without'} ${conditions.map(({ text }) => text).join(' and ')}`)
}

function valueAt(root: Plain, path: readonly string[]): unknown {
  return path.reduce<unknown>((value, step) => (value as Plain)?.[step], root) ?? 0
}

/** Whether a condition depends on what is negotiated or configured, and not on the header alone. */
function isOfSurroundings(tree: unknown): boolean {
  if (typeof tree !== 'object' || tree === null) return false
  const { op, from } = tree as { op?: string; from?: string }
  return op === 'feature' || from === 'config' || Object.values(tree).some(isOfSurroundings)
}

/** Whether what a request is selected by may select another one where its condition does not hold. */
function hasSibling({ message, request }: Trial): boolean {
  const selects = ({ is }: Request): string => JSON.stringify(is)
  return request.is.length > 0 && message.requests.some((other) => other !== request && selects(other) === selects(request))
}

function requiredBits(info: Description, text: string): number[] {
  return info.features.filter(({ name }) => text.includes(name)).map(({ bit }) => bit)
}

function featureBits(tree: unknown): number[] {
  if (typeof tree !== 'object' || tree === null) return []
  const { op, bit } = tree as { op?: string; bit?: number }
  return op === 'feature' ? [bit as number] : Object.values(tree).flatMap(featureBits)
}

function namesOf(chapter: Chapter, set: FeatureSet): Set<string> {
  const all = [chapter, ...model.chapters.filter(({ kind }) => kind === 'common')].flatMap(({ features }) => features)
  return new Set(all.filter(({ bit }) => set.has(bit)).map(({ name }) => name))
}

function partsOf(struct: Struct, part: 'readable' | 'writable'): Member[] {
  return struct.members.filter((member) => member.part === part)
}

/** The open bytes of a part. */
function payloadOf(struct: Struct, part: 'readable' | 'writable'): Member | undefined {
  const flat = (members: readonly Member[]): Member[] =>
    members.flatMap((member) => (member.type.kind === 'group' && member.dims.length === 0 ? flat(member.type.members) : [member]))
  return flat(partsOf(struct, part)).find(
    ({ type, dims, framed }) =>
      !framed &&
      (type.kind === 'bytes' || (dims.length > 0 && dims[0]?.count === null && !dims[0].length && type.kind === 'integer' && type.bytes === 1)),
  )
}

/** The value of an expression over the configuration space, and over the features and the members of a struct. */
function numberOf(expression: Member['multiple'], config: Plain, own: Plain = {}, features?: ReadonlySet<string>): number | undefined {
  if (expression === undefined) return undefined
  const number = ({ from, path }: FieldPath): bigint => BigInt(valueAt(from === 'own' ? own : config, path) as number)
  return Number(evaluate(expression.tree, { field: number, feature: (name) => features?.has(name) }))
}

/** Bytes for a payload, of a length the description allows. */
function payloadBytes(member: Member, config: Plain, random: Random, isAlone = false): Uint8Array {
  const rows = member.dims.slice(1).reduce((product, { count }) => product * (count ?? 1), 1)
  const multiple = numberOf(member.multiple, config) ?? rows
  // A buffer has at least one byte.
  const least = Math.ceil((numberOf(member.count?.[0], config) ?? (isAlone ? 1 : 0)) / multiple)
  const length = random(fc.integer, { min: least, max: least + (multiple > 1 ? 3 : 700) }) * multiple
  const bytes = new Uint8Array(length)
  for (let i = 0, seed = random(fc.nat); i < length; i++) bytes[i] = (seed + i * 7) & 0xff
  return bytes
}

/** A member says how many bytes of a payload count: as many, or fewer. */
function claim(payload: Member | undefined, value: Plain, length: number, random: Random): Plain {
  const least = payload?.count?.[0].tree
  return least?.op === 'field' && least.from === 'own' ? withPath(value, least.path, random(fc.nat, length)) : value
}

/** Whether open arrays have as many elements as the description allows. */
function keepsCounts(members: readonly Member[], value: Plain, config: Plain): boolean {
  return members.every(({ name, count, type }) => {
    if (count === undefined || type.kind === 'bytes') return true
    const length = (value[name] as unknown[]).length
    return length >= (numberOf(count[0], config) ?? 0) && length <= (numberOf(count[1], config) ?? Number.POSITIVE_INFINITY)
  })
}

/** Whether numbers are in the ranges that the description gives, wherever it says enough: not in views of the same bytes, nor in an arm that a field elsewhere selects. */
function keepsRanges(members: readonly Member[], value: Plain, context: CodecContext): boolean {
  return members.every((member) => keepsRange(member, value, context))
}

function keepsRange(member: Member, value: Plain, context: CodecContext): boolean {
  const { type, range, dims } = member
  const name = identifier(member.name)
  if (member.reserved) return true
  if (type.kind === 'group' && dims.length === 0) return keepsRanges(type.members, name === '' ? value : ((value[name] ?? {}) as Plain), context)
  if (type.kind === 'union') return keepsRangesOfArm(type, name === '' ? value : ((value[name] ?? {}) as Plain), value, context)
  const held = value[name]
  if (held === undefined || held instanceof Uint8Array) return true
  const elements = Array.isArray(held) ? held : [held]
  if (type.kind === 'struct') {
    const inner = session.struct(type).members.filter(({ part }) => part === undefined || part === member.part)
    return elements.every((element: Plain) => element instanceof Uint8Array || keepsRanges(inner, element, context))
  }
  if (type.kind !== 'integer' || range === undefined) return true
  const [least = 0, most = 0] = range.map((bound) => numberOf(bound, (context.config ?? {}) as Plain, value, context.features))
  return elements.every((one: number) => one >= least && one <= most)
}

function keepsRangesOfArm(type: Extract<Member['type'], { kind: 'union' }>, here: Plain, around: Plain, context: CodecContext): boolean {
  if (type.by?.from !== 'own') return true
  const deciding = Number(valueAt(around, type.by.path))
  const arm = type.arms.find(({ is }) => is?.some(({ value }) => Number(value) === deciding))
  return arm === undefined || keepsRange(arm, here, context)
}

/** A reply whose layout nobody knows has no bytes: the client makes room for what the header asks for. */
function withoutUnknown(value: Plain): Plain {
  const entries = Object.entries(value).map(([name, held]) => {
    if (typeof held !== 'object' || held === null || held instanceof Uint8Array || Array.isArray(held)) return [name, held]
    const isUnknown = 'arm' in held && held.arm === undefined
    return [name, isUnknown ? { ...held, bytes: new Uint8Array(0) } : held]
  })
  return Object.fromEntries(entries)
}

function without(value: Plain, ...names: (string | undefined)[]): Plain {
  return Object.fromEntries(Object.entries(value).filter(([name]) => !names.includes(name)))
}

/** A value without the members at these paths. */
function withoutPaths(value: Plain, paths: readonly (readonly string[])[]): Plain {
  let rest = value
  for (const path of paths) rest = withoutPath(rest, path)
  return rest
}

function withoutPath(value: Plain, [name = '', ...inner]: readonly string[]): Plain {
  if (inner.length === 0 || value[name] === undefined) return without(value, name)
  return { ...value, [name]: withoutPath(value[name] as Plain, inner) }
}

/** A value with a member at a path. */
function withPath(value: Plain, [name = '', ...inner]: readonly string[], leaf: unknown): Plain {
  return { ...value, [name]: inner.length === 0 ? leaf : withPath((value[name] ?? {}) as Plain, inner, leaf) }
}

/** Of several views of the same bytes one was given, and all come back. */
function expectValue(actual: unknown, expected: Plain, { members }: Struct): void {
  if (hasViews(session, members)) expect(differences(actual, expected, 'any')).toEqual([])
  else expect(actual).toEqual(expected)
}

interface Trial {
  modules: Modules
  message: Message
  request: Request
  messageInfo: MessageInfo
  info: RequestInfo
  struct: Struct
}

function trialsOf(modules: Modules): Trial[] {
  return modules.chapter.messages.flatMap((message) =>
    message.requests.map((request) => {
      const messageInfo = modules.device.messages.find(({ name }) => name === message.name) as MessageInfo
      const info = messageInfo.requests.find(({ name }) => name === request.name) as RequestInfo
      return { modules, message, request, messageInfo, info, struct: seenStruct(needs, requestStruct(model, message, request)) }
    }),
  )
}

/** Where the deciding fields of a request or event stand in its value: those of a head at any depth. */
function decidingPaths({ message, struct }: Trial): string[][] {
  const members = partsOf(struct, message.kind === 'requests' ? 'readable' : 'writable')
  const head = message.head ? pathTo(members, message.head) : []
  return message.by.map((path) => [...head, ...path])
}

function pathTo([first]: readonly Member[], head: Reference): string[] {
  const { type, name, part } = first as Member
  const isHead = (reference: Reference | undefined): boolean => reference?.chapter === head.chapter && reference.name === head.name
  if (type.kind === 'group') return isHead(type.struct) ? [] : pathTo(type.members, head)
  const step = identifier(name)
  if (type.kind !== 'struct') throw new Error(`no ${head.name} in ${step}`)
  const inner = session.struct(type).members.filter((member) => member.part === undefined || member.part === part)
  return isHead(type) ? [step] : [step, ...pathTo(inner, head)]
}

/** A value with what selects its request or event. */
function chosen(trial: Trial, value: Plain): Plain {
  const [selectors = []] = trial.info.is
  return decidingPaths(trial).reduce(
    (whole, path, level) => (selectors[level] === undefined ? whole : withPath(whole, path, selectors[level])),
    value,
  )
}

/** What selects a request or event: deciding fields, and bits that its condition asks for. */
function selection(trial: Trial): Fixed[] {
  const [selectors = []] = trial.info.is
  const deciding = decidingPaths(trial).flatMap((path, level) => (selectors[level] === undefined ? [] : [{ path, value: BigInt(selectors[level]) }]))
  return [...deciding, ...(trial.request.when ? askedBits(trial.request.when.tree, true) : [])]
}

/** `flags has X`: these bits are set; with `not` they are clear. */
function askedBits(tree: Tree, isSet: boolean): Required<Fixed>[] {
  if (tree.op === 'not') return askedBits(tree.arg, !isSet)
  if (tree.op !== 'binary') return []
  const { operator, left, right } = tree
  if (operator === 'and' || operator === 'or') return [...askedBits(left, isSet), ...askedBits(right, isSet)]
  const bits = evaluate(right)
  return operator === 'has' && left.op === 'field' && left.from !== 'config' && bits !== undefined
    ? [{ path: left.path, bits, value: isSet ? bits : 0n }]
    : []
}

/** What the client is given: where nothing but bits of the header selects a request, it sets them itself. */
function unselected({ request }: Trial, fields: Plain): Plain {
  if (request.when === undefined || featureBits(request.when.tree).length > 0) return fields
  return askedBits(request.when.tree, true).reduce((whole, { path, bits }) => {
    const held = path.reduce<unknown>((value, step) => (value as Plain)[step], whole) as number
    return withPath(whole, path, Number(BigInt(held) ^ bits))
  }, fields)
}

/** The condition of a request, and that of the queues that carry its message, where all have one. */
function conditionsOf({ modules: { chapter }, message, request }: Trial): Expression[] {
  const carriers = chapter.queues.filter(({ carries }) => carries?.name === message.name)
  const ofQueues = carriers.every(({ when }) => when !== undefined) ? carriers[0]?.when : undefined
  return [request.when, ofQueues].filter((condition) => condition !== undefined)
}

/** The first of them: what a request is not known without. */
function conditionOf(trial: Trial): Expression | undefined {
  return conditionsOf(trial)[0]
}

function cutter(random: Random, framedIndex: number | undefined) {
  return (length: number, isReadable: boolean, index: number): number[] => {
    if (isReadable && index === framedIndex) return []
    const count = Math.min(random(fc.integer, { min: 0, max: 3 }), length - 1)
    const offsets = Array.from({ length: Math.max(0, count) }, () => random(fc.integer, { min: 1, max: length - 1 }))
    return [...new Set(offsets)].sort((a, b) => a - b)
  }
}

/** A device and a driver under features that a condition wants or does not want. */
async function connected(
  trial: Trial,
  wanted: boolean,
  random: Random,
  answer: (request: RequestParts, method: string) => unknown,
  believes = false,
) {
  const { modules, info, message } = trial
  const { chapter, device, Device, Driver } = modules
  const { config, features } = surroundings(trial, wanted, random)
  const Scripted = scripted(Device, device, answer)
  const options = chapter.lets.filter((name) => name.default !== undefined)
  const caller = Object.fromEntries(options.map(({ name }) => [identifier(name), random(fc.nat, 1)]))
  const made = new Scripted({ features: features.without(32), config, caller })
  const framedIndex = info.header?.framedAt === undefined ? undefined : 1
  const ring = FeatureSet.of(VIRTIO_F_VERSION_1, ...ringFeatures.filter(() => random(fc.boolean)))
  const line = await loopback<DeviceDriver>({
    device: made,
    type: Driver,
    accepts: features,
    ringFeatures: ring,
    ...(believes ? { believes: FeatureSet.of(32, ...device.features.map(({ bit }) => bit)) } : {}),
    cuts: cutter(random, framedIndex),
    options: { caller },
  })
  // Some fields have other values after the reset that the driver began with.
  if (device.configFields.some(({ reset }) => reset !== undefined)) made.config.update((fields) => whole(device, fields).$set(config))
  const context: CodecContext = {
    features: namesOf(chapter, features),
    config,
    queueSize: 128,
    caller: { ...caller, cmd_length: random(fc.integer, { min: 1, max: 32 }) },
  }
  return { line, made, features, config, context, queues: line.driver.host.queues.filter((queue) => queue.message?.name === message.name) }
}

/** Arguments of a method of the driver client, as its signature has them. */
function argumentsOf(trial: Trial, fields: Plain, readable: Uint8Array | undefined, room: number | undefined): unknown[] {
  const { info, struct } = trial
  const deciding = new Set(decidingPaths(trial).map((path) => path[0] as string))
  const hasFlags = partsOf(struct, 'readable').some(({ name, flags }) => deciding.has(name) && flags !== undefined)
  const named = Object.keys(fields).length > 0 || hasFlags
  return [...(named ? [fields] : []), ...(info.readable ? [readable] : []), ...(room === undefined ? [] : [room])]
}

async function sendRequest(trial: Trial, random: Random): Promise<void> {
  const { info, struct, message } = trial
  const answers = random(fc.constantFrom, 'now', 'promise', 'parked', 'throws', 'status')
  let seen: { header: unknown; readable: Uint8Array } | undefined
  let reply: Plain = {}
  let written = new Uint8Array(0)
  const { field: statusField, ok, failed } = { ...message.status, ...trial.request.status }
  const lengthField = trial.request.length ?? message.length
  const successes = ok?.map(({ value }) => Number(value)) ?? []
  const statuses = Object.keys(info.status?.names ?? trial.messageInfo.status?.names ?? {}).map(Number)
  const others = statuses.filter((value) => value !== successes[0])
  const status = others.length > 0 ? (others[random(fc.nat, others.length - 1)] as number) : undefined
  const handle = (request: RequestParts): unknown => {
    const readable = new Uint8Array(info.readable ? request.readable.length : 0)
    if (info.readable) request.readable.copyTo(readable)
    seen = { header: request.header && whole(trial.modules.device, request.header).$get(), readable }
    if (request.reply) whole(trial.modules.device, request.reply).$set(reply)
    if (info.writable) request.writable.copyFrom(written)
    if (answers === 'throws') throw new Error('meant to fail')
    if (answers === 'status' && status !== undefined) return status
    if (answers === 'promise') return Promise.resolve()
    if (answers !== 'parked') return undefined
    void Promise.resolve().then(() => request.complete())
    return PARKED
  }
  const { line, config, context, queues } = await connected(trial, true, random, handle)
  expect(queues.length).toBeGreaterThan(0)

  const payloads = { readable: payloadOf(struct, 'readable'), writable: payloadOf(struct, 'writable') }
  const isInRange = random(fc.nat, 3) > 0
  const readable = payloads.readable ? payloadBytes(payloads.readable, config, random, struct.members.length === 1) : new Uint8Array(0)
  const drawn = random(() => arbitraryValue(model, struct, context, 'readable', selection(trial), isInRange))
  const arrives = claim(payloads.readable, drawn, readable.length, random)
  const legal = keepsRanges(partsOf(struct, 'readable'), arrives, context) && keepsCounts(partsOf(struct, 'readable'), arrives, config)
  const made = random(() => arbitraryValue(model, struct, { ...context, given: { readable: arrives } }, 'writable'))
  const goesBack = info.reply?.usesHeader ? withoutUnknown(made) : made
  const fields = withoutPaths(without(arrives, payloads.readable?.name), decidingPaths(trial))
  const room = payloads.writable ? payloadBytes(payloads.writable, config, random).length : undefined
  reply = withoutPaths(
    without(goesBack, payloads.writable?.name),
    [statusField, lengthField].filter((path) => path !== undefined),
  )
  if (payloads.writable)
    written = new Uint8Array(random(fc.boolean) ? (room as number) : random(fc.nat, room as number)).map((_, i) => (i * 11) & 0xff)
  const lengthOf = (value: Plain): number =>
    encodeStruct(model, { chapter: struct.chapter, name: struct.name }, value, { ...context, given: { readable: arrives } }, 'writable').length
  const openReply = info.reply?.sizeOf && !payloads.writable ? lengthOf({ ...goesBack }) : undefined

  const method = (line.driver as unknown as Methods)[info.method] as Methods[string]
  const given = random(fc.boolean) ? fields : unselected(trial, fields)
  const outcome = (await Promise.resolve(method.apply(line.driver, argumentsOf(trial, given, readable, room ?? openReply))).then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  )) as { value?: Plain; error?: unknown }

  if (!legal) {
    // The client does not send it; that the device refuses it is tested with forged requests.
    expect(outcome.error).toBeInstanceOf(RangeError)
    expect(seen).toBeUndefined()
  } else {
    if (seen === undefined) throw new Error('the device got nothing', { cause: outcome.error ?? line.violations })
    if (info.header) expectValue(seen.header, chosen(trial, without(arrives, payloads.readable?.name)), struct)
    if (info.readable) expect(seen.readable).toEqual(readable)
    // Where nothing is answered, nothing is said of a failure either.
    const isSilent = message.status !== undefined && partsOf(struct, 'writable').length === 0
    const said = isSilent ? undefined : answers === 'throws' ? (failed?.value ?? 'gives up') : answers === 'status' ? status : undefined
    if (said === 'gives up') expect((outcome.error as DriverError).kind).toBe('needs-reset')
    else if (said !== undefined && !successes.includes(Number(said))) expect((outcome.error as RequestError).status).toBe(said)
    else {
      if (outcome.error !== undefined) throw outcome.error
      const told = statusField && successes.length > 1 ? withPath(reply, statusField, said ?? successes[0]) : reply
      const whole = { ...told, ...(payloads.writable ? { [payloads.writable.name]: written } : {}) }
      const expected = lengthField ? withPath(whole, lengthField, lengthOf(whole)) : whole
      if (Object.keys(expected).length > 0 && !info.onlyFailures) expectValue(outcome.value, expected, struct)
      else expect(outcome.value).toBeUndefined()
    }
  }
  if (answers !== 'throws') expect(line.violations).toEqual([])
  await line.driver.close()
}

/** The driver believes in features that are not negotiated: the device does not know the request, or takes it for another one. */
async function sendUnknown(trial: Trial, random: Random): Promise<void> {
  const { info, struct, message } = trial
  const seen: string[] = []
  const { line, context, config, queues } = await connected(trial, false, random, (_, method) => void seen.push(method), true)
  const method = (line.driver as unknown as Methods)[info.method] as Methods[string]
  const arrives = random(() => arbitraryValue(model, struct, context, 'readable', selection(trial), true))
  fc.pre(keepsRanges(partsOf(struct, 'readable'), arrives, context) && keepsCounts(partsOf(struct, 'readable'), arrives, config))
  const payloads = { readable: payloadOf(struct, 'readable'), writable: payloadOf(struct, 'writable') }
  const fields = withoutPaths(without(arrives, payloads.readable?.name), decidingPaths(trial))
  const readable = payloads.readable ? payloadBytes(payloads.readable, config, random, struct.members.length === 1) : undefined
  const room = payloads.writable ? payloadBytes(payloads.writable, config, random).length : info.reply?.sizeOf ? 200 : undefined
  const error = await Promise.resolve(method.apply(line.driver, argumentsOf(trial, fields, readable, room))).then(
    () => undefined,
    (reason: unknown) => reason,
  )
  if (hasSibling(trial)) {
    expect(seen).not.toContain(info.method)
    await line.driver.close()
    return
  }
  expect(seen).toEqual([])
  if (queues.length === 0 || error instanceof RangeError) expect(error).toBeInstanceOf(RangeError)
  else {
    expect(error).toBeInstanceOf(RequestError)
    const unknown = trial.request.status?.unknown ?? message.status?.unknown
    expect((error as RequestError).status).toBe(unknown === 'none' ? -1 : unknown?.value)
  }
  expect(line.violations).toEqual([])
  await line.driver.close()
}

/** What the sender fills in where an event may take several buffers; these are small enough for one. */
function inOneBuffer({ request: { spans } }: Trial, fields: Plain): Plain {
  const count = spans && [...nodes(spans.tree)].find((node) => node.op === 'field')
  if (count?.op !== 'field') return fields
  const value = structuredClone(fields)
  const path = count.path.map(identifier)
  const holder = path.slice(0, -1).reduce((inner, step) => inner[step] as Plain, value)
  holder[path.at(-1) as string] = 1
  return value
}

async function sendEvent(trial: Trial, wanted: boolean, random: Random): Promise<void> {
  const { info, struct, message } = trial
  const { line, made, context, config, queues } = await connected(trial, wanted, random, () => undefined)
  const listen = `on${info.method.slice('send'.length)}`
  const received: Plain[] = []
  const register = (): unknown => (line.driver as unknown as Methods)[listen]?.((event: Plain) => received.push(event))
  const payload = payloadOf(struct, 'writable')
  const bytes = payload ? payloadBytes(payload, config, random) : undefined
  const drawn = random(() => arbitraryValue(model, struct, context, 'writable', selection(trial)))
  const value = claim(payload, drawn, bytes?.length ?? 0, random)
  const fields = withoutPaths(without(value, payload?.name), decidingPaths(trial))
  const carriers = made.queueSizes.length === 0 ? [] : trial.modules.chapter.queues.filter(({ carries }) => carries?.name === message.name)
  const takesQueue = carriers.length > 1 || carriers.some(({ each }) => each !== undefined)
  const queue = queues[random(fc.nat, Math.max(0, queues.length - 1))]?.index ?? 2
  const send = (): unknown =>
    ((made as unknown as Methods)[info.method] as Methods[string]).apply(made, [
      ...(takesQueue ? [queue] : []),
      ...(Object.keys(fields).length > 0 ? [fields] : []),
      ...(bytes ? [bytes] : []),
    ])
  const notSent = bytes ? undefined : false
  if (queues.length === 0) {
    expect(register).toThrow(RangeError)
    expect(send()).toBe(notSent)
    return
  }
  expect(send()).toBe(notSent)
  register()
  await Promise.resolve()
  await Promise.resolve()
  if (!wanted && trial.request.when !== undefined) {
    expect(send()).toBe(notSent)
    expect(received).toEqual([])
    await line.driver.close()
    return
  }
  expect(send()).toBe(bytes ? bytes.length : true)
  expect(received).toHaveLength(1)
  expectValue(received[0], { ...inOneBuffer(trial, chosen(trial, fields)), ...(payload ? { [payload.name]: bytes } : {}), queue }, struct)
  expect(line.violations).toEqual([])
  await line.driver.close()
}

const everything = await Promise.all(devices.map(async (chapter) => [chapter.name, await modulesOf(chapter)] as const))
const kinds = everything.flatMap(([, modules]) => trialsOf(modules)).map(({ message }) => message.kind)
const [requestCount, eventCount] = ['requests', 'events'].map((kind) => kinds.filter((each) => each === kind).length)
console.log(`${requestCount} requests and ${eventCount} events of ${devices.length} device types go through a queue, ${runs} times each way.`)

describe.each(everything)('%s', (_, modules) => {
  for (const trial of trialsOf(modules)) {
    const title = `${trial.message.name}.${trial.request.name}`
    const property = (run: (random: Random) => Promise<void>) => () =>
      fc.assert(fc.asyncProperty(fc.gen(), run), { numRuns: runs, endOnFailure: true })
    if (trial.message.kind === 'events') {
      test(
        `${title} reaches the driver`,
        property((random) => sendEvent(trial, true, random)),
      )
      if (conditionOf(trial))
        test(
          `${title} is not sent without ${conditionOf(trial)?.text}`,
          property((random) => sendEvent(trial, false, random)),
        )
      continue
    }
    test(
      `${title} is handled and answered`,
      property((random) => sendRequest(trial, random)),
    )
    if (isOfSurroundings(conditionOf(trial)?.tree))
      test(
        `${title} is not known without ${conditionOf(trial)?.text}`,
        property((random) => sendUnknown(trial, random)),
      )
  }
})
