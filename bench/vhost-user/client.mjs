// libblkio's own example of a driver, blkio-bench, from Debian's packages: unpacked into the cache, and compiled there once.
import { execFile, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { debianPackages } from 'virtgen/examples/v86/guest/apt.js'

/** The program. Throws where it cannot be made. */
export function blkioBench(say) {
  const packages = { name: 'debian-trixie-amd64-libblkio-dev', suite: 'trixie', architectures: ['amd64'], packages: ['libblkio1', 'libblkio-dev'] }
  const root = debianPackages(packages, say)
  const program = join(root, 'blkio-bench')
  if (existsSync(program)) return program
  const libraries = join(root, 'usr/lib/x86_64-linux-gnu')
  const source = join(root, 'usr/share/doc/libblkio-dev/examples/blkio-bench.c')
  const words = ['-O2', '-o', program, `-I${join(root, 'usr/include')}`, source, `-L${libraries}`, `-Wl,-rpath,${libraries}`, '-lblkio', '-lpthread']
  const { status, stderr, error } = spawnSync('gcc', words, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`gcc cannot make blkio-bench: ${error?.message ?? stderr}`)
  return program
}

/** Drives a back-end for some seconds: thousands of requests a second, and microseconds that each took. */
export async function drive(program, socket, { pattern, bytes, depth }, seconds) {
  const words = [`--runtime=${seconds}`, `--readwrite=${pattern}`, `--blocksize=${bytes}`, `--iodepth=${depth}`]
  const { stdout } = await promisify(execFile)(program, [...words, 'virtio-blk-vhost-user', `path=${socket}`], { timeout: 60_000 + seconds * 1000 })
  const { kiops, mean_lat_us: latency } = JSON.parse(stdout).aggregate
  return { kiops, latency }
}
