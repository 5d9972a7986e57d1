/** The control registers, as a driver uses them. VIRTIO 1.4, Virtio Over MMIO / MMIO Device Register Layout. */
import { FeatureSet, type RegisterInfo } from 'virtgen/codegen/v1/wire'
import { virtio_mmio } from 'virtgen/wire/transport-mmio'
import { DriverError } from '../driver/host.ts'

/** Where a device is: reads and writes at offsets from its first register. Values are unsigned and little-endian. */
export interface MmioBus {
  read(offset: number, width: 1 | 2 | 4): number
  write(offset: number, width: 1 | 2 | 4, value: number): void
}

/** How long a driver waits for a reset. */
export interface Patience {
  /** Looks at the device at most. */
  readonly polls: number
  /** Between two of them. */
  readonly pause: () => Promise<void>
}

const bitsPerWord = 32
const featureWords = 4
/** Words that every device has. */
const ordinaryWords = 2

export class MmioRegisters {
  readonly bus: MmioBus

  constructor(bus: MmioBus) {
    this.bus = bus
  }

  /** The driver MUST only use 32 bit wide and aligned accesses. */
  read(register: RegisterInfo): number {
    return this.bus.read(register.offset, 4) >>> 0
  }

  write(register: RegisterInfo, value: number): void {
    this.bus.write(register.offset, 4, value >>> 0)
  }

  /** Writes an address into a pair of registers. */
  writeAddress(low: RegisterInfo, high: RegisterInfo, address: number): void {
    this.write(low, address % 2 ** bitsPerWord)
    this.write(high, Math.floor(address / 2 ** bitsPerWord))
  }

  get status(): number {
    return this.read(virtio_mmio.Status)
  }

  /** Sets a bit besides those that are set: the driver MUST NOT clear one. */
  setStatus(bit: number): void {
    this.write(virtio_mmio.Status, this.status | bit)
  }

  /**
   * Resets the device and waits until that is done: the driver SHOULD consider a reset complete when it reads device status as 0.
   *
   * @throws DriverError `reset` when it is not after so many looks
   */
  async reset(patience: Patience): Promise<void> {
    this.write(virtio_mmio.Status, 0)
    if (await becomesTrue(() => this.status === 0, patience)) return
    throw new DriverError('reset', `the device does not come back from a reset: its status is ${this.status} after ${patience.polls} looks`)
  }

  /**
   * Resets a queue and waits until that is done: the driver MUST NOT consider it complete until it reads back 0 in QueueReset.
   *
   * @throws DriverError `reset` when it does not after so many looks
   */
  async resetQueue(index: number, patience: Patience): Promise<void> {
    this.write(virtio_mmio.QueueSel, index)
    this.write(virtio_mmio.QueueReset, 1)
    const isDone = (): boolean => {
      // Selected anew: others do so in the pauses.
      this.write(virtio_mmio.QueueSel, index)
      return this.read(virtio_mmio.QueueReset) === 0
    }
    if (await becomesTrue(isDone, patience)) return
    throw new DriverError('reset', `queue ${index} does not come back from a reset: QueueReset is not 0 after ${patience.polls} looks`)
  }

  /** Reads the words of the offered features in which `wanted` has a bit. Others are not looked at: a device may repeat its words where it has no more of them. */
  readFeatures(wanted: FeatureSet): FeatureSet {
    let offered = FeatureSet.empty
    for (let word = 0; word < featureWords; word++) {
      if (word >= ordinaryWords && wanted.word(word) === 0) continue
      this.write(virtio_mmio.DeviceFeaturesSel, word)
      offered = offered.withWord(word, this.read(virtio_mmio.DeviceFeatures))
    }
    return offered
  }

  writeFeatures(accepted: FeatureSet): void {
    for (let word = 0; word < featureWords; word++) {
      if (word >= ordinaryWords && accepted.word(word) === 0) continue
      this.write(virtio_mmio.DriverFeaturesSel, word)
      this.write(virtio_mmio.DriverFeatures, accepted.word(word))
    }
  }
}

async function becomesTrue(look: () => boolean, { polls, pause }: Patience): Promise<boolean> {
  for (let i = 0; i < polls; i++) {
    if (look()) return true
    await pause()
  }
  return false
}
