/** Counts requests, and measures how long some of them take. */
import { performance } from 'node:perf_hooks'
import { Histogram } from './histogram.ts'
import type { Metric } from './metrics.ts'

/** Of requests that are done at once, one of so many is measured: to look at the clock twice takes longer than many a request. A power of 2. */
const measuredEvery = 64

/** What a handler comes to: nothing or a status, at once or later. */
// biome-ignore lint/suspicious/noConfusingVoidType: that of handlers
type Outcome = void | number | Promise<void | number>

/** Numbers of requests by their kind; nothing is allocated for one that is done at once. */
export class Traffic {
  readonly #kinds: readonly string[]
  readonly #requests: Float64Array
  readonly #bytes: Float64Array
  readonly #errors: Float64Array
  readonly #latencies: readonly Histogram[]
  readonly #mask: number
  #turn = 0

  /**
   * @param kinds - names of requests; their indices are what the other methods take
   * @param measureAll - every request is measured: for those that take long anyway
   */
  constructor(kinds: readonly string[], measureAll: boolean) {
    this.#kinds = kinds
    this.#requests = new Float64Array(kinds.length)
    this.#bytes = new Float64Array(kinds.length)
    this.#errors = new Float64Array(kinds.length)
    this.#latencies = kinds.map(() => new Histogram())
    this.#mask = measureAll ? 0 : measuredEvery - 1
  }

  /** Requests of all kinds. */
  get requests(): number {
    return this.#requests.reduce((sum, count) => sum + count, 0)
  }
  /** Bytes of all kinds. */
  get bytes(): number {
    return this.#bytes.reduce((sum, count) => sum + count, 0)
  }

  /** A request begins. Gives what `end` is to be told: the time, or 0 where it is not measured. */
  begin(kind: number, bytes: number): number {
    this.#requests[kind]!++
    this.#bytes[kind]! += bytes
    return (this.#turn++ & this.#mask) === 0 ? performance.now() : 0
  }

  /** The handler has returned; gives what it gave. */
  end<Result extends Outcome>(kind: number, begun: number, result: Result): Result {
    if (typeof result === 'object')
      void result.then(
        (status) => this.#done(kind, begun, (status ?? 0) !== 0),
        () => this.#done(kind, begun, true),
      )
    else if (begun !== 0 || typeof result === 'number') this.#done(kind, begun, result !== undefined && result !== 0)
    return result
  }

  /** The handler has thrown. */
  failed(kind: number, begun: number): void {
    this.#done(kind, begun, true)
  }

  #done(kind: number, begun: number, isError: boolean): void {
    if (isError) this.#errors[kind]!++
    if (begun !== 0) this.#latencies[kind]!.record(performance.now() - begun)
  }

  /** @param prefix - of the names: `virtgen_blk` */
  metrics(prefix: string): Metric[] {
    const samples = (values: Float64Array): Metric['samples'] => this.#kinds.map((type, kind) => ({ labels: { type }, value: values[kind]! }))
    return [
      { name: `${prefix}_requests_total`, help: 'Requests of the driver.', type: 'counter', samples: samples(this.#requests) },
      { name: `${prefix}_bytes_total`, help: 'Bytes that these requests carry.', type: 'counter', samples: samples(this.#bytes) },
      { name: `${prefix}_errors_total`, help: 'Requests that were answered with an error.', type: 'counter', samples: samples(this.#errors) },
      {
        name: `${prefix}_request_seconds`,
        help: `How long requests took the device${this.#mask === 0 ? '' : `; one of ${this.#mask + 1} is measured`}.`,
        type: 'histogram',
        samples: this.#kinds.map((type, kind) => ({ labels: { type }, value: this.#latencies[kind]!.value })),
      },
    ]
  }
}
