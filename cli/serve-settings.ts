/** From the options of `virtgen serve` to what it is asked for. */
import { resolve } from 'node:path'
import { didYouMean } from '../generator/diagnostic.ts'
import type {
  BlkSettings,
  DeviceSettings,
  NetSettings,
  NetworkSettings,
  RngSettings,
  ServeSettings,
  StorageSettings,
} from '../hosts/linux/serve/settings.ts'
import { type Call, UsageError } from './command.ts'
import { type DeviceName, deviceNames, serveOptions } from './serve-options.ts'

const mostQueues = 256
const mostPairs = 64
const mostSpin = 1_000_000
const mostPort = 65_535
const sectorBytes = 512
const largestBlock = 2 ** 31
/** `sun_path` of Linux has 108 bytes, with a zero at the end. */
const longestPath = 107
/** IFNAMSIZ of Linux, with a zero at the end. */
const longestName = 15

/** @throws UsageError for what cannot be, or does not go together */
export function serveSettings(call: Call): ServeSettings {
  const { options } = call
  const type = deviceName(call.arguments[0] as string)
  for (const { name, group } of serveOptions)
    if (options.has(name) && group !== 'all devices' && group !== type)
      throw new UsageError(`--${name} is for ${group}, and this is ${type}`, `virtgen serve --help lists the options of each`)
  const sockets = socketsOf(call)
  const device = settingsOf[type](call)
  checkSharing(device, sockets.length)
  const metrics = number(call, 'metrics', 0, mostPort)
  const spin = number(call, 'spin', 0, mostSpin)
  return {
    device,
    sockets,
    connect: options.has('connect'),
    ...(spin === undefined ? {} : { spin }),
    worker: options.has('worker'),
    ...(metrics === undefined ? {} : { metrics }),
    json: options.has('json'),
  }
}

function deviceName(word: string): DeviceName {
  const name = deviceNames.find((each) => each === word)
  if (name === undefined)
    throw new UsageError(`there is no device "${word}" to serve`, didYouMean(word, deviceNames) ?? `there are ${deviceNames.join(', ')}`)
  return name
}

function socketsOf(call: Call): string[] {
  const given = call.options.texts('socket')
  if (given.length === 0) throw new UsageError('virtgen serve needs --socket PATH', 'where the hypervisor connects to: --socket /tmp/virtgen.sock')
  const paths = given.map((path) => resolve(call.host.folder, path))
  for (const [index, path] of paths.entries()) {
    if (given[index] === '') throw new UsageError('--socket takes a path, not ""')
    const bytes = Buffer.byteLength(path)
    if (bytes > longestPath)
      throw new UsageError(`--socket takes a path of at most ${longestPath} bytes; ${path} has ${bytes}`, 'a shorter folder, such as /tmp')
    if (paths.indexOf(path) < index) throw new UsageError(`--socket ${given[index]} is given twice`)
  }
  return paths
}

/** What several guests would spoil for each other. */
function checkSharing(device: DeviceSettings, sockets: number): void {
  if (sockets === 1) {
    if (device.type === 'net' && device.network.kind === 'link')
      throw new UsageError('--link joins the guests of several sockets, and there is one', 'give --socket twice or more')
    return
  }
  if (device.type === 'blk' && !device.readOnly && device.storage.kind !== 'null')
    throw new UsageError(`${sockets} guests would write to one disk`, 'one --socket, or --readonly')
  if (device.type === 'net' && ['tap', 'passt', 'stream'].includes(device.network.kind))
    throw new UsageError(`--${device.network.kind} is the network of one guest, and there are ${sockets} sockets`, 'one --socket, or --link')
}

const settingsOf: Readonly<Record<DeviceName, (call: Call) => DeviceSettings>> = { blk, net, rng }

// ---- blk

function blk(call: Call): BlkSettings {
  const { options } = call
  const storage = storageOf(call)
  const serial = options.text('serial')
  if (serial !== undefined && !/^[\x20-\x7e]{0,20}$/.test(serial))
    throw new UsageError(`--serial takes at most 20 printable characters of ASCII, not ${JSON.stringify(serial)}`)
  const blockSize = size(call, 'block-size')
  if (blockSize !== undefined && !(blockSize >= sectorBytes && blockSize <= largestBlock && Number.isInteger(Math.log2(blockSize))))
    throw new UsageError(`--block-size takes a power of 2 from ${sectorBytes} to ${largestBlock}, not ${options.text('block-size')}`)
  return {
    type: 'blk',
    storage,
    readOnly: options.has('readonly'),
    queues: number(call, 'queues', 1, mostQueues) ?? 16,
    ...(serial === undefined ? {} : { serial }),
    ...(blockSize === undefined ? {} : { blockSize }),
    discard: !options.has('no-discard'),
  }
}

const storageNames = ['file', 'overlay', 'ram', 'null'] as const

