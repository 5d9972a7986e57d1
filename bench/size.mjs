// How large the runtime is for a browser: the core with one device, a block device behind MMIO, bundled, minified, compressed.
// node bench/size.mjs [--modules] [--json]    after a build; --modules: what each module weighs
import { existsSync } from 'node:fs'
import { relative, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { gzipSync } from 'node:zlib'
import { rolldown } from 'rolldown'
import { minifySync } from 'rolldown/experimental'

const dist = resolve(import.meta.dirname, '../dist')

/** What a page that serves a disk imports. */
export const program = `
import { MmioDevice } from 'virtgen/mmio'
import { GuestMemory } from 'virtgen/runtime'
import { BlkDevice } from 'virtgen/skeleton/blk'
export { BlkDevice, GuestMemory, MmioDevice }
`
/** Bytes, compressed, that this may take at most. */
export const limit = 12 * 1024

/**
 * Bundles a program that imports the package.
 *
 * @returns {Promise<{bytes: number, minified: number, modules: {name: string, minified: number, bytes: number}[]}>} `bytes` compressed; of a module: by how much the
 * whole shrinks without it
 */
export async function bundleSize(source) {
  if (!existsSync(resolve(dist, 'runtime/index.js'))) throw new RangeError(`${dist} holds no runtime: build first`)
  const entry = resolve(import.meta.dirname, 'program.js')
  const bundle = await rolldown({
    input: entry,
    platform: 'neutral',
    logLevel: 'silent',
    plugins: [{ name: 'program', resolveId: (id) => (id === entry ? id : undefined), load: (id) => (id === entry ? source : undefined) }],
  })
  const { output } = await bundle.generate({ format: 'esm', minify: true })
  await bundle.close()
  const { code, modules } = output[0]
  return { bytes: compressed(code), minified: code.length, modules: weigh(Object.entries(modules).filter(([path]) => path !== entry)) }
}

function weigh(modules) {
  const parts = modules.flatMap(([path, { code }]) =>
    code ? [{ name: relative(dist, path), code: minifySync(path, code, { module: false }).code }] : [],
  )
  const joined = (list) => compressed(list.map(({ code }) => code).join(''))
  const whole = joined(parts)
  return parts
    .map((part) => ({ name: part.name, minified: part.code.length, bytes: whole - joined(parts.filter((one) => one !== part)) }))
    .sort((a, b) => b.bytes - a.bytes)
}

function compressed(code) {
  return gzipSync(code, { level: 9 }).length
}

if (process.argv[1] === import.meta.filename) {
  const { values } = parseArgs({ options: { modules: { type: 'boolean' }, json: { type: 'boolean' } } })
  const { bytes, minified, modules } = await bundleSize(program)
  if (values.json) console.log(JSON.stringify({ bytes, minified, limit, modules }, undefined, 2))
  else {
    console.log(`block device over MMIO: ${minified} bytes minified, ${bytes} gzip, of ${limit} that it may take`)
    if (values.modules)
      for (const { name, minified: of, bytes: alone } of modules)
        console.log(`${name.padEnd(40)} ${String(of).padStart(7)} minified ${String(alone).padStart(7)} gzip`)
  }
  if (bytes > limit) process.exitCode = 1
}
