/** Registers of several widths as a bus reaches them. VIRTIO 1.4, Virtio Over PCI Bus / PCI Device Layout. */
import type { RegisterMap } from 'virtgen/codegen/v1/wire'

/** A part of a BAR. Any offset from its start and any width of 1, 2 or 4 bytes may come. */
export interface BarWindow {
  /** @returns an unsigned number of that width */
  read(offset: number, width: number): number
  /** @param value - unsigned, of that width */
  write(offset: number, width: number, value: number): void
}

/** Registers that are read and written whole, by their offsets; of 64 bits, each half by its own. */
export interface RegisterFile {
  /** A reset goes on: no part of a register is kept, as it would outlive the reset. Absent: nothing is written at all. */
  readonly isResetting?: boolean
  readRegister(offset: number): number
  writeRegister(offset: number, value: number): void
}

interface Register {
  readonly offset: number
  readonly width: number
}

/** 64-bit fields are to be treated as two 32-bit fields. */
const widest = 4

/**
 * Gives a register file its widths. A register is written by its own width, aligned, as the driver MUST; an access of another width writes nothing. Of a register, or half of
 * one, any part can be read, as buses exist that split accesses. What is wider, or no register at all, reads as 0.
 */
export class RegisterWindow implements BarWindow {
  readonly #file: RegisterFile
  /** By each of their bytes. */
  readonly #registers: readonly (Register | undefined)[]
  /** @internal Bytes of registers whose last byte has not come; undefined where writes are not put together. */
  readonly $parts: Uint8Array | undefined

  /** @param assemble - a register may also be written in parts: it changes with that which has its last byte */
  constructor(map: RegisterMap, file: RegisterFile, assemble: boolean) {
    this.#file = file
    this.#registers = registersByByte(map)
    this.$parts = assemble ? new Uint8Array(this.#registers.length) : undefined
  }

  read(offset: number, width: number): number {
    const register = this.#registers[offset]
    if (register === undefined || offset + width > register.offset + register.width) return 0
    return part(this.#file.readRegister(register.offset), offset - register.offset, width)
  }

  write(offset: number, width: number, value: number): void {
    const register = this.#registers[offset]
    if (register === undefined || offset + width > register.offset + register.width) return
    if (width === register.width) this.#file.writeRegister(offset, value)
    else if (this.$parts && !this.#file.isResetting) this.#assemble(this.$parts, register, offset, width, value)
  }

  #assemble(parts: Uint8Array, { offset: start, width: whole }: Register, offset: number, width: number, value: number): void {
    putBytes(parts, offset, width, value)
    if (offset + width < start + whole) return
    const assembled = getBytes(parts, start, whole)
    // Before the register takes it, as that may come back here.
    parts.fill(0, start, start + whole)
    this.#file.writeRegister(start, assembled)
  }

  /** Forgets what has not become whole. */
  reset(): void {
    this.$parts?.fill(0)
  }
}

function registersByByte(map: RegisterMap): (Register | undefined)[] {
  const registers: (Register | undefined)[] = []
  for (const { offset, width } of Object.values(map)) {
    for (let at = 0; offset >= 0 && at < width; at++) {
      const start = offset + at - (at % widest)
      registers[offset + at] = { offset: start, width: Math.min(width, widest) }
    }
  }
  return registers
}

/** Some bytes of a number, from the one of that index. */
export function part(value: number, index: number, width: number): number {
  const shifted = value >>> (8 * index)
  return width === widest ? shifted : shifted & (2 ** (8 * width) - 1)
}

/** Little-endian; bytes outside are 0. */
export function getBytes(bytes: Uint8Array, offset: number, width: number): number {
  let value = 0
  // Counted by index: far beyond the end an offset, where it is not exact any more, would never change.
  for (let index = width - 1; index >= 0; index--) value = ((value << 8) | (bytes[offset + index] ?? 0)) >>> 0
  return value
}

/** Little-endian; what lies outside is lost. */
export function putBytes(bytes: Uint8Array, offset: number, width: number, value: number): void {
  for (let index = 0; index < width; index++) if (offset + index < bytes.length) bytes[offset + index] = value >>> (8 * index)
}
