/** Four devices on their generated skeletons, small but whole: a disk in memory, a network and a console that send back what they get, and a source of bytes. */
import type { DeviceRequest, Outcome } from 'virtgen/runtime'
import {
  BlkDevice,
  type BlkDeviceOptions,
  type BlkFlushRequest,
  type BlkGetIdRequest,
  type BlkReadRequest,
  type BlkWriteRequest,
} from 'virtgen/skeleton/blk'
import { ConsoleDevice, type ConsoleDeviceOptions, type ConsoleOutputRequest } from 'virtgen/skeleton/console'
import { EntropyDevice, type EntropyDeviceOptions, type EntropyReadRequest } from 'virtgen/skeleton/entropy'
import { NetDevice, type NetDeviceOptions, type NetTransmitRequest } from 'virtgen/skeleton/net'
import { VIRTIO_BLK_F_BLK_SIZE, VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_MQ, VIRTIO_BLK_S_IOERR, virtio_blk_size } from 'virtgen/wire/blk'
import { VIRTIO_CONSOLE_F_EMERG_WRITE, VIRTIO_CONSOLE_F_SIZE } from 'virtgen/wire/console'
import { VIRTIO_NET_F_MAC, VIRTIO_NET_F_STATUS } from 'virtgen/wire/net'

const { sector_bytes } = virtio_blk_size

/** What a request does where a test says so, in place of what it does by itself. */
export type Instead = ((request: DeviceRequest & { readonly writable?: { bytes(i: number): Uint8Array } }) => Outcome) | undefined

/** 16 sectors. */
export class RamDisk extends BlkDevice {
  readonly bytes = new Uint8Array(16 * sector_bytes)
  instead: Instead

  constructor(options: BlkDeviceOptions = {}) {
    super({
      features: [VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_BLK_SIZE, VIRTIO_BLK_F_MQ],
      config: { capacity: 16, blk_size: sector_bytes, num_queues: 2 },
      ...options,
    })
  }

  protected override read(request: BlkReadRequest): Outcome {
    if (this.instead) return this.instead(request)
    const at = request.header.sector * sector_bytes
    if (at + request.writable.length > this.bytes.length) return VIRTIO_BLK_S_IOERR
    request.writable.copyFrom(this.bytes, at, at + request.writable.length)
  }
  protected override write({ header, readable }: BlkWriteRequest): Outcome {
    const at = header.sector * sector_bytes
    if (at + readable.length > this.bytes.length) return VIRTIO_BLK_S_IOERR
    readable.copyTo(this.bytes, at)
  }
  protected override flush(_request: BlkFlushRequest): Outcome {}
  protected override getId({ reply }: BlkGetIdRequest): Outcome {
    reply.id.set(new TextEncoder().encode('ram'))
  }
}

/** Every packet comes back on the receive queue of its pair. */
export class MirrorNet extends NetDevice {
  constructor(options: NetDeviceOptions = {}) {
    super({ features: [VIRTIO_NET_F_MAC, VIRTIO_NET_F_STATUS], config: { mac: Uint8Array.of(2, 0, 0, 0, 0, 1), status: 1 }, ...options })
  }
  protected override transmit({ readable, queue }: NetTransmitRequest): Outcome {
    const packet = new Uint8Array(readable.length)
    readable.copyTo(packet)
    this.sendPacket(queue.index - 1, {}, packet)
  }
}

/** What is written comes back as input. */
export class EchoConsole extends ConsoleDevice {
  constructor(options: ConsoleDeviceOptions = {}) {
    super({ features: [VIRTIO_CONSOLE_F_SIZE, VIRTIO_CONSOLE_F_EMERG_WRITE], config: { cols: 80, rows: 25 }, ...options })
  }
  protected override output({ readable }: ConsoleOutputRequest): Outcome {
    const text = new Uint8Array(readable.length)
    readable.copyTo(text)
    this.sendInput(0, text)
  }
  resize(cols: number, rows: number): void {
    this.config.update((config) => {
      config.cols = cols
      config.rows = rows
    })
  }
}

/** 0, 1, 2, … */
export class Counter extends EntropyDevice {
  next = 0
  instead: Instead

  constructor(options: EntropyDeviceOptions = {}) {
    super(options)
  }
  protected override read(request: EntropyReadRequest): Outcome {
    if (this.instead) return this.instead(request)
    request.writable.copyFrom(Uint8Array.from({ length: request.writable.length }, () => this.next++))
  }
}
