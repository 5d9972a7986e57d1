/** A daemon in a thread of its own: what the main thread has of it. */
import { Worker } from 'node:worker_threads'
import type { Daemon, Status } from './daemon.ts'
import type { ServeEvent } from './events.ts'
import type { Metric } from './metrics.ts'
import { ServeError } from './serve-error.ts'
import type { ServeSettings } from './settings.ts'
import type { Report } from './worker.ts'

/** @throws ServeError where it cannot begin */
export async function startInWorker(settings: ServeSettings, tell: (event: ServeEvent) => void): Promise<Daemon> {
  const worker = new Worker(new URL('./worker.js', import.meta.url), { workerData: settings })
  const answers = new Map<number, (answer: unknown) => void>()
  let asked = 0
  const ask = (what: keyof Daemon): Promise<unknown> =>
    new Promise((resolve) => {
      answers.set(asked, resolve)
      worker.postMessage({ id: asked++, ask: what })
    })
  await new Promise<void>((resolve, reject) => {
    worker.on('message', (report: Report) => {
      if ('event' in report) tell(report.event)
      else if ('begun' in report) resolve()
      else if ('failed' in report) reject(new ServeError(report.failed.message, report.failed.hint))
      else {
        answers.get(report.id)?.(report.answer)
        answers.delete(report.id)
      }
    })
    worker.on('error', reject)
  })
  // From now on what the thread dies of ends the process, as there is nobody left to serve.
  worker.removeAllListeners('error')
  return {
    status: () => ask('status') as Promise<Status>,
    metrics: () => ask('metrics') as Promise<Metric[]>,
    resize: () => void ask('resize'),
    close: async () => {
      const ended = new Promise((resolve) => worker.once('exit', resolve))
      await ask('close')
      await ended
    },
  }
}
