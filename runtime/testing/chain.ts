/** What a driver offers, as plain data: buffers one after the other, right or wrong. How it lies in a ring is the fake driver's business. */

/**
 * What stands in a descriptor instead of what belongs there. The words of both formats: `next` is of split rings, `id` of packed ones; a driver leaves out the one that
 * its format does not have.
 */
export interface Amendment {
  readonly address?: number | bigint
  readonly length?: number
  /** All flags. */
  readonly flags?: number
  /** Flags to set, and to clear, beside those that belong there. */
  readonly set?: number
  readonly clear?: number
  readonly next?: number
  /** `next` leads to the descriptor of the element of that number, counted from 0 over the whole chain. */
  readonly nextElement?: number
  readonly id?: number
}

/** A buffer of a chain. */
export interface ChainElement {
  /** The device writes it. */
  readonly writable: boolean
  /** Bytes. */
  readonly length: number
  /** Content. Default: what is there. */
  readonly bytes?: Uint8Array
  /** Guest address. Default: the driver finds a place. */
  readonly at?: number
  readonly amend?: Amendment
}

/** The indirect table of a chain. */
export interface ChainTable {
  /** Number of the element that is the first one in the table. */
  readonly from: number
  /** Guest address. Default: the driver finds a place. */
  readonly at?: number
  /** The descriptor that refers to the table. */
  readonly amend?: Amendment
}

/** A chain: what `FakeDriver.offer` takes. */
export interface ChainSpec {
  readonly elements: readonly ChainElement[]
  readonly table?: ChainTable | undefined
}

/** Where an element lies, or what is wrong with its descriptor. */
export type ElementOptions = Pick<ChainElement, 'at' | 'amend'>

/** Bytes of a readable element: as they are, as numbers, or a count of zeros. */
export type Content = Uint8Array | readonly number[] | number

/**
 * Describes a chain.
 *
 * @example
 * chain().readable([1, 2, 3]).writable(512).writable(1)
 * chain().readable(header).indirect().writable(64, { amend: { length: 0xffff_ffff } })
 */
export function chain(): ChainDescription {
  return new ChainDescription()
}

/** A chain that is being described; see {@link chain}. Each call adds to the same object. */
export class ChainDescription implements ChainSpec {
  readonly elements: ChainElement[] = []
  table: ChainTable | undefined

  /** Adds a buffer that the device reads. */
  readable(content: Content, options: ElementOptions = {}): this {
    const bytes = contentOf(content)
    return this.#add({ writable: false, length: bytes.length, bytes, ...options })
  }

  /** Adds a buffer that the device writes, of that many bytes. */
  writable(length: number, options: ElementOptions = {}): this {
    return this.#add({ writable: true, length: checkLength(length), ...options })
  }

  /** Adds whatever element, so that one of any length may lie anywhere: nothing is written there. */
  element(element: ChainElement): this {
    return this.#add(element)
  }

  /** All elements from here on lie in an indirect table. */
  indirect(options: Omit<ChainTable, 'from'> = {}): this {
    if (this.table !== undefined) throw new Error('a chain has one indirect table; amend the flags of an element to forge another one')
    this.table = { from: this.elements.length, ...options }
    return this
  }

  #add(element: ChainElement): this {
    this.elements.push(element)
    return this
  }
}

/** The bytes that are meant. */
export function contentOf(content: Content): Uint8Array {
  if (content instanceof Uint8Array) return content
  return typeof content === 'number' ? new Uint8Array(checkLength(content)) : Uint8Array.from(content)
}

function checkLength(length: number): number {
  if (!(Number.isInteger(length) && length >= 0 && length <= 0xffff_ffff)) throw new RangeError(`an element has 0 to 2^32 - 1 bytes, not ${length}`)
  return length
}
