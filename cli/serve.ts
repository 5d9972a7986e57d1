/** `virtgen serve`: a ready device for hypervisors, over vhost-user. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Serve } from '../hosts/linux/serve/settings.ts'
import { type Command, Failure } from './command.ts'
import { inlineMore } from './inlining.ts'
import { packageRoot, packageVersion } from './package-root.ts'
import { serveOptions } from './serve-options.ts'
import { serveSettings } from './serve-settings.ts'

export const serve: Command = {
  name: 'serve',
  arguments: '<blk|net|rng>',
  summary: 'serves a disk, a network card or entropy to QEMU and others, over vhost-user',
  description: [
    'The process is the device: a hypervisor (QEMU, cloud-hypervisor, crosvm) or a driver in user space (libblkio, DPDK) connects to the socket and puts its memory at the ' +
      "device's disposal. The guest's memory must be shared: with QEMU, -object memory-backend-memfd,id=mem,size=1G,share=on -M q35,memory-backend=mem.",
    'SIGTERM and SIGINT finish what was begun and exit with 0; the same signal again ends at once, with 1. SIGUSR1 prints the metrics: requests, bytes, latencies. SIGUSR2 looks at the size of ' +
      'the file again and tells the guest. Started by npx or npm, it ends when that does. docs/vhost-user.md has the lines for QEMU, libvirt and others.',
    'Sizes are bytes, or have K, M, G or T behind them: 64M are 67108864 bytes. Needs Linux and the package koffi.',
  ],
  options: serveOptions,
  examples: [
    { line: 'virtgen serve blk --socket /tmp/disk.sock --file disk.img', meaning: 'a disk image for QEMU' },
    {
      line: 'virtgen serve blk --socket /tmp/disk.sock --overlay base.img --metrics 9100',
      meaning: 'a disk that forgets what is written, with metrics for Prometheus',
    },
    { line: 'virtgen serve net --socket /tmp/net.sock --passt /tmp/passt.socket', meaning: 'a network card with the network of the host' },
    { line: 'virtgen serve net --link --socket /tmp/a.sock --socket /tmp/b.sock', meaning: 'two guests on one cable' },
    { line: 'virtgen serve rng --socket /tmp/rng.sock --rate 1M', meaning: 'entropy, a megabyte per second at most' },
  ],
  async run(call) {
    const settings = serveSettings(call)
    if (process.platform !== 'linux')
      throw new Failure('virtgen serve needs Linux', 'vhost-user passes file descriptors and shared memory between processes')
    const module = join(packageRoot, 'dist', 'hosts', 'linux', 'serve', 'index.js')
    if (!existsSync(module)) throw new Failure('virtgen is not compiled here', 'npm run build')
    // Before anything is compiled.
    inlineMore()
    const { serve } = (await import(pathToFileURL(module).href)) as { serve: Serve }
    try {
      return await serve(settings, {
        print: (line) => {
          call.progress('')
          call.print(line)
        },
        progress: (text) => call.progress(text),
        interactive: call.host.stderr.isTTY,
        environment: call.host.environment,
        version: packageVersion(),
      })
    } catch (error) {
      if (error instanceof Error && error.name === 'ServeError') throw new Failure(error.message, (error as { hint?: string }).hint)
      throw error
    }
  },
}
