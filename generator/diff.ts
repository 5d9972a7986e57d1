/** Differences between two texts, line by line, in the unified format. */

export interface Edit {
  kind: 'same' | 'removed' | 'added'
  line: string
}

/**
 * Most edits that are looked for in the part between the common beginning and the common end. Two texts that differ in more are shown as one
 * removed and one added block: the search takes time and memory with the square of it.
 */
export const maximumEdits = 1000

/**
 * The shortest list of edits from one list of lines to another (Myers, "An O(ND) Difference Algorithm"); where they differ in too much, one
 * removal and one addition.
 */
export function diffLines(before: readonly string[], after: readonly string[]): Edit[] {
  let start = 0
  while (start < before.length && start < after.length && before[start] === after[start]) start++
  let end = 0
  while (end < before.length - start && end < after.length - start && before[before.length - 1 - end] === after[after.length - 1 - end]) end++
  const edits = (kind: Edit['kind'], lines: readonly string[]): Edit[] => lines.map((line) => ({ kind, line }))
  const middleBefore = before.slice(start, before.length - end)
  const middleAfter = after.slice(start, after.length - end)
  const middle = shortestEdits(middleBefore, middleAfter) ?? [...edits('removed', middleBefore), ...edits('added', middleAfter)]
  return [...edits('same', before.slice(0, start)), ...middle, ...edits('same', before.slice(before.length - end))]
}

/** Undefined where more than `maximumEdits` are needed. */
function shortestEdits(before: readonly string[], after: readonly string[]): Edit[] | undefined {
  const limit = Math.min(maximumEdits, before.length + after.length)
  // reached[k] is how far `before` is matched on the diagonal k, which has matched as much of `after` less k.
  let reached = new Map<number, number>([[1, 0]])
  const steps: Map<number, number>[] = []
  for (let count = 0; count <= limit; count++) {
    const next = new Map<number, number>()
    for (let k = -count; k <= count; k += 2) {
      let x = isDownward(reached, k, count) ? (reached.get(k + 1) as number) : (reached.get(k - 1) as number) + 1
      while (x < before.length && x - k < after.length && before[x] === after[x - k]) x++
      next.set(k, x)
      if (x >= before.length && x - k >= after.length) return walkBack(before, after, [...steps, reached])
    }
    steps.push(reached)
    reached = next
  }
  return undefined
}

/** Whether diagonal `k` is entered by an added line (from above) rather than by a removed one. */
function isDownward(reached: ReadonlyMap<number, number>, k: number, count: number): boolean {
  return k === -count || (k !== count && (reached.get(k - 1) as number) < (reached.get(k + 1) as number))
}

/** The way to the end, found from the end; `steps[n]` is what was reached before the edit n. */
function walkBack(before: readonly string[], after: readonly string[], steps: readonly Map<number, number>[]): Edit[] {
  const edits: Edit[] = []
  let x = before.length
  let y = after.length
  for (let count = steps.length - 1; count >= 0; count--) {
    const reached = steps[count] as Map<number, number>
    const k = x - y
    const down = isDownward(reached, k, count)
    const fromK = down ? k + 1 : k - 1
    const fromX = count === 0 ? 0 : (reached.get(fromK) as number)
    const fromY = count === 0 ? 0 : fromX - fromK
    const afterEdit = count === 0 ? 0 : down ? fromX : fromX + 1
    while (x > afterEdit) {
      edits.push({ kind: 'same', line: before[--x] as string })
      y--
    }
    if (count > 0) edits.push(down ? { kind: 'added', line: after[--y] as string } : { kind: 'removed', line: before[--x] as string })
    x = fromX
    y = fromY
  }
  return edits.reverse()
}

/** Lines around a change that are shown with it. */
const context = 3

/** A unified diff as `diff -u` prints it, without the time of the files; empty where the texts are the same. */
export function unifiedDiff(path: string, before: string, after: string): string {
  if (before === after) return ''
  const edits = diffLines(linesOf(before), linesOf(after))
  const lines = [`--- a/${path}`, `+++ b/${path}`]
  for (const [from, to] of hunks(edits)) lines.push(...printHunk(edits, from, to))
  return `${lines.join('\n')}\n`
}

const noNewline = '\\ No newline at end of file'

/** The lines of a text; a last line without a line feed says so, as it differs from one with it. */
function linesOf(text: string): string[] {
  if (text === '') return []
  const lines = text.split('\n')
  if (lines.at(-1) === '') lines.pop()
  else lines.push(`${lines.pop()}\n${noNewline}`)
  return lines
}

/** Ranges of edits that belong together, with the lines around them. */
function hunks(edits: readonly Edit[]): [number, number][] {
  const found: [number, number][] = []
  edits.forEach(({ kind }, index) => {
    if (kind === 'same') return
    const last = found.at(-1)
    const to = Math.min(edits.length, index + 1 + context)
    if (last && index - context <= last[1]) last[1] = to
    else found.push([Math.max(0, index - context), to])
  })
  return found
}

function printHunk(edits: readonly Edit[], from: number, to: number): string[] {
  const count = (slice: readonly Edit[], absent: Edit['kind']): number => slice.filter(({ kind }) => kind !== absent).length
  const earlier = edits.slice(0, from)
  const shown = edits.slice(from, to)
  const range = (absent: Edit['kind']): string => {
    const length = count(shown, absent)
    // An empty range names the line before it.
    const start = count(earlier, absent) + (length === 0 ? 0 : 1)
    return length === 1 ? `${start}` : `${start},${length}`
  }
  const sign = { same: ' ', removed: '-', added: '+' } as const
  return [`@@ -${range('added')} +${range('removed')} @@`, ...shown.map(({ kind, line }) => sign[kind] + line)]
}
