/** The command, run in this process. */
import { main } from '../../cli/main.ts'

export interface World {
  input?: string | Uint8Array
  environment?: Record<string, string>
  terminal?: boolean
}

/** Runs the command with its words in a folder; gives its exit code and what it wrote. */
export async function runCommand(folder: string, words: readonly string[], { input = '', environment = {}, terminal = false }: World = {}) {
  const written = { out: '', error: '' }
  const output = (name: 'out' | 'error') => ({
    write: (text: string) => {
      written[name] += text
    },
    isTTY: terminal,
  })
  const code = await main(words, {
    stdout: output('out'),
    stderr: output('error'),
    readInput: () => (typeof input === 'string' ? new TextEncoder().encode(input) : input),
    environment,
    folder,
  })
  return { code, ...written }
}
