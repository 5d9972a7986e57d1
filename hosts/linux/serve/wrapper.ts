/** Whether the program that has started this one is still there: npx and npm leave what they have started behind when they are killed. */
import { readFileSync } from 'node:fs'

/** Milliseconds. */
const lookEvery = 250

/**
 * Calls back once when the wrapper that has started this process is gone. A process that was started without a wrapper outlives its parent, as a daemon does.
 *
 * @param environment - npm, npx, pnpm and yarn name themselves there
 * @returns ends the watch
 */
export function watchWrapper(environment: Readonly<Record<string, string | undefined>>, onGone: () => void): () => void {
  const isWrapped = environment.npm_execpath !== undefined || environment.npm_config_user_agent !== undefined
  if (!isWrapped || process.ppid === 1) return () => {}
  const parent = process.ppid
  // A shell may be in between, which waits for this process and not for the wrapper.
  const grandparent = isShell(parent) ? parentOf(parent) : undefined
  const timer = setInterval(() => {
    if (process.ppid === parent && (grandparent === undefined || parentOf(parent) === grandparent)) return
    clearInterval(timer)
    onGone()
  }, lookEvery)
  timer.unref()
  return () => clearInterval(timer)
}

/** The line of `/proc/PID/stat` has the name in brackets, which may have brackets itself, then the state, then the parent. */
function statOf(pid: number): { readonly name: string; readonly parent: number } | undefined {
  try {
    const [, name = '', rest = ''] = /^\d+ \((.*)\) (.*)$/s.exec(readFileSync(`/proc/${pid}/stat`, 'utf8')) ?? []
    return { name, parent: Number(rest.split(' ')[1]) }
  } catch {
    return undefined
  }
}

const parentOf = (pid: number): number | undefined => statOf(pid)?.parent
const isShell = (pid: number): boolean => /^(ba|da|z|k|a)?sh$/.test(statOf(pid)?.name ?? '')
