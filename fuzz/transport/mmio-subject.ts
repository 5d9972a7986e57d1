/** Virtio Over MMIO, as a driver uses it. */
import type { RegisterInfo } from 'virtgen/codegen/v1/wire'
import { virtio_mmio } from 'virtgen/wire/transport-mmio'
import type { VirtioDevice } from '../../runtime/device.ts'
import { MmioDevice } from '../../runtime/mmio/device.ts'
import { type MmioDeviceState, restoreMmioDevice, saveMmioDevice } from '../../runtime/mmio/device-state.ts'
import type { MmioWindow } from '../../runtime/mmio/window.ts'
import type { QueueSetup } from '../../runtime/queue.ts'
import { type Subject, type SubjectSettings, selectors, type Window } from './subject.ts'

const word = 0x1_0000_0000
const offsets = Object.values(virtio_mmio).map(({ offset }) => offset)
const banked: readonly (readonly [selector: RegisterInfo, registers: readonly RegisterInfo[]])[] = [
  [virtio_mmio.DeviceFeaturesSel, [virtio_mmio.DeviceFeatures]],
  [virtio_mmio.DriverFeaturesSel, []],
  [virtio_mmio.QueueSel, [virtio_mmio.QueueSizeMax, virtio_mmio.QueueReady, virtio_mmio.QueueReset]],
  [virtio_mmio.SHMSel, [virtio_mmio.SHMLenLow, virtio_mmio.SHMLenHigh, virtio_mmio.SHMBaseLow, virtio_mmio.SHMBaseHigh]],
]

/** The registers, all of them in one window. */
export function windowOf(slot: MmioWindow, offsets: readonly number[]): Window {
  const { size } = slot
  return { name: 'registers', size, offsets, parts: [[0, size]], read: (...at) => slot.read(...at), write: (...at) => slot.write(...at) }
}

/** A shared memory region that the guest does not see. */
const hiddenRegion = 2

export class MmioSubject implements Subject {
  readonly windows: readonly Window[]
  readonly #slot: MmioDevice

  constructor(device: VirtioDevice, { interrupted, variant, ...settings }: SubjectSettings) {
    const slot = new MmioDevice(device, {
      ...settings,
      interrupt: (level) => interrupted(level ? 1 : 0),
      ...(variant % 2 === 0 && { sharedMemory: ({ id }) => (id === hiddenRegion ? undefined : 2 ** 40 + id * 2 ** 32) }),
    })
    this.#slot = slot
    this.windows = [windowOf(slot, offsets)]
  }

  get control() {
    return this.#slot.control
  }

  #get({ offset }: RegisterInfo): number {
    return this.#slot.read(offset, 4)
  }
  #set({ offset }: RegisterInfo, value: number): void {
    this.#slot.write(offset, 4, value)
  }
  #setAddress(low: RegisterInfo, high: RegisterInfo, address: number): void {
    this.#set(low, address % word)
    this.#set(high, Math.floor(address / word))
  }

  get status(): number {
    return this.#get(virtio_mmio.Status)
  }
  set status(value: number) {
    this.#set(virtio_mmio.Status, value)
  }

  offered(index: number): number {
    this.#set(virtio_mmio.DeviceFeaturesSel, index)
    return this.#get(virtio_mmio.DeviceFeatures)
  }
  accept(index: number, value: number): void {
    this.#set(virtio_mmio.DriverFeaturesSel, index)
    this.#set(virtio_mmio.DriverFeatures, value)
  }

  setUpQueue({ index, size, descriptorArea, driverArea, deviceArea }: QueueSetup): void {
    this.#set(virtio_mmio.QueueSel, index)
    this.#set(virtio_mmio.QueueSize, size)
    this.#setAddress(virtio_mmio.QueueDescLow, virtio_mmio.QueueDescHigh, descriptorArea)
    this.#setAddress(virtio_mmio.QueueDriverLow, virtio_mmio.QueueDriverHigh, driverArea)
    this.#setAddress(virtio_mmio.QueueDeviceLow, virtio_mmio.QueueDeviceHigh, deviceArea)
    this.#set(virtio_mmio.QueueReady, 1)
  }
  stopQueue(index: number): void {
    this.#set(virtio_mmio.QueueSel, index)
    this.#set(virtio_mmio.QueueReady, 0)
  }
  resetQueue(index: number): void {
    this.#set(virtio_mmio.QueueSel, index)
    this.#set(virtio_mmio.QueueReset, 1)
  }

  notify(_index: number, value: number): void {
    this.#set(virtio_mmio.QueueNotify, value)
  }
  acknowledge(): boolean {
    const events = this.#get(virtio_mmio.InterruptStatus)
    this.#set(virtio_mmio.InterruptACK, events)
    return events !== 0
  }

  probe(see: (value: number) => void): void {
    for (const [selector, registers] of banked) {
      for (const value of selectors) {
        this.#set(selector, value)
        for (const register of registers) see(this.#get(register))
      }
      this.#set(selector, 0)
    }
  }

  powerOn(): void {
    void this.#slot.powerOnReset()
  }

  save(): unknown {
    return saveMmioDevice(this.#slot)
  }
  restore(state: unknown): void {
    restoreMmioDevice(this.#slot, state as MmioDeviceState)
  }
}
