/** The server of the page: of this machine, for this machine. */
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { dirname, join } from 'node:path'
import { rolldown } from 'rolldown'
import { shellImages } from './images.ts'

export interface PageOptions {
  /** 0: any that is free. */
  readonly port: number
  /** Image of a disk. */
  readonly disk?: string | undefined
  /** Told what takes time. */
  readonly say?: (line: string) => void
}

export interface ServedPage {
  readonly url: string
  close(): Promise<void>
}

const { resolve } = createRequire(import.meta.url)
const page = join(dirname(resolve('virtgen/package.json')), 'examples/v86/page')
const types: Readonly<Record<string, string>> = { html: 'text/html; charset=utf-8', js: 'text/javascript', css: 'text/css', wasm: 'application/wasm' }

/** The page's program with all that it imports, as one module. */
async function bundled(): Promise<string> {
  const bundle = await rolldown({
    input: join(page, 'main.ts'),
    platform: 'browser',
    logLevel: 'warn',
    // v86 asks for them where it finds itself in Node.
    external: [/^node:/, 'crypto', 'fs', 'perf_hooks'],
  })
  const { output } = await bundle.generate({ format: 'esm', minify: true, codeSplitting: false })
  await bundle.close()
  return output[0].code
}

/** @throws Error that says what can be done, where the guest cannot be fetched or the port is taken */
export async function servePage({ port, disk, say = () => {} }: PageOptions): Promise<ServedPage> {
  const { read } = shellImages(say)
  const program = await bundled()
  const initrd = read.initrd()
  const files: Readonly<Record<string, () => Buffer | string>> = {
    'index.html': () => readFileSync(join(page, 'index.html')),
    'page.js': () => program,
    'xterm.css': () => readFileSync(resolve('@xterm/xterm/css/xterm.css')),
    'v86.wasm': read.wasm,
    'bios.bin': read.bios,
    'vgabios.bin': read.vgaBios,
    kernel: read.kernel,
    initrd: () => initrd,
    // Empty: the page makes one.
    disk: () => (disk === undefined ? '' : readFileSync(disk)),
  }
  const server = createServer(({ method, url = '/' }, response) => {
    const name = url.replace(/\?.*/, '').slice(1) || 'index.html'
    const content = Object.hasOwn(files, name) && (method === 'GET' || method === 'HEAD') ? Buffer.from(files[name]?.() ?? '') : undefined
    if (content === undefined) {
      response.writeHead(404, { 'content-type': 'text/plain' }).end('not here')
      return
    }
    const type = types[name.slice(name.lastIndexOf('.') + 1)] ?? 'application/octet-stream'
    response
      .writeHead(200, { 'content-type': type, 'content-length': content.length, 'cache-control': 'no-store' })
      .end(method === 'HEAD' ? '' : content)
  })
  await new Promise<void>((listening, failed) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      failed(error.code === 'EADDRINUSE' ? new Error(`port ${port} is taken: give another --port, or 0 for any`) : error),
    )
    server.listen(port, '127.0.0.1', listening)
  })
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    close: async () => {
      server.closeAllConnections()
      await new Promise((closed) => server.close(closed))
    },
  }
}
