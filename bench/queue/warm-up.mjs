// Real use, before anything is measured: block, network, entropy and console devices behind MMIO and their drivers, over both formats, with and without event
// index, in the same process. The engine sees chains of all shapes, and optimizes no queue for the benchmark alone.
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { BlkDriver } from 'virtgen/driver/blk'
import { ConsoleDriver } from 'virtgen/driver/console'
import { EntropyDriver } from 'virtgen/driver/entropy'
import { NetDriver } from 'virtgen/driver/net'
import { connectMmio, MmioDevice } from 'virtgen/mmio'
import { DriverMemory, GuestMemory } from 'virtgen/runtime'
import { BlkDevice } from 'virtgen/skeleton/blk'
import { ConsoleDevice } from 'virtgen/skeleton/console'
import { EntropyDevice } from 'virtgen/skeleton/entropy'
import { NetDevice } from 'virtgen/skeleton/net'
import { VIRTIO_BLK_S_IOERR, virtio_blk_size } from 'virtgen/wire/blk'
import { VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_RING_PACKED, VIRTIO_F_VERSION_1 } from 'virtgen/wire/content'
import { createDeviceQueue, formats } from './library.mjs'

const { sector_bytes } = virtio_blk_size
const rounds = 200
const memoryBytes = 1 << 22

class Disk extends BlkDevice {
  #bytes = new Uint8Array(128 * sector_bytes)

  read({ header, writable }) {
    const start = header.sector * sector_bytes
    if (start + writable.length > this.#bytes.length) return VIRTIO_BLK_S_IOERR
    writable.copyFrom(this.#bytes, start, start + writable.length)
  }
  write({ header, readable }) {
    const start = header.sector * sector_bytes
    if (start + readable.length > this.#bytes.length) return VIRTIO_BLK_S_IOERR
    readable.copyTo(this.#bytes, start, start + readable.length)
  }
  flush() {}
  getId({ reply }) {
    reply.id = new Uint8Array(20)
  }
}

class Card extends NetDevice {
  #packet = new Uint8Array(65536)

  /** What is sent comes back. */
  transmit({ readable }) {
    const length = readable.copyTo(this.#packet)
    this.sendPacket(0, {}, this.#packet.subarray(0, length))
  }
}

class Dice extends EntropyDevice {
  read({ writable }) {
    writable.fill(4)
  }
}

class Echo extends ConsoleDevice {
  #line = new Uint8Array(65536)

  output({ readable }) {
    const length = readable.copyTo(this.#line)
    this.sendInput(0, this.#line.subarray(0, length))
  }
}

/** What the drivers do in a round; lengths change from round to round. */
const uses = [
  {
    make: () => new Disk({ config: { capacity: 128 } }),
    driver: BlkDriver,
    async use(driver, round) {
      const bytes = new Uint8Array(sector_bytes * (1 + (round % 8))).fill(round)
      await driver.write({ sector: round % 64 }, bytes)
      await Promise.all([driver.read({ sector: round % 64 }, bytes.length), driver.read({ sector: 0 }, sector_bytes), driver.flush(), driver.getId()])
    },
  },
  {
    make: () => new Card(),
    driver: NetDriver,
    begin: (driver) => driver.onPacket(() => {}),
    use: (driver, round) => driver.transmit({}, new Uint8Array(60 + ((round * 97) % 1400))),
  },
  { make: () => new Dice(), driver: EntropyDriver, use: (driver, round) => driver.read(1 + ((round * 7) % 512)) },
  {
    make: () => new Echo(),
    driver: ConsoleDriver,
    begin: (driver) => driver.onInput(() => {}),
    use: (driver, round) => driver.output(new Uint8Array(1 + (round % 80))),
  },
]

async function run({ make, driver: type, begin, use }, ringFeatures) {
  const memory = GuestMemory.of(new Uint8Array(memoryBytes))
  let raise = () => {}
  const slot = new MmioDevice(make(), { memory, ringFeatures, createQueue: createDeviceQueue, interrupt: (level) => level && raise() })
  const { driver, interrupt } = await connectMmio(slot, type, { memory: new DriverMemory(memory, 0, memoryBytes) })
  if (!ringFeatures.isSubsetOf(driver.features)) throw new Error(`the driver took ${driver.features} of ${ringFeatures}`)
  raise = interrupt
  begin?.(driver)
  for (let round = 0; round < rounds; round++) await use(driver, round)
  await driver.close()
}

export async function warmUp() {
  for (const format of formats) {
    for (const more of [[], [VIRTIO_F_EVENT_IDX], [VIRTIO_F_INDIRECT_DESC], [VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC]]) {
      const features = FeatureSet.of(VIRTIO_F_VERSION_1, ...(format === 'packed' ? [VIRTIO_F_RING_PACKED] : []), ...more)
      for (const one of uses) await run(one, features)
    }
  }
}
