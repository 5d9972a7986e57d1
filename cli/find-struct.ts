/** The struct that a word of the command line means. */
import { didYouMean } from '../generator/diagnostic.ts'
import type { Model } from '../generator/model.ts'
import { UsageError } from './command.ts'

export interface Found {
  chapter: string
  /** `message.request` for a request. */
  name: string
}

/** Everything that can be decoded: structs, blocks of registers, and requests by `message.request`. */
export function decodable(model: Model): Found[] {
  return model.chapters.flatMap((chapter) => {
    const structs = [...chapter.structs, ...chapter.registers].map(({ name }) => name)
    const requests = chapter.messages.flatMap((message) => message.requests.map((request) => `${message.name}.${request.name}`))
    return [...structs, ...requests].map((name) => ({ chapter: chapter.name, name }))
  })
}

/** What `struct`, `chapter/struct` or either with `message.request` may mean. */
export function structsNamed(model: Model, word: string): Found[] {
  return decodable(model).filter(({ chapter, name }) => word === name || word === `${chapter}/${name}`)
}

/** The one struct that is meant; @throws UsageError where there is none or several. */
export function onlyStruct(model: Model, word: string): Found {
  const found = structsNamed(model, word)
  if (found[0] && found.length === 1) return found[0]
  if (found.length > 1) {
    const names = found.map(({ chapter, name }) => `${chapter}/${name}`)
    throw new UsageError(`"${word}" is in several chapters`, `name one: ${names.join(', ')}`)
  }
  const all = decodable(model)
  const candidates = all.map(({ chapter, name }) => (word.includes('/') ? `${chapter}/${name}` : name))
  // Half a name is more often meant than a misspelt one.
  const longer = all.filter(({ name }) => name.toLowerCase().includes(word.toLowerCase())).map(({ name }) => name)
  const hint =
    didYouMean(word, candidates) ??
    (longer.length > 0 && longer.length <= 8 ? `did you mean ${longer.join(', ')}?` : 'virtgen model shows the structs of each chapter')
  throw new UsageError(`no struct or request is named "${word}"`, hint)
}
