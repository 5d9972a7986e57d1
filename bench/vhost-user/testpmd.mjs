// DPDK's testpmd, unpacked into the cache with libraries and a loader of its own: its virtio driver as a front-end, its vhost driver as a back-end.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { debianPackages } from 'virtgen/examples/v86/guest/apt.js'

const plugins = ['bus_vdev', 'mempool_ring', 'net_virtio', 'net_vhost']

export class Testpmd {
  #child
  #output = ''

  /**
   * @param device - properties of the virtual device
   * @param mode - what is done with packets
   * @param processor - it spins there
   */
  constructor({ name, device, mode, size, processor }, say) {
    const packages = { name: 'debian-trixie-amd64-dpdk', suite: 'trixie', architectures: ['amd64'], packages: ['dpdk-dev'], withLibraries: true }
    const root = debianPackages(packages, say)
    const libraries = join(root, 'usr/lib/x86_64-linux-gnu')
    const folder = join(
      libraries,
      'dpdk',
      readdirSync(join(libraries, 'dpdk')).find((entry) => entry.startsWith('pmds-')),
    )
    const names = readdirSync(folder)
    const words = [
      ...['--library-path', libraries, join(root, 'usr/bin/dpdk-testpmd'), '--lcores', `0@${processor},1@${processor}`],
      ...['--no-huge', '-m', '256', '--no-pci', '--no-telemetry', '--file-prefix', `${name}${process.pid}`],
      ...plugins.flatMap((plugin) => ['-d', join(folder, names.find((entry) => entry.startsWith(`librte_${plugin}.so.`)) ?? plugin)]),
      ...[
        `--vdev=${device}`,
        '--',
        `--forward-mode=${mode}`,
        `--txpkts=${size}`,
        '--auto-start',
        '--nb-cores=1',
        '--total-num-mbufs=20000',
        '--stats-period=1',
      ],
    ]
    this.#child = spawn(join(libraries, 'ld-linux-x86-64.so.2'), words, { stdio: ['ignore', 'pipe', 'pipe'] })
    for (const stream of [this.#child.stdout, this.#child.stderr])
      stream.setEncoding('utf8').on('data', (text) => {
        this.#output += text
      })
  }

  /** Millions of packets in a second: `Tx` or `Rx`, once a second, but for the first and what is 0. */
  rates(direction) {
    const found = [...this.#output.matchAll(new RegExp(`${direction}-pps: +(\\d+)`, 'g'))].map(([, count]) => Number(count) / 1e6)
    return found.filter((rate) => rate > 0).slice(1)
  }

  get output() {
    return this.#output.slice(-2000)
  }

  async end() {
    if (this.#child.exitCode !== null) return
    const gone = once(this.#child, 'exit')
    this.#child.kill('SIGINT')
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 5000)
    await gone
    clearTimeout(timer)
  }
}
