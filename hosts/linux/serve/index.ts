/** `virtgen serve`: from settings to a process that serves until it is told to end. */
import { type Daemon, startDaemon } from './daemon.ts'
import { Log } from './log.ts'
import type { Metric } from './metrics.ts'
import { type MetricsServer, serveMetrics } from './metrics-server.ts'
import type { Serve, ServeWorld } from './settings.ts'
import { Signals } from './signals.ts'
import { showStatus } from './status-line.ts'
import { startInWorker } from './worker-daemon.ts'
import { watchWrapper } from './wrapper.ts'

export const serve: Serve = async (settings, world) => {
  const log = new Log(settings.json, world.print)
  // From here on a signal finds somebody who hears it.
  const signals = new Signals((reason) => log.write({ event: 'stopping', reason }))
  const forget = watchWrapper(world.environment, () => signals.end('the program that has started this one is gone'))
  let daemon: Daemon | undefined
  let metricsServer: MetricsServer | undefined
  try {
    daemon = await (settings.worker ? startInWorker : startDaemon)(settings, (event) => log.write(event))
    const metrics = metricsOf(daemon, world)
    if (settings.metrics !== undefined) {
      metricsServer = await serveMetrics(settings.metrics, metrics)
      log.write({ event: 'metrics-served', url: metricsServer.url })
    }
    const hide = showStatus(daemon, world)
    const { resize } = daemon
    signals.on({ print: () => void metrics().then((all) => log.metrics(all)), resize })
    await signals.ended
    hide()
    await daemon.close()
    daemon = undefined
    log.write({ event: 'stopped' })
    return 0
  } finally {
    forget()
    signals.close()
    metricsServer?.close()
    await daemon?.close()
  }
}

function metricsOf(daemon: Daemon, { version }: ServeWorld): () => Promise<Metric[]> {
  const started = Date.now() / 1000 - process.uptime()
  const one = (name: string, type: Metric['type'], help: string, value: number, labels = {}): Metric => ({
    name,
    type,
    help,
    samples: [{ labels, value }],
  })
  return async () => {
    const { user, system } = process.cpuUsage()
    return [
      one('virtgen_build_info', 'gauge', 'The version.', 1, { version, node: process.versions.node }),
      ...(await daemon.metrics()),
      one('process_cpu_seconds_total', 'counter', 'Time of processors, all threads.', (user + system) / 1e6),
      one(
        'process_resident_memory_bytes',
        'gauge',
        'Memory that is in RAM; that of guests counts as far as it was touched.',
        process.memoryUsage.rss(),
      ),
      one('process_start_time_seconds', 'gauge', 'When it was started, since 1970.', Math.round(started * 1000) / 1000),
    ]
  }
}
