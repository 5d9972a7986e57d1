/** Drivers behind registers that answer anything: the end is a client or a DriverError, after a bounded number of accesses. */
import { BlkDriver } from 'virtgen/driver/blk'
import { connectMmio } from 'virtgen/mmio'
import { connectPci, type PciFunction } from 'virtgen/pci'
import { DriverError, DriverMemory, GuestMemory } from 'virtgen/runtime'
import { randomNumbers } from 'virtgen/testing'
import { pci_header_capability_list, pci_header_device_id, pci_header_status, pci_header_vendor_id } from 'virtgen/wire/pci'
import {
  virtio_mmio_DeviceFeatures,
  virtio_mmio_DeviceID,
  virtio_mmio_InterruptStatus,
  virtio_mmio_MagicValue,
  virtio_mmio_QueueSizeMax,
  virtio_mmio_Version,
} from 'virtgen/wire/transport-mmio'
import { virtio_pci_common_cfg_device_feature, virtio_pci_common_cfg_num_queues, virtio_pci_common_cfg_queue_size } from 'virtgen/wire/transport-pci'
import { describe, expect, it } from 'vitest'

const runs = 400
/** Far more than any honest device needs; a configuration that never settles takes most of it. */
const mostAccesses = 30_000

/** Registers that forget what is written, mostly, and read as anything. */
class Liar {
  accesses = 0
  readonly #random: () => number
  readonly #honest: number
  readonly #usual: ReadonlyMap<number, number>
  readonly #written = new Map<number, number>()

  /**
   * @param honest - how often, of 8 times, a register reads what was written last
   * @param usual - or this, by the offset in its page, where nothing was written
   */
  constructor(random: () => number, honest: number, usual: ReadonlyMap<number, number>) {
    this.#random = random
    this.#honest = honest
    this.#usual = usual
  }

