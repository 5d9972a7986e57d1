/** QEMU's devices and what our driver clients do with them, whatever the transport. */
import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { BlkDriver } from 'virtgen/driver/blk'
import { ConsoleDriver } from 'virtgen/driver/console'
import { EntropyDriver } from 'virtgen/driver/entropy'
import { NetDriver } from 'virtgen/driver/net'
import { VIRTIO_BLK_F_FLUSH } from 'virtgen/wire/blk'
import { expect } from 'vitest'
import type { DriverHost, DriverType } from '../../../runtime/driver/host.ts'
import { pattern, type QemuMachine } from './machine.ts'

/** A device that is initialised. */
export interface Session<T> {
  readonly machine: QemuMachine
  readonly driver: T
  /** The driver uses the legacy interface. */
  readonly legacy: boolean
  /** Lets QEMU go on, and serves interrupts, until a promise is settled. */
  wait<R>(promise: Promise<R>): Promise<R>
}

export interface QemuDevice<T> {
  readonly name: string
  readonly type: DriverType<T>
  /** QEMU's name of the device up to the transport (`virtio-blk`), and its properties. */
  readonly device: string
  readonly properties: string
  /** Options for what is behind it, and for what sits on it. */
  readonly backend: readonly string[]
  readonly children?: readonly string[]
  readonly files?: Readonly<Record<string, Uint8Array>>
  /** What must come true. */
  use(session: Session<T>): Promise<void>
}

/**
 * QEMU's options of a device and what is behind it.
 *
 * @param transport - how its name goes on
 * @param more - properties
 */
export function optionsOf({ device, properties, backend, children = [] }: QemuDevice<unknown>, transport: string, more: readonly string[]): string[] {
  return [...backend, '-device', [`${device}-${transport}`, properties, ...more].join(), ...children]
}

/** `toEqual` looks at each byte of its own: too slow for a disk. */
function expectBytes(found: Uint8Array, expected: Uint8Array): void {
  if (Buffer.compare(found, expected) !== 0) expect(Buffer.from(found).toString('hex')).toBe(Buffer.from(expected).toString('hex'))
}

const sector = 512
const diskSize = 0x10_0000
/** By which a disk is known, 20 bytes at most. */
const serial = 'virtgen-0003'

export const blk: QemuDevice<BlkDriver> = {
  name: 'blk',
  type: BlkDriver,
  device: 'virtio-blk',
  properties: `drive=disk,serial=${serial}`,
  backend: ['-drive', 'if=none,id=disk,file=$DIR/disk,format=raw,discard=unmap'],
  files: { disk: pattern(diskSize) },
  async use({ machine, driver, wait }) {
    const file = (): Uint8Array => new Uint8Array(readFileSync(join(machine.folder, 'disk')))
    expect(driver.config.capacity).toBe(diskSize / sector)
    const { id } = await wait(driver.getId())
    expect(Buffer.from(id).toString('latin1').replace(/\0+$/, '')).toBe(serial)
    const disk = pattern(diskSize)
    const { data } = await wait(driver.read({ sector: 3 }, 2 * sector))
    expectBytes(data, disk.subarray(3 * sector, 5 * sector))
    const written = pattern(8 * sector, 99)
    await wait(driver.write({ sector: 100 }, written))
    if (driver.features.has(VIRTIO_BLK_F_FLUSH)) await wait(driver.flush())
    disk.set(written, 100 * sector)
    expectBytes(file(), disk)
    await expect(wait(driver.read({ sector: diskSize / sector }, sector))).rejects.toThrow('read: the device answered')
  },
}

/**
 * Many requests at once, several times round the rings, in both directions and of many lengths; what is read is what was written.
 *
 * @param count - that are sent at once
 */
export async function manyRequests({ driver, wait }: Session<BlkDriver>, count: number): Promise<void> {
  const rounds = 6
  for (let round = 0; round < rounds; round++) {
    const sent = Array.from({ length: count }, (_, i) => ({ sector: i * 16, bytes: pattern((1 + ((i + round) % 9)) * sector, i + round) }))
    await wait(Promise.all(sent.map(({ sector, bytes }) => driver.write({ sector }, bytes))))
    const found = await wait(Promise.all(sent.map(({ sector, bytes }) => driver.read({ sector }, bytes.length))))
    for (const [i, { data }] of found.entries()) expectBytes(data, sent[i]!.bytes)
  }
}

export const entropy: QemuDevice<EntropyDriver> = {
  name: 'entropy',
  type: EntropyDriver,
  device: 'virtio-rng',
  properties: 'rng=random',
  backend: ['-object', 'rng-builtin,id=random'],
  async use({ driver, wait }) {
    const answers = await wait(Promise.all([driver.read(64), driver.read(64)]))
    for (const { data } of answers) {
      expect(data).toHaveLength(64)
      expect(new Set(data).size).toBeGreaterThan(16)
    }
    expect(answers[0]!.data).not.toEqual(answers[1]!.data)
  },
}

/** The other end of a Unix socket on which QEMU listens. */
class Peer {
  readonly #socket: Socket
  #received = Buffer.alloc(0)

  constructor(path: string) {
    this.#socket = connect(path)
    this.#socket.on('data', (data) => {
      this.#received = Buffer.concat([this.#received, data])
    })
    // QEMU ends before us.
    this.#socket.on('error', () => {})
  }

  send(bytes: Uint8Array): void {
    this.#socket.write(bytes)
  }

  /** Resolves when so many bytes have come. */
  async take(count: number): Promise<Uint8Array> {
    while (this.#received.length < count) await turn()
    const taken = Uint8Array.from(this.#received.subarray(0, count))
    this.#received = this.#received.subarray(count)
    return taken
  }

  close(): void {
    this.#socket.destroy()
  }
}

const mac = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56]

