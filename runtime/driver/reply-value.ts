/** The value of a reply as our user gets it: its members, as a rule without the status. */
import type { Struct } from 'virtgen/codegen/v1/wire'
import type { RequestInfo, StatusInfo } from '../request/message.ts'
import type { ValueStruct } from '../request/select.ts'

type Members = Record<string, unknown>

/** Paths of the members that hold the status, by request: found once, as the generated tables do not name them. */
const statusPaths = new WeakMap<RequestInfo, readonly (readonly string[])[]>()

/**
 * Reads a reply.
 *
 * @param reply - over bytes of our own: the status is changed and changed back to see which members hold it
 * @returns its members, with the status only where several are successes; undefined where there are none
 */
export function replyValue(info: RequestInfo, status: StatusInfo | undefined, reply: Struct): Members | undefined {
  const struct = reply as ValueStruct
  const value = struct.$get() as Members
  if (status !== undefined && status.alsoOk === undefined) for (const path of pathsOf(info, status, struct)) remove(value, path)
  return Object.keys(value).length === 0 ? undefined : value
}

function pathsOf(info: RequestInfo, status: StatusInfo, reply: ValueStruct): readonly (readonly string[])[] {
  const known = statusPaths.get(info)
  if (known !== undefined) return known
  const before = reply.$get() as Members
  const value = status.get!(reply)
  status.set(reply, value ^ 1)
  const paths = differences(before, reply.$get() as Members)
  status.set(reply, value)
  statusPaths.set(info, paths)
  return paths
}

function differences(before: Members, after: Members): string[][] {
  return Object.keys(before).flatMap((name) => {
    const [a, b] = [before[name], after[name]]
    if (isMembers(a) && isMembers(b)) return differences(a, b).map((path) => [name, ...path])
    // Arrays and bytes are copies, hence never the same object; a status is a number.
    return typeof a !== 'object' && a !== b ? [[name]] : []
  })
}

function remove(value: Members, [name, ...rest]: readonly string[]): void {
  if (name === undefined) return
  const member = value[name]
  if (rest.length === 0) delete value[name]
  else if (isMembers(member)) remove(member, rest)
}

function isMembers(value: unknown): value is Members {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype
}
