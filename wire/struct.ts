const emptyView = new DataView(new ArrayBuffer(0))

/**
 * Base of every accessor: a place in a DataView. What belongs to the cursor begins with `$`; all other members are those of the struct.
 * One object can walk any number of structs without allocation.
 */
export abstract class Struct {
  /** The bytes the struct lies in. */
  $view: DataView = emptyView
  /** Where it begins, in bytes from the start of the view. */
  $offset = 0
  /** How many bytes belong to it at most: an open member takes what is left of them. */
  $length = 0

  /** Bytes that the struct needs at least: up to its first variable member, and what follows an open one. */
  abstract readonly $minimum: number
  /** Bytes that its present content claims; the size of a fixed struct. May exceed `$length` when the other side lies. */
  abstract readonly $size: number

  /**
   * Moves the cursor.
   *
   * @param view - bytes in which the struct lies
   * @param offset - where it begins
   * @param length - how many bytes belong to it, by default all that follow
   * @throws RangeError when the bytes are outside the view or fewer than the struct needs
   */
  at(view: DataView, offset = 0, length: number = view.byteLength - offset): this {
    if (!(Number.isInteger(offset) && offset >= 0 && length >= this.$minimum && offset + length <= view.byteLength)) {
      const name = this.constructor.name
      throw new RangeError(`${name} needs ${this.$minimum} bytes, ${length} at offset ${offset} of ${view.byteLength} bytes are too few`)
    }
    this.$view = view
    this.$offset = offset
    this.$length = length
    return this
  }

  /** Moves the cursor inside bytes that are already checked; what a nested struct lacks of its bytes reads as zeros. */
  $inside(parent: Struct, offset: number, length: number): this {
    const left = parent.$offset + parent.$length - offset
    const available = Math.min(length, left)
    if (available < this.$minimum) {
      const padded = new Uint8Array(this.$minimum)
      if (available > 0) padded.set(new Uint8Array(parent.$view.buffer, parent.$view.byteOffset + offset, available))
      this.$view = viewOf(padded)
      this.$offset = 0
      this.$length = this.$minimum
    } else {
      this.$view = parent.$view
      this.$offset = offset
      this.$length = available
    }
    return this
  }
}

/** A DataView over the same bytes. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
