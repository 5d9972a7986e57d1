/** What the guest boots, for Node and for the page's server: from Debian, and from the package v86. */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { debianGuest } from './guest/debian.ts'
import { makeInitrd } from './guest/initrd.ts'
import { shellFiles } from './guest/shell.ts'

export interface ShellImages {
  /** Version of the kernel. */
  readonly release: string
  /** How each is read, or made. */
  readonly read: Readonly<Record<'wasm' | 'bios' | 'vgaBios' | 'kernel' | 'initrd', () => Buffer>>
}

/**
 * @param say - told what takes time
 * @throws Error that says what can be done, where they cannot be fetched
 */
export function shellImages(say: (line: string) => void): ShellImages {
  const guest = debianGuest(say)
  return {
    release: guest.release,
    read: {
      wasm: () => readFileSync(createRequire(import.meta.url).resolve('v86/build/v86.wasm')),
      bios: () => readFileSync(guest.bios),
      vgaBios: () => readFileSync(guest.vgaBios),
      kernel: () => readFileSync(guest.kernel),
      initrd: () => makeInitrd(guest, shellFiles),
    },
  }
}
