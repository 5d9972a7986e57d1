/** The devices and their servers, in the thread that they are at work in. */
import { VHOST_USER_PROTOCOL_F_CONFIG } from 'virtgen/wire/vhost-user'
import { whyNoSystem } from '../system/index.ts'
import { type VhostUserConnection, VhostUserServer } from '../vhost-user/back-end/index.ts'
import { protocolFeatures } from '../vhost-user/back-end/options.ts'
import { blkService } from './blk-service.ts'
import type { ServeEvent } from './events.ts'
import { joined, labelled, type Metric } from './metrics.ts'
import { netService } from './net-service.ts'
import { rngService } from './rng-service.ts'
import { ServeError } from './serve-error.ts'
import type { Service, Totals } from './service.ts'
import type { DeviceSettings, ServeSettings } from './settings.ts'
import { Switch } from './switch.ts'

/** What a server shows of itself, whatever thread it is in. */
export interface Status extends Totals {
  readonly connections: number
}

/** A server at work. */
export interface Daemon {
  status(): Promise<Status>
  metrics(): Promise<Metric[]>
  /** Looks for another size of the disk. */
  resize(): void
  /** Finishes what was begun, and ends. */
  close(): Promise<void>
}

type Tell = (event: ServeEvent) => void

/** Milliseconds after which a front-end that listens is tried again. */
const reconnectAfter = 1000

/**
 * @param tell - hears what happens
 * @throws ServeError where it cannot begin
 */
export async function startDaemon(settings: ServeSettings, tell: Tell): Promise<Daemon> {
  const why = whyNoSystem()
  if (why !== undefined) throw new ServeError(why)
  const places: Place[] = []
  const close = async (): Promise<void> => {
    await Promise.all(places.map((place) => place.close()))
  }
  try {
    const guests = new Switch()
    for (const socket of settings.sockets) {
      const onError = (error: unknown): void => tell({ event: 'error', socket, message: messageOf(error) })
      const place = new Place(socket, settings, await serviceOf(settings.device, guests, onError), tell)
      places.push(place)
      place.begin()
    }
  } catch (error) {
    await close()
    // What the system refuses; anything else is a mistake in this program.
    throw error instanceof Error && 'syscall' in error ? new ServeError(error.message) : error
  }
  return {
    status: async () => {
      const all = places.map(({ status }) => status)
      const sum = (name: keyof Status): number => all.reduce((total, status) => total + status[name], 0)
      return { connections: sum('connections'), requests: sum('requests'), bytes: sum('bytes') }
    },
    metrics: async () => joined(places.map((place) => place.metrics())),
    resize: () => {
      for (const place of places) place.resize()
    },
    close,
  }
}

async function serviceOf(device: DeviceSettings, guests: Switch, onError: (error: unknown) => void): Promise<Service> {
  switch (device.type) {
    case 'blk':
      return blkService(device, onError)
    case 'net':
      return netService(device, guests, onError)
    case 'rng':
      return rngService(device, onError)
  }
}

/** One socket, and what is behind it. */
class Place {
  readonly #socket: string
  readonly #settings: ServeSettings
  readonly #service: Service
  readonly #server: VhostUserServer
  readonly #tell: Tell
  #accepted = 0
  #violations = 0
  #protocolErrors = 0
  #retry: NodeJS.Timeout | undefined
  #waits = false
  #closed = false

  constructor(socket: string, settings: ServeSettings, service: Service, tell: Tell) {
    this.#socket = socket
    this.#settings = settings
    this.#service = service
    this.#tell = tell
    this.#server = new VhostUserServer({
      device: () => service.device(),
      ...(settings.spin !== undefined && { spin: settings.spin }),
      maxConnections: service.maxConnections,
      drainTimeout: service.drainTimeout,
      protocolFeatures: protocolFeaturesOf(settings.device),
      onConnection: () => this.#connected(),
      onDisconnect: (connection, reason) => this.#disconnected(connection, reason),
      onError: (error) => tell({ event: 'error', socket, message: messageOf(error) }),
      onViolation: ({ kind, queue, detail }) => {
        this.#violations++
        tell({ event: 'violation', socket, kind, queue, detail })
      },
      onProtocolError: ({ kind, message }) => {
        this.#protocolErrors++
        tell({ event: 'protocol-error', socket, kind, message })
      },
    })
  }

  /** @throws the error of the system */
  begin(): void {
    const { connect, device } = this.#settings
    for (const message of this.#service.warnings) this.#tell({ event: 'warning', message })
    if (!connect) this.#server.listen(this.#socket)
    this.#tell({ event: 'serving', socket: this.#socket, device: device.type, title: this.#service.title, connects: connect })
    if (connect) this.#connect()
  }

  get status(): Status {
    return { connections: this.#server.connections.length, ...this.#service.totals() }
  }

  metrics(): Metric[] {
    const one = (name: string, type: 'counter' | 'gauge', help: string, value: number): Metric => ({
      name,
      type,
      help,
      samples: [{ labels: {}, value }],
    })
    const own = [
      one('virtgen_connections', 'gauge', 'Connections of front-ends.', this.#server.connections.length),
      one('virtgen_connections_total', 'counter', 'Connections of front-ends since the beginning.', this.#accepted),
      one('virtgen_violations_total', 'counter', 'Times that a driver broke the rules.', this.#violations),
      one('virtgen_protocol_errors_total', 'counter', 'Times that a front-end broke the protocol.', this.#protocolErrors),
    ]
    return labelled([...own, ...this.#service.metrics()], { socket: this.#socket })
  }

  resize(): void {
    try {
      const bytes = this.#service.resize?.()
      if (bytes !== undefined) this.#tell({ event: 'resized', socket: this.#socket, bytes })
    } catch (error) {
      this.#tell({ event: 'error', socket: this.#socket, message: messageOf(error) })
    }
  }

  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#retry)
    await this.#server.close()
    await this.#service.close()
  }

  #connect(): void {
    try {
      this.#server.connect(this.#socket)
    } catch (error) {
      if (!this.#waits) this.#tell({ event: 'waiting', socket: this.#socket, message: messageOf(error) })
      this.#waits = true
      this.#connectLater()
    }
  }

  #connectLater(): void {
    if (!this.#closed) this.#retry = setTimeout(() => this.#connect(), reconnectAfter)
  }

  #connected(): void {
    this.#accepted++
    this.#waits = false
    this.#tell({ event: 'connected', socket: this.#socket, connections: this.#server.connections.length })
  }

  #disconnected({ device }: Pick<VhostUserConnection, 'device'>, reason: unknown): void {
    this.#service.gone(device)
    const why = reason === undefined ? {} : { reason: messageOf(reason) }
    this.#tell({ event: 'disconnected', socket: this.#socket, connections: this.#server.connections.length, ...why })
    if (this.#settings.connect) this.#connectLater()
  }
}

/** The configuration of a card belongs to the front-end, and QEMU warns where a back-end has one all the same: it is there where it says something. */
function protocolFeaturesOf(device: DeviceSettings): readonly number[] {
  const isPlain = device.type === 'net' && device.mac === undefined && device.mtu === undefined && device.pairs === 1
  return isPlain ? protocolFeatures.filter((feature) => feature !== VHOST_USER_PROTOCOL_F_CONFIG) : protocolFeatures
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
