/** Every store into one buffer, in the order of the stores: what a process has done to shared memory when it dies between two of them. */

interface Store {
  readonly offset: number
  readonly bytes: Uint8Array
}

type AnyArray = Uint8Array | Uint16Array | Uint32Array | BigUint64Array
type Constructor = new (...parts: unknown[]) => AnyArray

const names = ['Uint8Array', 'Uint16Array', 'Uint32Array', 'BigUint64Array'] as const
const Bytes = Uint8Array

/**
 * While it watches, typed arrays that are made over the buffer tell of their stores, plain ones and those of Atomics. Arrays that were made before do not, nor do
 * DataViews.
 */
export class StoreJournal {
  readonly buffer: ArrayBuffer
  /** What the buffer held, and what has been stored since, both as of the last `begin`. */
  #before: Uint8Array
  #stores: Store[] = []
  readonly #real = new WeakMap<object, AnyArray>()
  readonly #globals = globalThis as unknown as Record<string, Constructor>
  readonly #originals = new Map<string, Constructor>()
  readonly #atomics = { store: Atomics.store, load: Atomics.load, or: Atomics.or }
  readonly #isView = ArrayBuffer.isView

  constructor(size: number) {
    this.buffer = new ArrayBuffer(size)
    this.#before = new Bytes(size)
  }

  get length(): number {
    return this.#stores.length
  }

  /** Begins anew. */
  begin(): void {
    this.#before = new Bytes(this.buffer).slice()
    this.#stores = []
  }

  /** What the buffer held after so many stores. */
  after(stores: number): Uint8Array {
    const image = this.#before.slice()
    for (const { offset, bytes } of this.#stores.slice(0, stores)) image.set(bytes, offset)
    return image
  }

  watch(): void {
    for (const name of names) {
      const original = this.#globals[name]!
      this.#originals.set(name, original)
      this.#globals[name] = new Proxy(original, {
        construct: (target, parts) => {
          const made = new target(...parts)
          return parts[0] === this.buffer ? this.#watched(made) : made
        },
      })
    }
    const real = (array: object): AnyArray => this.#real.get(array) ?? (array as AnyArray)
    const atomics = Atomics as unknown as Record<string, (array: object, at: number, value: never) => unknown>
    for (const name of ['store', 'or'] as const) {
      atomics[name] = (array, at, value) => {
        const result = (this.#atomics[name] as (typeof atomics)[string])(real(array), at, value)
        if (this.#real.has(array)) this.#note(real(array), at)
        return result
      }
    }
    atomics.load = (array, at) => (this.#atomics.load as (array: object, at: number) => unknown)(real(array), at)
    ArrayBuffer.isView = ((value: object) => this.#isView(this.#real.get(value) ?? value)) as typeof ArrayBuffer.isView
  }

  unwatch(): void {
    for (const [name, original] of this.#originals) this.#globals[name] = original
    Object.assign(Atomics, this.#atomics)
    ArrayBuffer.isView = this.#isView
  }

  #note(array: AnyArray, at: number): void {
    const offset = array.byteOffset + at * array.BYTES_PER_ELEMENT
    this.#stores.push({ offset, bytes: new Bytes(this.buffer).slice(offset, offset + array.BYTES_PER_ELEMENT) })
  }

  #watched(array: AnyArray): AnyArray {
    const proxy = new Proxy(array, {
      get: (target, key) => {
        if (key === 'subarray') return (from?: number, to?: number) => this.#watched(target.subarray(from, to))
        if (key === 'set' || key === 'fill') throw new Error(`${String(key)} is not a single store`)
        const value = Reflect.get(target, key, target) as unknown
        return typeof value === 'function' ? value.bind(target) : value
      },
      set: (target, key, value) => {
        Reflect.set(target, key, value, target)
        this.#note(target, Number(key))
        return true
      },
    })
    this.#real.set(proxy, array)
    return proxy
  }
}
