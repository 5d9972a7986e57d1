/** The packed package, started by npx and npm: it serves, and stays behind in no way in which the wrapper may end. */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { BlkDriver } from 'virtgen/driver/blk'
import { connectVhostUser, whyNoSystem } from 'virtgen/linux'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Served, until } from './support/served.ts'

const project = mkdtempSync(join(tmpdir(), 'virtgen-npx-'))
const modules = join(project, 'node_modules')
const socket = join(project, 's')
/** As if nothing of this was started by npm. */
const environment = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('npm_')))
const words = ['blk', '--socket', socket, '--ram', '1M']

beforeAll(() => {
  mkdirSync(join(modules, '.bin'), { recursive: true })
  const packed = execFileSync('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', project], { encoding: 'utf8' })
  const [{ filename }] = JSON.parse(packed) as [{ filename: string }]
  execFileSync('tar', ['-xzf', filename], { cwd: project })
  execFileSync('mv', ['package', join(modules, 'virtgen')], { cwd: project })
  symlinkSync('../virtgen/bin/virtgen.js', join(modules, '.bin/virtgen'))
  const { dependencies } = JSON.parse(readFileSync('package.json', 'utf8')) as { dependencies: Record<string, string> }
  for (const name of Object.keys(dependencies)) symlinkSync(resolve('node_modules', name), join(modules, name), 'dir')
  writeFileSync(
    join(project, 'package.json'),
    JSON.stringify({ name: 'project', version: '1.0.0', scripts: { serve: `virtgen serve ${words.join(' ')}` } }),
  )
})
afterAll(() => rmSync(project, { recursive: true }))

/** Processes that serve at the socket, wrappers not counted. */
function servers(): number[] {
  return readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name)) return []
    try {
      const [program = '', script = '', ...rest] = readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0')
      return program.endsWith('node') && script.endsWith('bin/virtgen') && rest.includes(socket) ? [Number(name)] : []
    } catch {
      return []
    }
  })
}

describe('without koffi', () => {
  it('the command says what to install, and exits with 1', () => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [join(modules, 'virtgen/bin/virtgen.js'), 'serve', ...words], {
      encoding: 'utf8',
      cwd: project,
    })
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
    expect(stderr).toMatch(/^virtgen: .*koffi.*npm install koffi\n$/)
  })
})

describe.skipIf(whyNoSystem() !== undefined)('a server that was started', () => {
  beforeAll(() => symlinkSync(resolve('node_modules/koffi'), join(modules, 'koffi'), 'dir'))

  const wrappers: readonly (readonly [string, readonly string[], string[]])[] = [
    ['npx', ['npx', '--no-install', 'virtgen'], words],
    ['npm run', ['npm', 'run', '--silent'], []],
  ]
  const signals = ['SIGTERM', 'SIGKILL'] as const
  it.each(wrappers.flatMap(([name, command, rest]) => signals.map((signal) => [name, signal, command, rest] as const)))(
    'by %s ends when that gets %s',
    async (_, signal, command, rest) => {
      const wrapper = new Served(rest, { cwd: project, env: environment }, command)
      await wrapper.said(/listening at/)
      const { driver, close } = await connectVhostUser(socket, BlkDriver)
      await driver.write({ sector: 0 }, new Uint8Array(512).fill(1))
      expect(servers()).toHaveLength(1)
      wrapper.signal(signal)
      await until(() => servers().length === 0 && !existsSync(socket))
      await wrapper.ended()
      expect(wrapper.out).toMatch(/finishing what was begun\n.*disconnected\n.*stopped\n$/)
      await close().catch(() => {})
    },
  )

  it('by npx ends when a terminal interrupts both', async () => {
    const wrapper = new Served(words, { cwd: project, env: environment, detached: true }, ['npx', '--no-install', 'virtgen'])
    await wrapper.said(/listening at/)
    process.kill(-(wrapper.child.pid as number), 'SIGINT')
    await until(() => servers().length === 0 && !existsSync(socket))
    await wrapper.ended()
    expect(wrapper.out).toMatch(/SIGINT: finishing what was begun\n.*stopped\n$/)
  })

  it('by no wrapper outlives its parent', async () => {
    const command = `${process.execPath} ${join(modules, '.bin/virtgen')} serve ${words.join(' ')} > log 2>&1 &`
    spawnSync('sh', ['-c', command], { cwd: project, env: environment, stdio: 'ignore' })
    await until(() => existsSync(socket))
    await new Promise((resolve) => setTimeout(resolve, 600))
    const [pid] = servers()
    expect(pid).toBeDefined()
    process.kill(pid as number, 'SIGTERM')
    await until(() => servers().length === 0)
    expect(readFileSync(join(project, 'log'), 'utf8')).toMatch(/SIGTERM: finishing what was begun\n.*stopped\n$/)
  })
})
