/** docs/vhost-user.md, "From zero to a guest with a disk": its commands as they stand there, in an empty folder. */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { rangeOf } from './vhost-user/files.ts'
import { because, noPeers, noQemu } from './vhost-user/skipped.ts'

const repository = fileURLToPath(new URL('../../', import.meta.url))
const page = readFileSync(join(repository, 'docs/vhost-user.md'), 'utf8')

/** The commands behind a comment that begins so. */
function commands(mark: string): string {
  const found = new RegExp(`<!-- ${mark}[^>]*-->\n\`\`\`sh\n([\\s\\S]*?)\`\`\``).exec(page)?.[1]
  if (found === undefined) throw new Error(`docs/vhost-user.md has no commands behind <!-- ${mark} -->`)
  return found
}

const why = noQemu ?? noPeers

describe.skipIf(why !== undefined)(`docs/vhost-user.md${because(why)}`, () => {
  it('its lines, copied into a shell, give a guest with a disk that Node serves and that keeps what is written', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'virtgen-docs-'))
    // In place of npm install.
    mkdirSync(join(folder, 'node_modules/.bin'), { recursive: true })
    symlinkSync(join(repository, 'bin/virtgen.js'), join(folder, 'node_modules/.bin/virtgen'))
    if (spawnSync('apt-cache', ['show', 'linux-image-cloud-amd64']).status !== 0) spawnSync('apt-get', ['update', '-q'])
    const wait = 'for i in $(seq 100); do [ -S /tmp/disk.sock ] && break; sleep 0.1; done\n'
    const script = ['set -e\n', commands('guest'), commands('serve'), wait, commands('qemu'), 'head -c 6 disk.img; kill %1\n']
    const shell = spawn('setpriv', ['--pdeathsig', 'KILL', 'bash', '-c', script.join('')], { cwd: folder, stdio: 'pipe', detached: true })
    let said = ''
    let answered = false
    for (const stream of [shell.stdout, shell.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => {
        said += text
        if (answered || !/GUEST: \/dev\/vda has 2097152 sectors/.test(said)) return
        answered = true
        shell.stdin.write('echo hello > /dev/vda; sync; poweroff -f\n')
      })
    const limit = setTimeout(() => process.kill(-(shell.pid as number), 'SIGKILL'), 100_000)
    // When all that it has started is gone.
    await once(shell, 'close')
    clearTimeout(limit)
    expect(said).toContain('GUEST: /dev/vda has 2097152 sectors')
    expect(said).toMatch(/hello\s+(.*\n)*.*: finishing what was begun\n.* stopped\n$/)
    expect(rangeOf(join(folder, 'disk.img'), 0, 6).toString()).toBe('hello\n')
    expect(existsSync('/tmp/disk.sock')).toBe(false)
    rmSync(folder, { recursive: true })
  }, 150_000)
})
