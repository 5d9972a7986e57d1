/** A number over everything that an execution showed: two executions that show the same have the same one. */
import type { Arena } from './arena.ts'

export class Trace {
  /** FNV-1a, 32 bits. */
  value = 0x811c_9dc5

  number(value: number): void {
    this.value = Math.imul(this.value ^ value, 0x0100_0193)
  }
  text(value: string): void {
    for (let i = 0; i < value.length; i++) this.number(value.charCodeAt(i))
  }
  /** All bytes of the regions. */
  memory(arena: Arena): void {
    arena.forEachWord((word) => this.number(word))
  }
}
