/** A disk to serve. */
import { constants } from 'node:buffer'
import { closeSync, openSync, readSync } from 'node:fs'
import { type Blk, type BlkBackend, type BlkOptions, OverlayBackend, RamBackend, ZeroBackend } from 'virtgen/devices/blk'
import type { VirtioDevice } from 'virtgen/runtime'
import { split_ring_limits } from 'virtgen/wire/split-ring'
import { LinuxFileBackend, type LinuxFileOptions } from '../linux-file-backend.ts'
import { blkKinds, MeasuredBlk } from './measured-blk.ts'
import { ServeError } from './serve-error.ts'
import type { Service } from './service.ts'
import type { BlkSettings, StorageSettings } from './settings.ts'
import { sizeText } from './size-text.ts'
import { Traffic } from './traffic.ts'

/** Front-ends choose the size of rings, and cannot ask: any that there can be. */
const queueSize = split_ring_limits.split_ring_max_queue_size
/** Fits into the smallest ring that is usual, 128 entries, without indirect tables. */
const segMax = 126
/** At work at the same time: as many as fit into the largest rings that are usual. */
const atOnce = 1024

interface Storage {
  readonly backend: BlkBackend
  /** The file below, if any. */
  readonly file?: LinuxFileBackend
  readonly title: string
  readonly warnings: readonly string[]
}

/** @throws ServeError, or an error of the system */
export function blkService(settings: BlkSettings, onError: (error: unknown) => void): Service {
  const { readOnly, queues, serial, blockSize } = settings
  const { backend, file, title, warnings } = storageOf(settings)
  const traffic = new Traffic(blkKinds, backend.synchronous !== true)
  const devices = new Set<Blk>()
  const options: BlkOptions = {
    ...{ readOnly, queues, queueSize, segMax, atOnce, onError },
    ...(serial === undefined ? {} : { serial }),
    ...(blockSize === undefined ? {} : { blockSize }),
  }
  return {
    title: `${readOnly ? 'read-only ' : ''}disk of ${sizeText(backend.size)}${title}`,
    warnings,
    // Two drivers that write to one disk destroy what is on it.
    maxConnections: readOnly || settings.storage.kind === 'null' ? Number.MAX_SAFE_INTEGER : 1,
    // A disk that answers slowly is waited for.
    drainTimeout: 30_000,
    device: () => {
      const device = new MeasuredBlk(backend, options, traffic)
      devices.add(device)
      return device
    },
    gone: (device: VirtioDevice) => void devices.delete(device as Blk),
    metrics: () => [
      ...traffic.metrics('virtgen_blk'),
      { name: 'virtgen_blk_size_bytes', help: 'Size of the disk.', type: 'gauge', samples: [{ labels: {}, value: backend.size }] },
      ...(backend instanceof OverlayBackend
        ? [
            {
              name: 'virtgen_blk_overlay_bytes',
              help: 'Memory that what was written takes.',
              type: 'gauge' as const,
              samples: [{ labels: {}, value: backend.allocated }],
            },
          ]
        : []),
    ],
    totals: () => ({ requests: traffic.requests, bytes: traffic.bytes }),
    ...(file !== undefined && backend === file
      ? {
          resize: () => {
            file.measure()
            for (const device of devices) device.updateCapacity()
            return file.size
          },
        }
      : {}),
    close: () => file?.close(),
  }
}

function storageOf({ storage, readOnly, discard }: BlkSettings): Storage {
  if (storage.kind === 'ram') return { backend: ramOf(storage.size), title: ' in memory', warnings: [] }
  if (storage.kind === 'null') return { backend: new ZeroBackend(storage.size), title: ' that keeps nothing', warnings: [] }
  const { kind, path, size, asynchronous } = storage
  const warnings = warningsOf(storage)
  if (kind === 'file') {
    const file = fileOf(path, { readOnly, asynchronous, discard, ...(size === undefined ? {} : { size }) })
    return { backend: file, file, title: ` in ${path}`, warnings }
  }
  const file = fileOf(path, { readOnly: true, asynchronous })
  return {
    backend: new OverlayBackend(file, size === undefined ? {} : { size }),
    file,
    title: ` over ${path}, what is written stays in memory`,
    warnings,
  }
}

function fileOf(path: string, options: LinuxFileOptions): LinuxFileBackend {
  try {
    return new LinuxFileBackend(path, options)
  } catch (error) {
    throw error instanceof RangeError ? new ServeError(error.message, 'a disk is a file, or a block device') : error
  }
}

function ramOf(size: number): RamBackend {
  try {
    return new RamBackend(size)
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    throw new ServeError(
      `there is no memory for a disk of ${sizeText(size)}`,
      `Node ${process.versions.node} has arrays of up to ${sizeText(constants.MAX_LENGTH)}`,
    )
  }
}

/** The beginning of images that are not raw. */
const formats: readonly (readonly [magic: string, name: string])[] = [
  ['QFI\xfb', 'qcow2'],
  ['vhdxfile', 'vhdx'],
  ['KDMV', 'vmdk'],
]

function warningsOf(storage: StorageSettings & { readonly path: string }): string[] {
  const head = Buffer.alloc(8)
  let fd: number
  try {
    fd = openSync(storage.path, 'r')
  } catch {
    // It may be made yet.
    return []
  }
  try {
    readSync(fd, head, 0, head.length, 0)
  } finally {
    closeSync(fd)
  }
  const format = formats.find(([magic]) => head.toString('latin1').startsWith(magic))
  return format === undefined
    ? []
    : [`${storage.path} looks like an image of ${format[1]}, and is served as it is: qemu-img convert -O raw makes a disk of it`]
}
