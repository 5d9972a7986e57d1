/** One thing of the description held against the headers. */
import type { Chapter, Linux } from '../model.ts'
import type { LinuxItem, LinuxProperty } from './report.ts'

/** A C expression that has to have a certain value. */
export interface Check {
  expression: string
  property: LinuxProperty
  /** The number of the description. */
  ours: bigint
  /** What the header is to have: our number, or the difference that is declared. */
  expected: bigint
}

/** Something the headers are to have. */
export interface Expectation {
  item: LinuxItem
  /** A constant expression that compiles when the headers have it. */
  probe: string
  checks: Check[]
  /** Of a field whose type is a struct: which one, as `chapter.name`. */
  holds?: string
}

/** Something the headers are not to have. */
export interface NotExpected {
  item: LinuxItem
  /** The expression that would compile if they had it; without one there is no name to look for. */
  probe?: string
}

/** Without headers a chapter has nothing in Linux, unless an item says so. */
export function isExpected(chapter: Chapter, ownName: string, linux: Linux): boolean {
  return linux.name !== null && (chapter.headers.length > 0 || linux.name !== ownName)
}

export function item(chapter: Chapter, kind: LinuxItem['kind'], name: string, { linux, section }: { linux: Linux; section?: string }): LinuxItem {
  return {
    kind,
    chapter: chapter.name,
    file: chapter.file,
    name,
    linux: linux.name ?? name,
    ...(section === undefined ? {} : { section }),
    ...(linux.why === undefined ? {} : { why: linux.why }),
  }
}
