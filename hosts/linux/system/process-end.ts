/** The end of this process. */
import { constants } from 'node:os'
import { checked, libc } from './libc.ts'
import { linux } from './numbers.ts'

/**
 * Has the system send this process a signal when the *thread* that started it ends: so that it does not stay behind where a wrapper (npx) is killed.
 *
 * A parent that had ended before the call sends nothing: compare `process.ppid` with what it was when this process began.
 *
 * @throws SystemError
 */
export function signalOnParentDeath(signal: NodeJS.Signals = 'SIGTERM'): void {
  checked('prctl', linux.PR_SET_PDEATHSIG, constants.signals[signal], 0, 0, 0)
}

/**
 * Ends this process at once, with all of its threads: no exit handlers run, and what waits to be written is lost. For a process whose threads have a poller at work,
 * where `process.exit()` could end in an abort.
 */
export function exitNow(code: number): never {
  libc()._exit(code)
  throw new Error('still here')
}
