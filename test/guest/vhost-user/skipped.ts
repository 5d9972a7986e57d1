/** Why something cannot be proved here. Where everything must hold, nothing may be left out. */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { whyNoSystem } from '../../../hosts/linux/system/index.ts'

const oldest = 10

function whyNoProgram(name: string, leastMajor = 0): string | undefined {
  const { error, stdout } = spawnSync(name, ['--version'], { encoding: 'utf8' })
  if (error !== undefined) return `${name} is not installed`
  const major = Number(/version (\d+)\./.exec(stdout)?.[1] ?? 0)
  return major < leastMajor ? `${name} ${major} is too old: ${leastMajor} is needed` : undefined
}

const inCi = process.env.CI !== undefined
const unlessCi = (why: string | undefined): string | undefined => (inCi ? undefined : why)

/** Without koffi or Linux there is no back-end. */
export const noSystem = unlessCi(whyNoSystem())
export const noQemu = noSystem ?? unlessCi(whyNoProgram(process.env.QEMU ?? 'qemu-system-x86_64', oldest))
export const noStorageDaemon = noSystem ?? unlessCi(whyNoProgram('qemu-storage-daemon', oldest))
/** Of Debian's packages for this processor, which are unpacked into the cache. */
export const noPeers =
  noSystem ??
  unlessCi(
    process.arch !== 'x64'
      ? 'what runs here is fetched for amd64'
      : existsSync('/etc/debian_version')
        ? undefined
        : 'what runs here are packages of Debian',
  )
export const noPasst = unlessCi(whyNoProgram('passt'))
/** For the name of a test that is left out. */
export const because = (why: string | undefined): string => (why === undefined ? '' : ` (skipped: ${why})`)
