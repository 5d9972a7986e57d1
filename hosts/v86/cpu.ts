/** What of v86's WebAssembly module is used here. The module and its JavaScript belong together: only names that both have had for years are. */

/** What v86's module imports, by the names of modules. `env` has accesses to ports: values are unsigned numbers of that width; 32 bits may be signed ones. */
export type WasmImports = Readonly<Record<string, Readonly<Record<string, unknown>>>>

/** What the module exports: the CPU. */
export interface CpuExports {
  readonly memory: { readonly buffer: ArrayBuffer }
  /** Makes the guest's memory of so many bytes. Gives where it begins in `memory`. */
  allocate_memory(size: number): number
  /** Resets the CPU: at first, and when the guest reboots. */
  reset_cpu(): void
  device_raise_irq(irq: number): void
  device_lower_irq(irq: number): void
  /** Code that was compiled from these bytes of guest memory is compiled anew. */
  jit_dirty_cache(start: number, end: number): void
}

/** The module: its bytes, compiled, or what gives one of them. */
export type WasmSource = unknown | (() => unknown)

interface WebAssemblyApi {
  instantiate(source: unknown, imports: unknown): Promise<{ readonly instance?: { readonly exports: unknown }; readonly exports?: unknown }>
}

const needed = ['allocate_memory', 'reset_cpu', 'device_raise_irq', 'device_lower_irq', 'jit_dirty_cache'] as const

/**
 * Makes the CPU.
 *
 * @param source - bytes of v86.wasm, a `WebAssembly.Module`, or a function that gives one of them, perhaps as a promise
 * @throws TypeError (as a rejection) for a module that is not v86's
 */
export async function instantiate(source: WasmSource, imports: WasmImports): Promise<CpuExports> {
  const module: unknown = await (typeof source === 'function' ? (source as () => unknown)() : source)
  const { WebAssembly } = globalThis as unknown as { readonly WebAssembly: WebAssemblyApi }
  const made = await WebAssembly.instantiate(module, imports)
  const exports = (made.instance ?? made).exports as CpuExports
  for (const name of needed)
    if (typeof exports[name] !== 'function') throw new TypeError(`the WebAssembly module does not export ${name}: it is not that of v86`)
  return exports
}
