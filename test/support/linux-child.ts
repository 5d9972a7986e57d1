/** Programs of their own for tests of the system layer: what ends a process must not end the tests. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/** The system layer, as it is built. */
export const builtSystem = fileURLToPath(new URL('../../dist/hosts/linux/system/index.js', import.meta.url))

export interface ChildResult {
  /** What it printed. */
  readonly output: string
  readonly errors: string
  /** null where a signal ended it. */
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** A program that has the system layer (as it is built) as `linux`. */
export function startChild(program: string, command: readonly string[] = []): ChildProcessWithoutNullStreams {
  const text = `import * as linux from ${JSON.stringify(builtSystem)}\n${program}`
  const [file, ...more] = [...command, process.execPath, '--input-type=module', '-e', text] as [string, ...string[]]
  return spawn(file, more, { timeout: 30_000, killSignal: 'SIGKILL' })
}

export async function runChild(program: string, command: readonly string[] = []): Promise<ChildResult> {
  const child = startChild(program, command)
  child.stdin.end()
  let output = ''
  let errors = ''
  child.stdout.on('data', (data) => {
    output += data
  })
  child.stderr.on('data', (data) => {
    errors += data
  })
  return await new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => resolve({ output: output.trim(), errors, code, signal }))
  })
}
