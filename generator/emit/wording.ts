/** Conditions and bounds in words, for documentation. */
import { evaluate } from '../evaluate.ts'
import type { Expression } from '../model.ts'

/** `with VIRTIO_X`, `without VIRTIO_X`, `where flags lacks X`. */
export function conditionWords({ text }: Expression): string {
  const words = text
    .replaceAll(/\s+/g, ' ')
    .replaceAll(/\bnot ([\w.]+) has\b/g, '$1 lacks')
    .replaceAll(/\bnot ([\w.]+) ==/g, '$1 !=')
    .replaceAll(/\b(has|lacks) 1 << (\w+)/g, '$1 bit $2')
    .replaceAll(' == ', ' is ')
    .replaceAll(' != ', ' is not ')
  const [, without] = /^not (\w+)$/.exec(words) ?? []
  if (without !== undefined) return `without ${without}`
  return /\b(has|lacks|is)\b|[.<>]|^not /.test(words) ? `where ${words}` : `with ${words}`
}

/** `1 to 16`, or only the bound that says something: `at least 1`, `at most 16`. `limit` is what could not be exceeded anyway. */
export function boundWords([least, most]: readonly [Expression, Expression], limit: bigint): string | undefined {
  const isLow = evaluate(least.tree) === 0n
  const isHigh = (evaluate(most.tree) ?? 0n) >= limit
  if (isLow) return isHigh ? undefined : `at most ${most.text}`
  return isHigh ? `at least ${least.text}` : `${least.text} to ${most.text}`
}

/** `At least 1 byte.`; `unit` is in the plural. */
export function countWords(count: readonly [Expression, Expression], unit: string): string | undefined {
  // No length of a buffer is greater.
  const words = boundWords(count, 0xffff_ffffn)
  return words && `${capitalized(words)} ${/ (0x)?1$/.test(words) ? unit.replace(/s$/, '') : unit}.`
}

export function capitalized(text: string): string {
  return (text[0] ?? '').toUpperCase() + text.slice(1)
}
