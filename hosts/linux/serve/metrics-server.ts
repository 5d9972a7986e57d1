/** Metrics over HTTP, for Prometheus, and for this machine alone. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type Metric, prometheusText } from './metrics.ts'
import { ServeError } from './serve-error.ts'

const address = '127.0.0.1'
const path = '/metrics'
const mostConnections = 16

export interface MetricsServer {
  readonly url: string
  close(): void
}

/**
 * @param port - 0: any that is free
 * @throws ServeError where the port is taken
 */
export async function serveMetrics(port: number, metrics: () => Promise<readonly Metric[]>): Promise<MetricsServer> {
  const server = createServer((request, response) => {
    const answer = (status: number, text: string, headers: Readonly<Record<string, string>> = {}): void => {
      response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8', ...headers }).end(text)
    }
    if (request.method !== 'GET' && request.method !== 'HEAD') answer(405, 'only GET\n', { allow: 'GET, HEAD' })
    else if (request.url?.split('?')[0] !== path) answer(404, `metrics are at ${path}\n`)
    else
      metrics().then(
        (all) => answer(200, prometheusText(all), { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' }),
        (error: unknown) => answer(500, `${error}\n`),
      )
  })
  server.maxConnections = mostConnections
  await new Promise<void>((resolve, reject) => {
    server.once('listening', resolve)
    server.once('error', ({ code, message }: NodeJS.ErrnoException) => {
      const taken = code === 'EADDRINUSE'
      reject(
        new ServeError(
          taken ? `port ${port} of ${address} is taken` : message,
          taken ? 'another --metrics PORT; 0 takes any that is free' : undefined,
        ),
      )
    })
    server.listen(port, address)
  })
  return {
    url: `http://${address}:${(server.address() as AddressInfo).port}${path}`,
    close: () => {
      server.close()
      server.closeAllConnections()
    },
  }
}
