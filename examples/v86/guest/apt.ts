/** Debian's packages, fetched with apt into a cache folder and unpacked there, without touching the machine's own apt state. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'

/** Where a Debian says what it is installed from. */
const sourceFiles = ['/etc/apt/sources.list.d/debian.sources', '/etc/apt/sources.list']
const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg'

/** What is fetched. */
export interface DebianPackages {
  /** Folder in the cache. */
  readonly name: string
  readonly suite: string
  /** The first is that of packages without one of their own, as in `squashfs-tools:amd64`. */
  readonly architectures: readonly string[]
  /** A metapackage `linux-image-…` stands for the kernel that it names. */
  readonly packages: readonly string[]
  /** Whether the libraries come too that they need, libc among them. */
  readonly withLibraries?: boolean
}

/** Where guests are kept over runs and clones. */
export function cacheFolder(): string {
  return process.env.VIRTGEN_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'virtgen')
}

/**
 * Makes sure that packages are there.
 *
 * @param say - told what takes time
 * @returns the folder that they are unpacked in
 * @throws Error that says what can be done, where they cannot be fetched
 */
export function debianPackages(wanted: DebianPackages, say: (line: string) => void = () => {}): string {
  const root = join(cacheFolder(), wanted.name)
  if (!existsSync(join(root, 'complete'))) fetchPackages(root, wanted, say)
  return root
}

function fetchPackages(root: string, { suite, architectures, packages, withLibraries }: DebianPackages, say: (line: string) => void): void {
  const work = `${root}.partial-${process.pid}`
  rmSync(work, { recursive: true, force: true })
  for (const folder of ['state/lists/partial', 'cache/archives/partial', 'packages', 'files']) mkdirSync(join(work, folder), { recursive: true })
  writeFileSync(join(work, 'sources.list'), `deb [signed-by=${keyring} arch=${architectures.join(',')}] ${mirror()} ${suite} main\n`)
  writeFileSync(join(work, 'status'), '')
  writeFileSync(
    join(work, 'apt.conf'),
    `APT::Architecture "${architectures[0]}"; APT::Architectures { ${architectures.map((name) => `"${name}"; `).join('')}};
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
  const libraries = withLibraries ? librariesOf(run('apt-get', 'install', '--no-install-recommends', '--print-uris', '-qq', '-y', ...names)) : []
  run('apt-get', 'download', '-q', ...new Set([...names, ...libraries]))
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

/** Of the lines `'ADDRESS' FILE SIZE DIGEST`, those of shared libraries: what only a compiler, a service or an installer wants is left out. */
function librariesOf(uris: string): string[] {
  return [...uris.matchAll(/^'\S+' ([^_\s]+)_/gm)].flatMap(([, name = '']) =>
    /^lib(?!.*(-dev|-dev-bin|-stdlib|-modules)$)/.test(name) || /^ibverbs/.test(name) ? [name] : [],
  )
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
