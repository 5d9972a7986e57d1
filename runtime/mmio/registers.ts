/** The control registers, as a driver uses them. VIRTIO 1.4, Virtio Over MMIO / MMIO Device Register Layout. */
import { FeatureSet, type RegisterInfo } from 'virtgen/codegen/v1/wire'
import { virtio_mmio } from 'virtgen/wire/transport-mmio'
import { DriverError } from '../driver/host.ts'

/** Where a device is: reads and writes at offsets from its first register. Values are unsigned and little-endian. */
export interface MmioBus {
  read(offset: number, width: 1 | 2 | 4): number
  write(offset: number, width: 1 | 2 | 4, value: number): void
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
  async reset(polls: number, pause: () => Promise<void>): Promise<void> {
    this.write(virtio_mmio.Status, 0)
    for (let i = 0; i < polls; i++) {
      if (this.status === 0) return
      await pause()
    }
    throw new DriverError('reset', `the device does not come back from a reset: its status is ${this.status} after ${polls} looks`)
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

/** Largest power of 2 up to a number. */
export function powerOf2(most: number): number {
  return 2 ** Math.floor(Math.log2(most))
}
