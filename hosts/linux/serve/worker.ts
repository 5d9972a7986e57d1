/** A daemon in a thread of its own: what runs there. The other end is worker-daemon.ts. */
import { parentPort, workerData } from 'node:worker_threads'
import { type Daemon, startDaemon } from './daemon.ts'
import type { ServeEvent } from './events.ts'
import { ServeError } from './serve-error.ts'
import type { ServeSettings } from './settings.ts'

/** What the main thread asks for. */
export interface Question {
  readonly id: number
  readonly ask: keyof Daemon
}

/** What it hears. */
export type Report =
  | { readonly event: ServeEvent }
  | { readonly begun: true }
  | { readonly failed: { readonly message: string; readonly hint?: string } }
  | { readonly id: number; readonly answer: unknown }

const port = parentPort
if (port === null) throw new Error('this runs in a worker thread alone')
const report = (message: Report): void => port.postMessage(message)

try {
  const daemon = await startDaemon(workerData as ServeSettings, (event) => report({ event }))
  port.on('message', ({ id, ask }: Question) => {
    void Promise.resolve(daemon[ask]()).then((answer) => {
      report({ id, answer })
      // Nothing is asked any more: the thread ends by itself.
      if (ask === 'close') port.close()
    })
  })
  report({ begun: true })
} catch (error) {
  if (!(error instanceof ServeError)) throw error
  const { message, hint } = error
  report({ failed: { message, ...(hint === undefined ? {} : { hint }) } })
}
