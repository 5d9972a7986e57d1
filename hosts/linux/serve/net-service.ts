/** A network card to serve. */
import { statSync } from 'node:fs'
import { Gateway, Net, type NetBackend, type NetOptions, type NetStatistics, newCounters } from 'virtgen/devices/net'
import { StreamBackend, TapBackend } from 'virtgen/node'
import type { VirtioDevice } from 'virtgen/runtime'
import { split_ring_limits } from 'virtgen/wire/split-ring'
import { openTap } from '../system/index.ts'
import type { Metric } from './metrics.ts'
import { Echo, Sink } from './networks.ts'
import { ServeError } from './serve-error.ts'
import type { Service } from './service.ts'
import type { NetSettings, NetworkSettings } from './settings.ts'
import type { Switch } from './switch.ts'

/** Front-ends choose the size of rings, and cannot ask: any that there can be. */
const queueSize = split_ring_limits.split_ring_max_queue_size
const many = Number.MAX_SAFE_INTEGER

interface Network {
  readonly title: string
  /** One for all connections, or one for each. */
  readonly backend: () => NetBackend
  readonly maxConnections: number
  readonly close?: () => void | Promise<void>
}

/**
 * @param joined - joins the guests of all sockets
 * @throws ServeError, or an error of the system
 */
export async function netService(settings: NetSettings, joined: Switch, onError: (error: unknown) => void): Promise<Service> {
  const { pairs, mac, mtu } = settings
  const network = await networkOf(settings.network, settings, joined, onError)
  const cards = new Set<Net>()
  const past = newCounters()
  const options: NetOptions = {
    pairs,
    queueSize,
    control: 'front-end',
    onError,
    ...(mac === undefined ? {} : { mac }),
    ...(mtu === undefined ? {} : { mtu }),
  }
  const all = (): NetStatistics => {
    const sum = { ...past }
    for (const { statistics } of cards) add(sum, statistics)
    return sum
  }
  return {
    title: `network card, ${network.title}`,
    warnings: [],
    maxConnections: network.maxConnections,
    // Frames may be lost.
    drainTimeout: 2000,
    device: () => {
      const card = new Net(network.backend(), options)
      cards.add(card)
      return card
    },
    gone: (device: VirtioDevice) => {
      if (cards.delete(device as Net)) add(past, (device as Net).statistics)
    },
    metrics: () => metricsOf(all()),
    totals: () => {
      const { transmittedFrames, receivedFrames, transmittedBytes, receivedBytes } = all()
      return { requests: transmittedFrames + receivedFrames, bytes: transmittedBytes + receivedBytes }
    },
    close: () => network.close?.(),
  }
}

async function networkOf(network: NetworkSettings, { mtu }: NetSettings, joined: Switch, onError: (error: unknown) => void): Promise<Network> {
  switch (network.kind) {
    case 'sink':
      return { title: 'every frame is dropped', backend: () => new Sink(), maxConnections: many }
    case 'echo':
      return { title: 'every frame comes back', backend: () => new Echo(), maxConnections: many }
    case 'gateway':
      return { title: 'a gateway at 10.0.2.2', backend: () => new Gateway(mtu === undefined ? {} : { mtu }), maxConnections: many }
    case 'link': {
      const port = joined.port()
      return { title: 'joined with the guests of the other sockets', backend: () => port, maxConnections: 1 }
    }
    case 'tap': {
      const tap = new TapBackend(openTap(network.name, { header: 12 }), { header: 12, onError })
      return { title: `the interface ${network.name}`, backend: () => tap, maxConnections: 1, close: () => tap.close() }
    }
    case 'passt': {
      requireSocket(network.path)
      const stream = StreamBackend.connect({ path: network.path }, { onError })
      return { title: `the network at ${network.path}`, backend: () => stream, maxConnections: 1, close: () => stream.close() }
    }
    case 'stream': {
      const stream = StreamBackend.listen({ path: network.path }, { onError })
      await stream.listening
      return { title: `who connects to ${network.path}`, backend: () => stream, maxConnections: 1, close: () => stream.close() }
    }
  }
}

/** It may listen a little later, but a wrong path is better said at once. */
function requireSocket(path: string): void {
  const stat = statSync(path, { throwIfNoEntry: false })
  if (stat === undefined) throw new ServeError(`there is no socket ${path}`, `passt --foreground --socket ${path}`)
  if (!stat.isSocket()) throw new ServeError(`${path} is no socket`)
}

function add(sum: ReturnType<typeof newCounters>, more: NetStatistics): void {
  for (const name of Object.keys(sum) as (keyof NetStatistics)[]) sum[name] += more[name]
}

function metricsOf(counted: NetStatistics): Metric[] {
  const counter = (name: string, help: string, transmit: number, receive: number): Metric => ({
    name: `virtgen_net_${name}_total`,
    help,
    type: 'counter',
    samples: [
      { labels: { direction: 'transmit' }, value: transmit },
      { labels: { direction: 'receive' }, value: receive },
    ],
  })
  return [
    counter('frames', 'Frames that the guest has sent and received.', counted.transmittedFrames, counted.receivedFrames),
    counter('bytes', 'Bytes of these frames.', counted.transmittedBytes, counted.receivedBytes),
    counter('dropped', 'Frames that were dropped.', counted.transmitDropped, counted.receiveDropped),
  ]
}
