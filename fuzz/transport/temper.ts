/** What the author of a device does with what comes: right away, later, never, wrongly. */
import type { RequestParts } from '../../runtime/request/device-request.ts'
import { type Outcome, PARKED, UNKNOWN } from '../../runtime/request/outcome.ts'
import type { Random } from '../random.ts'

/** What a device of ours throws on purpose; anything else that is thrown is a fault. */
export class Mischief extends Error {}

/** What a callback of the VMM throws comes back to the VMM, where that has called. */
export class OwnFault extends Mischief {}

/** Calls as a VMM does whose callbacks throw. */
export function carelessly(action: () => void): void {
  try {
    action()
  } catch (error) {
    if (!(error instanceof OwnFault)) throw error
  }
}

/** What a device does to whom it is plugged into, out of one of its methods. */
export interface Mischiefs {
  /** Resets the device, as a VMM may at any time. */
  reset(): void
  configChanged(): void
  /** The device gives itself up. */
  fail(): void
  /** A request has come. */
  requested(): void
  /** A method of the device was called. */
  called(what: string): void
}

interface Pending {
  resolve(status: number | undefined): void
  reject(error: unknown): void
}

/** How often a device does what: once in so many times, rarely or often. */
const steadiness = [1, 1, 4, 16] as const

export class Temper {
  /** A device that does no more than its duty: it answers at once or later, and well. */
  isGood = false
  /** Nothing is answered for now. */
  isHolding = false
  readonly #random: Random
  readonly #world: Mischiefs
  #steady: number
  readonly #parked: RequestParts[] = []
  readonly #pending: Pending[] = []

  constructor(random: Random, world: Mischiefs, isGood: boolean) {
    this.#random = random
    this.#world = world
    this.isGood = isGood
    this.#steady = random.pick(steadiness)
  }

  /** Goes on as one that was made with this random generator, where nothing is out. */
  restart(seed: number): void {
    this.#random.restart(seed)
    this.#steady = this.#random.pick(steadiness)
  }

  /** How much is out. */
  get open(): number {
    return this.#parked.length + this.#pending.length
  }

  /** A request has come. */
  request(given: object): Outcome {
    const random = this.#random
    const request = given as RequestParts
    if (this.isHolding) {
      this.#parked.push(request)
      return PARKED
    }
    this.#world.requested()
    this.#world.called(request.info.name)
    if (!this.isGood && random.oneIn(16)) this.#interfere()
    if (random.oneIn(2)) request.writable.fill(random.below(256))
    if (random.oneIn(this.#steady)) return
    const what = random.below(this.isGood ? 4 : 12)
    if (what < 2) {
      this.#parked.push(request)
      return PARKED
    }
    if (what < 4) return this.#later()
    return this.#oddly(request, what)
  }

  #oddly(request: RequestParts, what: number): Outcome {
    const random = this.#random
    switch (what) {
      case 4:
        return random.pick([0, 1, 2, 255, 0x1_0001])
      case 5:
        throw new Mischief('the handler throws')
      case 6:
        return Promise.reject(new Mischief('the promise is rejected'))
      case 7:
        request.complete()
        return PARKED
      case 8:
        this.#twice(request)
        return PARKED
      case 9:
        // The base completes it once more.
        request.complete()
        return undefined
      case 10:
        return UNKNOWN
      default:
        request.fail(new Mischief('the request fails'))
        return PARKED
    }
  }

  #twice(request: RequestParts): void {
    request.complete()
    try {
      request.complete()
    } catch {
      // Mostly a wrong call; where the first one led to a reset, or to the next request in the same object, a right one.
    }
  }

  #later(): Promise<number | undefined> {
    return new Promise((resolve, reject) => {
      this.#pending.push({ resolve, reject })
    })
  }

  #interfere(): void {
    const what = this.#random.below(8)
    if (what < 4) this.#world.configChanged()
    else if (what < 6) this.#world.reset()
    else if (what < 7) this.#world.fail()
    else throw new Mischief('the method throws')
  }

  /** A method that has nothing to say; it may throw, or act. */
  visit(what: string): void {
    this.#world.called(what)
    if (!this.isGood && !this.isHolding && this.#random.oneIn(12)) this.#interfere()
  }

  /** The VMM hears of an interrupt; it may throw as well. */
  hear(): void {
    if (!this.isGood && !this.isHolding && this.#random.oneIn(16)) throw new OwnFault('the interrupt callback throws')
  }

  /** A method that says when it is at rest. */
  rest(what: string): void | Promise<void> {
    this.visit(what)
    const random = this.#random
    if (random.oneIn(this.#steady)) return
    if (this.isGood || !random.oneIn(4)) return this.#later().then(() => {})
    return Promise.reject(new Mischief('there is no rest'))
  }

  /** Says whether a chain is to be given back at once. */
  answers(): boolean {
    return !this.isHolding && !this.#random.oneIn(8)
  }

  /** A question that is answered with yes, mostly. */
  accepts(): boolean {
    this.visit('accepts')
    return this.isGood || !this.#random.oneIn(16)
  }

  /** The device goes on with something. */
  act(): void {
    const random = this.#random
    if (random.oneIn(6) && !this.isGood) this.#visitAndKeepQuiet()
    const count = random.between(1, 3)
    for (let i = 0; i < count; i++) {
      if (this.#parked.length > 0 && random.oneIn(2)) this.#finish(this.#parked.splice(random.below(this.#parked.length), 1)[0]!)
      else if (this.#pending.length > 0) this.#settle(this.#pending.splice(random.below(this.#pending.length), 1)[0]!)
    }
  }

  #visitAndKeepQuiet(): void {
    try {
      this.#interfere()
    } catch (error) {
      if (!(error instanceof Mischief)) throw error
    }
  }

  /** Everything that is out comes to its end. */
  finishAll(): void {
    for (const request of this.#parked.splice(0)) this.#finish(request)
    for (const promise of this.#pending.splice(0)) promise.resolve(undefined)
  }

  #finish(request: RequestParts): void {
    const random = this.#random
    if (!this.isGood && random.oneIn(8)) request.fail(new Mischief('the request fails'))
    else if (random.oneIn(4)) request.complete(random.below(3))
    else request.complete()
  }

  #settle(promise: Pending): void {
    const random = this.#random
    if (!this.isGood && random.oneIn(6)) promise.reject(new Mischief('the promise is rejected'))
    else promise.resolve(random.oneIn(4) ? random.below(3) : undefined)
  }
}
