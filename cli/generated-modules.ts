/** The compiled generated modules, where they are built. `virtgen` itself works without them. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { WireModules } from '../generator/linux/index.ts'
import type { Model } from '../generator/model.ts'
import { packageRoot } from './package-root.ts'

/** The wire modules, with the parts of messages, of the built-in chapters; undefined unless all of them are built. */
export async function loadWireModules(model: Model): Promise<WireModules | undefined> {
  const modules: Record<string, Readonly<Record<string, unknown>>> = {}
  for (const { name, builtin } of model.chapters) {
    if (!builtin) continue
    const [wire, parts] = ['wire', 'parts'].map((folder) => join(packageRoot, 'dist', 'generated', folder, `${name}.js`)) as [string, string]
    if (!existsSync(wire)) return undefined
    modules[name] = { ...(await import(pathToFileURL(wire).href)), ...(existsSync(parts) ? await import(pathToFileURL(parts).href) : {}) }
  }
  return modules
}
