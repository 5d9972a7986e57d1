/** docs/ten-minutes.md, step by step, as it stands there: but for `npm install`, in place of which this package and those that it is developed with are linked. */
import { type ChildProcess, execSync, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'

interface Step {
  /** `file NAME`, `guest`, or nothing for commands. */
  readonly mark: string
  readonly text: string
}

const page = readFileSync('docs/ten-minutes.md', 'utf8')
const steps: Step[] = [...page.matchAll(/(?:<!-- (\S.*) -->\n)?```\w+\n([\s\S]*?)```/g)].map(([, mark = '', text = '']) => ({ mark, text }))
const packages = ['v86', 'typescript', 'vitest', '@types']
const bootSeconds = 150

describe('the guide to a device in ten minutes', () => {
  const folder = mkdtempSync(join(tmpdir(), 'virtgen-ten-minutes-'))
  let machine: ChildProcess | undefined
  let said = ''
  afterAll(() => {
    machine?.kill()
    rmSync(folder, { recursive: true })
  })

  const saysWithin = async (pattern: RegExp, seconds: number): Promise<void> => {
    for (const end = Date.now() + seconds * 1000; !pattern.test(said); ) {
      if (Date.now() > end || machine?.exitCode !== null) throw new Error(`the guest did not say ${pattern}:\n${said.slice(-1000)}`)
      await new Promise((done) => setTimeout(done, 50))
    }
  }

  const link = (): void => {
    mkdirSync(join(folder, 'node_modules/.bin'), { recursive: true })
    symlinkSync(resolve('.'), join(folder, 'node_modules/virtgen'))
    for (const name of packages) symlinkSync(resolve('node_modules', name), join(folder, 'node_modules', name))
    for (const [name, path] of Object.entries({ virtgen: 'bin/virtgen.js', tsc: 'node_modules/.bin/tsc', vitest: 'node_modules/.bin/vitest' }))
      symlinkSync(resolve(path), join(folder, 'node_modules/.bin', name))
  }

  const command = (line: string): void => {
    if (line.startsWith('npm install')) return
    if (line.startsWith('node ')) {
      machine = spawn('node', line.split(' ').slice(1), { cwd: folder, stdio: ['pipe', 'pipe', 'pipe'] })
      for (const stream of [machine.stdout, machine.stderr]) stream?.on('data', (bytes) => (said += String(bytes)))
    } else execSync(line, { cwd: folder, stdio: 'pipe', env: { ...process.env, CI: '1' } })
  }

  it('leads to a device that a guest finds', async () => {
    link()
    for (const { mark, text } of steps) {
      if (mark.startsWith('file: ')) {
        const path = join(folder, mark.slice('file: '.length))
        mkdirSync(dirname(path), { recursive: true })
        writeFileSync(path, text)
      } else if (mark === '') for (const line of text.trim().split('\n')) command(line)
      else {
        // The shell greets behind that.
        await saysWithin(/GUEST-READY[\s\S]*commands\.\s+$/, bootSeconds)
        for (const line of text.trim().split('\n')) {
          const [asked = '', answer = ''] = line.split(/ +# /)
          said = ''
          machine?.stdin?.write(`${asked}; echo answered\n`)
          await saysWithin(/answered\r?\n/, 30)
          expect(said.replaceAll('\r', '').split('answered')[0]?.trim()).toBe(answer)
        }
      }
    }
  }, 400_000)
})
