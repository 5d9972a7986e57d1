/** The parts of requests, payload left out, as structs of a model: so the codec reads and writes what their classes do. */
import { messageShape, type PartClass } from '../../generator/emit/parts.ts'
import { Needs } from '../../generator/emit/wire/needs.ts'
import type { Model } from '../../generator/model.ts'

export interface ModelWithParts {
  model: Model
  /** Class names by chapter, struct and part. */
  names: ReadonlyMap<string, string>
  classes: (PartClass & { chapter: string })[]
}

export function withParts(model: Model): ModelWithParts {
  const needs = new Needs(model)
  const names = new Map<string, string>()
  const classes: ModelWithParts['classes'] = []
  const chapters = model.chapters.map((chapter) => {
    const own = chapter.messages.flatMap((message) => messageShape(model, needs, message).classes)
    for (const class_ of own) {
      classes.push({ ...class_, chapter: chapter.name })
      names.set(`${chapter.name}/${class_.name} ${class_.part}`, class_.name)
      if (class_.readable !== undefined) names.set(`${chapter.name}/${class_.name} readable`, class_.readable)
    }
    return { ...chapter, structs: [...chapter.structs, ...own.map(({ name, struct }) => ({ ...struct, name }))] }
  })
  return { model: { ...model, chapters }, names, classes }
}
