// How large the package is for a browser: programs that import parts of it, bundled, minified, compressed. After a build.
import { existsSync } from 'node:fs'
import { relative, resolve } from 'node:path'
import { gzipSync } from 'node:zlib'
import { rolldown } from 'rolldown'
import { minifySync } from 'rolldown/experimental'
import { readOptions, refuse } from './options.mjs'

const usage = `npm run size -- [options]

  --modules NAME   also what the program of that name, or part of a name, shrinks by without each of its modules
  --json           prints a JSON array, with the modules of all programs

Bytes. A program that has grown beyond its limit makes this end with 1.`

const dist = resolve(import.meta.dirname, '../dist')
const kilobyte = 1024

/** What a page may import, with the bytes, compressed, that it may take at most. */
export const programs = {
  'accessors of the block device': { limit: 6 * kilobyte, source: `export * from 'virtgen/wire/blk'` },
  'block device over MMIO': {
    // What it is not to grow beyond. The aim is 12: see where the bytes are with `--modules 'block device over'`.
    limit: 24 * kilobyte,
    source: `
      export { MmioDevice } from 'virtgen/mmio'
      export { GuestMemory } from 'virtgen/runtime'
      export { BlkDevice } from 'virtgen/skeleton/blk'`,
  },
  'block device over PCI': {
    limit: 33 * kilobyte,
    source: `
      export { PciDevice } from 'virtgen/pci'
      export { GuestMemory } from 'virtgen/runtime'
      export { BlkDevice } from 'virtgen/skeleton/blk'`,
  },
  'device of one’s own over MMIO, without a skeleton': {
    source: `
      export { MmioDevice } from 'virtgen/mmio'
      export { ConfigSpace, GuestMemory, VirtioDevice } from 'virtgen/runtime'`,
  },
  'driver of the block device': {
    limit: 27 * kilobyte,
    source: `
      export { BlkDriver } from 'virtgen/driver/blk'
      export { connectMmio } from 'virtgen/mmio'
      export { DriverMemory, GuestMemory } from 'virtgen/runtime'`,
  },
  'driver of the block device over PCI': {
    limit: 30 * kilobyte,
    source: `
      export { BlkDriver } from 'virtgen/driver/blk'
      export { connectPci } from 'virtgen/pci'
      export { DriverMemory, GuestMemory } from 'virtgen/runtime'`,
  },
}

/**
 * Bundles one of the programs.
 *
 * @param {keyof programs} name
 * @returns {Promise<{bytes: number, minified: number, modules: {name: string, minified: number, bytes: number}[]}>} `bytes` compressed; of a module: by how much the
 * whole shrinks without it. Modules have their paths in dist/.
 */
export async function sizeOf(name) {
  if (!existsSync(resolve(dist, 'runtime/index.js'))) throw new RangeError(`${dist} holds no runtime: build first`)
  const entry = resolve(import.meta.dirname, 'program.js')
  const program = {
    name: 'program',
    resolveId: (id) => (id === entry ? id : undefined),
    load: (id) => (id === entry ? programs[name].source : undefined),
  }
  const bundle = await rolldown({ input: entry, platform: 'neutral', logLevel: 'silent', plugins: [program] })
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

async function main() {
  const options = readOptions(usage, { modules: { type: 'string' }, json: { type: 'boolean' } })
  const names = Object.keys(programs)
  if (options.modules !== undefined && !names.some((name) => name.includes(options.modules)))
    refuse(`no program is called ${options.modules}; there are: ${names.join('; ')}`, usage)
  const found = []
  for (const [name, { limit }] of Object.entries(programs)) found.push({ name, limit, ...(await sizeOf(name)) })
  if (options.json) console.log(JSON.stringify(found, undefined, 2))
  else
    for (const { name, limit, bytes, minified, modules } of found) {
      const atMost = limit === undefined ? '' : `  at most ${limit}${bytes > limit ? ': TOO LARGE' : ''}`
      console.log(`${name.padEnd(52)} ${column(minified)} minified ${column(bytes)} gzip${atMost}`)
      if (options.modules !== undefined && name.includes(options.modules))
        for (const module of modules) console.log(`  ${module.name.padEnd(38)} ${column(module.minified)} minified ${column(module.bytes)} gzip`)
    }
  if (found.some(({ bytes, limit = bytes }) => bytes > limit)) process.exitCode = 1
}

function column(bytes) {
  return String(bytes).padStart(7)
}

if (process.argv[1] === import.meta.filename) await main()
