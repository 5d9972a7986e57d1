/** The process that started this one. */
import { constants } from 'node:os'
import { checked } from './libc.ts'
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
