/** Random numbers that a seed repeats. */
export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** 32 bits (mulberry32). */
  word(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return (t ^ (t >>> 14)) >>> 0
  }

  /** 0 to `limit - 1`. */
  below(limit: number): number {
    return this.word() % limit
  }

  /** An integer of `bits` bits. Its bytes differ from each other, so that another byte order never gives the same number. */
  integer(bits: number): bigint {
    for (;;) {
      const value = ((BigInt(this.word()) << 32n) | BigInt(this.word())) & ((1n << BigInt(bits)) - 1n)
      const bytes = Array.from({ length: Math.ceil(bits / 8) }, (_, index) => (value >> BigInt(index * 8)) & 0xffn)
      if (new Set(bytes).size === bytes.length) return value
    }
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.below(256))
  }
}
