/**
 * What a guest boots: Debian's i386 kernel, a static busybox, SeaBIOS. Fetched with apt into a cache folder, without touching the machine's own apt state; nothing of it is
 * committed.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'

const suite = 'bookworm'
/** Where a Debian says what it is installed from. */
const sourceFiles = ['/etc/apt/sources.list.d/debian.sources', '/etc/apt/sources.list']
const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg'
/** Package, and the architecture it is for where that is not i386. */
const packages = ['linux-image-686', 'busybox-static', 'seabios', 'squashfs-tools:amd64', 'liblzo2-2:amd64']
/** What more a guest may want, with all that it needs. */
const toolPackages = ['ethtool', 'libmnl0', 'libc6']

/** Paths of a guest's parts. */
export interface DebianGuest {
  /** All that the packages have. */
  readonly root: string
  readonly kernel: string
  /** What `uname -r` says of it. */
  readonly release: string
  readonly modules: string
  readonly busybox: string
  readonly bios: string
  readonly vgaBios: string
}

/** Where guests are kept over runs and clones. */
export function cacheFolder(): string {
  return process.env.VIRTGEN_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'virtgen')
}

/**
 * Makes sure that the guest's parts are there.
 *
 * @param say - told what takes time
 * @throws Error that says what can be done, where they cannot be fetched
 */
export function debianGuest(say: (line: string) => void = () => {}): DebianGuest {
  const root = join(cacheFolder(), `debian-${suite}-i386`)
  if (!existsSync(join(root, 'complete'))) fetchPackages(root, packages, say)
  const image = 'vmlinuz-'
  const release = readdirSync(join(root, 'boot'))
    .find((name) => name.startsWith(image))
    ?.slice(image.length)
  if (release === undefined) throw new Error(`there is no kernel in ${root}: remove that folder, and it is fetched again`)
  return {
    root,
    release,
    kernel: join(root, 'boot', image + release),
    modules: join(root, 'lib/modules', release, 'kernel'),
    busybox: join(root, 'bin/busybox'),
    bios: join(root, 'usr/share/seabios/bios.bin'),
    vgaBios: join(root, 'usr/share/seabios/vgabios-stdvga.bin'),
  }
}

/** Programs of Debian i386 that busybox does not have, by their names in the guest: `ethtool`, with `ld.so` and the libraries beside it. */
export function debianTools(say: (line: string) => void = () => {}): Readonly<Record<string, string>> {
  const root = join(cacheFolder(), `debian-${suite}-i386-tools`)
  if (!existsSync(join(root, 'complete'))) fetchPackages(root, toolPackages, say)
  return {
    ethtool: join(root, 'sbin/ethtool'),
    'ld.so': join(root, 'lib/i386-linux-gnu/ld-linux.so.2'),
    'libc.so.6': join(root, 'lib/i386-linux-gnu/libc.so.6'),
    'libm.so.6': join(root, 'lib/i386-linux-gnu/libm.so.6'),
    'libmnl.so.0': join(root, 'usr/lib/i386-linux-gnu/libmnl.so.0'),
  }
}

function fetchPackages(root: string, packages: readonly string[], say: (line: string) => void): void {
  const work = `${root}.partial-${process.pid}`
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
  const run = (command: string, ...args: string[]): string => {
    try {
      return execFileSync(command, args, { env, cwd: join(work, 'packages'), encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
    } catch (error) {
      throw new Error(whyNot(command, error as ProcessError), { cause: error })
    }
  }
  say(`fetching Debian's list of packages from ${mirror()}`)
  run('apt-get', 'update', '-q')
  const names = packages.map((name) => (name.startsWith('linux-image') ? kernelOf(run('apt-cache', 'depends', name)) : name))
  say(`fetching ${names.join(', ')} once into ${root}`)
  run('apt-get', 'download', '-q', ...names)
  for (const file of readdirSync(join(work, 'packages'))) run('dpkg-deb', '-x', file, join(work, 'files'))
  writeFileSync(join(work, 'files/complete'), readdirSync(join(work, 'packages')).join('\n'))
  rmSync(root, { recursive: true, force: true })
  renameSync(join(work, 'files'), root)
  rmSync(work, { recursive: true, force: true })
}

interface ProcessError extends Error {
  readonly code?: string
  readonly stderr?: string
}

function whyNot(command: string, { code, stderr, message }: ProcessError): string {
  const other = `fetch it on a Debian machine and copy ${cacheFolder()} from there (VIRTGEN_CACHE names another folder)`
  if (code === 'ENOENT') return `there is no ${command} here, and the guest is made of Debian's packages: ${other}`
  const said = stderr?.trim() || message
  const hint = existsSync(keyring)
    ? `is the mirror ${mirror()} to be reached? If not, ${other}`
    : `install debian-archive-keyring (${keyring} is missing), or ${other}`
  return `${command} has failed; ${hint}\n${said}`
}

/** The kernel that the metapackage stands for. */
function kernelOf(depends: string): string {
  const found = /Depends: (linux-image-\S+)/.exec(depends)
  if (found?.[1] === undefined) throw new Error(`apt-cache does not say which kernel there is: ${depends}`)
  return found[1]
}

/** The mirror that this machine uses. */
function mirror(): string {
  for (const file of sourceFiles) {
    const text = existsSync(file) ? readFileSync(file, 'utf8') : ''
    const found = /^URIs:\s*(\S+)/m.exec(text) ?? /^deb\s+(?:\[[^\]]*\]\s*)?(http\S+)/m.exec(text)
    if (found?.[1] !== undefined) return found[1]
  }
  throw new Error(`neither ${sourceFiles.join(' nor ')} names a mirror of Debian: the guest is fetched from the one that this machine uses`)
}
