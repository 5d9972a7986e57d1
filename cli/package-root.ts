/** Where virtgen itself lies: the sources and the build are at different depths below it. */
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const packageRoot: string = above(dirname(fileURLToPath(import.meta.url)))

function above(folder: string): string {
  return existsSync(join(folder, 'package.json')) ? folder : above(dirname(folder))
}
