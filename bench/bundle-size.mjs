// How large a wire module is for a browser: bundled, minified, compressed. `node bench/bundle-size.mjs [chapter…]` after a build.
import { existsSync, readdirSync } from 'node:fs'
import { basename, resolve } from 'node:path'
import { gzipSync } from 'node:zlib'
import { rolldown } from 'rolldown'

const folder = resolve(import.meta.dirname, '../dist/generated/wire')

/**
 * Bundles everything that a wire module exports.
 *
 * @param {string} chapter
 * @returns {Promise<{chapter: string, bytes: number, minified: number, modules: string[]}>} `bytes` compressed, `modules` by their file names
 */
export async function sizeOf(chapter) {
  const entry = resolve(folder, `${chapter}.js`)
  if (!existsSync(entry)) throw new RangeError(`${entry} is not there: build first`)
  const bundle = await rolldown({ input: entry, platform: 'neutral', logLevel: 'silent' })
  const { output } = await bundle.generate({ format: 'esm', minify: true })
  await bundle.close()
  const { code, modules } = output[0]
  return { chapter, bytes: gzipSync(code, { level: 9 }).length, minified: code.length, modules: Object.keys(modules).map((path) => basename(path)) }
}

if (process.argv[1] === import.meta.filename) {
  const chapters =
    process.argv.length > 2 ? process.argv.slice(2) : readdirSync(folder).flatMap((name) => (name.endsWith('.js') ? [name.slice(0, -3)] : []))
  for (const chapter of chapters) {
    const { bytes, minified } = await sizeOf(chapter)
    console.log(`${chapter.padEnd(30)} ${String(minified).padStart(8)} minified ${String(bytes).padStart(7)} gzip`)
  }
}
