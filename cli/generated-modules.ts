/** The compiled generated modules, where they are built. `virtgen` itself works without them. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { WireModules } from '../generator/linux/index.ts'
import type { Model } from '../generator/model.ts'
import { packageRoot } from './package-root.ts'

/** The wire modules of the built-in chapters; undefined unless all of them are built. */
export async function loadWireModules(model: Model): Promise<WireModules | undefined> {
  const modules: Record<string, Readonly<Record<string, unknown>>> = {}
  for (const { name, builtin } of model.chapters) {
    if (!builtin) continue
    const file = join(packageRoot, 'dist', 'generated', 'wire', `${name}.js`)
    if (!existsSync(file)) return undefined
    modules[name] = await import(pathToFileURL(file).href)
  }
  return modules
}