/** An Ethernet frame to a station, or to all, as QEMU's stream carries it: behind its length. */
function frame(to: readonly number[], length: number, seed: number): { bytes: Uint8Array; onStream: Uint8Array } {
  const bytes = Uint8Array.from([...to, 0x02, 0, 0, 0, 0, seed, 0x88, 0xb5, ...pattern(length - 14, seed)])
  return { bytes, onStream: Uint8Array.from([0, 0, length >> 8, length & 0xff, ...bytes]) }
}

export const net: QemuDevice<NetDriver> = {
  name: 'net',
  type: NetDriver,
  device: 'virtio-net',
  properties: `netdev=net,mac=${mac.map((byte) => byte.toString(16).padStart(2, '0')).join(':')}`,
  backend: ['-netdev', 'stream,id=net,server=on,addr.type=unix,addr.path=$DIR/net'],
  async use({ machine, driver, wait }) {
    const peer = new Peer(join(machine.folder, 'net'))
    try {
      expect([...driver.config.mac]).toEqual(mac)
      const packets: Uint8Array[] = []
      driver.onPacket(({ packet }) => packets.push(packet))
      const everyone = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff]
      for (const [length, seed] of [
        [60, 1],
        [1514, 2],
      ] as const) {
        const sent = frame(everyone, length, seed)
        const [, arrived] = await wait(Promise.all([driver.transmit({}, sent.bytes), peer.take(sent.onStream.length)]))
        expectBytes(arrived, sent.onStream)
        const back = frame(mac, length, seed + 10)
        peer.send(back.onStream)
        const comes = async (): Promise<Uint8Array> => {
          while (packets.length === 0) await turn()
          return packets.shift() as Uint8Array
        }
        expectBytes(await wait(comes()), back.bytes)
      }
    } finally {
      peer.close()
    }
  },
}

const greeting = Buffer.from('hello, guest')
/** Longer than one buffer. */
const answer = pattern(5000)

/** One console, without VIRTIO_CONSOLE_F_MULTIPORT. */
export const console: QemuDevice<ConsoleDriver> = {
  name: 'console',
  type: ConsoleDriver,
  device: 'virtio-serial',
  properties: 'max_ports=1',
  backend: ['-chardev', 'socket,id=port,path=$DIR/port,server=on,wait=off'],
  children: ['-device', 'virtconsole,chardev=port'],
  async use({ machine, driver, wait }) {
    const peer = new Peer(join(machine.folder, 'port'))
    try {
      await exchange(peer, driver, wait, 0, 1)
    } finally {
      peer.close()
    }
  },
}

const portName = 'org.example.port'

/** With short buffers: there are many of them, as each port has queues of its own and the legacy interface takes them as long as the device has them. */
class PortsDriver extends ConsoleDriver {
  constructor(host: DriverHost) {
    super(host, { eventBufferSize: 256 })
  }
}

/** A named port of several, opened through the control queues. */
export const ports: QemuDevice<ConsoleDriver> = {
  name: 'console with ports',
  type: PortsDriver,
  device: 'virtio-serial',
  properties: 'max_ports=4',
  backend: ['-chardev', 'socket,id=port,path=$DIR/port,server=on,wait=off'],
  children: ['-device', `virtserialport,chardev=port,nr=1,name=${portName}`],
  async use({ machine, driver, wait }) {
    expect(driver.config.max_nr_ports).toBe(4)
    const seen: string[] = []
    driver.onDeviceAdd(({ id }) => {
      seen.push(`add ${id}`)
      void driver.portReady({ id, value: 1 })
    })
    // QEMU ends the name with a NUL, against the text.
    driver.onPortName(({ id, name }) => seen.push(`name ${id} ${Buffer.from(name).toString().replace(/\0$/, '')}`))
    driver.onPortOpen(({ id, value }) => seen.push(`open ${id} ${value}`))
    const peer = new Peer(join(machine.folder, 'port'))
    try {
      await wait(driver.deviceReady({ value: 1 }))
      const expected = ['add 1', `name 1 ${portName}`, 'open 1 1']
      const allSeen = async (): Promise<void> => {
        while (!expected.every((line) => seen.includes(line))) await turn()
      }
      await wait(allSeen())
      await wait(driver.portOpen({ id: 1, value: 1 }))
      await exchange(peer, driver, wait, 4, 5)
    } finally {
      peer.close()
    }
  },
}

/** Bytes in both directions. */
async function exchange(
  peer: Peer,
  driver: ConsoleDriver,
  wait: Session<unknown>['wait'],
  receiveQueue: number,
  transmitQueue: number,
): Promise<void> {
  let input = Buffer.alloc(0)
  driver.onInput(({ queue, data }) => {
    expect(queue).toBe(receiveQueue)
    input = Buffer.concat([input, data])
  })
  const [, arrived] = await wait(Promise.all([driver.output(answer, transmitQueue), peer.take(answer.length)]))
  expectBytes(arrived, answer)
  peer.send(greeting)
  const comes = async (): Promise<void> => {
    while (input.length < greeting.length) await turn()
  }
  await wait(comes())
  expectBytes(input, greeting)
}
