/** The legacy registers of Virtio Over MMIO, as a driver uses them. */
import type { RegisterInfo } from 'virtgen/codegen/v1/wire'
import { virtio_mmio_legacy } from 'virtgen/wire/transport-mmio'
import type { VirtioDevice } from '../../runtime/device.ts'
import type { DeviceControl } from '../../runtime/device-control.ts'
import { LegacyMmioDevice } from '../../runtime/mmio/legacy-device.ts'
import { type LegacyMmioDeviceState, restoreLegacyMmioDevice, saveLegacyMmioDevice } from '../../runtime/mmio/legacy-device-state.ts'
import type { QueueSetup } from '../../runtime/queue.ts'
import type { TestMemory } from '../../runtime/testing/memory.ts'
import { legacyPage, legacyPlace } from './legacy-place.ts'
import { windowOf } from './mmio-subject.ts'
import { type Subject, type SubjectSettings, selectors, type Window } from './subject.ts'

const offsets = Object.values(virtio_mmio_legacy).map(({ offset }) => offset)

export class LegacyMmioSubject implements Subject {
  readonly windows: readonly Window[]
  readonly #slot: LegacyMmioDevice

  constructor(device: VirtioDevice, { interrupted, variant: _, ...settings }: SubjectSettings) {
    this.#slot = new LegacyMmioDevice(device, { ...settings, interrupt: (level) => interrupted(level ? 1 : 0) })
    this.windows = [windowOf(this.#slot, offsets)]
  }

  get control(): DeviceControl {
    return this.#slot.control
  }

  #get({ offset }: RegisterInfo): number {
    return this.#slot.read(offset, 4)
  }
  #set({ offset }: RegisterInfo, value: number): void {
    this.#slot.write(offset, 4, value)
  }

  prepare(): void {
    this.#set(virtio_mmio_legacy.GuestPageSize, legacyPage)
  }

  get status(): number {
    return this.#get(virtio_mmio_legacy.Status)
  }
  set status(value: number) {
    this.#set(virtio_mmio_legacy.Status, value)
  }

  offered(index: number): number {
    this.#set(virtio_mmio_legacy.HostFeaturesSel, index)
    return this.#get(virtio_mmio_legacy.HostFeatures)
  }
  accept(index: number, value: number): void {
    this.#set(virtio_mmio_legacy.GuestFeaturesSel, index)
    this.#set(virtio_mmio_legacy.GuestFeatures, value)
  }

  place(memory: TestMemory, size: number) {
    return legacyPlace(memory, size)
  }
  setUpQueue({ index, size, descriptorArea }: QueueSetup): void {
    this.#set(virtio_mmio_legacy.QueueSel, index)
    this.#set(virtio_mmio_legacy.QueueSize, size)
    this.#set(virtio_mmio_legacy.QueueAlign, legacyPage)
    this.#set(virtio_mmio_legacy.QueuePFN, descriptorArea / legacyPage)
  }
  stopQueue(index: number): void {
    this.#set(virtio_mmio_legacy.QueueSel, index)
    this.#set(virtio_mmio_legacy.QueuePFN, 0)
  }
  resetQueue(index: number): void {
    this.stopQueue(index)
  }

  notify(index: number): void {
    this.#set(virtio_mmio_legacy.QueueNotify, index)
  }
  acknowledge(): boolean {
    const events = this.#get(virtio_mmio_legacy.InterruptStatus)
    this.#set(virtio_mmio_legacy.InterruptACK, events)
    return events !== 0
  }

  probe(see: (value: number) => void): void {
    for (const value of selectors) {
      see(this.offered(value))
      this.#set(virtio_mmio_legacy.QueueSel, value)
      see(this.#get(virtio_mmio_legacy.QueueSizeMax))
      see(this.#get(virtio_mmio_legacy.QueuePFN))
    }
    this.#set(virtio_mmio_legacy.HostFeaturesSel, 0)
    this.#set(virtio_mmio_legacy.QueueSel, 0)
  }

  powerOn(): void {
    void this.#slot.powerOnReset()
  }
  takeOver({ save }: Subject, isPoweredOn: boolean): void {
    if (!isPoweredOn) this.#set(virtio_mmio_legacy.GuestPageSize, (save() as LegacyMmioDeviceState).guestPageSize)
  }
  save = (): unknown => saveLegacyMmioDevice(this.#slot)
  restore(state: unknown): void {
    restoreLegacyMmioDevice(this.#slot, state as LegacyMmioDeviceState)
  }
}
