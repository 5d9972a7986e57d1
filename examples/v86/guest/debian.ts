/** What a guest boots: Debian's i386 kernel, a static busybox, SeaBIOS. Nothing of it is committed. */
import { existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { debianPackages } from './apt.ts'
import { unpackedKernel } from './kernel-image.ts'

const suite = 'bookworm'
const architectures = ['i386', 'amd64']

/** Paths of a guest's parts. */
export interface DebianGuest {
  /** All that the packages have. */
  readonly root: string
  /** Unpacked where that can be done here. */
  readonly kernel: string
  /** What `uname -r` says of it. */
  readonly release: string
  readonly modules: string
  readonly busybox: string
  readonly bios: string
  readonly vgaBios: string
}

/**
 * Makes sure that the guest's parts are there.
 *
 * @param say - told what takes time
 * @throws Error that says what can be done, where they cannot be fetched
 */
export function debianGuest(say?: (line: string) => void): DebianGuest {
  const packages = ['linux-image-686', 'busybox-static', 'seabios', 'squashfs-tools:amd64', 'liblzo2-2:amd64']
  const root = debianPackages({ name: `debian-${suite}-i386`, suite, architectures, packages }, say)
  const release = kernelRelease(root)
  const busybox = join(root, 'bin/busybox')
  return {
    root,
    release,
    kernel: kernelIn(join(root, 'boot'), release, busybox, say),
    modules: join(root, 'lib/modules', release, 'kernel'),
    busybox,
    bios: join(root, 'usr/share/seabios/bios.bin'),
    vgaBios: join(root, 'usr/share/seabios/vgabios-stdvga.bin'),
  }
}

/** The kernel as a guest is given it: unpacked here, once. */
function kernelIn(folder: string, release: string, busybox: string, say: (line: string) => void = () => {}): string {
  const packed = join(folder, `vmlinuz-${release}`)
  const unpacked = join(folder, `unpacked-${release}`)
  if (existsSync(unpacked)) return unpacked
  const partial = `${unpacked}.partial-${process.pid}`
  try {
    writeFileSync(
      partial,
      unpackedKernel(readFileSync(packed), [
        ['xz', '-dc'],
        [busybox, 'xz', '-dc'],
      ]),
    )
    renameSync(partial, unpacked)
    return unpacked
  } catch (error) {
    say(`${(error as Error).message}\nThe guest does it, and starts seconds later for that`)
    return packed
  }
}

/** Of the kernel in a folder of packages. */
export function kernelRelease(root: string): string {
  const image = 'vmlinuz-'
  const found = readdirSync(join(root, 'boot')).find((name) => name.startsWith(image))
  if (found === undefined) throw new Error(`there is no kernel in ${root}: remove that folder, and it is fetched again`)
  return found.slice(image.length)
}

/** Programs of Debian i386 that busybox does not have, by their names in the guest: `ethtool`, with `ld.so` and the libraries beside it. */
export function debianTools(say?: (line: string) => void): Readonly<Record<string, string>> {
  const packages = ['ethtool', 'libmnl0', 'libc6']
  const root = debianPackages({ name: `debian-${suite}-i386-tools`, suite, architectures, packages }, say)
  return {
    ethtool: join(root, 'sbin/ethtool'),
    'ld.so': join(root, 'lib/i386-linux-gnu/ld-linux.so.2'),
    'libc.so.6': join(root, 'lib/i386-linux-gnu/libc.so.6'),
    'libm.so.6': join(root, 'lib/i386-linux-gnu/libm.so.6'),
    'libmnl.so.0': join(root, 'usr/lib/i386-linux-gnu/libmnl.so.0'),
  }
}
