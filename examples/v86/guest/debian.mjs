// What a test boots: Debian's i386 kernel, a static busybox, SeaBIOS. Fetched with apt into a cache folder, without touching the machine's own
// apt state; nothing of it is committed.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'

const suite = 'bookworm'
const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg'
/** Package, and the architecture it is for. */
const packages = ['linux-image-686', 'busybox-static', 'seabios', 'squashfs-tools:amd64', 'liblzo2-2:amd64']

/** Where guests are kept over runs and clones. */
export function cacheFolder() {
  return process.env.VIRTGEN_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'virtgen')
}

/**
 * Makes sure that the guest's parts are there.
 *
 * @param {(line: string) => void} say - told what takes time
 * @returns {{ kernel: string, modules: string, busybox: string, bios: string, vgaBios: string, root: string }} paths
 */
export function debianGuest(say = () => {}) {
  const root = join(cacheFolder(), `debian-${suite}-i386`)
  if (!existsSync(join(root, 'complete'))) fetch(root, say)
  const [kernel] = readdirSync(join(root, 'boot')).filter((name) => name.startsWith('vmlinuz-'))
  return {
    root,
    kernel: join(root, 'boot', kernel),
    modules: join(root, 'lib/modules', kernel.slice('vmlinuz-'.length), 'kernel'),
    busybox: join(root, 'bin/busybox'),
    bios: join(root, 'usr/share/seabios/bios.bin'),
    vgaBios: join(root, 'usr/share/seabios/vgabios-stdvga.bin'),
  }
}

function fetch(root, say) {
  const work = `${root}.partial`
  rmSync(work, { recursive: true, force: true })
  for (const folder of ['state/lists/partial', 'cache/archives/partial', 'packages', 'files']) mkdirSync(join(work, folder), { recursive: true })
  writeFileSync(join(work, 'sources.list'), `deb [signed-by=${keyring} arch=i386,amd64] ${mirror()} ${suite} main\n`)
  writeFileSync(join(work, 'status'), '')
  writeFileSync(
    join(work, 'apt.conf'),
    `APT::Architecture "i386"; APT::Architectures { "i386"; "amd64"; };
Dir::State "${work}/state"; Dir::State::status "${work}/status"; Dir::Cache "${work}/cache";
Dir::Etc::sourcelist "${work}/sources.list"; Dir::Etc::sourceparts "-"; APT::Sandbox::User "root"; Acquire::Languages "none";\n`,
  )
  const env = { ...process.env, APT_CONFIG: join(work, 'apt.conf') }
  const run = (command, ...args) =>
    execFileSync(command, args, { env, cwd: join(work, 'packages'), encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  say(`fetching Debian's list of packages`)
  run('apt-get', 'update', '-q')
  const names = packages.map((name) => (name.startsWith('linux-image') ? kernelOf(run('apt-cache', 'depends', name)) : name))
  say(`fetching ${names.join(', ')}`)
  run('apt-get', 'download', '-q', ...names)
  for (const file of readdirSync(join(work, 'packages'))) run('dpkg-deb', '-x', file, join(work, 'files'))
  writeFileSync(join(work, 'files/complete'), readdirSync(join(work, 'packages')).join('\n'))
  rmSync(root, { recursive: true, force: true })
  renameSync(join(work, 'files'), root)
  rmSync(work, { recursive: true, force: true })
}

/** The kernel that the metapackage stands for. */
function kernelOf(depends) {
  const found = /Depends: (linux-image-\S+)/.exec(depends)
  if (found === null) throw new Error(`apt-cache does not say which kernel there is: ${depends}`)
  return found[1]
}

/** The mirror that this machine uses. */
function mirror() {
  for (const file of ['/etc/apt/sources.list.d/debian.sources', '/etc/apt/sources.list']) {
    const text = existsSync(file) ? readFileSync(file, 'utf8') : ''
    const found = /^URIs:\s*(\S+)/m.exec(text) ?? /^deb\s+(?:\[[^\]]*\]\s*)?(http\S+)/m.exec(text)
    if (found !== null) return found[1]
  }
  return 'http://deb.debian.org/debian'
}
