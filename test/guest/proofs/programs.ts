/** Programs for the guest, made by the host's compiler: i386, with nothing but the kernel below them. */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const options = ['-m32', '-static', '-nostdlib', '-O1', '-fno-stack-protector', '-fno-pie', '-no-pie']

/** The program, or why there is none. */
export function compile(name: string, folder: string): Uint8Array | string {
  const source = fileURLToPath(new URL(`../programs/${name}.c`, import.meta.url))
  const output = join(folder, name)
  const { error, status, stderr } = spawnSync('gcc', [...options, '-o', output, source], { encoding: 'utf8' })
  if (error !== undefined) return 'gcc is not installed'
  return status === 0 ? readFileSync(output) : `gcc cannot make programs for i386 here: ${stderr.split('\n')[0]}`
}
