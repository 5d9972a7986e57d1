/** `npm run example:v86`: in a terminal, with an image of ext4; keys reach the guest, sizes too, and what it leaves is as it was. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const program = fileURLToPath(new URL('../../dist/examples/v86/main.js', import.meta.url))
const bootMilliseconds = 120_000
const commandMilliseconds = 30_000

describe('the example in a terminal', () => {
  const folder = mkdtempSync(join(tmpdir(), 'virtgen-example-'))
  const image = join(folder, 'ext4')
  let terminal: ChildProcess
  let ended: Promise<number | null>
  let output = ''
  let asked = 0

  const type = (text: string): unknown => terminal.stdin?.write(text)
  const until = (pattern: RegExp, timeout = commandMilliseconds): Promise<void> => expect.poll(() => output, { timeout }).toMatch(pattern)
  async function run(command: string): Promise<string> {
    const mark = ++asked
    const from = output.length
    type(`${command}; echo e""nd ${mark}\n`)
    await until(new RegExp(`^end ${mark}\r?$`, 'm'))
    return output.slice(from)
  }

  beforeAll(() => {
    execFileSync('mkfs.ext4', ['-q', '-F', image, '32M'])
    // `script` gives it a terminal; what stty says in the end is of that terminal.
    const command = `stty cols 90 rows 20; "${process.execPath}" "${program}" --disk "${image}"; echo exit code $?; stty -a`
    terminal = spawn('script', ['--quiet', '--flush', '--command', command, '/dev/null'], { stdio: ['pipe', 'pipe', 'inherit'] })
    terminal.stdout?.on('data', (bytes: Buffer) => {
      output += bytes
    })
    ended = new Promise((resolve) => terminal.once('close', resolve))
  })
  afterAll(() => {
    terminal?.kill()
    rmSync(folder, { recursive: true, force: true })
  })

  it('boots to a shell, and says what it does', async () => {
    await until(/virtgen:\/root# /, bootMilliseconds)
    expect(output).toMatch(/disk: .*ext4, which is written/)
    expect(output).toMatch(/Linux 6\.\S+ in v86 boots: [\d.]+ s\r\n/)
    expect(output).toMatch(/blk +\/dev\/vda +32 MiB on \/mnt \(ext4\)/)
  })

  it('gives the guest the size of the terminal', async () => {
    expect(await run('stty size')).toMatch(/^20 90\r$/m)
  })

  it('lets Ctrl-C through to what runs in the guest', async () => {
    type('sleep 1000\n')
    await new Promise((resolve) => setTimeout(resolve, 2000))
    type('\x03')
    expect(await run('echo still h""ere')).toContain('still here')
  })

  it('knows names as the host knows them', async () => {
    expect(await run('nslookup localhost 2>&1')).toMatch(/Address: +127\.0\.0\.1/)
  })

  it('writes the image, and leaves the terminal as it was', async () => {
    await run('echo kept > /mnt/file; sync; umount /mnt')
    type('\x01x')
    expect(await ended).toBe(0)
    expect(output).toMatch(/exit code 0\r\n/)
    expect(output.slice(output.indexOf('exit code'))).toMatch(/ icanon .* echo /s)
    expect(spawnSync('debugfs', ['-R', 'cat /file', image], { encoding: 'utf8' }).stdout).toBe('kept\n')
  })
})
