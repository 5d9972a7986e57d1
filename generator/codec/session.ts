/** What one call of the codec knows besides the bytes or the value: the model and the context. */
import { type Environment, evaluate } from '../evaluate.ts'
import { findStruct } from '../facts.ts'
import type { Feature, IntegerType, Member, Message, Model, Part, Reference, Request, Struct } from '../model.ts'

/** What a layout may depend on besides its own content. See docs/generated-code.md, "Values". */
export interface CodecContext {
  /** Names of the negotiated features; in config and registers before FEATURES_OK, of the offered ones. */
  features?: ReadonlySet<string>
  /** Plain value of the configuration space, or the part of it that is needed. */
  config?: Record<string, unknown>
  queueSize?: number
  /** Values of `let … caller` names, and `<member>_length` of framed members. */
  caller?: Record<string, number>
  /** Plain values of the given structs, or numbers; `readable` is the readable part of the same struct, for its writable part. */
  given?: Record<string, unknown>
  /** The guest's byte order, which `native` members of the legacy interface and types such as `u32` have; little-endian unless said otherwise. */
  guest?: 'little-endian' | 'big-endian'
}

export class Session {
  readonly model: Model
  readonly context: CodecContext
  readonly #structs = new Map<string, Struct>()
  #assumed: Map<string, Feature> | undefined

  constructor(model: Model, context: CodecContext) {
    this.model = model
    this.context = context
  }

  /**
   * The struct, block of registers or request that a reference names.
   *
   * @throws TypeError when the model has none of that name
   */
  struct(reference: Reference): Struct {
    const key = `${reference.chapter}/${reference.name}`
    const known = this.#structs.get(key)
    if (known) return known
    const found = findStruct(this.model, reference) ?? requestNamed(this.model, reference)
    if (found === undefined) throw new TypeError(`the chapter "${reference.chapter}" has no struct "${reference.name}"`)
    this.#structs.set(key, found)
    return found
  }

  /** True when the feature is negotiated, or counts as negotiated. */
  hasFeature(name: string): boolean {
    const negotiated = (feature: string): boolean => this.context.features?.has(feature) ?? false
    if (negotiated(name)) return true
    this.#assumed ??= new Map(
      this.model.chapters.flatMap(({ features }) => features.flatMap((feature) => (feature.assumed ? [[feature.name, feature] as const] : []))),
    )
    const assumed = this.#assumed.get(name)?.assumed
    const environment: Environment = { feature: negotiated }
    return assumed !== undefined && (evaluate(assumed.tree, environment) ?? 0n) !== 0n
  }
}

/** True for little-endian integers; those in the guest's own order are, unless the context says otherwise. */
export function isLittleEndian(type: IntegerType, member: Member, { context }: Session): boolean {
  if (type.endian === 'be') return false
  return context.guest !== 'big-endian' || (type.endian !== 'native' && member.legacy !== 'native')
}

/** Members of a struct, of one part of it where it has two. */
export function membersOf(struct: Struct, part: Part | undefined): readonly Member[] {
  return struct.twoPart && part !== undefined ? struct.members.filter((member) => member.part === part) : struct.members
}

/** A nested struct of two parts stands in the part of the struct around it. */
export function partOf(struct: Struct, part: Part | undefined): Part | undefined {
  return struct.twoPart ? (part ?? 'readable') : part
}

/** In config and registers a condition neither moves nor hides anything. */
export function isFixedLayout(struct: Struct): boolean {
  return struct.role === 'config' || struct.role === 'registers'
}

/** Requests have no struct of their own in the model; `message.request` names one. */
function requestNamed(model: Model, { chapter, name }: Reference): Struct | undefined {
  const [messageName, requestName] = name.split('.')
  const message = model.chapters.find((candidate) => candidate.name === chapter)?.messages.find((candidate) => candidate.name === messageName)
  const request = message?.requests.find((candidate) => candidate.name === requestName)
  return message && request && requestStruct(model, message, request)
}

/** A request or event as a struct of two parts: the frame of its message with the request's own members in place of `body`. */
export function requestStruct(model: Model, message: Message, request: Request): Struct {
  const frame = message.frame === undefined ? undefined : findStruct(model, { chapter: message.chapter, name: message.frame })
  const members = (['readable', 'writable'] as const).flatMap((part) => {
    const around = frame ? membersOf(frame, part) : []
    const own = request.members.filter((member) => member.part === part)
    const body = around.findIndex((member) => member.type.kind === 'body')
    return body < 0 ? [...around, ...own] : [...around.slice(0, body), ...own, ...around.slice(body + 1)]
  })
  return {
    source: request.source,
    name: `${message.name}.${request.name}`,
    chapter: message.chapter,
    role: 'message',
    members,
    twoPart: true,
    given: [],
    size: null,
    legacyInterface: false,
    legacy: 'same',
    was: [],
    linux: { name: null },
  }
}
