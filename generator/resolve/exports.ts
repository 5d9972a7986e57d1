/** Names that the generated module of a chapter exports: no two may be the same in TypeScript. */
import type { Chapter, Struct } from '../model.ts'
import { className, identifier, isExportedAlone, moduleNames, reservedWords, usedGlobals } from '../names.ts'
import type { Path } from '../source.ts'
import type { Layouts } from './layouts.ts'
import type { ChapterScope } from './workspace.ts'

export function checkExports(scope: ChapterScope, chapter: Chapter, layouts: Layouts): void {
  const seen = new Map<string, string>()
  const claim = (name: string, original: string, path: Path): void => {
    const other = seen.get(name)
    const message = other === original ? `"${original}" stands for two things` : `"${other}" and "${original}" both become "${name}"`
    if (other !== undefined) scope.report('name-collision', path, message, undefined, 'key')
    const becomes = name === original ? `"${name}"` : `"${original}" becomes "${name}", which`
    if (reservedWords.has(name) || usedGlobals.has(name) || moduleNames.has(name))
      scope.report('reserved-word', path, `${becomes} is needed by TypeScript or the generated code`, undefined, 'key')
    else if (!/^[A-Za-z_]\w*$/.test(name)) scope.report('reserved-word', path, `${becomes} is no name in TypeScript`, undefined, 'key')
    seen.set(name, original)
  }
  // Structs of the same name have been reported when they were added.
  const structs = new Map([...chapter.structs, ...chapter.registers].map((struct) => [struct.name, struct]))
  for (const struct of structs.values()) claimStruct(struct, layouts.pathOf(struct) ?? ['registers', struct.name], claim)
  for (const { name } of chapter.features) claim(identifier(name), name, ['features', name])
  for (const { name, constants } of chapter.groups) if (constants.length > 0) claim(identifier(name), name, ['constants', name])
  claimConstants(scope, chapter, claim)
}

function claimStruct(struct: Struct, path: Path, claim: (name: string, original: string, path: Path) => void): void {
  if (struct.role === 'registers') claim(identifier(struct.name), struct.name, path)
  else for (const part of struct.twoPart ? ['Readable', 'Writable'] : ['']) claim(className(struct.name) + part, struct.name, path)
}

/** A constant that stands in several groups with one value is exported once, with several values only in its groups. */
function claimConstants(scope: ChapterScope, chapter: Chapter, claim: (name: string, original: string, path: Path) => void): void {
  const features = new Set(chapter.features.map(({ name }) => name))
  const found = new Map<string, { values: Set<string>; path: Path }>()
  for (const group of chapter.groups) {
    const valuesPath = scope.groups.get(group.name)?.valuesPath ?? []
    for (const { name, value } of group.constants) {
      if (!isExportedAlone(name) || features.has(name)) continue
      const known = found.get(name) ?? { values: new Set<string>(), path: [...valuesPath, name] }
      known.values.add(String(value))
      found.set(name, known)
    }
  }
  for (const [name, { values, path }] of found) if (values.size === 1) claim(name, name, path)
}
