/** Colours: on a terminal only, and as the environment wishes (https://no-color.org, FORCE_COLOR as in Node). */
import { stripVTControlCharacters } from 'node:util'
import { type Paint, plain } from '../generator/diagnostic.ts'
import type { Host, Output } from './host.ts'

const ansi: Paint = {
  bold: (text) => `\x1b[1m${text}\x1b[22m`,
  red: (text) => `\x1b[31m${text}\x1b[39m`,
  green: (text) => `\x1b[32m${text}\x1b[39m`,
  yellow: (text) => `\x1b[33m${text}\x1b[39m`,
  cyan: (text) => `\x1b[36m${text}\x1b[39m`,
  dim: (text) => `\x1b[2m${text}\x1b[22m`,
}

/** The colours of a stream. `refused` is `--no-color`. */
export function paintFor(output: Output, environment: Host['environment'], refused: boolean): Paint {
  return wantsColour(output, environment, refused) ? ansi : plain
}

function wantsColour(output: Output, environment: Host['environment'], refused: boolean): boolean {
  if (refused) return false
  const forced = environment.FORCE_COLOR
  if (forced !== undefined) return forced !== '0' && forced !== 'false'
  if (environment.NO_COLOR) return false
  return output.isTTY && environment.TERM !== 'dumb'
}

/** Columns that a text takes on the screen. */
export function visibleLength(text: string): number {
  return stripVTControlCharacters(text).length
}
