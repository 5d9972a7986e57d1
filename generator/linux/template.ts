/** The C sources are whole files and come from `templates/`. */
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import Handlebars from 'handlebars'

/** Fills a template of the package. */
export function render(name: string, data: unknown): string {
  return Handlebars.compile(readFileSync(find(name), 'utf8'), { noEscape: true, strict: true })(data)
}

/** The folder lies one level further up for the compiled generator than for its source. */
function find(name: string): string {
  for (const up of ['../../', '../../../']) {
    const file = fileURLToPath(new URL(`${up}templates/${name}`, import.meta.url))
    if (existsSync(file)) return file
  }
  throw new Error(`the template ${name} is missing from the package`)
}
