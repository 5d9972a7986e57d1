/** A console for guests: terminals and named ports. VIRTIO 1.4, Device Types / Console Device. */
import type { QueueInfo } from 'virtgen/codegen/v1/device'
import { console_rx, console_tx, queues as queuesOf } from 'virtgen/device/console'
import { type Plain, StateError } from 'virtgen/runtime'
import {
  ConsoleDevice,
  type ConsoleDeviceReadyRequest,
  type ConsoleOutputRequest,
  type ConsolePortOpenRequest,
  type ConsolePortReadyRequest,
} from 'virtgen/skeleton/console'
import {
  VIRTIO_CONSOLE_F_EMERG_WRITE,
  VIRTIO_CONSOLE_F_MULTIPORT,
  VIRTIO_CONSOLE_F_SIZE,
  virtio_console_port_state,
  virtio_console_ready,
} from 'virtgen/wire/console'
import { type ControlMessage, ControlMessages } from './control-messages.ts'
import { ConsolePort, type ConsolePortOptions, type ConsoleSize, checkedConsoleSize, type PortOwner, type PortState } from './port.ts'

export interface ConsoleOptions {
  /** Its ports, port 0 first. By default one terminal. */
  readonly ports?: readonly ConsolePortOptions[]
  /** How many ports there can be at once, those that are added later counted. By default as many as `ports`. More than one, or a port with a name, need VIRTIO_CONSOLE_F_MULTIPORT. */
  readonly maxPorts?: number
  /** Largest queue sizes; 64 by default. */
  readonly queueSize?: number
  /** A byte that the driver writes without any queue: early in a boot, or late in a panic. By default it is output of port 0. */
  readonly onEmergencyWrite?: (byte: number) => void
  /** What a receiver of output threw, or its promise was rejected with. The device needs a reset then, as output has no status to fail with. */
  readonly onError?: (error: unknown) => void
}

/** What every engine has beside ECMAScript. */
interface TextApi {
  readonly TextEncoder: new () => { encode(text: string): Uint8Array }
}

const defaultQueueSize = 64
/** Of the ports of one device: what a table of them may take. Linux has at most 512 of a driver. */
const mostPorts = 512
/** Bytes of emergency writes that wait for a slow receiver; a guest may write on for ever, and those beyond are dropped. */
const mostEmergencies = 4096
const messages: readonly ControlMessage[] = ['add', 'remove', 'console', 'name', 'size', 'open']

/**
 * A console with one terminal, or with several terminals and named ports.
 *
 * ```ts
 * const console = new Console({ ports: [{ onOutput: (bytes) => terminal.write(bytes) }] })
 * terminal.onData((text) => console.port(0)?.write(new TextEncoder().encode(text)))
 * ```
 */
export class Console extends ConsoleDevice {
  /** By number; undefined where there is none now. */
  readonly #ports: (ConsolePort | undefined)[]
  readonly #isMultiport: boolean
  readonly #maxPorts: number
  readonly #onEmergencyWrite: ((byte: number) => void) | undefined
  readonly #onError: ConsoleOptions['onError']
  /** Bytes of emergency writes that the receiver of port 0 is at work on. */
  #emergencies = 0
  /** Ports by the queues of their two directions, and the queue of their input. */
  readonly #portOfQueue = new Map<number, number>()
  readonly #inputQueues: readonly number[]
  readonly #control = new ControlMessages()
  /** The driver hears control messages. */
  #driverReady = false
  readonly #owner: PortOwner = {
    send: (port, bytes) => this.sendInput(this.#inputQueues[port.index] as number, bytes),
    changed: (port, what) => this.#changed(port, what),
  }

