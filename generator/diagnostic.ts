/** What is wrong with a YAML file, where, and what to do about it. */

/** Stable codes, for tests and editors; the text says when each is raised. */
export const diagnosticCodes = {
  'yaml-syntax': 'The file is not YAML, or nests deeper than any description.',
  'duplicate-key': 'The same key twice in one mapping.',
  'missing-key': 'A key that is needed is not there.',
  'unknown-key': 'A key that the language does not have.',
  'wrong-type': 'A value of another kind than the language asks for.',
  'expression-syntax': 'An expression that does not follow the grammar.',
  'member-syntax': 'The name of a member, or its brackets, cannot be read or do not go with its type.',
  'access-syntax': 'An `access` that is none of r, w, rw, rc and `rw if CONDITION`.',
  'unknown-type': 'A type that is neither built in nor a struct in reach.',
  'unknown-name': 'A name in an expression that nothing in reach has: a dangling condition or length.',
  'unknown-group': 'A group of constants that does not exist.',
  'unknown-constant': 'A constant that does not stand in the group it is held against.',
  'unknown-chapter': 'A chapter in `uses` that does not exist.',
  'unknown-struct': 'A struct that does not exist.',
  'unknown-message': 'A queue carries a message that does not exist.',
  'unknown-field': 'A path to a field that does not exist.',
  'unknown-unit': 'A unit that is not in the list of units.',
  'unknown-given': 'A struct is bound to something that its layout does not need.',
  'ambiguous-name': 'A name that several things in reach have.',
  'wrong-operand': 'A name in an expression that is not of the kind needed: an array, a struct, a feature as a number, a number as a condition.',
  'not-constant': 'An expression that depends on something, where only a number can stand.',
  'constant-condition': 'A condition that always holds, or never.',
  'duplicate-chapter': 'Two files describe the same chapter.',
  'duplicate-config': 'More than one struct in `config`.',
  'duplicate-name': 'The same name twice.',
  'duplicate-value': 'Two constants of a group with one value.',
  'duplicate-bit': 'Two features on one bit.',
  'duplicate-id': 'Two devices with one id, or a device with two.',
  'duplicate-queue': 'Two queues with one index.',
  'duplicate-arm': 'Two arms of a union, or two requests, that nothing tells apart.',
  overlap: 'Two registers, ranges, regions or parts of one field that cover the same.',
  'offset-mismatch': 'The declared offset is not where the members before it end.',
  'size-mismatch': 'The declared size is not that of the members.',
  'value-range': 'A number that does not fit where it stands.',
  'bits-overflow': 'Bit-fields that do not fill their container.',
  'open-member': 'More than one member that takes all that is left.',
  'place-cycle': 'A length or condition by a field whose own place depends on that length or condition.',
  'type-cycle': 'A struct that contains itself.',
  'requires-cycle': 'Features that require each other.',
  'let-cycle': '`let` names that are defined by each other.',
  'constant-cycle': 'Constants that are defined by each other.',
  'extends-cycle': 'Groups that extend each other.',
  'bit-range': 'A feature bit outside the range of its kind.',
  'part-order': 'The device-writable part stands before the device-readable part.',
  'part-mismatch': 'Something of the other part of a buffer, or something of two parts where there are none.',
  'head-mismatch': 'A request that does not begin with the `head` of its message.',
  'name-collision': 'Two names that become the same name in TypeScript.',
  'generated-name': 'A method, a type or a class that is generated for a message, where there is another one of that name.',
  'reserved-word': 'A name that TypeScript cannot have, or that the language or the generated code needs for itself.',
  'missing-given': 'A struct is used without what its layout needs from outside.',
  'misplaced-attribute': 'An attribute that means nothing here.',
  'linux-reason': 'A difference from the Linux headers without a reason.',
  'no-spec': 'A folder without description, or a file that cannot be read.',
} as const

export type DiagnosticCode = keyof typeof diagnosticCodes

export interface Diagnostic {
  code: DiagnosticCode
  file: string
  /** 1-based. */
  line: number
  /** 1-based. */
  column: number
  message: string
  hint?: string
  /** The source line. */
  excerpt: string
  /** How many characters the caret covers, at least 1. */
  length: number
}

/** `file:line:column: error[code]: message`, the line with a caret, and the hint. */
export function formatDiagnostic(diagnostic: Diagnostic, paint: Paint = plain): string {
  const { file, line, column, code, message, hint, excerpt, length } = diagnostic
  const gutter = ' '.repeat(String(line).length)
  // Tabs stay, so that the caret stands below what it means.
  const caret = excerpt.slice(0, column - 1).replaceAll(/[^\t]/g, ' ') + '^'.repeat(Math.max(1, Math.min(length, excerpt.length - column + 1)))
  const lines = [`${paint.bold(`${file}:${line}:${column}`)}: ${paint.red(`error[${code}]`)}: ${message}`]
  if (excerpt !== '') lines.push(`${gutter} |`, `${line} | ${excerpt}`, `${gutter} | ${paint.red(caret)}`)
  if (hint !== undefined) lines.push(`${gutter} = ${paint.cyan('hint')}: ${hint}`)
  return lines.join('\n')
}

/** Colours, or none. */
export interface Paint {
  bold(text: string): string
  red(text: string): string
  green(text: string): string
  yellow(text: string): string
  cyan(text: string): string
  dim(text: string): string
}

const same = (text: string): string => text
export const plain: Paint = { bold: same, red: same, green: same, yellow: same, cyan: same, dim: same }

/** The candidate nearest to a misspelt name, if one is near enough to be meant. */
export function nearest(name: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined
  // One letter more or less makes another word of a short one.
  let bestDistance = (name.length < 3 ? 0 : Math.max(1, Math.floor(name.length / 3))) + 1
  for (const candidate of candidates) {
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase(), bestDistance)
    if (distance < bestDistance) {
      best = candidate
      bestDistance = distance
    }
  }
  return best
}

/** `did you mean X?`, where a candidate is near. */
export function didYouMean(name: string, candidates: Iterable<string>): string | undefined {
  const near = nearest(name, candidates)
  return near === undefined ? undefined : `did you mean ${near}?`
}

/** Edit distance with swapped neighbours as one edit, given up at `limit`. */
function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) >= limit) return limit
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, index) => index)]
  const at = (i: number, j: number): number => rows[i]?.[j] as number
  for (let i = 1; i <= a.length; i++) {
    rows.push([i])
    for (let j = 1; j <= b.length; j++) {
      const substitution = at(i - 1, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1)
      const isSwap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      rows[i]?.push(Math.min(substitution, at(i - 1, j) + 1, at(i, j - 1) + 1, isSwap ? at(i - 2, j - 2) + 1 : limit))
    }
  }
  return at(a.length, b.length)
}
