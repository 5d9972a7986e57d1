/** The log: a line for each event, for people or for programs. */
import { eventText, type ServeEvent } from './events.ts'
import { type Metric, metricLines, metricsJson } from './metrics.ts'

/** Events of one kind in one period, at most: a hostile guest makes as many as it likes. */
const mostPerPeriod = 10
const period = 1000

export class Log {
  readonly #json: boolean
  readonly #print: (line: string) => void
  readonly #now: () => number
  /** Events of each kind since the beginning of its period. */
  readonly #recent = new Map<string, { begun: number; count: number }>()

  constructor(json: boolean, print: (line: string) => void, now: () => number = Date.now) {
    this.#json = json
    this.#print = print
    this.#now = now
  }

  write(event: ServeEvent): void {
    const now = this.#now()
    let recent = this.#recent.get(event.event)
    if (recent === undefined || now - recent.begun >= period) {
      const suppressed = (recent?.count ?? 0) - mostPerPeriod
      if (suppressed > 0) this.#line({ event: 'suppressed', what: event.event, count: suppressed }, now)
      recent = { begun: now, count: 0 }
      this.#recent.set(event.event, recent)
    }
    recent.count++
    if (recent.count <= mostPerPeriod) this.#line(event, now)
  }

  metrics(metrics: readonly Metric[]): void {
    if (this.#json) this.#line({ event: 'metrics', metrics: metricsJson(metrics) }, this.#now())
    else for (const line of metricLines(metrics)) this.#print(line)
  }

  #line(event: ServeEvent, now: number): void {
    const time = new Date(now).toISOString()
    this.#print(this.#json ? JSON.stringify({ time, ...event }) : `${time.slice(11, 19)} ${eventText(event)}`)
  }
}
