/** Linux in v86 in Node, with virtgen's devices. */
import { lookup } from 'node:dns/promises'
import { statSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { Gateway, type NetBackend } from 'virtgen/devices/net'
import { StreamBackend } from 'virtgen/node'
import { type DiskChoice, diskOf } from './disk.ts'
import { shellImages } from './images.ts'
import { Linux, type LinuxImages, leastMemory, mostMemory } from './linux.ts'
import { progress } from './progress.ts'
import { joinTerminal } from './terminal.ts'

const usage = `Boots Debian's Linux in v86, an x86 PC in JavaScript, with virtgen's devices: rng, blk, net, console. Gives a shell on the virtio console.

usage: npm run example:v86 -- [options]

  --disk FILE    image of a disk for /dev/vda, such as one of ext4 or squashfs; it is written. Without it: 16 MiB of memory
  --read-only    the image is not written
  --overlay      the image is not written; what the guest writes stays in memory
  --net SOCKET   network behind a Unix socket, such as that of passt (passt --socket SOCKET). Without it: a gateway in this process,
                 which answers DHCP, ping and DNS, and has no TCP
  --memory MIB   of the guest (192)
  --verbose      shows the kernel's messages
  --help

The guest is fetched with apt once, into ~/.cache/virtgen or VIRTGEN_CACHE. Ctrl-A x leaves; so do "exit" and "poweroff -f" in the guest.`

interface Options {
  readonly disk: DiskChoice
  readonly net: string | undefined
  readonly megabytes: number
  readonly verbose: boolean
}

function optionsOf(words: string[]): Options {
  const flag = { type: 'boolean', default: false } as const
  const text = { type: 'string' } as const
  const options = { disk: text, 'read-only': flag, overlay: flag, net: text, memory: { ...text, default: '192' }, verbose: flag, help: flag }
  const { values } = parseArgs({ args: words, options })
  if (values.help) {
    console.log(usage)
    process.exit(0)
  }
  const megabytes = Number(values.memory)
  if (!(Number.isInteger(megabytes) && megabytes >= leastMemory && megabytes <= mostMemory))
    throw new RangeError(`--memory takes a whole number from ${leastMemory} to ${mostMemory}, not "${values.memory}"`)
  if (values.disk === undefined && (values['read-only'] || values.overlay)) throw new TypeError('--read-only and --overlay are for --disk FILE')
  if (values['read-only'] && values.overlay) throw new TypeError('an image is --read-only or has an --overlay, not both')
  return { disk: { file: values.disk, readOnly: values['read-only'], overlay: values.overlay }, net: values.net, megabytes, verbose: values.verbose }
}

/** Names are what they are for the host. */
const hostAddress = async (name: string): Promise<string> => (await lookup(name, 4)).address

function networkOf(socket: string | undefined): NetBackend & { close?(): void } {
  if (socket === undefined) return new Gateway({ resolve: hostAddress })
  if (!statSync(socket, { throwIfNoEntry: false })?.isSocket()) throw new Error(`there is no socket ${socket}: passt --socket ${socket} makes one`)
  return StreamBackend.connect({ path: socket }, { onError: (error) => console.error(`${socket}: ${error.message}\r`) })
}

function deferred(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve = (): void => {}
  return { promise: new Promise<void>((done) => (resolve = done)), resolve: () => resolve() }
}

async function run(options: Options): Promise<void> {
  const { release, read } = shellImages((line) => console.error(line))
  const disk = diskOf(options.disk)
  const network = networkOf(options.net)
  const bytes = (name: Exclude<keyof LinuxImages, 'wasm'>): ArrayBuffer => Uint8Array.from(read[name]()).buffer
  console.error(`disk: ${disk.text}`)
  console.error(`net: ${options.net ?? 'a gateway in this process'}`)
  console.error('keys: Ctrl-A x leaves, Ctrl-A h helps')
  const booted = progress(`Linux ${release} in v86 boots`)
  const { promise: isOver, resolve: end } = deferred()
  const linux = new Linux({
    images: { wasm: read.wasm, bios: bytes('bios'), vgaBios: bytes('vgaBios'), kernel: bytes('kernel'), initrd: bytes('initrd') },
    disk: disk.backend,
    diskOptions: disk.options,
    network,
    megabytes: options.megabytes,
    onHalt: end,
    onProblem: (device, problem) => console.error(`${device}: ${problem}\r`),
    ...(options.verbose && { onSerial: (byte: number) => void process.stderr.write(Uint8Array.of(byte)) }),
  })
  const part = joinTerminal(linux.terminal, { onFirstOutput: booted, onLeave: end })
  for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.once(signal, end)
  await isOver
  part()
  await linux.stop()
  network.close?.()
  disk.close()
}

function wrongUse(error: unknown): never {
  console.error(`${(error as Error).message}\n--help shows what there is`)
  process.exit(2)
}

let options: Options
try {
  options = optionsOf(process.argv.slice(2))
} catch (error) {
  wrongUse(error)
}
try {
  await run(options)
} catch (error) {
  console.error((error as Error).message)
  process.exitCode = 1
}
