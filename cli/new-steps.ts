/** What to do with a new device: the commands that lead to a test that passes. */
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { NewDevice } from './new-device.ts'
import { generateCommand, type Place } from './new-files.ts'
import { quoted } from './new-shell.ts'

export interface Step {
  command: string
  meaning: string
}

/** What the generated code needs of the compiler, besides files that are ES modules. */
const compilerOptions = '--strict --target es2022 --module nodenext --skipLibCheck'

export function nextSteps({ name }: NewDevice, place: Place): Step[] {
  const missing = ['virtgen', 'typescript', 'vitest'].filter((module) => above(place.folder, join('node_modules', module)) === undefined)
  const at = (file: string): string => quoted(place.shown === '.' ? file : `${place.shown}/${file}`)
  const steps: Step[] = []
  if (missing.length > 0) steps.push({ command: `npm install --save-dev ${missing.join(' ')}`, meaning: 'what is not installed yet' })
  if (!isModule(place.folder)) steps.push({ command: 'npm pkg set type=module', meaning: 'generated code consists of ES modules' })
  steps.push({ command: generateCommand(place), meaning: 'TypeScript of the description; again after each change of it' })
  if (above(place.folder, 'tsconfig.json') !== undefined)
    steps.push({ command: 'npx tsc --noEmit', meaning: `check the types; the options in tsconfig.json have to agree with ${compilerOptions}` })
  else steps.push({ command: `npx tsc --noEmit ${compilerOptions} ${at(`${name}.ts`)} ${at(`${name}.test.ts`)}`, meaning: 'check the types' })
  steps.push({ command: `npx vitest run${place.shown === '.' ? '' : ` --dir ${quoted(place.shown)}`}`, meaning: 'run the test' })
  return steps
}

/** The nearest file or folder of that name, from a folder upwards. */
function above(folder: string, path: string): string | undefined {
  const found = join(folder, path)
  if (existsSync(found)) return found
  return dirname(folder) === folder ? undefined : above(dirname(folder), path)
}

/** Whether Node and TypeScript take the files in a folder as ES modules. */
function isModule(folder: string): boolean {
  const file = above(folder, 'package.json')
  if (file === undefined) return false
  try {
    return (JSON.parse(readFileSync(file, 'utf8')) as { type?: unknown }).type === 'module'
  } catch {
    return false
  }
}
