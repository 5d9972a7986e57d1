/** Checks of what claims to be a saved value: a StateError names the member, what is expected and what is there. */

/** What claims to be a saved state is none, or is not one of such a device. */
export class StateError extends RangeError {
  override readonly name = 'StateError'
  /** The member that is wrong, such as `queues[1].size`. */
  readonly member: string
  constructor(member: string, message: string) {
    super(`saved state: ${message}`)
    this.member = member
  }
}

export function wrong(name: string, value: unknown, expected: string): never {
  throw new StateError(name, `${name} must be ${expected}, not ${shown(value)}`)
}

/** The start of a value in words. Whatever its own `toString` is, it is not called. */
export function shown(value: unknown): string {
  const text = typeof value === 'number' ? String(value) : (JSON.stringify(value) ?? String(value))
  return text.length > 60 ? `${text.slice(0, 60)}…` : text
}

export type Members<T> = { readonly [K in keyof T]?: unknown }

export function object<T>(value: unknown, name: string): Members<T> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Members<T>) : wrong(name, value, 'an object')
}

export function list(value: unknown, name: string): readonly unknown[] {
  return Array.isArray(value) ? value : wrong(name, value, 'an array')
}

/** Throws StateError unless a saved value is an integer from 0 to a maximum. */
export function savedInteger(value: unknown, maximum: number, name: string): number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= maximum
    ? value
    : wrong(name, value, `an integer from 0 to ${maximum}`)
}

export function flag(value: unknown, name: string): boolean {
  return typeof value === 'boolean' ? value : wrong(name, value, 'true or false')
}

export function text(value: unknown, name: string): string {
  return typeof value === 'string' ? value : wrong(name, value, 'hexadecimal digits')
}
