/** A guest with a network card: an interface that sends frames and waits for some. Just enough of IPv4 and DHCP to talk to networks that are not ours. */
import type { NetBackend } from 'virtgen/devices/net'
import { Net, type NetOptions } from 'virtgen/devices/net'
import { NetDriver } from 'virtgen/driver/net'
import { testMachine } from 'virtgen/testing'
import { referenceChecksum } from './net.ts'

const u16 = (value: number): number[] => [(value >> 8) & 0xff, value & 0xff]
const ip = (text: string): number[] => text.split('.').map(Number)
const everybody = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff]

export class NetGuest {
  readonly net: Net
  readonly mac: readonly number[]
  readonly received: Uint8Array[] = []
  readonly #driver: NetDriver
  #wake = (): void => {}

  private constructor(net: Net, driver: NetDriver) {
    this.net = net
    this.mac = [...net.mac]
    this.#driver = driver
    driver.onPacket(({ packet }) => {
      this.received.push(packet.slice())
      this.#wake()
    })
  }

  static async on(backend: NetBackend, options: NetOptions = {}): Promise<NetGuest> {
    const { device, driver } = await testMachine(new Net(backend, options), NetDriver, { driverBytes: 0x20_0000, eventIndex: true })
    return new NetGuest(device, driver)
  }

  send(frame: ArrayLike<number>): Promise<void> {
    return this.#driver.transmit({}, Uint8Array.from(frame))
  }

  /** The first frame that is looked for, of those that have come or come yet; it and those before it are forgotten. */
  async wait<T>(find: (frame: Uint8Array) => T | undefined, milliseconds = 10_000): Promise<T> {
    for (const end = Date.now() + milliseconds; ; ) {
      for (let frame = this.received.shift(); frame !== undefined; frame = this.received.shift()) {
        const found = find(frame)
        if (found !== undefined) return found
      }
      if (Date.now() > end) throw new Error('no such frame came')
      await new Promise<void>((resolve) => {
        this.#wake = resolve
        setTimeout(resolve, 50)
      })
    }
  }

  /** Waits until the link is up. */
  async linked(milliseconds = 10_000): Promise<void> {
    for (const end = Date.now() + milliseconds; !this.net.linkUp; ) {
      if (Date.now() > end) throw new Error('the link stays down')
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }

  /** Asks for addresses as a DHCP client does. */
  async dhcp(): Promise<{ address: string; router: string; from: Uint8Array }> {
    const ask = (type: number, more: number[]): Promise<void> => {
      const body = new Array<number>(240).fill(0)
      body.splice(0, 8, 1, 1, 6, 0, 1, 2, 3, 4)
      body.splice(28, 6, ...this.mac)
      body.splice(236, 4, 0x63, 0x82, 0x53, 0x63)
      return this.sendUdp('0.0.0.0', 68, '255.255.255.255', 67, [...body, 53, 1, type, ...more, 255], everybody)
    }
    const answer = (type: number) => (frame: Uint8Array) => {
      const found = readUdp(frame)
      const options = found?.port === 68 ? optionsOf(found.payload) : {}
      return options[53]?.[0] === type ? { options, payload: found!.payload, from: frame.slice(6, 12) } : undefined
    }
    await ask(1, [])
    const offer = await this.wait(answer(2))
    const address = offer.payload.subarray(16, 20)
    await ask(3, [50, 4, ...address, 54, 4, ...offer.options[54]!])
    const { options, from } = await this.wait(answer(5))
    return { address: address.join('.'), router: options[3]!.join('.'), from }
  }

  sendUdp(source: string, sourcePort: number, destination: string, port: number, payload: ArrayLike<number>, to: ArrayLike<number>): Promise<void> {
    const length = 8 + payload.length
    const header = [0x45, 0, ...u16(20 + length), 0, 1, 0x40, 0, 64, 17, 0, 0, ...ip(source), ...ip(destination)]
    header.splice(10, 2, ...u16(referenceChecksum(header)))
    const udp = [...u16(sourcePort), ...u16(port), ...u16(length), 0, 0, ...Array.from(payload)]
    udp.splice(6, 2, ...u16(referenceChecksum([...ip(source), ...ip(destination), 0, 17, ...u16(length)], udp)))
    return this.send([...Array.from(to), ...this.mac, 8, 0, ...header, ...udp])
  }
}

export interface Udp {
  readonly source: string
  readonly sourcePort: number
  readonly port: number
  readonly payload: Uint8Array
}

/** The datagram in a frame; undefined for another frame. */
export function readUdp(frame: Uint8Array): Udp | undefined {
  const packet = frame.subarray(14)
  if (frame[12] !== 8 || frame[13] !== 0 || packet[9] !== 17) return undefined
  const udp = packet.subarray((packet[0]! & 0xf) * 4)
  return {
    source: packet.subarray(12, 16).join('.'),
    sourcePort: udp[0]! * 256 + udp[1]!,
    port: udp[2]! * 256 + udp[3]!,
    payload: udp.subarray(8, udp[4]! * 256 + udp[5]!),
  }
}

function optionsOf(payload: Uint8Array): Record<number, number[]> {
  const options: Record<number, number[]> = {}
  for (let at = 240; at < payload.length && payload[at] !== 255; at += payload[at] === 0 ? 1 : 2 + payload[at + 1]!)
    if (payload[at] !== 0) options[payload[at]!] = [...payload.subarray(at + 2, at + 2 + payload[at + 1]!)]
  return options
}
