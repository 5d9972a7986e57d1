/** Serves the page with Linux in v86. */
import { statSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { type PageOptions, servePage } from './serve.ts'

const usage = `Serves a page, on this machine for this machine, that boots Debian's Linux in v86 with virtgen's devices: rng, blk, net, console.

usage: npm run example:v86:page -- [options]

  --port N     8086 by default; 0 for any that is free
  --disk FILE  image of a disk for /dev/vda, such as one of ext4 or squashfs; what the guest writes stays in the page. Without it: 16 MiB of memory
  --help

The guest is fetched with apt once, into ~/.cache/virtgen or VIRTGEN_CACHE.`

const mostPort = 0xffff

function optionsOf(words: string[]): PageOptions {
  const { values } = parseArgs({
    args: words,
    options: { port: { type: 'string', default: '8086' }, disk: { type: 'string' }, help: { type: 'boolean' } },
  })
  if (values.help) {
    console.log(usage)
    process.exit(0)
  }
  const port = Number(values.port)
  if (!(/^\d+$/.test(values.port) && port <= mostPort)) throw new RangeError(`--port takes a number from 0 to ${mostPort}, not "${values.port}"`)
  if (values.disk !== undefined && !statSync(values.disk, { throwIfNoEntry: false })?.isFile()) throw new Error(`there is no file ${values.disk}`)
  return { port, disk: values.disk, say: (line) => console.error(line) }
}

try {
  const { url } = await servePage(optionsOf(process.argv.slice(2)))
  console.log(`${url} (Ctrl-C ends)`)
} catch (error) {
  console.error(`${(error as Error).message}\n--help shows what there is`)
  process.exitCode = 1
}
