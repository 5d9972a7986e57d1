/** On a terminal: what goes on at the moment. */
import type { Daemon } from './daemon.ts'
import type { ServeWorld } from './settings.ts'
import { sizeText } from './size-text.ts'

const showEvery = 1000

/** Shows it until the returned function is called. */
export function showStatus(daemon: Daemon, { interactive, progress }: ServeWorld): () => void {
  if (!interactive) return () => {}
  let hidden = false
  let before = { requests: 0, bytes: 0, time: performance.now() }
  const show = async (): Promise<void> => {
    const { connections, requests, bytes } = await daemon.status()
    const time = performance.now()
    const seconds = (time - before.time) / 1000
    if (hidden) return
    progress(statusText(connections, (requests - before.requests) / seconds, (bytes - before.bytes) / seconds))
    before = { requests, bytes, time }
  }
  const timer = setInterval(() => void show(), showEvery)
  timer.unref()
  return () => {
    hidden = true
    clearInterval(timer)
    progress('')
  }
}

/** `1 connection, 12,345 requests/s, 48.2 MiB/s`. */
export function statusText(connections: number, requests: number, bytes: number): string {
  const many = connections === 1 ? '1 connection' : `${connections} connections`
  return connections === 0
    ? 'nobody is connected'
    : `${many}, ${Math.round(requests).toLocaleString('en-US')} requests/s, ${sizeText(Math.round(bytes))}/s`
}
