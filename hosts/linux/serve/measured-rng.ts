/** An entropy device that counts what it gives. */
import { Rng, type RngOptions } from 'virtgen/devices/rng'
import type { EntropyReadRequest } from 'virtgen/skeleton/entropy'
import type { Traffic } from './traffic.ts'

export const rngKinds = ['read'] as const
const read = 0

export class MeasuredRng extends Rng {
  readonly #traffic: Traffic

  constructor(options: RngOptions, traffic: Traffic) {
    super(options)
    this.#traffic = traffic
  }

  protected override read(request: EntropyReadRequest): ReturnType<Rng['read']> {
    const begun = this.#traffic.begin(read, request.writable.length)
    return this.#traffic.end(read, begun, super.read(request))
  }
}
