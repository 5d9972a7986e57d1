/**
 * Reads devices as a Linux guest under QEMU saw them (test/fixtures/linux-guest): their features and their configuration space, with the generated bindings.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { type FeatureInfo, type FeatureProblem, type FeatureSet, featureNames, featuresFromBitString } from 'virtgen/codegen/v1/wire'
import * as blk from 'virtgen/wire/blk'
import * as console_ from 'virtgen/wire/console'
import * as content from 'virtgen/wire/content'
import * as entropy from 'virtgen/wire/entropy'

/** A captured device, see the README beside the fixtures. */
interface Capture {
  origin: { host: string; guest: string }
  transport: string
  deviceId: number
  driver: string
  status: string
  features: string
  config: string
}

/** What the bindings say of a device type. */
interface DeviceType {
  title: string
  features: readonly FeatureInfo[]
  checkFeatures(set: FeatureSet): FeatureProblem[]
  describe(config: Uint8Array, features: FeatureSet): [string, string][]
}

const types = new Map<number, DeviceType>([
  [blk.DEVICE_ID, { title: 'block device', ...blk, describe: describeBlk }],
  [console_.DEVICE_ID, { title: 'console', ...console_, describe: describeConsole }],
  [
    entropy.DEVICE_ID,
    {
      title: 'entropy source',
      features: [],
      checkFeatures: () => [],
      describe: () => [['configuration', 'none: the device has no configuration space']],
    },
  ],
])

const binaryUnits = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']

function bytes(count: number): string {
  let unit = 0
  let value = count
  while (value >= 1024 && unit < binaryUnits.length - 1) {
    value /= 1024
    unit++
  }
  return `${Number.isInteger(value) ? value : value.toFixed(2)} ${binaryUnits[unit]}`
}

function sectors(count: number): string {
  return `${bytes(count * blk.virtio_blk_size.sector_bytes)} (${count} sectors)`
}

/** Only what the negotiated features make valid: the rest of the space may hold anything. */
function describeBlk(config: Uint8Array, features: FeatureSet): [string, string][] {
  const { capacity, seg_max, geometry, blk_size, topology, writeback, num_queues, ...limits } = blk.VirtioBlkConfig.decode(config)
  const lines: [string, string][] = [['capacity', sectors(capacity)]]
  const add = (feature: number, name: string, text: string): void => {
    if (features.has(feature)) lines.push([name, text])
  }
  add(blk.VIRTIO_BLK_F_BLK_SIZE, 'block size', bytes(blk_size))
  add(blk.VIRTIO_BLK_F_SEG_MAX, 'request', `at most ${seg_max} segments`)
  add(blk.VIRTIO_BLK_F_GEOMETRY, 'geometry', `${geometry.cylinders} cylinders, ${geometry.heads} heads, ${geometry.sectors} sectors per track`)
  const physical = blk_size * 2 ** topology.physical_block_exp
  add(
    blk.VIRTIO_BLK_F_TOPOLOGY,
    'physical block',
    `${bytes(physical)}, best transfers from ${bytes(topology.min_io_size * blk_size)} to ${bytes(topology.opt_io_size * blk_size)}`,
  )
  add(blk.VIRTIO_BLK_F_CONFIG_WCE, 'cache', writeback === blk.virtio_blk_cache.writeback ? 'writeback' : 'writethrough')
  add(blk.VIRTIO_BLK_F_MQ, 'queues', String(num_queues))
  add(
    blk.VIRTIO_BLK_F_DISCARD,
    'discard',
    `up to ${sectors(limits.max_discard_sectors)} in ${limits.max_discard_seg} segment(s), aligned to ${sectors(limits.discard_sector_alignment)}`,
  )
  const unmap = limits.write_zeroes_may_unmap === 1 ? 'may deallocate' : 'never deallocates'
  add(
    blk.VIRTIO_BLK_F_WRITE_ZEROES,
    'write zeroes',
    `up to ${sectors(limits.max_write_zeroes_sectors)} in ${limits.max_write_zeroes_seg} segment(s), ${unmap}`,
  )
  return lines
}

function describeConsole(config: Uint8Array, features: FeatureSet): [string, string][] {
  const { cols, rows, max_nr_ports } = console_.VirtioConsoleConfig.decode(config)
  return [
    ['size', features.has(console_.VIRTIO_CONSOLE_F_SIZE) ? `${cols} columns, ${rows} rows` : 'not given'],
    ['ports', features.has(console_.VIRTIO_CONSOLE_F_MULTIPORT) ? `at most ${max_nr_ports}` : '1'],
  ]
}

function statusNames(status: number): string {
  const set = Object.entries(content.device_status).flatMap(([name, bit]) => ((status & bit) === 0 ? [] : [name]))
  return set.join(' ') || 'reset'
}

function print(capture: Capture): void {
  const type = types.get(capture.deviceId)
  if (type === undefined) return
  const features = featuresFromBitString(capture.features)
  const config = Uint8Array.from(Buffer.from(capture.config, 'hex'))
  const names = featureNames(features, type.features, content.features)
  const problems = [...type.checkFeatures(features), ...content.checkFeatures(features)]
  const rows: [string, string][] = [
    ['driver', `${capture.driver} in ${capture.origin.guest}, device of ${capture.origin.host}`],
    ['status', statusNames(Number(capture.status))],
    ['features', `${features} = ${names.length} bits`],
    ...names.map((name): [string, string] => ['', name]),
    ['requirements', problems.length === 0 ? 'all kept' : problems.map(({ feature, requires }) => `${feature} requires ${requires}`).join('; ')],
    ...type.describe(config, features),
  ]
  console.log(`\n${type.title} (id ${capture.deviceId}) over ${capture.transport}`)
  for (const [name, text] of rows) console.log(`  ${name.padEnd(14)} ${text}`)
}

const folder = new URL('../../test/fixtures/linux-guest/', import.meta.url)
for (const file of readdirSync(folder)
  .filter((name) => name.endsWith('.json'))
  .sort()) {
  print(JSON.parse(readFileSync(new URL(file, folder), 'utf8')) as Capture)
}
