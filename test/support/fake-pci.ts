/** A virtio PCI function that does what a test tells it: records every access of its registers, and throws where the driver does what it must not. */
import { FeatureSet, type RegisterInfo, type RegisterMap } from 'virtgen/codegen/v1/wire'
import { DEVICE_NEEDS_RESET, DRIVER_OK, FEATURES_OK, VIRTIO_F_EVENT_IDX, VIRTIO_F_SR_IOV, VIRTIO_F_VERSION_1 } from 'virtgen/wire/content'
import {
  PCI_CAP_ID_MSIX,
  PCI_CAP_ID_VNDR,
  PCI_COMMAND_IO,
  PCI_COMMAND_MASTER,
  PCI_COMMAND_MEMORY,
  PCI_MSIX_FLAGS_ENABLE,
  PCI_STATUS_CAP_LIST,
} from 'virtgen/wire/pci'
import { virtio_pci_common_cfg, virtio_pci_legacy_header } from 'virtgen/wire/transport-pci'
import type { PciFunction, RegisterBus } from '../../runtime/pci/function.ts'

export interface FakeCapability {
  id?: number
  type?: number
  bar?: number
  capId?: number
  offset?: number
  length?: number
  /** `cap_len`, and the pointer to the next one, where they are to be wrong. */
  capLength?: number
  next?: number
  /** 32-bit words behind the 16 bytes. */
  more?: readonly number[]
}

export interface FakePciScript {
  vendor?: number
  device?: number
  subsystem?: number
  headerType?: number
  capabilities?: FakeCapability[]
  capabilityStatus?: number
  features?: FeatureSet
  sizes?: number[]
  numQueues?: number
  enabledBefore?: boolean
  acceptsFeatures?: boolean
  resetLooks?: number
  needsReset?: boolean
  queueResetLooks?: number
  onConfigRead?: () => void
  notifyOffset?: (queue: number) => number
  configData?: (queue: number) => number
  refusesVector?: (event: number | 'config') => boolean
  /** MSI-X vectors; 0: no capability. */
  vectors?: number
  msixTable?: number
  /** BARs that `map` reaches; all by default. */
  reachable?: number[]
  /** What the Base Address Registers say. */
  bars?: readonly number[]
}

export const structures = {
  common: { type: 1, bar: 4, offset: 0, length: 0x1000 },
  isr: { type: 3, bar: 4, offset: 0x1000, length: 0x1000 },
  device: { type: 4, bar: 4, offset: 0x2000, length: 0x1000 },
  notify: { type: 2, bar: 4, offset: 0x3000, length: 0x1000, more: [4] },
  window: { type: 5, bar: 0, offset: 0, length: 0, more: [0] },
} as const satisfies Record<string, FakeCapability>

export const defaultCapabilities: FakeCapability[] = Object.values(structures)

const sizes = [0x40, 0x1000, 0, 0, 0x4000, 0]
/** The first two, and the last, which has 64 bits. */
const addresses = [0xc000 | 1, 0xfe00_0000, 0, 0, 0x0000_000c, 8]
const noVector = 0xffff

