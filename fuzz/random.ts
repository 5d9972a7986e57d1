/** The same numbers for the same seed, on every machine: what makes an execution replayable. */

/** A small fast generator (sfc32), begun anew for each execution. */
export class Random {
  #a = 0
  #b = 0
  #c = 0
  #counter = 0

  constructor(seed: number) {
    this.restart(seed)
  }

  /** Begins again, as a generator made with this seed. */
  restart(seed: number): void {
    this.#a = seed | 0
    this.#b = Math.imul(seed ^ 0x9e37_79b9, 0x85eb_ca6b)
    this.#c = 0x2545_f491
    this.#counter = 1
    // Neighbouring seeds give unrelated numbers only after a few rounds.
    for (let i = 0; i < 12; i++) this.word()
  }

  /** A 32-bit number. */
  word(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0
    this.#counter = (this.#counter + 1) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0
    return sum >>> 0
  }

  /** An integer from 0 to `bound - 1`. */
  below(bound: number): number {
    return this.word() % bound
  }

  /** An integer from `low` to `high`. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1)
  }

  /** True once in `n` times. */
  oneIn(n: number): boolean {
    return this.word() % n === 0
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T
  }
}
