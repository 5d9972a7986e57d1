/** An initial RAM disk: busybox, the kernel's virtio modules and a script. Uncompressed, as unpacking costs the guest seconds. */
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { DebianGuest } from './debian.ts'

/** Of Debian's i386 kernel, in the order in which they can be loaded. */
const everyModule = [
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
/** What of busybox the guest has. */
const applets = `
  [ arp arping ash awk base64 basename blkdiscard blockdev bunzip2 bzip2 cal cat chmod chown clear cmp cp cpio crc32 cttyhack cut date dd
  depmod devmem df diff dmesg du echo env expr false fdisk fgrep find fold free fsfreeze fstrim getty grep groups gunzip gzip halt head
  hexdump hostname httpd hwclock id ifconfig ifdown ifup insmod ip ipcalc kill killall less ln losetup ls lsmod md5sum microcom mkdir mkdosfs
  mke2fs mkfifo mknod modinfo more mount mv nc netstat nproc nslookup od passwd patch pidof ping ping6 poweroff printf ps pwd readlink
  realpath reboot reset rev rm rmdir rmmod route sed seq setsid sh sha1sum sha256sum sha512sum shuf sleep sort stat strings stty swapoff
  swapon switch_root sync sysctl tac tail tar taskset tee telnet test tftp time timeout top touch tr traceroute true truncate tty udhcpc udhcpd umount
  uname unexpand uniq unxz unzip uptime usleep vi watch wc wget which who whoami xargs xxd xzcat yes zcat
`
  .trim()
  .split(/\s+/)

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
 * @param modules - what of the kernel's is loaded, in this order
 */
export function makeInitrd(
  guest: Pick<DebianGuest, 'modules' | 'busybox'>,
  files: Readonly<Record<string, string | Uint8Array>> = {},
  modules: readonly string[] = everyModule,
): Buffer {
  const archive = new Cpio()
  for (const folder of ['bin', 'dev', 'proc', 'sys', 'modules', 'mnt', 'tmp', 'etc', 'usr', 'usr/share', 'usr/share/udhcpc']) archive.folder(folder)
  archive.file('bin/busybox', readFileSync(guest.busybox), 0o755)
  for (const applet of applets) archive.link(`bin/${applet}`, 'busybox')
  const found = new Map(readdirSync(guest.modules, { recursive: true, encoding: 'utf8' }).map((path) => [basename(path), join(guest.modules, path)]))
  for (const name of modules) {
    const path = found.get(`${name}.ko`) ?? found.get(`${name}.ko.xz`)
    if (path === undefined) throw new Error(`the kernel has no module ${name} in ${guest.modules}`)
    archive.file(`modules/${name}.ko`, unsigned(unpacked(path, guest.busybox)))
  }
  archive.file('modules/order', Buffer.from(`${modules.join(' ')}\n`))
  archive.file('init', Buffer.from(files.init ?? init), 0o755)
  for (const [path, content] of Object.entries(files)) if (path !== 'init') archive.file(path, Buffer.from(content), 0o755)
  return archive.end()
}

/** A module, which Debian compresses since its 13th release. */
function unpacked(path: string, busybox: string): Buffer {
  return path.endsWith('.xz') ? execFileSync(busybox, ['xz', '-dc', path], { maxBuffer: 2 ** 28 }) : readFileSync(path)
}

const signatureEnd = Buffer.from('~Module signature appended~\n')
/** Of the structure in front of that text, which ends with the length of the signature. */
const signatureInfo = 12

/** A module without its signature, which would cost the guest seconds to check. */
function unsigned(module: Buffer): Buffer {
  const end = module.length - signatureEnd.length
  if (!module.subarray(end).equals(signatureEnd)) return module
  return module.subarray(0, end - signatureInfo - module.readUInt32BE(end - 4))
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
