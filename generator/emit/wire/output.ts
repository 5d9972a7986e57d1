/** The parts that a class is put together from. */
import type { Member } from '../../model.ts'
import type { docs } from '../code.ts'

export interface ValueMember {
  name: string
  type: string
  optional: boolean
  doc: ReturnType<typeof docs>
}

export interface Accessor {
  name: string
  type: string
  get: string[]
  set?: string[]
  doc: ReturnType<typeof docs>
}

export interface Method {
  name: string
  parameters: { name: string; type: string }[]
  type: string
  statements: string[]
  doc: ReturnType<typeof docs>
}

/** What a class is put together from. */
export class Output {
  properties: { name: string; type: string; initializer?: string }[] = []
  privates: { name: string; code: string }[] = []
  accessors: Accessor[] = []
  methods: Method[] = []
  value: ValueMember[] = []
  get: { name: string; code: string; when?: string | undefined }[] = []
  set: string[] = []
  /** What is checked once everything is written. */
  last: string[] = []
}

/** How a value of a slot is read and written. */
export interface ValueCode {
  type: string
  get: string
  set(value: string): string[]
}

/** An arm of a union: when it is there, and how its value is read and written. */
export interface ArmCode {
  name: string
  member: Member
  when: string | undefined
  /** What of it is the arm's own: not that of the union around it. */
  own: string | undefined
  code: ValueCode
}

/** Lines under a condition. */
export function guarded(guard: string | undefined, lines: readonly string[]): string[] {
  if (guard === undefined) return [...lines]
  if (lines.length === 1 && !lines[0]?.startsWith('if ')) return [`if (${guard}) ${lines[0]}`]
  return [`if (${guard}) {`, ...lines.map((line) => `  ${line}`), `}`]
}
