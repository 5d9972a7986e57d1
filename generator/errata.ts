/** Where the specification's text contradicts itself or Linux: what is followed, and why. */
import type { Aspect, Chapter, Linux, Model, Origin } from './model.ts'

export interface Erratum {
  /** `text`: the text is wrong or contradicts itself; `linux`: Linux's headers have something else. */
  kind: 'text' | 'linux'
  /** The chapter. */
  scope: string
  /** What it is about: a struct, a field, a constant, a queue. */
  name: string
  section: string
  /** The sentence of the text, or what the headers have. */
  quote: string
  /** What the description says. */
  truth: string
  why: string
  /** In what the description differs from what the text declares there. */
  departs?: Aspect[]
  /** Whose text it is, if not the specification's. */
  source?: string
}

export function errataOf(model: Model, chosen?: ReadonlySet<string>): Erratum[] {
  return model.chapters.filter(({ name }) => chosen?.has(name) ?? true).flatMap(errataOfChapter)
}

export function errataOfChapter(chapter: Chapter): Erratum[] {
  const scope = chapter.name
  const ofText = chapter.errata.map(
    ({ at, section, text, truth, why, departs, source }): Erratum => ({
      kind: 'text',
      scope,
      name: at,
      section: section ?? '',
      quote: text,
      truth,
      why,
      ...(departs.length > 0 ? { departs } : {}),
      ...(source.startsWith('oasis') ? {} : { source }),
    }),
  )
  const ofLinux = [
    ...chapter.features.flatMap((feature) => linuxErratum(scope, feature, `bit ${feature.bit}`)),
    ...chapter.groups.flatMap((group) => group.constants.flatMap((constant) => linuxErratum(scope, constant, String(constant.value)))),
    ...chapter.structs.flatMap((struct) => linuxErratum(scope, struct, struct.size === null ? 'a size that varies' : `${struct.size} bytes`)),
  ]
  return [...ofText, ...ofLinux]
}

function linuxErratum(scope: string, item: Origin & { name: string; linux: Linux }, truth: string): Erratum[] {
  const { name, value, size, why } = item.linux
  if (value === undefined && size === undefined) return []
  const quote = `Linux: ${name} = ${String(value ?? `${size} bytes`)}`
  return [{ kind: 'linux', scope, name: item.name, section: item.section ?? '', quote, truth, why: why ?? '' }]
}
