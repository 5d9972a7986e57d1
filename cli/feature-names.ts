/** Features as an option names them. */
import { didYouMean } from '../generator/diagnostic.ts'
import type { Chapter, Model } from '../generator/model.ts'
import { UsageError } from './command.ts'
import { parseBits } from './feature-bits.ts'
import { reportFeatures } from './feature-report.ts'

/**
 * Names of the features that are set: `0x130006e54`, or names with commas between them.
 *
 * @throws UsageError for a name that no feature has
 */
export function parseFeatures(model: Model, chapter: Chapter | undefined, text: string): Set<string> {
  const words = text.split(/[\s,]+/).filter((word) => word !== '')
  if (words.every((word) => !isName(word))) {
    return new Set(words.flatMap((word) => reportFeatures(model, chapter, parseBits(word)).features.map(({ feature }) => feature.name)))
  }
  const known = model.chapters.flatMap(({ features }) => features.map(({ name }) => name))
  for (const word of words) if (!known.includes(word)) throw new UsageError(`no feature is named "${word}"`, didYouMean(word, known))
  return new Set(words)
}

function isName(word: string): boolean {
  return word.includes('_') || !/^(0[bx])?[0-9a-f]+$/i.test(word)
}
