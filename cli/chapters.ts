/** Commands that are about some chapters or all of them. */
import { didYouMean } from '../generator/diagnostic.ts'
import type { Chapter, Model } from '../generator/model.ts'
import { type Call, UsageError } from './command.ts'

export interface Chosen {
  model: Model
  /** Names of the chapters asked for; absent: all. */
  chosen: ReadonlySet<string> | undefined
}

/** The model with the chapters that the arguments name, and those. */
export async function describeChapters(call: Call): Promise<Chosen> {
  const { chapterNames, describe, describePart } = await import('./description.ts')
  if (call.arguments.length === 0) return { model: describe(call).model, chosen: undefined }
  const { model } = describePart(call, { chapters: call.arguments })
  const chosen = call.arguments.map((word) => findChapter(model, word, () => chapterNames(call)).name)
  return { model, chosen: new Set(chosen) }
}

/**
 * A chapter by its name or the id of its device.
 *
 * @throws UsageError where there is none
 */
export function findChapter(model: Model, word: string, names: () => Iterable<string>): Chapter {
  const found = model.chapters.find(({ name, id }) => name === word || String(id) === word)
  if (found) return found
  throw new UsageError(`there is no chapter "${word}"`, didYouMean(word, names()) ?? 'virtgen model lists the chapters')
}
