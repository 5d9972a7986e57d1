/** An initial RAM disk: busybox, the kernel's virtio modules and a script. Uncompressed, as unpacking costs the guest seconds. */
import { readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { DebianGuest } from './debian.ts'

/** In the order in which they can be loaded. */
const modules = [
  'virtio',
  'virtio_ring',
  'virtio_pci_modern_dev',
  'virtio_pci_legacy_dev',
  'virtio_pci',
  'virtio-rng',
  'virtio_blk',
  'virtio_console',
  'failover',
  'net_failover',
  'virtio_net',
  'squashfs',
  'crc16',
  'mbcache',
  'crc32c_generic',
  'libcrc32c',
  'jbd2',
  'ext4',
]
const applets = [
  'sh',
  'cat',
  'mount',
  'umount',
  'insmod',
  'ls',
  'dd',
  'sha256sum',
  'hexdump',
  'ping',
  'udhcpc',
  'wget',
  'ip',
  'ifconfig',
  'route',
  'echo',
  'sleep',
  'stty',
  'sync',
  'mkdir',
  'cp',
  'rm',
  'dmesg',
  'poweroff',
  'reboot',
  'grep',
  'head',
  'tail',
  'wc',
  'mknod',
  'readlink',
  'basename',
  'test',
  'seq',
  'cmp',
  'setsid',
  'cttyhack',
  'getty',
  'ps',
  'uname',
  'tr',
  'cut',
  'printf',
  'nslookup',
  'blockdev',
  'lspci',
  'yes',
  'time',
  'date',
  'free',
  'df',
  'ln',
  'chmod',
]

const init = `#!/bin/sh
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
for m in $(cat /modules/order); do insmod /modules/$m.ko || echo "insmod $m failed"; done
echo 0 > /proc/sys/kernel/printk
stty -echo 2>/dev/null
export PS1="" PS2=""
echo GUEST-READY
exec setsid cttyhack sh
`

/**
 * Makes the archive.
 *
 * @param files - more files, by path; `init` is the script that is run
 */
export function makeInitrd(guest: Pick<DebianGuest, 'modules' | 'busybox'>, files: Readonly<Record<string, string | Uint8Array>> = {}): Buffer {
  const archive = new Cpio()
  for (const folder of ['bin', 'dev', 'proc', 'sys', 'modules', 'mnt', 'tmp', 'etc', 'usr', 'usr/share', 'usr/share/udhcpc']) archive.folder(folder)
  archive.file('bin/busybox', readFileSync(guest.busybox), 0o755)
  for (const applet of applets) archive.link(`bin/${applet}`, 'busybox')
  const found = new Map(readdirSync(guest.modules, { recursive: true, encoding: 'utf8' }).map((path) => [basename(path), join(guest.modules, path)]))
  for (const name of modules) {
    const path = found.get(`${name}.ko`)
    if (path === undefined) throw new Error(`the kernel has no module ${name} in ${guest.modules}`)
    archive.file(`modules/${name}.ko`, readFileSync(path))
  }
  archive.file('modules/order', Buffer.from(`${modules.join(' ')}\n`))
  archive.file('init', Buffer.from(files.init ?? init), 0o755)
  for (const [path, content] of Object.entries(files)) if (path !== 'init') archive.file(path, Buffer.from(content), 0o755)
  return archive.end()
}

/** The "newc" format. */
class Cpio {
  readonly #parts: Buffer[] = []
  #inode = 1

  folder(path: string): void {
    this.#entry(path, 0o040755, Buffer.alloc(0))
  }
  file(path: string, content: Buffer, mode = 0o644): void {
    this.#entry(path, 0o100000 | mode, content)
  }
  link(path: string, target: string): void {
    this.#entry(path, 0o120777, Buffer.from(target))
  }
  end(): Buffer {
    this.#entry('TRAILER!!!', 0, Buffer.alloc(0))
    return Buffer.concat(this.#parts)
  }

  #entry(path: string, mode: number, content: Buffer): void {
    const name = Buffer.from(`${path}\0`)
    const fields = [this.#inode++, mode, 0, 0, 1, 0, content.length, 0, 0, 0, 0, name.length, 0]
    const head = Buffer.from(`070701${fields.map((value) => value.toString(16).padStart(8, '0')).join('')}`)
    this.#parts.push(head, name, padding(head.length + name.length), content, padding(content.length))
  }
}

const padding = (length: number): Buffer => Buffer.alloc((4 - (length % 4)) % 4)
