/** One register of a block or one field of a configuration space, as the driver sees it. */
export interface RegisterInfo {
  /** Bytes from the start of the block; -1 where `at` says it. */
  readonly offset: number
  /** Where it is, if that depends on what the program knows. */
  readonly at?: (context: { readonly caller: Readonly<Record<string, number>> }) => number
  /** Bytes; 0 for an area that is open at the end. */
  readonly width: number
  /** What the driver may do: `rc` clears by reading. */
  readonly access: 'r' | 'w' | 'rw' | 'rc'
  /** Registers that select what is seen here. */
  readonly bank?: readonly string[]
  /** On a high half: the name of the joined register and its low half. */
  readonly pair?: { readonly name: string; readonly low: string }
  /** Register in which a written one clears bits. */
  readonly clears?: string
  /** Value after reset. */
  readonly reset?: number
  /** The value it always has. */
  readonly value?: number
}

/** A block of registers by name. */
export type RegisterMap = Readonly<Record<string, RegisterInfo>>
