/** Looks into what a file says: a key such as `constructor` is there only when the file has it. */
import type { Path } from './source.ts'

/** What a mapping says of a name. */
export function ownValue<T>(mapping: Readonly<Record<string, T>> | undefined, name: string | number): T | undefined {
  return mapping !== undefined && Object.hasOwn(mapping, name) ? mapping[name] : undefined
}

/** What stands at a path. */
export function valueAt(value: unknown, path: Path): unknown {
  let found = value
  for (const step of path) found = typeof found === 'object' && found !== null ? ownValue(found as Record<string, unknown>, step) : undefined
  return found
}
