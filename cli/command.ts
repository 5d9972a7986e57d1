/** What a command of `virtgen` is, and the errors by which one ends. */
import type { Diagnostic, Paint } from '../generator/diagnostic.ts'
import type { Host } from './host.ts'

export interface Command {
  readonly name: string
  /** What stands after the name: `<device> <bits>`, `[...chapter]`; angle brackets are required. */
  readonly arguments: string
  /** One line for the list of commands. */
  readonly summary: string
  /** Paragraphs for its own help. */
  readonly description: readonly string[]
  readonly options: readonly Option[]
  readonly examples: readonly { readonly line: string; readonly meaning: string }[]
  /** Gives the exit code. */
  run(call: Call): number | Promise<number>
}

export interface Option {
  /** Without the dashes. */
  readonly name: string
  /** Word for its value; absent: a switch. */
  readonly value?: string
  /** It may be given more than once. */
  readonly repeatable?: boolean
  readonly summary: string
  /** Options of one group have a heading of their own in the help; those without come last. */
  readonly group?: string
}

/** One call of a command. */
export interface Call {
  readonly host: Host
  /** Colours of the standard output. */
  readonly paint: Paint
  readonly arguments: readonly string[]
  readonly options: Options
  /** Writes a line to the standard output. */
  print(line?: string): void
  /** Writes a value as JSON to the standard output. */
  printJson(value: unknown): void
  /** Writes a line to the standard error. */
  complain(line: string): void
  /** Says on a terminal what takes its time; the next call, or the end, removes it. */
  progress(text: string): void
}

/** The options of a call, checked against the command's own. */
export class Options {
  readonly #values: ReadonlyMap<string, readonly string[]>

  /** Switches that are set have an empty list. */
  constructor(values: ReadonlyMap<string, readonly string[]>) {
    this.#values = values
  }

  has(name: string): boolean {
    return this.#values.has(name)
  }

  text(name: string): string | undefined {
    return this.#values.get(name)?.[0]
  }

  texts(name: string): readonly string[] {
    return this.#values.get(name) ?? []
  }

  /** A whole number from 0 on. */
  count(name: string): number | undefined {
    const text = this.text(name)
    if (text === undefined) return undefined
    const value = Number(text)
    if (!/^(\d+|0[xX][0-9a-fA-F]+)$/.test(text) || !Number.isSafeInteger(value)) throw new UsageError(`--${name} takes a whole number, not "${text}"`)
    return value
  }

  /** A JSON object. */
  json(name: string): Record<string, unknown> | undefined {
    const text = this.text(name)
    if (text === undefined) return undefined
    let value: unknown
    try {
      value = JSON.parse(text)
    } catch (error) {
      throw new UsageError(`--${name} is not JSON: ${(error as Error).message}`, `quote it for the shell: --${name} '{"num_queues": 4}'`)
    }
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new UsageError(`--${name} takes a JSON object, not ${text}`)
    return value as Record<string, unknown>
  }
}

/** The command was called wrongly: exit code 2. */
export class UsageError extends Error {
  readonly hint: string | undefined
  constructor(message: string, hint?: string) {
    super(message)
    this.hint = hint
  }
}

/** What was asked for cannot be done: exit code 1. */
export class Failure extends Error {
  readonly hint: string | undefined
  constructor(message: string, hint?: string) {
    super(message)
    this.hint = hint
  }
}

/** The description has mistakes: exit code 1. */
export class DescriptionError extends Error {
  readonly problems: readonly Diagnostic[]
  constructor(problems: readonly Diagnostic[]) {
    super(`${problems.length} problems in the description`)
    this.problems = problems
  }
}

export const specOption: Option = { name: 'spec', value: 'DIR', repeatable: true, summary: "adds the YAML files of a folder to virtgen's own" }
export const jsonOption: Option = { name: 'json', summary: 'prints JSON, for programs' }
