// A Linux in v86 with two disks of the same content: sda is v86's own IDE disk, vda virtgen's block device.
import { readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { V86 } from 'v86'
import { Blk, RamBackend } from 'virtgen/devices/blk'
import { V86Machine } from 'virtgen/v86'
import { debianGuest } from '../../dist/examples/v86/guest/debian.js'
import { makeInitrd } from '../../dist/examples/v86/guest/initrd.js'
import { kernelWords } from '../../dist/examples/v86/guest/kernel-words.js'

const bootSeconds = 240
/** Of disks that the initial RAM disk does not have by itself. */
const ideModules = ['ata_piix', 'sd_mod']

/**
 * @param {Uint8Array} content - of both disks
 * @param {Uint8Array} program - /bin/direct-read
 */
export async function bootGuest(content, program) {
  const guest = debianGuest((line) => console.error(line))
  const machine = new V86Machine({ wasm: readFileSync(new URL('../../node_modules/v86/build/v86.wasm', import.meta.url)) })
  machine.add(new Blk(new RamBackend(content.slice())))
  const files = Object.fromEntries(program === undefined ? [] : [['bin/direct-read', program]])
  const modules = withDependencies(guest, ideModules)
  for (const { name, bytes } of modules) files[`modules/${name}.ko`] = bytes
  const emulator = new V86({
    wasm_fn: machine.wasm_fn,
    bios: { buffer: bufferOf(readFileSync(guest.bios)) },
    vga_bios: { buffer: bufferOf(readFileSync(guest.vgaBios)) },
    bzimage: { buffer: bufferOf(readFileSync(guest.kernel)) },
    initrd: { buffer: bufferOf(makeInitrd(guest, files)) },
    hda: { buffer: bufferOf(content) },
    cmdline: `${kernelWords} quiet`,
    memory_size: 192 * 2 ** 20,
    autostart: true,
    net_device: { type: 'none' },
    disable_speaker: true,
    disable_keyboard: true,
    disable_mouse: true,
  })
  const shell = new Shell(emulator)
  await shell.until(/GUEST-READY/, bootSeconds)
  await shell.run(modules.map(({ name }) => `insmod /modules/${name}.ko`).join('; '))
  await shell.run('for i in 1 2 3 4 5 6 7 8 9 10; do [ -b /dev/sda ] && break; sleep 1; done; ls /dev/sda /dev/vda')
  return { emulator, machine, shell }
}

class Shell {
  output = ''
  #emulator
  #asked = 0

  constructor(emulator) {
    this.#emulator = emulator
    emulator.add_listener('serial0-output-byte', (byte) => {
      this.output += String.fromCharCode(byte)
    })
  }

  async until(pattern, seconds, from = 0) {
    for (const end = Date.now() + 1000 * seconds; ; ) {
      const found = pattern.exec(this.output.slice(from))
      if (found) return found
      if (Date.now() > end) throw new Error(`the guest did not say ${pattern}:\n${this.output.slice(from).slice(-2000)}`)
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }

  /** Runs a command; throws where it failed. */
  async run(command, seconds = 300) {
    const mark = `m${++this.#asked}m`
    const from = this.output.length
    this.#emulator.serial0_send(`{ ${command}\n} 2>&1; echo "${mark.slice(0, 1)}""${mark.slice(1)} $?"\n`)
    const [, code] = await this.until(new RegExp(`${mark} (\\d+)\\r?\\n`), seconds, from)
    if (code !== '0') throw new Error(`${command}: exit code ${code}\n${this.output.slice(from)}`)
  }
}

/** Modules in an order in which they can be loaded. */
function withDependencies({ modules: folder }, names) {
  const paths = new Map(
    readdirSync(folder, { recursive: true })
      .filter((path) => path.endsWith('.ko'))
      .map((path) => [basename(path, '.ko').replaceAll('-', '_'), join(folder, path)]),
  )
  const found = new Map()
  const visit = (name) => {
    const key = name.replaceAll('-', '_')
    if (found.has(key)) return
    const bytes = readFileSync(paths.get(key))
    const [, depends = ''] = /\0depends=([^\0]*)\0/.exec(bytes.toString('latin1')) ?? []
    for (const each of depends.split(',')) if (each !== '') visit(each)
    found.set(key, bytes)
  }
  for (const name of names) visit(name)
  return [...found].map(([name, bytes]) => ({ name, bytes }))
}

function bufferOf(bytes) {
  return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength)
}
