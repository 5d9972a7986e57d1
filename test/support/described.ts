/** A small description, and what becomes of bytes and values by it. */
import { expect } from 'vitest'
import { type CodecContext, decodeStruct, encodeStruct, type Model, type Part } from '../../generator/index.ts'
import { loadText } from './description.ts'
import { fromHex, toHex } from './plain.ts'

export type Plain = Record<string, unknown>

/** A description of its own for one construct, as the rest of a chapter `t`. */
export function described(text: string) {
  const model: Model = loadText(`kind: device\nname: t\nid: 1000\ntitle: T\n${text}`)
  return {
    decode: (name: string, hex: string, context?: CodecContext, part?: Part) =>
      decodeStruct(model, { chapter: 't', name }, fromHex(hex), context, part).value,
    encode: (name: string, value: Plain, context?: CodecContext, part?: Part) =>
      toHex(encodeStruct(model, { chapter: 't', name }, value, context, part)),
    read: (name: string, hex: string, context?: CodecContext, part?: Part) =>
      decodeStruct(model, { chapter: 't', name }, fromHex(hex), context, part),
    /** The bytes mean the value, and the value is written as the bytes. */
    both: (name: string, hex: string, value: Plain, context?: CodecContext, part?: Part) => {
      const digits = hex.replaceAll(' ', '')
      const decoded = decodeStruct(model, { chapter: 't', name }, fromHex(hex), context, part)
      expect(decoded.value).toEqual(value)
      expect(decoded.size).toBe(digits.length / 2)
      expect(toHex(encodeStruct(model, { chapter: 't', name }, value, context, part))).toBe(digits)
    },
  }
}

export const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values)
export const features = (...names: string[]): CodecContext => ({ features: new Set(names) })
