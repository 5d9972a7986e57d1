/** What QEMU boots: Debian's kernel for clouds, which has virtio's PCI transport built in, and a static busybox. */
import { join } from 'node:path'
import { debianPackages } from '../../../examples/v86/guest/apt.ts'
import { kernelRelease } from '../../../examples/v86/guest/debian.ts'
import { makeInitrd } from '../../../examples/v86/guest/initrd.ts'
import { serialShellInit } from '../serial-shell.ts'

const suite = 'trixie'
/** In the order in which they can be loaded. */
const modules = ['virtio_blk', 'virtio-rng', 'failover', 'net_failover', 'virtio_net']
/** Of the command line: nothing here needs guarding, self-tests cost a second, and a page that the kernel has not zeroed is written by nobody but a device. */
export const kernelWords = 'console=ttyS0 quiet nokaslr tsc=reliable mitigations=off init_on_alloc=0 random.trust_cpu=on audit=0 cryptomgr.notests'

export interface LinuxImage {
  readonly kernel: string
  readonly initrd: Uint8Array
}

/**
 * @param files - more files of the initial RAM disk, by path
 */
export function linuxImage(files: Readonly<Record<string, string | Uint8Array>> = {}): LinuxImage {
  const packages = ['linux-image-cloud-amd64', 'busybox-static']
  const root = debianPackages({ name: `debian-${suite}-amd64`, suite, architectures: ['amd64'], packages }, console.log)
  const release = kernelRelease(root)
  const guest = { modules: join(root, 'usr/lib/modules', release, 'kernel'), busybox: join(root, 'usr/bin/busybox') }
  return { kernel: join(root, 'boot', `vmlinuz-${release}`), initrd: makeInitrd(guest, { init: serialShellInit, ...files }, modules) }
}
