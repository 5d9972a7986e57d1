/** What a queue did that it must never do, whatever the other side does. */
export class Failure extends Error {}

/** @throws Failure unless the condition holds */
export function require(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Failure(message)
}