  /** @throws RangeError for a wrong number of ports or a wrong size */
  constructor(options: ConsoleOptions = {}) {
    const { ports = [{}], maxPorts = Math.max(ports.length, 1), queueSize = defaultQueueSize } = options
    if (!(Number.isInteger(maxPorts) && maxPorts >= 1 && maxPorts <= mostPorts))
      throw new RangeError(`maxPorts must be an integer from 1 to ${mostPorts}, not ${maxPorts}`)
    if (ports.length > maxPorts) throw new RangeError(`${ports.length} ports are more than maxPorts, ${maxPorts}`)
    const isMultiport = maxPorts > 1 || ports.some((port, index) => port.name !== undefined || (port.console ?? index === 0) !== (index === 0))
    const features = [VIRTIO_CONSOLE_F_SIZE, VIRTIO_CONSOLE_F_EMERG_WRITE, ...(isMultiport ? [VIRTIO_CONSOLE_F_MULTIPORT] : [])]
    const size = ports[0]?.size && checkedConsoleSize(ports[0].size)
    super({
      features,
      queueSize,
      ...(options.onError && { onError: options.onError }),
      config: { max_nr_ports: maxPorts, ...(size && { cols: size.columns, rows: size.rows }) },
    })
    this.#isMultiport = isMultiport
    this.#maxPorts = maxPorts
    this.#onEmergencyWrite = options.onEmergencyWrite
    this.#onError = options.onError
    const infos = queuesOf(this.offered, this.config.bytes)
    this.#inputQueues = infos.filter(({ message }) => message === console_rx).map(({ index }) => index)
    const outputQueues = infos.filter(({ message }) => message === console_tx).map(({ index }) => index)
    for (const queues of [this.#inputQueues, outputQueues]) for (const [port, index] of queues.entries()) this.#portOfQueue.set(index, port)
    this.#ports = Array.from({ length: maxPorts }, (_, index) => {
      const port = ports[index]
      return port && new ConsolePort(index, port, this.#owner)
    })
  }

  // ---- Ports

  /** A port, by its number; undefined where there is none. */
  port(index: number): ConsolePort | undefined {
    return this.#ports[index]
  }

  /** The port of that name. */
  portNamed(name: string): ConsolePort | undefined {
    return this.#ports.find((port) => port?.name === name)
  }

  /**
   * Adds a port while the guest runs.
   *
   * @throws RangeError where there are `maxPorts` already, or only one can be
   */
  addPort(options: ConsolePortOptions): ConsolePort {
    const index = this.#ports.findIndex((port, index) => port === undefined && index > 0)
    if (!this.#isMultiport || index < 0) throw new RangeError(`there can be ${this.#maxPorts} ports at most: give maxPorts`)
    const port = new ConsolePort(index, options, this.#owner)
    this.#ports[index] = port
    this.#announce(port)
    return port
  }

  /**
   * Takes a port away. What the guest writes to it from now on is dropped.
   *
   * @throws RangeError for a port that this console does not have, and for port 0, which is always there
   */
  removePort(port: ConsolePort): void {
    if (port.index === 0 || this.#ports[port.index] !== port) throw new RangeError(`port ${port.index} cannot be removed`)
    this.#ports[port.index] = undefined
    port.$setOpen(false)
    // The device MUST NOT specify a port in VIRTIO_CONSOLE_DEVICE_REMOVE which has not been created before.
    if (this.#control.forget(port) && port.$announced) this.#control.add(port, 'remove')
    this.#sendControl()
  }

  // ---- From the guest

  protected override output({ readable, queue }: ConsoleOutputRequest): void | Promise<void> {
    return this.#portOfOutput(queue)?.$deliver(readable)
  }

  #portOfOutput({ index }: QueueInfo): ConsolePort | undefined {
    return this.#ports[this.#portOfQueue.get(index) as number]
  }

  override configWritten(field: string): void {
    if (field !== 'emerg_wr') return
    const byte = (this.config.fields?.emerg_wr ?? 0) & 0xff
    if (this.#onEmergencyWrite !== undefined) this.#onEmergencyWrite(byte)
    else if (this.#emergencies < mostEmergencies) this.#followEmergency(this.#ports[0]?.$receiver?.(Uint8Array.of(byte)))
  }

  /** No buffer of the guest's waits for the receiver, and nobody for the promise. */
  #followEmergency(done: void | Promise<void>): void {
    if (done === undefined) return
    this.#emergencies++
    const ended = (): void => {
      this.#emergencies--
    }
    void done.then(ended, (error) => {
      ended()
      this.#report(error)
    })
  }

  #report(error: unknown): void {
    try {
      this.#onError?.(error)
    } catch {
      // Nobody stands behind a promise that could take it.
    }
  }

  protected override deviceReady({ header }: ConsoleDeviceReadyRequest): void {
    this.#driverReady = header.value === virtio_console_ready.success
    if (!this.#driverReady) return
    for (const port of this.#ports) if (port !== undefined) this.#announce(port)
  }

  protected override portReady(request: ConsolePortReadyRequest): void {
    const port = this.#portOf(request)
    if (port === undefined || request.header.value !== virtio_console_ready.success) return
    port.$ready = true
    if (port.isConsole) {
      this.#control.add(port, 'console')
      if (port.size !== undefined) this.#control.add(port, 'size')
    }
    if (port.name !== undefined) this.#control.add(port, 'name')
    if (port.hostOpen) this.#control.add(port, 'open')
    this.#sendControl()
  }

  protected override portOpen(request: ConsolePortOpenRequest): void {
    this.#portOf(request)?.$setOpen(request.header.value === virtio_console_port_state.open)
  }

  /** A port that the driver was told of; a driver may name any. */
  #portOf({ header }: ConsolePortReadyRequest | ConsolePortOpenRequest): ConsolePort | undefined {
    const port = this.#ports[header.id]
    return port?.$announced ? port : undefined
  }

  // ---- To the guest

  #announce(port: ConsolePort): void {
    if (!this.#driverReady || port.$announced) return
    port.$announced = true
    this.#control.add(port, 'add')
    this.#sendControl()
  }

  #sendControl(): void {
    this.#control.send((port, message) => this.#sendMessage(port, message))
  }

  /** False where there is no buffer. */
  #sendMessage(port: ConsolePort, message: ControlMessage): boolean {
    const id = port.index
    switch (message) {
      case 'add':
        return this.sendDeviceAdd({ id })
      case 'remove':
        return this.sendDeviceRemove({ id })
      case 'console':
        return this.sendConsolePort({ id, value: 1 })
      case 'name':
        return this.sendPortName({ id, value: 1 }, utf8(port.name ?? '')) !== undefined
      case 'size':
        return this.sendResize({ id, cols: port.size?.columns ?? 0, rows: port.size?.rows ?? 0 })
      case 'open':
        return this.sendPortOpen({ id, value: port.hostOpen ? virtio_console_port_state.open : virtio_console_port_state.closed })
    }
  }

  #changed(port: ConsolePort, what: 'size' | 'open'): void {
    if (what === 'size' && port.index === 0) this.#configureSize(port.size)
    if (!port.$ready || (what === 'size' && !port.isConsole)) return
    this.#control.add(port, what)
    this.#sendControl()
  }

  #configureSize({ columns = 0, rows = 0 }: Partial<ConsoleSize> = {}): void {
    if (this.config.fields?.cols === columns && this.config.fields.rows === rows) return
    this.config.update((config) => {
      config.cols = columns
      config.rows = rows
    })
  }

  protected override eventBuffersAvailable({ index, message }: QueueInfo): void {
    if (message === console_rx) this.#ports[this.#portOfQueue.get(index) as number]?.$flush()
    else this.#sendControl()
  }

  // ---- Life

  protected override activated(): void {
    const { host } = this
    if (host === undefined || host.features.has(VIRTIO_CONSOLE_F_MULTIPORT)) return
    // Linux reads the size of a terminal only when it is told that it has changed.
    if (this.#ports[0]?.size !== undefined) host.configChanged()
    this.#ports[0]?.$setOpen(true)
  }

  protected override resetting(): void {
    this.#driverReady = false
    this.#control.clear()
    for (const port of this.#ports) {
      if (port === undefined) continue
      port.$announced = false
      port.$ready = false
      port.$forgetOutput()
      port.$setOpen(false)
    }
  }

  protected override queueResetting(queue: QueueInfo): void {
    if (queue.message === console_tx) this.#portOfOutput(queue)?.$forgetOutput()
  }

  override saveState(): Plain {
    const ports = this.#ports.map((port) => (port ? { ...port.$save() } : null))
    return { driverReady: this.#driverReady, messages: this.#control.list, ports }
  }

  /** @throws StateError for what is no state of a console with these ports */
  override restoreState(state: Plain): void {
    const { driverReady, messages: pending, ports } = checkedState(state, this.#ports)
    this.#driverReady = driverReady
    ports.forEach((saved, index) => {
      if (saved) this.#ports[index]?.$restore(saved)
    })
    this.#control.clear()
    // A port that is gone is named once more, and by its number alone.
    for (const [index, message] of pending) this.#control.add(this.#ports[index] ?? new ConsolePort(index, {}, this.#owner), message)
    // The terminals of here may have other sizes than those that the driver knows.
    for (const port of this.#ports) if (port?.size !== undefined) this.#changed(port, 'size')
  }
}

function utf8(text: string): Uint8Array {
  const { TextEncoder } = globalThis as unknown as TextApi
  return new TextEncoder().encode(text)
}

interface ConsoleState {
  readonly driverReady: boolean
  readonly messages: readonly (readonly [port: number, message: ControlMessage])[]
  readonly ports: readonly (PortState | null)[]
}

function checkedState(state: Plain, here: readonly (ConsolePort | undefined)[]): ConsoleState {
  const { driverReady, messages: pending, ports } = (state ?? {}) as unknown as Partial<ConsoleState>
  const wrong = (member: string, expected: string): never => {
    throw new StateError(`device.state.${member}`, `${member} of the console must be ${expected}`)
  }
  if (typeof driverReady !== 'boolean') wrong('driverReady', 'true or false')
  if (!Array.isArray(ports) || ports.length !== here.length || ports.some((port, index) => (port === null) !== (here[index] === undefined)))
    return wrong('ports', `a list of ${here.length} with the ports that there are here`)
  for (const port of ports as (PortState | null)[]) if (port !== null && !isPortState(port)) wrong('ports', 'states of ports')
  if (
    !Array.isArray(pending) ||
    !pending.every(([port, message]) => Number.isInteger(port) && port >= 0 && port < here.length && messages.includes(message))
  )
    return wrong('messages', 'pairs of a port and a message')
  return { driverReady, messages: pending, ports } as ConsoleState
}

function isPortState({ announced, ready, guestOpen, hostOpen, waiting }: PortState): boolean {
  return [announced, ready, guestOpen, hostOpen].every((flag) => typeof flag === 'boolean') && isHex(waiting)
}

/** A pattern with a group in it would take the stack for each of millions of digits. */
function isHex(digits: unknown): boolean {
  return typeof digits === 'string' && digits.length % 2 === 0 && /^[0-9a-f]*$/.test(digits)
}
