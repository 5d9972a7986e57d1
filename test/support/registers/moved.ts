/** A generated module whose registers are elsewhere: what is not read from the map is not found there. */
import type { RegisterMap } from 'virtgen/codegen/v1/wire'

type Exports = Readonly<Record<string, unknown>>

/**
 * The module with the registers of a block in reverse order, each aligned to its width. What is open at its end or depends on something stays where it is.
 *
 * @param keep - others that stay where they are, behind all that move
 */
export function moved(module: Exports, block: string, keep: readonly string[]): Exports {
  const map = reversed(module[block] as RegisterMap, keep)
  const offsets = Object.entries(map).map(([name, { offset }]) => [`${block}_${name}`, offset] as const)
  return { ...module, [block]: map, ...Object.fromEntries(offsets.filter(([name]) => name in module)) }
}

function reversed(map: RegisterMap, keep: readonly string[]): RegisterMap {
  const places = new Map<string, number>()
  let end = 0
  for (const [name, register] of Object.entries(map).reverse()) {
    if (register.offset < 0 || register.width === 0 || keep.includes(name)) continue
    const offset = Math.ceil(end / register.width) * register.width
    places.set(name, offset)
    end = offset + register.width
  }
  return Object.fromEntries(Object.entries(map).map(([name, register]) => [name, { ...register, offset: places.get(name) ?? register.offset }]))
}
