// What a disk of `virtgen serve` gives to a driver in another process, beside qemu-storage-daemon: libblkio drives both in turn, and each round has its ratios.
//
// The driver sleeps until it is notified, as the one of a guest does. See docs/performance.md.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { readOptions, refuse, wholeNumber } from './options.mjs'
import { BackEnd, bare, ours, theirs } from './vhost-user/back-end.mjs'
import { blkioBench, drive } from './vhost-user/client.mjs'

const usage = `npm run bench:vhost-user -- [options]

  --rounds N    of all rows (5)
  --seconds N   of each measurement (2)
  --spin US     what the rows with --spin give it (50)
  --only WORDS  rows whose names hold these words
  --bare        beside the null device one that fills buffers with zeroes and does nothing else: what this machine allows
  --check       ends with 1 where a ratio is below its aim
  --json        prints one JSON object`

const options = readOptions(usage, {
  rounds: { type: 'string', default: '5' },
  seconds: { type: 'string', default: '2' },
  spin: { type: 'string', default: '50' },
  only: { type: 'string', default: '' },
  bare: { type: 'boolean', default: false },
  check: { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
})
/** Seconds. */
const warmUp = 1
const diskBytes = 2 ** 30
const fileBytes = 2 ** 28
/** A file that is in memory. */
const folder = mkdtempSync(join('/dev/shm', 'virtgen-bench-'))
const file = join(folder, 'disk.img')

const read = (bytes, depth) => ({ pattern: bytes === 4096 ? 'randread' : 'read', bytes, depth })
const write = (bytes, depth) => ({ pattern: 'randwrite', bytes, depth })
const spin = ['--spin', options.spin]
const nothing = { name: 'null', theirs: theirs(`driver=null-co,size=${diskBytes},read-zeroes=on`) }
const stored = { name: 'file', theirs: theirs(`driver=file,filename=${file},aio=threads,cache.direct=off`) }
/** Each with what is driven, and how many times theirs it must reach. */
const groups = [
  {
    peer: nothing,
    name: 'null',
    words: ours('blk', '--null', String(diskBytes)),
    loads: [[read(4096, 1), 0.9], [read(4096, 32), 1], [read(4096, 128)]],
  },
  {
    peer: nothing,
    name: `null --spin ${options.spin}`,
    words: ours('blk', '--null', String(diskBytes), ...spin),
    loads: [[read(4096, 1), 2], [read(4096, 32), 2], [read(4096, 128), 2], [write(4096, 32)], [read(65_536, 32), 1.5], [read(2 ** 20, 8), 0.9]],
  },
  ...(options.bare
    ? [
        {
          peer: nothing,
          name: `bare, spin ${options.spin}`,
          words: bare(diskBytes, options.spin),
          loads: [[read(4096, 1)], [read(4096, 32)], [read(4096, 128)], [read(65_536, 32)], [read(2 ** 20, 8)]],
        },
      ]
    : []),
  {
    peer: stored,
    name: `ram --spin ${options.spin}`,
    words: ours('blk', '--ram', String(fileBytes), ...spin),
    loads: [[read(4096, 32), 4], [write(4096, 32)], [read(65_536, 32)]],
  },
  {
    peer: stored,
    name: `file --spin ${options.spin}`,
    words: ours('blk', '--file', file, ...spin),
    loads: [[read(4096, 32), 1.5], [write(4096, 32)]],
  },
  { peer: stored, name: `file --async --spin ${options.spin}`, words: ours('blk', '--file', file, '--async', ...spin), loads: [[read(4096, 32), 1]] },
]
const rows = groups.flatMap(({ peer, name, words, loads }) =>
  loads.map(([load, aim]) => ({
    peer,
    back: name,
    words,
    load,
    aim,
    name: `${name}: ${load.pattern} ${load.bytes} depth ${load.depth}`,
    samples: [],
  })),
)

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]

/** Requests in a second, and microseconds of a processor that the back-end had for each. */
async function measure(program, backEnd, load, seconds) {
  const before = backEnd.processorTime
  const { kiops, latency } = await drive(program, backEnd.socket, load, seconds)
  return { kiops, latency, processor: ((backEnd.processorTime - before) * 1000) / (kiops * seconds) }
}

async function round(program, chosen, seconds) {
  const backEnds = new Map()
  const started = async (name, words) => {
    if (!backEnds.has(name)) {
      const backEnd = new BackEnd(name, words, join(folder, `${backEnds.size}`))
      backEnds.set(name, backEnd)
      await backEnd.ready()
      // Compiles what it runs.
      await drive(program, backEnd.socket, read(4096, 32), warmUp)
    }
    return backEnds.get(name)
  }
  try {
    for (const { peer, back, words, load, samples } of chosen) {
      const theirs = await measure(program, await started(`qemu-storage-daemon, ${peer.name}`, peer.theirs), load, seconds)
      const ours_ = await measure(program, await started(`virtgen, ${back}`, words), load, seconds)
      samples.push({ theirs, ours: ours_, ratio: ours_.kiops / theirs.kiops })
    }
  } finally {
    await Promise.all([...backEnds.values()].map((each) => each.end()))
    for (const { socket } of backEnds.values()) rmSync(socket, { force: true })
  }
}

function summary({ name, aim, samples }) {
  const of = (side, what) => median(samples.map((sample) => sample[side][what]))
  const ratios = samples.map(({ ratio }) => ratio)
  const sides = Object.fromEntries(
    ['theirs', 'ours'].map((side) => [side, { kiops: of(side, 'kiops'), latency: of(side, 'latency'), processor: of(side, 'processor') }]),
  )
  return {
    name,
    ...sides,
    ratio: median(ratios),
    least: Math.min(...ratios),
    most: Math.max(...ratios),
    ...(aim !== undefined && { aim, isMet: median(ratios) >= aim }),
  }
}

function line({ name, theirs, ours, ratio, least, most, aim, isMet }) {
  const side = ({ kiops, processor }) => `${kiops.toFixed(1).padStart(8)} k/s, ${processor.toFixed(2)} µs`
  const verdict = aim === undefined ? '' : `, aim ${aim}${isMet ? '' : ': NOT MET'}`
  return `${name.padEnd(46)} ${side(theirs)}  | ${side(ours)}  | ${ratio.toFixed(2)} x (${least.toFixed(2)} to ${most.toFixed(2)}${verdict})`
}

async function main() {
  const rounds = wholeNumber(options, 'rounds', usage)
  const seconds = wholeNumber(options, 'seconds', usage)
  wholeNumber(options, 'spin', usage, 0)
  const chosen = rows.filter(({ name }) => name.includes(options.only))
  if (chosen.length === 0) refuse(`no row has "${options.only}" in its name`, usage)
  const program = blkioBench((text) => console.error(text))
  writeFileSync(file, Buffer.alloc(fileBytes, 0x5a))
  for (let turn = 0; turn < rounds; turn++) await round(program, chosen, seconds)
  const table = chosen.map(summary)
  if (options.json)
    console.log(JSON.stringify({ node: process.version, processor: cpus()[0]?.model, processors: cpus().length, rounds, rows: table }))
  else {
    console.log(
      `requests a second and processor time of the back-end for each: qemu-storage-daemon | virtgen serve on Node ${process.version} | ratio of each round, median`,
    )
    for (const row of table) console.log(line(row))
  }
  if (options.check && table.some(({ isMet }) => isMet === false)) process.exitCode = 1
}

try {
  await main()
} finally {
  rmSync(folder, { recursive: true, force: true })
}
