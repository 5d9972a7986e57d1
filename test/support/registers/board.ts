/** A device in a machine whose modules were loaded together: they may be those of another map of registers. */
import type { RegisterMap } from 'virtgen/codegen/v1/wire'

/** What every board needs. Load the module with the map before it: whoever asks for a module in whose place another is being put gets the original. */
export async function loadCore() {
  const [{ FeatureSet }, content, { GuestMemory }, { DummyDevice, useAll }] = await Promise.all([
    import('virtgen/codegen/v1/wire'),
    import('virtgen/wire/content'),
    import('../../../runtime/memory.ts'),
    import('../dummy-device.ts'),
  ])
  return { FeatureSet, content, GuestMemory, DummyDevice, useAll }
}
export type Core = Awaited<ReturnType<typeof loadCore>>

/** Shared memory of every board's device; longer than 32 bits can say. */
export const region = { id: 3, length: 0x1_0000_2000 }
/** Where queue 0 is, as a legacy driver lays it out: 8 entries, from page 1 on, and the used ring on page 2. */
export const queuePage = 1
const pageSize = 0x1000

export class Board<Modules extends Core> {
  readonly modules: Modules
  readonly bytes = new Uint8Array(0x4000)
  readonly memory: InstanceType<Core['GuestMemory']>
  /** Queue 0 has 8 entries, queue 2 has 4, and there is no queue 1. PCI has another queue for administration. */
  readonly device: InstanceType<Core['DummyDevice']>
  /** Level of the interrupt. */
  line = false

  constructor(modules: Modules, { id = 42, queues = [8, 0, 4] }: { id?: number; queues?: readonly number[] } = {}) {
    this.modules = modules
    class SharingDevice extends modules.DummyDevice {
      override readonly id = id as 42
      override readonly sharedMemory = [region]
    }
    this.device = new SharingDevice(queues)
    this.device.onQueue = modules.useAll
    this.memory = modules.GuestMemory.of(this.bytes)
  }

  readonly interrupt = (level: boolean): void => {
    this.line = level
  }

  /** A buffer of 4 bytes in queue 0 for the device to write. */
  offer(): void {
    const view = new DataView(this.bytes.buffer)
    const at = queuePage * pageSize
    view.setUint32(at, 0x3000, true)
    view.setUint32(at + 8, 4, true)
    view.setUint16(at + 12, 2, true)
    const index = at + 8 * 16 + 2
    view.setUint16(index, view.getUint16(index, true) + 1, true)
  }

  /** What a driver of now writes for queue 0. */
  readonly areas = { descriptorArea: pageSize, driverArea: pageSize + 8 * 16, deviceArea: 2 * pageSize }
}

/** A driver's hands on the registers of a map. Of 64 bits, `get` and `set` are about the low half. */
export class Hands<Name extends string> {
  readonly #map: RegisterMap
  readonly #window: { read(offset: number, width: number): number; write(offset: number, width: number, value: number): void }

  constructor(map: RegisterMap, window: { read(offset: number, width: number): number; write(offset: number, width: number, value: number): void }) {
    this.#map = map
    this.#window = window
  }

  #place(name: Name): [offset: number, width: number] {
    const register = this.#map[name]
    if (register === undefined) throw new Error(`the map has no register ${name}`)
    return [register.offset, Math.min(register.width, 4)]
  }
  get(name: Name): number {
    return this.#window.read(...this.#place(name))
  }
  set(name: Name, value: number): void {
    this.#window.write(...this.#place(name), value)
  }
  getHigh(name: Name): number {
    return this.#window.read(this.#place(name)[0] + 4, 4)
  }
  setHigh(name: Name, value: number): void {
    this.#window.write(this.#place(name)[0] + 4, 4, value)
  }
}
