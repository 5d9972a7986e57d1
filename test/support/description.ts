/** The descriptions that tests run on. */
import { fileURLToPath } from 'node:url'
import { checkShapes, loadFolders, type Model, resolve, SourceFile } from '../../generator/index.ts'

const folder = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url))

/** The built-in description, with the hard structs beside it. */
export function loadEverything(): Model {
  return modelOf(
    loadFolders([
      { folder: folder('spec'), builtin: true },
      { folder: folder('test/fixtures/hard'), builtin: false },
    ]),
  )
}

/** The same with shapes of layouts that no chapter has side by side. */
export function loadWithShapes(): Model {
  return modelOf(
    loadFolders([
      { folder: folder('spec'), builtin: true },
      { folder: folder('test/fixtures/hard'), builtin: false },
      { folder: folder('test/fixtures/shapes'), builtin: false },
    ]),
  )
}

/** A description that stands in the test. */
export function loadText(...texts: string[]): Model {
  const sources = texts.map((text, index) => new SourceFile(`memory-${index}.yaml`, `memory-${index}.yaml`, text, false))
  return modelOf(checkShapes(sources))
}

function modelOf(loaded: ReturnType<typeof loadFolders>): Model {
  const { model, problems } = resolve(loaded)
  if (problems.length > 0) throw new Error(problems.map(({ file, line, message }) => `${file}:${line}: ${message}`).join('\n'))
  return model
}
