/** Typed arrays, DataView and Atomics whose every access to one buffer goes through a {@link WeakMemory}. */
import type { Side, WeakMemory } from './memory.ts'

type Numbers = Uint8Array | Uint16Array | Uint32Array | Int32Array | BigUint64Array | Float64Array
const arrays = [
  'Uint8Array',
  'Int8Array',
  'Uint16Array',
  'Int16Array',
  'Uint32Array',
  'Int32Array',
  'BigUint64Array',
  'BigInt64Array',
  'Float64Array',
] as const

const [zero, nine] = [48, 57]

interface Weak {
  readonly real: Numbers
  readonly side: Side
}

/** The globals of one side after the other: code that runs in `as` makes its views of the buffer for that side, and keeps them. */
export class WeakViews {
  /** Stands for the shared memory; nothing is ever written into it. */
  readonly buffer: ArrayBuffer
  readonly bytes: Uint8Array
  readonly #memory: WeakMemory
  readonly #weak = new WeakMap<object, Weak>()
  #side: Side = 0

  constructor(length: number, memory: WeakMemory) {
    this.buffer = new ArrayBuffer(length)
    this.bytes = new Uint8Array(this.buffer)
    this.#memory = memory
  }

  /** Runs code of a side; also within code of the other one. */
  as<T>(side: Side, code: () => T): T {
    const before = this.#side
    this.#side = side
    try {
      return code()
    } finally {
      this.#side = before
    }
  }

  /** Replaces the globals while `code` runs. */
  install<T>(code: () => T): T {
    const globals = globalThis as unknown as Record<string, unknown>
    const names = [...arrays, 'DataView', 'Atomics']
    const real = names.map((name) => globals[name])
    for (const name of arrays) globals[name] = this.#replacement(globals[name] as new () => Numbers, (view) => this.#array(view))
    globals.DataView = this.#replacement(globals.DataView as new () => DataView, (view) => this.#dataView(view))
    globals.Atomics = this.#atomics()
    try {
      return code()
    } finally {
      names.forEach((name, i) => {
        globals[name] = real[i]
      })
    }
  }

  #replacement<T extends object>(real: new (...args: never[]) => T, wrap: (view: T) => T): unknown {
    return new Proxy(real, {
      construct: (target, args, newTarget) => {
        const view = Reflect.construct(target, args, newTarget) as T
        return args[0] === this.buffer ? wrap(view) : view
      },
    })
  }

  #array<T extends Numbers>(real: T, side = this.#side): T {
    const size = real.BYTES_PER_ELEMENT
    const element = (index: number): number | bigint => this.#load(side, real, index, false)
    const put = (index: number, value: number | bigint): void => this.#store(side, real, index, value, false)
    const methods: Record<PropertyKey, unknown> = {
      subarray: (begin?: number, end?: number) => this.#array(real.subarray(begin, end) as Numbers, side),
      set: (source: ArrayLike<number>, offset = 0) => {
        for (let i = 0; i < source.length; i++) put(offset + i, source[i]!)
      },
      fill: (value: number, start = 0, end = real.length) => {
        for (let i = start; i < end; i++) put(i, value)
        return proxy
      },
      slice: (start = 0, end = real.length) =>
        Reflect.construct(real.constructor, [Array.from({ length: end - start }, (_, i) => element(start + i))]),
      [Symbol.iterator]: function* () {
        for (let i = 0; i < real.length; i++) yield element(i)
      },
    }
    const proxy: T = new Proxy(real, {
      get: (target, key) => {
        if (isIndex(key)) return Number(key) < target.length ? element(Number(key)) : undefined
        if (Object.hasOwn(methods, key)) return methods[key]
        const value = Reflect.get(target, key, target)
        // Whatever is not simulated here would read the buffer that nobody writes.
        if (typeof value === 'function' && key !== 'constructor') throw new Error(`${String(key)} of a view of ${size} bytes is not simulated`)
        return value
      },
      set: (target, key, value) => {
        if (!isIndex(key)) return Reflect.set(target, key, value)
        if (Number(key) < target.length) put(Number(key), value)
        return true
      },
    })
    this.#weak.set(proxy, { real, side })
    return proxy
  }

  #dataView(real: DataView, side = this.#side): DataView {
    return new Proxy(real, {
      get: (target, key) => {
        const access = typeof key === 'string' ? /^(get|set)(.*?)(8|16|32|64)$/.exec(key) : null
        if (access === null) return Reflect.get(target, key, target)
        const [, verb, type, bits] = access
        const scratch = new DataView(new ArrayBuffer(8)) as unknown as Record<string, (...args: unknown[]) => unknown>
        const bytes = new Uint8Array((scratch as unknown as DataView).buffer, 0, Number(bits) / 8)
        // Through a DataView every byte may tear, and nothing has to be aligned.
        if (verb === 'get')
          return (offset: number, little?: boolean) => {
            bytes.set(this.#memory.load(side, real.byteOffset + offset, bytes.length, false, true))
            return scratch[`get${type}${bits}`]!(0, little)
          }
        return (offset: number, value: unknown, little?: boolean) => {
          scratch[`set${type}${bits}`]!(0, value, little)
          this.#memory.store(side, real.byteOffset + offset, bytes, false, true)
        }
      },
    })
  }

  #atomics(): typeof Atomics {
    const real = Atomics
    return {
      ...Object.fromEntries(Object.getOwnPropertyNames(real).map((name) => [name, real[name as keyof typeof Atomics]])),
      load: (view: Uint32Array, index: number) => {
        const weak = this.#weak.get(view)
        return weak === undefined ? real.load(view, index) : this.#load(weak.side, weak.real, index, true)
      },
      store: (view: Uint32Array, index: number, value: number) => {
        const weak = this.#weak.get(view)
        if (weak === undefined) return real.store(view, index, value)
        this.#store(weak.side, weak.real, index, value, true)
        return value
      },
    } as unknown as typeof Atomics
  }

  #load(side: Side, real: Numbers, index: number, atomic: boolean): number | bigint {
    const size = real.BYTES_PER_ELEMENT
    const bytes = this.#memory.load(side, real.byteOffset + index * size, size, atomic, mayTear(real, atomic))
    return (Reflect.construct(real.constructor, [bytes.buffer]) as Numbers)[0]!
  }

  #store(side: Side, real: Numbers, index: number, value: number | bigint, atomic: boolean): void {
    const size = real.BYTES_PER_ELEMENT
    if (!(index >= 0 && index < real.length)) return
    const one = Reflect.construct(real.constructor, [[value]]) as Numbers
    this.#memory.store(side, real.byteOffset + index * size, new Uint8Array(one.buffer), atomic, mayTear(real, atomic))
  }
}

function isIndex(key: PropertyKey): key is string {
  return typeof key === 'string' && key.charCodeAt(0) <= nine && key.charCodeAt(0) >= zero
}

/** Floating-point numbers may tear, and 64 bits that are no Atomics. */
function mayTear(view: Numbers, atomic: boolean): boolean {
  return view.BYTES_PER_ELEMENT === 8 && !atomic
}
