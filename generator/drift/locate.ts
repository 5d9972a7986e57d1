/** Where an item stands in a YAML file. It is looked for in the text: the model keeps no positions. */
import type { Difference, Place } from './findings.ts'

export interface YamlText {
  /** As it is shown. */
  file: string
  text: string
}

/** Adds the place in the YAML: of a missing item, the file, or the struct that lacks it. */
export function withOurPlaces(differences: readonly Difference[], textOf: (scope: string) => YamlText | undefined): Difference[] {
  const files = new Map<string, YamlLines | undefined>()
  return differences.map((difference) => {
    const { scope } = difference
    if (!files.has(scope)) {
      const yaml = textOf(scope)
      files.set(scope, yaml && new YamlLines(yaml))
    }
    const ours = files.get(scope)?.place(difference)
    return ours === undefined ? difference : { ...difference, ours }
  })
}

const sectionsOf = {
  device: ['devices'],
  feature: ['features'],
  constant: ['constants'],
  queue: ['queues'],
  struct: ['structs', 'config', 'messages', 'registers'],
  field: ['structs', 'config', 'messages', 'registers'],
  register: ['registers'],
} as const

class YamlLines {
  readonly #file: string
  readonly #lines: readonly string[]
  /** Key at the top of the file that each line belongs to. */
  readonly #sections: string[] = []

  constructor({ file, text }: YamlText) {
    this.#file = file
    this.#lines = text.split(/\r?\n/)
    let section = ''
    for (const line of this.#lines) {
      section = /^(\w+):/.exec(line)?.[1] ?? section
      this.#sections.push(section)
    }
  }

  place({ kind, item, name }: Difference): Place {
    const sections = sectionsOf[item] as readonly string[]
    const at = item === 'field' ? this.#field(name, sections) : kind === 'missing' ? undefined : this.#named(item, name, sections)
    return { file: this.#file, ...(at === undefined ? {} : { line: at + 1 }) }
  }

  #named(item: Difference['item'], name: string, sections: readonly string[]): number | undefined {
    if (item === 'queue') return this.#find(sections, word(name.replaceAll(/\d+|[A-Z]$/g, '')))
    if (item === 'device') return this.#find(sections, word(name))
    if (item === 'struct') return this.#struct(name, sections)
    return this.#find(sections, key(name.replace(/ \(legacy\)$/, '')))
  }

  #struct(name: string, sections: readonly string[]): number | undefined {
    return (
      this.#find(sections, new RegExp(`^ {2}["']?${escaped(name)}["']?:`)) ?? this.#find(sections, new RegExp(`\\bstruct: ["']?${escaped(name)}\\b`))
    )
  }

  /** The line of `struct.a.b`; the struct's own where it has no such field. */
  #field(path: string, sections: readonly string[]): number | undefined {
    const [struct, ...names] = path.split('.') as [string, ...string[]]
    const start = this.#struct(struct, sections)
    if (start === undefined) return undefined
    const depth = indent(this.#lines[start] as string)
    let end = start + 1
    while (end < this.#lines.length && (this.#lines[end]?.trim() === '' || indent(this.#lines[end] as string) > depth)) end++
    let at = start
    for (const name of names) {
      const found = this.#lines.findIndex((line, index) => index >= at && index < end && key(name).test(line))
      if (found < 0) return start
      at = found
    }
    return at
  }

  #find(sections: readonly string[], pattern: RegExp): number | undefined {
    const found = this.#lines.findIndex((line, index) => sections.includes(this.#sections[index] as string) && pattern.test(line))
    return found < 0 ? undefined : found
  }
}

function indent(line: string): number {
  return line.search(/\S|$/)
}

function word(text: string): RegExp {
  return new RegExp(escaped(text))
}

/** A key, at the beginning of a line, of an item or inside of a mapping; a member may have lengths behind its name. */
function key(name: string): RegExp {
  return new RegExp(`(?:^|[\\s{[,"'])${escaped(name)}(?:\\[[^:]*\\])?["']?:`)
}

function escaped(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')
}
