// Other implementations on the same workload, run between our samples: `ring`, which is bare C, and `rust-queue-bench`, rust-vmm's virtio-queue.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { summary } from './statistics.mjs'

/** The row that the aims are stated in relation to. */
export const yardstick = 'rust split pop+read_slice'
/** Samples of a run: the first one of a process also pays for its start. */
const samplesOfRun = 3
const line = /^(.+?)\s+n=(\d+)\s+payload=(\d+)\s+median ([\d.]+)\s+min ([\d.]+)\s+max ([\d.]+)/

/**
 * Finds the programs in a folder, or builds them from `ring.c` and `rust-bench.sh` there.
 *
 * @returns {Peers}
 */
export function findPeers(folder, rounds) {
  const ring = found(folder, ['ring']) ?? buildRing(folder)
  const rust = found(folder, ['rust-queue-bench', 'work/project/target/release/rust-queue-bench']) ?? buildRust(folder)
  const programs = []
  if (ring) programs.push({ file: ring, args: [String(rounds), String(samplesOfRun)] })
  if (rust) programs.push({ file: rust, args: [] })
  if (programs.length === 0) throw new RangeError(`${folder} holds neither ring nor rust-queue-bench, nor the sources ring.c and rust-bench.sh`)
  return new Peers(programs, rounds)
}

function found(folder, names) {
  const file = names.map((name) => resolve(folder, name)).find(existsSync)
  return file
}

function buildRing(folder) {
  const source = found(folder, ['ring.c'])
  if (source === undefined) return undefined
  const file = join(mkdtempSync(join(tmpdir(), 'virtgen-bench-')), 'ring')
  execFileSync('cc', ['-O2', '-o', file, source], { stdio: 'inherit' })
  return file
}

function buildRust(folder) {
  const script = found(folder, ['rust-bench.sh'])
  if (script === undefined) return undefined
  const work = mkdtempSync(join(tmpdir(), 'virtgen-bench-'))
  // Builds, and runs once.
  execFileSync('bash', [script, work], { stdio: ['ignore', 'ignore', 'inherit'], env: { ...process.env, ROUNDS: '1', SAMPLES: '1' } })
  return join(work, 'project/target/release/rust-queue-bench')
}

/** Programs that print `LABEL  n=N payload=P  median X  min Y  max Z`, and what they have printed so far. */
export class Peers {
  #programs
  #environment
  /** By label, n and payload. @type {Map<string, {label: string, n: number, payload: number, times: number[]}>} */
  #rows = new Map()

  constructor(programs, rounds) {
    this.#programs = programs
    this.#environment = { ...process.env, ROUNDS: String(rounds), SAMPLES: String(samplesOfRun) }
  }

  run() {
    for (const { file, args } of this.#programs) {
      for (const text of execFileSync(file, args, { encoding: 'utf8', env: this.#environment }).split('\n')) {
        const match = line.exec(text)
        if (match) this.#add(match[1].replace(/\s+/g, ' '), Number(match[2]), Number(match[3]), Number(match[4]))
      }
    }
  }

  #add(label, n, payload, time) {
    const key = `${label} ${n} ${payload}`
    if (!this.#rows.has(key)) this.#rows.set(key, { label, n, payload, times: [] })
    this.#rows.get(key).times.push(time)
  }

  get rows() {
    return [...this.#rows.values()]
  }

  /** Median or least time of the yardstick. */
  time(n, payload, by) {
    const row = this.#rows.get(`${yardstick} ${n} ${payload}`)
    return row && summary(row.times)[by]
  }
}
