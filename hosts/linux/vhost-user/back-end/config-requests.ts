/** The configuration space, as a front-end reads and writes it, and hears that it has changed. vhost-user protocol, Front-end message types. */
import { viewOf } from 'virtgen/codegen/v1/wire'
import type { DeviceControl } from 'virtgen/runtime'
import { ProtocolError } from '../protocol-error.ts'
import type { Answer, Handlers, MessageNamed } from './requests.ts'

/** What a front-end reads at a time: no device has as much. */
const mostConfig = 0x1000

export class ConfigRequests {
  readonly #control: DeviceControl
  /** Generation that the front-end knows. */
  #known: number
  readonly handlers: Handlers = {
    get_config: (message) => this.#getConfig(message),
    set_config: (message) => this.#setConfig(message),
  }

  constructor(control: DeviceControl) {
    this.#control = control
    this.#known = control.configGeneration
  }

  /** The front-end has not read what is there now. */
  get isNews(): boolean {
    return this.#control.configGeneration !== this.#known
  }

  #getConfig({ request: { config } }: MessageNamed<'get_config'>): Answer {
    const { offset, size, flags } = config
    // An answer without anything says that it cannot be.
    if (size > mostConfig || offset > this.#control.device.config.length) return { value: {} }
    this.#known = this.#control.configGeneration
    const payload = Uint8Array.from({ length: size }, (_, at) => this.#control.readConfig(offset + at, 1))
    return { value: { config: { offset, size, flags, payload } } }
  }

  #setConfig({ request: { config } }: MessageNamed<'set_config'>): Answer {
    const { offset, size, payload } = config
    const { length } = this.#control.device.config
    if (offset + size > length)
      throw new ProtocolError('value', `the configuration space has ${length} bytes, not those from ${offset} to ${offset + size}`)
    const view = viewOf(payload)
    for (let at = 0; at < size; ) {
      const width = [4, 2, 1].find((width) => (offset + at) % width === 0 && at + width <= size)!
      const value = width === 4 ? view.getUint32(at, true) : width === 2 ? view.getUint16(at, true) : view.getUint8(at)
      this.#control.writeConfig(offset + at, width, value)
      at += width
    }
    return undefined
  }
}