export class FakePci implements PciFunction {
  readonly log: string[] = []
  readonly script: FakePciScript
  readonly space = new Uint8Array(256)
  readonly config = Uint8Array.from([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
  readonly table = new Uint32Array(0x400)
  generation = 0
  status = 0
  isr = 0
  accepted = FeatureSet.empty
  readonly queues: Record<string, number>[] = []
  readonly notified: [number, number, number][] = []
  readonly maps: [number, number, number][] = []
  configVector = noVector
  #selected: Record<string, number> = {}
  #looks = 0
  #legacyUsed = false
  windowAt = 0
  msixAt = 0

  constructor(script: FakePciScript = {}) {
    this.script = script
    const view = new DataView(this.space.buffer)
    view.setUint16(0, script.vendor ?? 0x1af4, true)
    view.setUint16(2, script.device ?? 0x1040 + 42, true)
    view.setUint16(6, script.capabilityStatus ?? PCI_STATUS_CAP_LIST, true)
    view.setUint8(0x0e, script.headerType ?? 0)
    view.setUint16(0x2e, script.subsystem ?? 0x1100, true)
    for (const [i, address] of (script.bars ?? addresses).entries()) view.setUint32(0x10 + 4 * i, address, true)
    this.#capabilities(view)
  }

  #capabilities(view: DataView): void {
    const { vectors = 0, msixTable = 1 } = this.script
    let at = 0x40
    let pointer = 0x34
    if (vectors > 0) {
      this.msixAt = at
      this.space.set([PCI_CAP_ID_MSIX, 0], at)
      view.setUint16(at + 2, vectors - 1, true)
      view.setUint32(at + 4, msixTable, true)
      this.space[pointer] = at
      pointer = at + 1
      at += 12
    }
    for (const each of this.script.capabilities ?? defaultCapabilities) {
      const more = each.more ?? []
      const length = 16 + 4 * more.length
      this.space[pointer] = at
      this.space.set([each.id ?? PCI_CAP_ID_VNDR, each.next ?? 0, each.capLength ?? length, each.type ?? 0, each.bar ?? 0, each.capId ?? 0], at)
      view.setUint32(at + 8, each.offset ?? 0, true)
      view.setUint32(at + 12, each.length ?? 0, true)
      for (const [i, word] of more.entries()) view.setUint32(at + 16 + 4 * i, word, true)
      if (each.type === 5) this.windowAt = at
      pointer = each.next === undefined ? at + 1 : 0xff
      at += length
    }
  }

  get command(): number {
    return this.space[4]! | (this.space[5]! << 8)
  }

  get offered(): FeatureSet {
    return this.script.features ?? FeatureSet.of(VIRTIO_F_VERSION_1, VIRTIO_F_EVENT_IDX, VIRTIO_F_SR_IOV, 0, 5)
  }

  get msixEnabled(): boolean {
    return this.msixAt > 0 && ((this.space[this.msixAt + 3]! << 8) & PCI_MSIX_FLAGS_ENABLE) !== 0
  }

  // ---- Configuration space

  readConfig(offset: number, width: 1 | 2 | 4): number {
    if (offset + width > 256 || offset % width !== 0) throw new Error(`configuration read of ${width} bytes at ${offset}`)
    if (this.windowAt > 0 && offset === this.windowAt + 16) return this.#window().read(0, width)
    return this.#number(offset, width)
  }

  #number(offset: number, width: number): number {
    let value = 0
    for (let i = width - 1; i >= 0; i--) value = value * 256 + this.space[offset + i]!
    return value
  }

  writeConfig(offset: number, width: 1 | 2 | 4, value: number): void {
    if (value < 0 || offset % width !== 0) throw new Error(`configuration write of ${value} in ${width} bytes at ${offset}`)
    if (this.windowAt > 0 && offset === this.windowAt + 16) this.#window().write(0, width, value)
    else for (let i = 0; i < width; i++) this.space[offset + i] = value >>> (8 * i)
    if (offset === 4) this.log.push(`command <- ${value}`)
    if (this.msixAt > 0 && offset === this.msixAt + 2) this.log.push(`msix <- ${value.toString(16)}`)
  }

