/** DPDK's testpmd with its virtio driver for vhost-user sockets, or with its back-end, unpacked into the cache with libraries and a loader of its own. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { setTimeout as setTimeoutAsync } from 'node:timers/promises'
import { debianPackages } from '../../../examples/v86/guest/apt.ts'

const plugins = ['bus_vdev', 'mempool_ring', 'net_virtio', 'net_vhost']

export interface TestpmdOptions {
  readonly path: string
  /** What the driver does with frames: `txonly` sends, `io` sends back what it gets. */
  readonly mode: 'txonly' | 'io'
  /** More properties of the device, such as `packed_vq=1`. */
  readonly device?: readonly string[]
  /** More arguments, behind `--`. */
  readonly options?: readonly string[]
  readonly seconds: number
}

/** Of the port, in the end. */
export interface TestpmdCounts {
  readonly received: number
  readonly sent: number
  readonly output: string
}

/** A testpmd that runs. */
interface Running {
  readonly child: ChildProcess
  /** All that it has printed. */
  output(): string
}

/** Starts it with one device. */
function start(vdev: string, mode: TestpmdOptions['mode'], options: readonly string[]): Running {
  const packages = { name: 'debian-trixie-amd64-dpdk', suite: 'trixie', architectures: ['amd64'], packages: ['dpdk-dev'], withLibraries: true }
  const root = debianPackages(packages, console.log)
  const libraries = join(root, 'usr/lib/x86_64-linux-gnu')
  const folder = join(libraries, 'dpdk', readdirSync(join(libraries, 'dpdk')).find((name) => name.startsWith('pmds-')) ?? '')
  const names = readdirSync(folder)
  const loaded = plugins.flatMap((plugin) => ['-d', join(folder, names.find((name) => name.startsWith(`librte_${plugin}.so.`)) ?? plugin)])
  // It spins: the other side has the other processor.
  const cpu = cpus().length - 1
  const words = [
    ...['--library-path', libraries, join(root, 'usr/bin/dpdk-testpmd'), '--lcores', `0@${cpu},1@${cpu}`],
    ...['--no-huge', '-m', '256', '--no-pci', '--no-telemetry', '--file-prefix', `virtgen${process.pid}`, ...loaded],
    `--vdev=${vdev}`,
    ...['--', `--forward-mode=${mode}`, '--auto-start', '--nb-cores=1', '--total-num-mbufs=20000', '--stats-period=1', ...options],
  ]
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', join(libraries, 'ld-linux-x86-64.so.2'), ...words], { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
  return { child, output: () => output }
}

/** Sends, receives and counts for some seconds. */
export async function testpmd({ path, mode, device = [], options = [], seconds }: TestpmdOptions): Promise<TestpmdCounts> {
  const { child, output } = start(['net_virtio_user0', `path=${path}`, 'queue_size=256', ...device].join(','), mode, options)
  const end = once(child, 'exit')
  setTimeout(() => child.kill('SIGINT'), seconds * 1000)
  await end
  const last = output().slice(output().lastIndexOf('Accumulated forward statistics'))
  const count = (pattern: RegExp): number => Number(pattern.exec(last)?.[1] ?? Number.NaN)
  return { received: count(/RX-packets: (\d+)/), sent: count(/TX-packets: (\d+)/), output: output() }
}

/** DPDK as a back-end that sends back what it gets, listening at a path. */
export async function echoingBackEnd(path: string): Promise<{ end(): Promise<void> }> {
  const { child, output } = start(`net_vhost0,iface=${path},queues=1`, 'io', [])
  const exit = once(child, 'exit')
  const started = (): boolean => /packets\/burst=/.test(output())
  while (!started() && child.exitCode === null) await setTimeoutAsync(50)
  if (!started()) throw new Error(`testpmd has ended:\n${output()}`)
  return {
    async end() {
      child.kill('SIGINT')
      await exit
    },
  }
}
