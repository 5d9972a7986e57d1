/** Before any guest: the programs that they run in are installed, where that may be done; otherwise it is said what to install. */
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const script = fileURLToPath(new URL('../../.ci/peers', import.meta.url))

export default function installPeers(): void {
  if (!existsSync('/etc/debian_version')) return console.warn('This is no Debian: what is missing here is left out.')
  const missing = execFileSync(script, ['--check'], { encoding: 'utf8' })
  if (missing === '') return
  if (process.getuid?.() !== 0) return console.warn(`What is missing here is left out; as root, this installs it:\n${missing}`)
  execFileSync(script, { stdio: 'inherit' })
}