function storageOf(call: Call): StorageSettings {
  const { options } = call
  const kind = oneOf(call, storageNames, 'what the disk is', '--file disk.img, or --ram 1G')
  const isFile = kind === 'file' || kind === 'overlay'
  for (const name of ['size', 'async'] as const)
    if (options.has(name) && !isFile) throw new UsageError(`--${name} goes with --file or --overlay, not with --${kind}`)
  if (options.has('no-discard') && kind !== 'file') throw new UsageError(`--no-discard goes with --file, not with --${kind}`)
  if (!isFile) return { kind, size: sectors(call, kind) as number }
  const path = options.text(kind) as string
  if (path === '') throw new UsageError(`--${kind} takes a file, not ""`)
  const length = sectors(call, 'size')
  if (kind === 'file' && length !== undefined && options.has('readonly'))
    throw new UsageError('--size makes a file longer, and --readonly lets nothing be written')
  return { kind, path: resolve(call.host.folder, path), ...(length === undefined ? {} : { size: length }), asynchronous: options.has('async') }
}

// ---- net

const networkNames = ['passt', 'stream', 'tap', 'gateway', 'link', 'echo', 'sink'] as const

function net(call: Call): NetSettings {
  const { options } = call
  const network = networkOf(call)
  const mac = options.text('mac')
  if (mac !== undefined && !isCardAddress(mac))
    throw new UsageError(`--mac takes the address of one card, such as 52:54:00:12:34:56, not "${mac}"`, 'the second digit is even: 52:, not 53:')
  if (mac !== undefined && options.texts('socket').length > 1) throw new UsageError('--mac is the address of one card, and there are several sockets')
  const mtu = number(call, 'mtu', 68, 65_535)
  return {
    type: 'net',
    network,
    pairs: number(call, 'queues', 1, mostPairs) ?? 1,
    ...(mac === undefined ? {} : { mac }),
    ...(mtu === undefined ? {} : { mtu }),
  }
}

function networkOf(call: Call): NetworkSettings {
  const kind = oneOf(call, networkNames, 'what is at the other end', '--passt SOCKET, --tap NAME, or --gateway')
  const value = call.options.text(kind)
  if (value === '') throw new UsageError(`--${kind} takes a ${kind === 'tap' ? 'name' : 'path'}, not ""`)
  if (kind === 'tap') {
    const name = value as string
    if (Buffer.byteLength(name) > longestName || /[\s/]/.test(name))
      throw new UsageError(`--tap takes the name of an interface, up to ${longestName} bytes, not "${name}"`)
    return { kind, name }
  }
  return kind === 'passt' || kind === 'stream' ? { kind, path: resolve(call.host.folder, value as string) } : { kind }
}

/** Neither zero nor a group. */
function isCardAddress(mac: string): boolean {
  return /^[0-9a-f][02468ace]([:-][0-9a-f]{2}){5}$/i.test(mac) && /[1-9a-f]/i.test(mac)
}

// ---- rng

function rng(call: Call): RngSettings {
  if (call.options.has('queues')) throw new UsageError('--queues is for blk and net: an entropy device has one queue')
  const rate = size(call, 'rate')
  if (rate === 0) throw new UsageError('--rate takes bytes per second above 0, not 0')
  return { type: 'rng', ...(rate === undefined ? {} : { rate }) }
}

// ---- Values

/** The one of them that is given. */
function oneOf<Name extends string>({ options }: Call, names: readonly Name[], what: string, example: string): Name {
  const given = names.filter((name) => options.has(name))
  const all = names.map((name) => `--${name}`)
  const [name] = given
  if (name === undefined) throw new UsageError(`say ${what}: one of ${all.join(', ')}`, example)
  if (given.length > 1) throw new UsageError(`${given.map((each) => `--${each}`).join(' and ')} exclude each other`, `one of ${all.join(', ')}`)
  return name
}

function number({ options }: Call, name: string, least: number, most: number): number | undefined {
  const value = options.count(name)
  if (value !== undefined && (value < least || value > most)) throw new UsageError(`--${name} takes a number from ${least} to ${most}, not ${value}`)
  return value
}

/** Whole sectors, and at least one. */
function sectors(call: Call, name: string): number | undefined {
  const bytes = size(call, name)
  if (bytes !== undefined && (bytes === 0 || bytes % sectorBytes !== 0))
    throw new UsageError(`--${name} takes a multiple of ${sectorBytes} bytes above 0, not ${bytes}`)
  return bytes
}

const suffixes = ['', 'k', 'm', 'g', 't']

function size({ options }: Call, name: string): number | undefined {
  const text = options.text(name)
  if (text === undefined) return undefined
  const [, digits, suffix = ''] = /^(\d+)([kmgt]?)(?:ib?|b)?$/i.exec(text) ?? []
  const bytes = Number(digits) * 1024 ** suffixes.indexOf(suffix.toLowerCase())
  if (digits === undefined || !Number.isSafeInteger(bytes)) throw new UsageError(`--${name} takes bytes, such as 67108864, 64M or 1G, not "${text}"`)
  return bytes
}