  #window(): RegisterBus {
    const length = this.#number(this.windowAt + 12, 4)
    const offset = this.#number(this.windowAt + 8, 4)
    if (![1, 2, 4].includes(length) || offset % length !== 0) throw new Error(`window of ${length} bytes at ${offset}`)
    return this.#bar(this.space[this.windowAt + 4]!, offset, length)
  }

  // ---- BARs

  map(bar: number, offset: number, length: number): RegisterBus | undefined {
    this.maps.push([bar, offset, length])
    if (bar > 5) throw new Error(`there is no BAR ${bar}`)
    if (this.script.reachable?.includes(bar) === false || offset + length > (sizes[bar] ?? 0)) return undefined
    const decodes = bar === 0 ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY
    if ((this.command & decodes) === 0) throw new Error(`BAR ${bar} does not decode`)
    return this.#bar(bar, offset, length)
  }

  #bar(bar: number, start: number, length: number): RegisterBus {
    const check = (offset: number, width: number): number => {
      if (offset < 0 || offset + width > length) throw new Error(`access of ${width} bytes at ${offset} beyond ${length} mapped ones`)
      if (start + offset + width > (sizes[bar] ?? 0)) throw new Error(`access beyond BAR ${bar}`)
      return start + offset
    }
    return {
      read: (offset, width) => this.#readBar(bar, check(offset, width), width),
      write: (offset, width, value) => this.#writeBar(bar, check(offset, width), width, value),
    }
  }

  #place(bar: number, offset: number): [string, number] {
    if (bar === 0) return ['legacy', offset]
    if (bar === 1) return ['table', offset]
    return [(['common', 'isr', 'device', 'notify'] as const)[offset >> 12]!, offset & 0xfff]
  }

  #readBar(bar: number, at: number, width: number): number {
    const [region, offset] = this.#place(bar, at)
    const [name, value] = this.#readRegion(region, offset, width)
    this.log.push(`${name} -> ${value}`)
    return value
  }

  #readRegion(region: string, offset: number, width: number): [string, number] {
    if (region === 'common') return this.#register(virtio_pci_common_cfg, offset, width, 'r', (name) => this.#readCommon(name))
    if (region === 'isr') return ['isr', this.#readIsr()]
    if (region === 'device') return [`config+${offset}/${width}`, this.#readDevice(offset, width)]
    if (region === 'table') return [`table+${offset}`, this.table[offset / 4]!]
    if (region === 'notify') throw new Error('the place of notifications is read')
    const start = this.msixEnabled ? 24 : 20
    if (offset >= start) return [`config+${offset - start}/${width}`, this.#readDevice(offset - start, width)]
    return this.#register(virtio_pci_legacy_header, offset, width, 'r', (name) => this.#readLegacy(name))
  }

  #register(map: RegisterMap, offset: number, width: number, direction: string, read: (name: string) => number): [string, number] {
    const isHalf = ({ offset: start, width: whole }: RegisterInfo) => whole === 8 && (offset === start || offset === start + 4)
    const entry = Object.entries(map).find(([, info]) => info.offset === offset || isHalf(info))
    if (entry === undefined || width !== Math.min(entry[1].width, 4)) throw new Error(`access of ${width} bytes at ${offset}`)
    const [name, info] = entry
    if (direction === 'w' ? !info.access.includes('w') : !info.access.includes('r')) throw new Error(`${name} is ${info.access}`)
    const half = info.width === 8 ? (offset === info.offset ? '_lo' : '_hi') : ''
    return [name + half, read(name + half)]
  }

  #readIsr(): number {
    const value = this.isr
    this.isr = 0
    return value
  }

  #readDevice(offset: number, width: number): number {
    this.script.onConfigRead?.()
    return this.config.slice(offset, offset + width).reduceRight((value, byte) => value * 256 + byte, 0)
  }

  #readStatus(): number {
    if (this.#looks > 0 && --this.#looks > 0) return this.status
    if (this.#looks === 0 && this.status === 0x80) this.status = 0
    return this.script.needsReset && this.status & DRIVER_OK ? this.status | DEVICE_NEEDS_RESET : this.status
  }

  get #queue(): Record<string, number> {
    const index = this.#selected.queue_select ?? 0
    this.queues[index] ??= {}
    return this.queues[index]!
  }

  #readCommon(name: string): number {
    const { script } = this
    const queue = this.#selected.queue_select ?? 0
    if (name === 'device_feature') return this.offered.word(this.#selected.device_feature_select ?? -1)
    if (name === 'num_queues') return script.numQueues ?? 2
    if (name === 'device_status') return this.#readStatus()
    if (name === 'config_generation') return this.generation
    if (name === 'config_msix_vector') return this.configVector
    if (name === 'queue_size') return (script.sizes ?? [64, 1024])[queue] ?? 0
    if (name === 'queue_msix_vector') return this.#queue.queue_msix_vector ?? noVector
    if (name === 'queue_enable') return this.#queue.queue_enable ?? (script.enabledBefore ? 1 : 0)
    if (name === 'queue_notify_off') return script.notifyOffset?.(queue) ?? queue
    if (name === 'queue_notif_config_data') return script.configData?.(queue) ?? 0
    if (name === 'queue_reset') return this.#readQueueReset()
    throw new Error(`unexpected read of ${name}`)
  }

  #readQueueReset(): number {
    const looks = this.script.queueResetLooks ?? 1
    this.script.queueResetLooks = looks - 1
    if (looks <= 1) Object.assign(this.#queue, { queue_reset: 0, queue_enable: 0 })
    return this.#queue.queue_reset ?? 0
  }

  #readLegacy(name: string): number {
    const queue = this.#selected.queue_select ?? 0
    if (name === 'device_features') return this.offered.word(0)
    if (name === 'queue_address') return this.#queue.queue_address ?? (this.script.enabledBefore ? 1 : 0)
    if (name === 'queue_size') return (this.script.sizes ?? [64, 128])[queue] ?? 0
    if (name === 'device_status') return this.#readStatus()
    if (name === 'isr_status') return this.#readIsr()
    if (name === 'config_msix_vector' && this.msixEnabled) return this.configVector
    if (name === 'queue_msix_vector' && this.msixEnabled) return this.#queue.queue_msix_vector ?? noVector
    throw new Error(`unexpected read of ${name}`)
  }

  #writeBar(bar: number, at: number, width: number, value: number): void {
    const [region, offset] = this.#place(bar, at)
    if (value < 0 || !Number.isInteger(value) || value >= 2 ** (8 * width)) throw new Error(`${region}+${offset} <- ${value}`)
    if (region === 'notify') this.#notify(offset, width, value)
    else if (region === 'device') this.log.push(`config+${offset}/${width} <- ${value}`)
    else if (region === 'table') {
      if (width !== 4) throw new Error(`table access of ${width} bytes`)
      this.table[offset / 4] = value
      this.log.push(`table+${offset} <- ${value}`)
    } else {
      const map = region === 'common' ? virtio_pci_common_cfg : virtio_pci_legacy_header
      const start = this.msixEnabled ? 24 : 20
      if (region === 'legacy' && offset >= start) {
        this.log.push(`config+${offset - start}/${width} <- ${value}`)
        return
      }
      this.#legacyUsed = region === 'legacy'
      const [name] = this.#register(map, offset, width, 'w', () => 0)
      this.log.push(`${name} <- ${value}`)
      this.#write(name, value)
    }
  }

  #notify(offset: number, width: number, value: number): void {
    if ((this.status & DRIVER_OK) === 0) throw new Error('notified before DRIVER_OK')
    if ((this.command & PCI_COMMAND_MASTER) === 0) throw new Error('no bus master')
    this.notified.push([offset, width, value])
    this.log.push(`notify+${offset}/${width} <- ${value}`)
  }

  #write(name: string, value: number): void {
    if (name === 'device_status') this.#writeStatus(value)
    else if (name === 'driver_feature') this.accepted = this.accepted.withWord(this.#selected.driver_feature_select ?? -1, value)
    else if (name === 'driver_features') this.accepted = FeatureSet.empty.withWord(0, value)
    else if (name === 'config_msix_vector') this.configVector = this.script.refusesVector?.('config') ? noVector : value
    else if (name.endsWith('_select')) this.#selected[name] = value
    else if (name === 'queue_notify') this.#notify(0, 2, value)
    else if (name === 'queue_msix_vector' && this.script.refusesVector?.(this.#selected.queue_select ?? 0)) this.#queue[name] = noVector
    else this.#queue[name] = value
  }

  #writeStatus(value: number): void {
    if (value === 0) {
      this.#looks = this.script.resetLooks ?? 0
      this.status = this.#looks > 0 ? 0x80 : 0
      this.queues.length = 0
      this.configVector = noVector
      this.isr = 0
    } else {
      if ((value & this.status) !== this.status) throw new Error(`the driver clears bits: ${this.status} <- ${value}`)
      if (this.#legacyUsed && (value & FEATURES_OK) !== 0) throw new Error('FEATURES_OK on the legacy interface')
      this.status = (this.script.acceptsFeatures ?? true) ? value : value & ~FEATURES_OK
    }
  }
}