  next(most: number): number {
    return Math.floor(this.#random() * most)
  }

  read(offset: number, width: number): number {
    if (++this.accesses > mostAccesses) throw new Error('the driver goes on and on')
    const value =
      this.next(8) < this.#honest
        ? (this.#written.get(offset) ?? this.#usual.get(offset % 0x1000) ?? 0)
        : this.next(2) === 0
          ? this.next(4)
          : this.next(2 ** 32)
    return value % 2 ** (8 * width)
  }

  write(offset: number, value: number): void {
    if (++this.accesses > mostAccesses) throw new Error('the driver goes on and on')
    this.#written.set(offset, value)
  }
}

async function end(
  connecting: Promise<{ driver: BlkDriver; interrupt(vector?: number): boolean }>,
  liar: Liar,
  memory: DriverMemory,
): Promise<string> {
  try {
    const { driver, interrupt } = await connecting
    const request = driver.read({ sector: 1 }, 512).catch((error) => error)
    for (let i = 0; i < 20; i++) interrupt(liar.next(4))
    driver.close().catch(() => {})
    void request
    return 'connected'
  } catch (error) {
    if (!(error instanceof DriverError)) throw error
    if (error.kind !== 'reset' && error.kind !== 'needs-reset') expect(memory.available, error.kind).toBe(memory.end - memory.start)
    return error.kind
  }
}

const options = () => ({ memory: new DriverMemory(GuestMemory.of(new Uint8Array(1 << 18)), 0x1000, (1 << 18) - 0x1000), resetPolls: 20 })

/** VIRTIO_F_VERSION_1 in the second word, what bit 0 is in the first one. */
const usualFeatures = 0x2000_0001
const usualMmio = new Map<number, number>([
  [virtio_mmio_DeviceFeatures, usualFeatures],
  [virtio_mmio_QueueSizeMax, 64],
  [virtio_mmio_InterruptStatus, 3],
])
const usualPci = new Map<number, number>([
  [virtio_pci_common_cfg_device_feature, usualFeatures],
  [virtio_pci_common_cfg_num_queues, 4],
  [virtio_pci_common_cfg_queue_size, 64],
])

describe('whatever registers answer', () => {
  it('connectMmio ends, with a client or a DriverError', async () => {
    const seen = new Map<string, number>()
    for (let seed = 0; seed < runs; seed++) {
      const random = randomNumbers(seed)
      const liar = new Liar(random, 4 + (seed % 5), usualMmio)
      const isLegacy = seed % 3 === 0
      const fixed = new Map([
        [virtio_mmio_MagicValue, 0x7472_6976],
        [virtio_mmio_Version, isLegacy ? 1 : 2],
        [virtio_mmio_DeviceID, BlkDriver.deviceId],
      ] as [number, number][])
      const bus = {
        read: (offset: number, width: 1 | 2 | 4) => fixed.get(offset) ?? liar.read(offset, width),
        write: (offset: number, _width: 1 | 2 | 4, value: number) => liar.write(offset, value),
      }
      const choice = options()
      const kind = await end(connectMmio(bus, BlkDriver, { ...choice, interface: 'any' }), liar, choice.memory)
      seen.set(kind, (seen.get(kind) ?? 0) + 1)
    }
    expect([...seen.keys()].sort()).toEqual(expect.arrayContaining(['config', 'connected', 'feature', 'features-refused', 'needs-reset', 'queue']))
  })

  it('connectPci ends, whatever the configuration space says too', async () => {
    const seen = new Map<string, number>()
    for (let seed = 0; seed < runs; seed++) {
      const random = randomNumbers(seed)
      const liar = new Liar(random, 4 + (seed % 5), usualPci)
      const space = Uint8Array.from({ length: 256 }, () => liar.next(256))
      const view = new DataView(space.buffer)
      view.setUint16(pci_header_vendor_id, 0x1af4, true)
      view.setUint16(pci_header_device_id, seed % 2 ? 0x1042 : 0x1001, true)
      space[0x0e] = 0
      view.setUint16(0x2e, BlkDriver.deviceId, true)
      view.setUint16(pci_header_status, 0x10, true)
      space[pci_header_capability_list] = 0x40
      space[0x10] = 1
      // Some are nearly right: capabilities of all types in a row, at random places.
      if (seed % 4 > 0)
        for (let i = 0; i < 8; i++) {
          const at = 0x40 + 24 * i
          space.set(
            [
              i === 7 ? 0x11 : 9,
              i === 7 ? 0 : at + 24,
              liar.next(8) ? 24 : 8,
              [1, 2, 3, 4, 5, 8, 9, 0][i]!,
              liar.next(8) ? 0 : liar.next(256),
              0,
              0,
              0,
            ],
            at,
          )
          view.setUint32(at + 8, liar.next(4) * 0x1000, true)
          view.setUint32(at + 12, liar.next(8) ? 0x1000 : liar.next(0x40), true)
          view.setUint32(at + 16, liar.next(2) ? 4 : liar.next(2 ** 32), true)
        }
      const number = (offset: number, width: number): number => {
        let value = 0
        for (let i = width - 1; i >= 0; i--) value = value * 256 + space[offset + i]!
        return value
      }
      const fn: PciFunction = {
        readConfig: (offset, width) => number(offset, width),
        writeConfig: (offset, width, value) => {
          for (let i = 0; i < width; i++) space[offset + i] = value >>> (8 * i)
        },
        map: (bar, offset, length) => {
          if (bar > 5) throw new Error(`BAR ${bar}`)
          if (offset + length > 0x4000 || liar.next(16) === 0) return undefined
          const check = (from: number, width: number): number => {
            if (from + width > length || (offset + from) % width !== 0) throw new Error(`${width} bytes at ${from} of ${length}`)
            return offset + from
          }
          return {
            read: (from, width) => liar.read(check(from, width), width),
            write: (from, width, value) => liar.write(check(from, width), value),
          }
        },
      }
      const choice = {
        ...options(),
        vectors:
          seed % 5
            ? [
                { address: 0xfee0_0000, data: 1 },
                { address: 0xfee0_0000, data: 2 },
              ]
            : 3,
      }
      const kind = await end(connectPci(fn, BlkDriver, { ...choice, interface: seed % 3 ? 'any' : 'legacy' }), liar, choice.memory)
      seen.set(kind, (seen.get(kind) ?? 0) + 1)
    }
    expect([...seen.keys()].sort()).toEqual(
      expect.arrayContaining(['config', 'connected', 'feature', 'features-refused', 'layout', 'queue', 'vectors', 'version']),
    )
  })
})
