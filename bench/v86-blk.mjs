// What a read of 4 KiB costs a guest in v86: virtgen's block device beside v86's own IDE disk, in one guest and one run.
//
// Workload: Debian's i386 kernel reads blocks of 4 KiB with O_DIRECT, one at a time, from disks in memory of the same content. Processor time is that of the whole process
// (guest, emulator, device), which is what a page or a server has to give. See docs/performance.md.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { readOptions, refuse, wholeNumber } from './options.mjs'
import { bootGuest } from './v86/guest.mjs'

const usage = `npm run bench:v86 -- [options]

  --requests N   reads in a sample (20000)
  --samples N    samples of each disk, in turn (7)
  --floor R      ends with 1 where the ratio of the medians is below R (1.4)
  --profile      virtgen's disk alone, for --cpu-prof
  --json         prints one JSON object`

const options = readOptions(usage, {
  requests: { type: 'string', default: '20000' },
  samples: { type: 'string', default: '7' },
  floor: { type: 'string', default: '1.4' },
  profile: { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
})
const warmUp = 8000
const blockBytes = 4096
const diskBytes = 16 * 2 ** 20

/** The program that reads, or undefined where gcc cannot make it: then it is busybox's dd. */
function compile() {
  const folder = mkdtempSync(join(tmpdir(), 'virtgen-bench-'))
  try {
    const output = join(folder, 'direct-read')
    const source = fileURLToPath(new URL('v86/direct-read.c', import.meta.url))
    const { status } = spawnSync('gcc', ['-m32', '-static', '-nostdlib', '-O1', '-fno-stack-protector', '-fno-pie', '-no-pie', '-o', output, source])
    return status === 0 ? readFileSync(output) : undefined
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]

async function main() {
  const requests = wholeNumber(options, 'requests', usage)
  const samples = wholeNumber(options, 'samples', usage)
  const floor = Number(options.floor)
  if (!(floor >= 0)) refuse(`--floor takes a number, not ${options.floor}`, usage)
  const program = compile()
  const { emulator, shell } = await bootGuest(new Uint8Array(diskBytes).fill(0x5a), program)
  const read = (disk, count) =>
    program
      ? `/bin/direct-read /dev/${disk} ${count}`
      : `for i in $(seq ${Math.ceil((count * blockBytes) / diskBytes)}); do dd if=/dev/${disk} of=/dev/null bs=4k iflag=direct; done`
  const disks = (options.profile ? ['vda'] : ['sda', 'vda']).map((disk) => ({ disk, rates: [], walls: [] }))
  for (const { disk } of disks) await shell.run(read(disk, warmUp))
  for (let sample = 0; sample < samples; sample++)
    for (const { disk, rates, walls } of disks) {
      const [cpu, wall] = [process.cpuUsage(), performance.now()]
      await shell.run(read(disk, requests))
      const { user, system } = process.cpuUsage(cpu)
      rates.push((requests * 1e6) / (user + system))
      walls.push((requests * 1e3) / (performance.now() - wall))
    }
  await emulator.destroy()
  const found = Object.fromEntries(
    disks.map(({ disk, rates, walls }) => [disk, { perCpuSecond: Math.round(median(rates)), perSecond: Math.round(median(walls)) }]),
  )
  if (options.profile) return console.log(JSON.stringify(found))
  const [ide, ours] = disks
  const ratio = median(ours.rates) / median(ide.rates)
  const pairs = ours.rates.map((rate, i) => rate / ide.rates[i])
  if (options.json) console.log(JSON.stringify({ ...found, ratio, pairs, program: program ? 'direct-read' : 'dd' }))
  else {
    console.log(
      `4 KiB reads, O_DIRECT, one at a time, by ${program ? 'bench/v86/direct-read.c' : "busybox's dd (gcc makes no i386 programs here)"}; medians of ${samples}`,
    )
    for (const [name, { disk }] of [
      ["v86's IDE disk", ide],
      ["virtgen's block device", ours],
    ])
      console.log(
        `${name.padEnd(24)} ${String(found[disk].perCpuSecond).padStart(8)} per second of processor time ${String(found[disk].perSecond).padStart(8)} per second`,
      )
    console.log(
      `${ratio.toFixed(2)} times as many requests in the same processor time (pairs of samples: ${Math.min(...pairs).toFixed(2)} to ${Math.max(...pairs).toFixed(2)})`,
    )
  }
  process.exitCode = ratio < floor ? 1 : 0
}

await main()
