/** The page: a terminal, a machine, and what its devices have done so far. */
import { Gateway } from 'virtgen/devices/net'
import { scratchSerial } from '../guest/shell.ts'
import { Linux, type LinuxImages } from '../linux.ts'
import { CountingDisk } from './counting-disk.ts'
import { Files } from './files.ts'
import { PageTerminal } from './page-terminal.ts'
import { sizeText } from './size-text.ts'

const scratchBytes = 16 * 2 ** 20
/** Milliseconds between looks at the devices. */
const period = 250

const part = (selector: string): HTMLElement => document.querySelector(selector) as HTMLElement

function show(text: string, state: 'starting' | 'running' | 'ended' | 'failed' = 'starting'): void {
  const status = part('#status')
  status.textContent = text
  status.dataset.state = state
}

async function fetchImages(): Promise<{ readonly images: LinuxImages; readonly disk: Uint8Array | undefined }> {
  const files = new Files((done, all) => show(`fetches the guest: ${sizeText(done)} of ${sizeText(all)}`))
  const [wasm, bios, vgaBios, kernel, initrd, disk] = await Promise.all([
    files.fetch('v86.wasm'),
    files.fetch('bios.bin'),
    files.fetch('vgabios.bin'),
    files.fetch('kernel'),
    files.fetch('initrd'),
    files.fetch('disk'),
  ])
  return { images: { wasm, bios, vgaBios, kernel, initrd }, disk: disk.byteLength > 0 ? new Uint8Array(disk) : undefined }
}

async function run(): Promise<void> {
  const { images, disk } = await fetchImages()
  const started = performance.now()
  const seconds = (): string => `${((performance.now() - started) / 1000).toFixed(1)} s`
  const storage = new CountingDisk(disk ?? scratchBytes)
  let random = 0
  const terminal = new PageTerminal(part('#terminal'))
  let state: 'starting' | 'running' | 'ended' = 'starting'
  const linux = new Linux({
    images,
    disk: storage,
    diskOptions: disk ? {} : { serial: scratchSerial },
    network: new Gateway(),
    terminal: {
      onOutput: (bytes) => {
        if (state === 'starting') {
          state = 'running'
          show(`runs; the shell was there after ${seconds()}`, state)
        }
        return terminal.show(bytes)
      },
    },
    rng: {
      source: (bytes) => {
        random += bytes.length
        // v86's memory is never a shared one, of which browsers would not take a view here.
        crypto.getRandomValues(bytes as Uint8Array<ArrayBuffer>)
      },
    },
    onHalt: () => {
      state = 'ended'
      show('has powered itself off; load the page again for another one', state)
    },
    onProblem: (device, problem) => console.error(device, problem),
  })
  terminal.join(linux.terminal)
  setInterval(() => {
    if (state === 'starting') show(`boots: ${seconds()}`)
    const { transmittedFrames, receivedFrames } = linux.net.statistics
    showDevice('console', `${terminal.size}, ${sizeText(terminal.shown)} out, ${sizeText(terminal.typed)} in`)
    showDevice('blk', `${sizeText(storage.bytesRead)} read, ${sizeText(storage.bytesWritten)} written`)
    showDevice('net', `${transmittedFrames} frames out, ${receivedFrames} in`)
    showDevice('rng', `${sizeText(random)} given`)
  }, period)
}

function showDevice(name: string, text: string): void {
  part(`[data-device=${name}]`).textContent = text
}

run().catch((error: unknown) => show(String(error), 'failed'))
