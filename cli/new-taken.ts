/** Names and ids of devices that somebody has already: the specification, virtgen's own chapters, and those beside the new one. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, sep } from 'node:path'
import { SourceFile } from '../generator/source.ts'
import { packageRoot } from './package-root.ts'

export interface Taken {
  /** Who has the name, in words. */
  names: ReadonlyMap<string, string>
  ids: ReadonlyMap<number, string>
}

/**
 * @param folder - the project's own description, where there is one
 * @param own - the file below it that is to be written: what is there now does not count
 */
export function takenDevices(folder: string, own: string): Taken {
  const names = new Map<string, string>()
  const ids = new Map<number, string>()
  for (const { value } of chapters(join(packageRoot, 'spec'), headOf)) {
    for (const [name, device] of Object.entries(recordOf(value.devices))) {
      const { id, title } = recordOf(device)
      names.set(name, `the specification's ${title}`)
      ids.set(Number(id), `the specification's ${name} (${title})`)
    }
    if (typeof value.name === 'string' && !names.has(value.name)) names.set(value.name, `a chapter of the specification, ${value.title}`)
  }
  for (const { path, value } of chapters(folder)) {
    if (path === own) continue
    const { name, id } = value
    if (typeof name === 'string' && !names.has(name)) names.set(name, `the device in ${path}`)
    if (typeof id === 'number' && !ids.has(id)) ids.set(id, `the device in ${path}`)
  }
  return { names, ids }
}

/** Files with mistakes are read as far as they can be: `virtgen generate` says what is wrong with them. */
function chapters(folder: string, part = (text: string) => text): { path: string; value: Record<string, unknown> }[] {
  if (!existsSync(folder)) return []
  const paths = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((path) => /\.ya?ml$/.test(path))
  return paths.sort().map((path) => {
    const text = part(readFileSync(join(folder, path), 'utf8'))
    return { path: path.split(sep).join('/'), value: recordOf(new SourceFile(path, path, text, true).value) }
  })
}

/** Up to the table of ids; what stands behind it takes long to parse. */
function headOf(text: string): string {
  const end = /^(features|rules|constants|structs|config|registers|queues|messages|errata|vectors):/m.exec(text)
  return text.slice(0, end?.index)
}

function recordOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
}
