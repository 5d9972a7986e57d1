/** Random numbers that can be had again: xorshift32. */
export class Random {
  #state

  /** @param {number} seed */
  constructor(seed) {
    // Zero would stay zero, and small seeds begin alike.
    this.#state = Math.imul(seed, 0x9e3779b1) ^ 0x85ebca6b || 1
    for (let i = 0; i < 8; i++) this.next()
  }

  /** 32 bits. */
  next() {
    let x = this.#state
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    this.#state = x
    return x >>> 0
  }

  /** An integer from 0, below `count`. */
  below(count) {
    return this.next() % count
  }

  /** True once in `count` times. */
  oneIn(count) {
    return this.below(count) === 0
  }
}
