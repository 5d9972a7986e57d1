/** The page of the example in Chromium: a person types into the terminal, and a Linux with the four devices answers. */
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type BrowserContext, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type ServedPage, servePage } from '../../examples/v86/serve.ts'

const browser = process.env.CHROMIUM ?? '/usr/bin/chromium'
const isMissing = !existsSync(browser)
if (isMissing) console.warn(`the page is not tested: there is no ${browser} (apt-get install --no-install-recommends chromium, or CHROMIUM=path)`)

const artifacts = fileURLToPath(new URL('../../.cache/artifacts/', import.meta.url))
const bootSeconds = 150
const commandSeconds = 60
const screen = '.xterm-rows'
/** What is on the picture. */
const shownCommands = ['ping -c 2 gateway', 'head -c 32 /dev/hwrng | hexdump -C', 'df -h /mnt', 'grep virtio /proc/interrupts']

describe.skipIf(isMissing && !process.env.CI)('the page in Chromium', () => {
  const folder = mkdtempSync(join(tmpdir(), 'virtgen-chromium-'))
  const problems: string[] = []
  let served: ServedPage
  let context: BrowserContext
  let page: Page
  let asked = 0

  /** Types a command, and gives what the screen shows once it has ended. */
  async function run(command: string): Promise<string> {
    const mark = ++asked
    await page.keyboard.type(`clear; ${command}; echo e""nd ${mark}\n`)
    await expect.poll(shown, { timeout: commandSeconds * 1000 }).toMatch(new RegExp(`^end ${mark}$`, 'm'))
    return shown()
  }
  /** Blanks of a terminal are ones that do not break. */
  const shown = async (): Promise<string> => (await page.locator(screen).innerText()).replaceAll('\u00a0', ' ')
  const device = async (name: string): Promise<string> => (await page.locator(`[data-device=${name}]`).textContent()) ?? ''

  beforeAll(async () => {
    served = await servePage({ port: 0, say: console.log })
    context = await chromium.launchPersistentContext(folder, {
      executablePath: browser,
      headless: true,
      // Chromium's sandbox does not let root in.
      args: process.getuid?.() === 0 ? ['--no-sandbox'] : [],
      viewport: { width: 960, height: 600 },
    })
    page = context.pages()[0] ?? (await context.newPage())
    page.on('console', (message) => ['error', 'warning'].includes(message.type()) && problems.push(message.text()))
    page.on('pageerror', (error) => problems.push(String(error)))
    await page.goto(served.url)
    await page.locator('#status[data-state=running]').waitFor({ timeout: bootSeconds * 1000 })
  }, 250_000)
  afterAll(async () => {
    await context?.close()
    await served?.close()
    rmSync(folder, { recursive: true, force: true })
  })

  it('greets with what it has found: four devices', async () => {
    await expect.poll(shown, { timeout: commandSeconds * 1000 }).toContain('virtgen:/root#')
    const greeting = await shown()
    expect(greeting).toMatch(/console +\/dev\/hvc0 +this terminal, \d+ x \d+/)
    expect(greeting).toMatch(/blk +\/dev\/vda +16 MiB on \/mnt \(ext2\)/)
    expect(greeting).toMatch(/net +eth0 +10\.0\.2\.15/)
    expect(greeting).toMatch(/rng +\/dev\/hwrng +virtio_rng\.0/)
  })

  it('has a terminal of the page’s size, also when that changes', async () => {
    const size = async (): Promise<string> => (await device('console')).split(',')[0]!.split(' x ').reverse().join(' ')
    const before = await size()
    expect(await run('stty size')).toContain(before)
    await page.setViewportSize({ width: 1000, height: 640 })
    await expect.poll(size).not.toBe(before)
    expect(await run('sleep 1; stty size')).toContain(await size())
  })

  it('gives random bytes of the browser', async () => {
    expect(await run('head -c 300000 /dev/hwrng | gzip | wc -c')).toMatch(/^30\d{4}$/m)
    await expect.poll(() => device('rng')).toMatch(/^(29[3-9]|[3-9]\d\d) KiB given/)
  })

  it('keeps files over a remount', async () => {
    const path = '/mnt/file'
    await run(`head -c 1000000 /dev/urandom > ${path}; sha256sum < ${path} > /tmp/before; umount /mnt; mount /dev/vda /mnt`)
    expect(await run(`sha256sum < ${path} | cmp - /tmp/before && echo s""ame`)).toMatch(/^same$/m)
    await expect.poll(() => device('blk')).toMatch(/MiB written/)
  })

  it('reaches the gateway, by its name', async () => {
    expect(await run('ping -c 3 gateway')).toContain('3 packets transmitted, 3 packets received, 0% packet loss')
    expect(await device('net')).toMatch(/^\d+ frames out, \d+ in$/)
  })

  it('had nothing to complain of', async () => {
    for (const command of ['clear; . /etc/profile', ...shownCommands]) {
      await page.keyboard.type(`${command}\n`)
      await expect.poll(shown, { timeout: commandSeconds * 1000 }).toMatch(/virtgen:\/root# *\s*$/)
    }
    mkdirSync(artifacts, { recursive: true })
    writeFileSync(join(artifacts, 'v86-page.png'), await page.screenshot())
    expect(problems).toEqual([])
  })
})
