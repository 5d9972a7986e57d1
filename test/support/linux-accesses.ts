/** Records of test/fixtures/linux-accesses: what Linux did to the registers of a device, in order. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { PCI_MSIX_FLAGS_ENABLE, pci_msix_capability_flags } from 'virtgen/wire/pci'
import { virtio_mmio, virtio_mmio_legacy } from 'virtgen/wire/transport-mmio'
import { virtio_pci_common_cfg, virtio_pci_legacy_header } from 'virtgen/wire/transport-pci'

const folder = 'test/fixtures/linux-accesses'

export interface Access {
  readonly direction: 'r' | 'w'
  readonly width: 1 | 2 | 4
  /** A structure, and the offset in it. */
  readonly region: string
  readonly offset: number
  readonly value: number
  /** As it is written in the record. */
  readonly text: string
}

export interface LinuxRecord {
  /** `pci-modern-blk`. */
  readonly name: string
  /** Negotiated features and status as the guest printed them at the end. */
  readonly features: FeatureSet
  readonly status: number
  readonly accesses: readonly Access[]
}

export function linuxRecords(): LinuxRecord[] {
  const files = readdirSync(folder).filter((file) => file.endsWith('.json'))
  return files.map((file) => {
    const { features, status, accesses } = JSON.parse(readFileSync(join(folder, file), 'utf8'))
    const bits = [...(features as string)].flatMap((digit, bit) => (digit === '1' ? [bit] : []))
    const name = file.slice(0, -'.json'.length)
    return { name, features: FeatureSet.of(...bits), status, accesses: accesses.map((text: string) => parse(text, name)) }
  })
}

function parse(text: string, name: string): Access {
  const [, direction, width, place, offset, value] = text.match(/^([rw])([124]) ([a-z.]+)\+([0-9a-f]+) ([0-9a-f]+)$/)!
  const region = place === 'mmio' ? (name.startsWith('mmio-legacy') ? 'mmio-legacy' : 'mmio-modern') : place!
  return { direction: direction as 'r' | 'w', width: Number(width) as 1 | 2 | 4, region, offset: hex(offset!), value: hex(value!), text }
}

const hex = (digits: string): number => Number.parseInt(digits, 16)

/** A queue as Linux has set it up. */
export interface LinuxQueue {
  size: number
  descriptorArea: number
  driverArea: number
  deviceArea: number
}

/** What a record says of the device behind it. */
export interface Found {
  /** Offered features, as far as Linux has read them. */
  readonly offered: FeatureSet
  /** Of each queue the largest size; 0 where there is none. */
  readonly queueSizes: number[]
  /** The queues that are set up at the end, by index. */
  readonly queues: ReadonlyMap<number, LinuxQueue>
  /** Bytes of the configuration space, as far as Linux has read them. */
  readonly config: Uint8Array
}

const words = 2 ** 32
const legacyPage = 4096
const configSize = 96

/** What an access means for what is found. */
type Meaning = (finder: Finder, value: number, direction: 'r' | 'w') => void

/** Collects what the accesses say. */
class Finder implements Found {
  offered = FeatureSet.empty
  readonly queueSizes: number[] = []
  readonly queues = new Map<number, LinuxQueue>()
  readonly config = new Uint8Array(configSize)
  selected = 0
  word = 0
  #drafts = new Map<number, LinuxQueue>()

  get draft(): LinuxQueue {
    const draft = this.#drafts.get(this.selected) ?? { size: 0, descriptorArea: 0, driverArea: 0, deviceArea: 0 }
    this.#drafts.set(this.selected, draft)
    return draft
  }

  status(value: number): void {
    if (value !== 0) return
    this.queues.clear()
    this.#drafts.clear()
  }

  enable(value: number): void {
    if (value === 0) this.queues.delete(this.selected)
    else this.queues.set(this.selected, this.draft)
  }

  /** The areas lie one behind the other, the device area at a page of its own. VIRTIO 1.4, Split Virtqueues / Legacy Interfaces: A Note on Virtqueue Layout. */
  queuePage(page: number): void {
    const size = this.draft.size || (this.queueSizes[this.selected] as number)
    const descriptorArea = page * legacyPage
    const driverArea = descriptorArea + 16 * size
    const deviceArea = Math.ceil((driverArea + 2 * (3 + size)) / legacyPage) * legacyPage
    Object.assign(this.draft, { size, descriptorArea, driverArea, deviceArea })
    this.enable(page)
  }

  largest(value: number): void {
    this.queueSizes[this.selected] = Math.max(value, this.queueSizes[this.selected] ?? 0)
  }
}

const written =
  (act: (finder: Finder, value: number) => void): Meaning =>
  (finder, value, direction) => {
    if (direction === 'w') act(finder, value)
  }
const read =
  (act: (finder: Finder, value: number) => void): Meaning =>
  (finder, value, direction) => {
    if (direction === 'r') act(finder, value)
  }
const low = (area: 'descriptorArea' | 'driverArea' | 'deviceArea'): Meaning =>
  written((finder, value) => {
    finder.draft[area] = Math.floor(finder.draft[area] / words) * words + value
  })
const high = (area: 'descriptorArea' | 'driverArea' | 'deviceArea'): Meaning =>
  written((finder, value) => {
    finder.draft[area] = (finder.draft[area] % words) + value * words
  })
const status = written((finder, value) => finder.status(value))
const enable = written((finder, value) => finder.enable(value))
const select = written((finder, value) => {
  finder.selected = value
})
const featureWord = written((finder, value) => {
  finder.word = value
})
const offered = read((finder, value) => {
  finder.offered = finder.offered.withWord(finder.word, value)
})
const largest = read((finder, value) => finder.largest(value))
const size = written((finder, value) => {
  finder.draft.size = value
})
const page = written((finder, value) => finder.queuePage(value))

const common = virtio_pci_common_cfg
const header = virtio_pci_legacy_header
const modern = virtio_mmio
const old = virtio_mmio_legacy

/** By region, and by offset in it. */
const meanings: Record<string, ReadonlyMap<number, Meaning>> = {
  common: new Map([
    [common.device_status.offset, status],
    [common.device_feature_select.offset, featureWord],
    [common.device_feature.offset, offered],
    [common.queue_select.offset, select],
    [common.queue_size.offset, (finder, value, direction) => (direction === 'r' ? finder.largest(value) : size(finder, value, direction))],
    [common.queue_desc.offset, low('descriptorArea')],
    [common.queue_desc.offset + 4, high('descriptorArea')],
    [common.queue_driver.offset, low('driverArea')],
    [common.queue_driver.offset + 4, high('driverArea')],
    [common.queue_device.offset, low('deviceArea')],
    [common.queue_device.offset + 4, high('deviceArea')],
    [common.queue_enable.offset, enable],
  ]),
  legacy: new Map([
    [header.device_status.offset, status],
    [header.device_features.offset, offered],
    [header.queue_select.offset, select],
    [header.queue_size.offset, largest],
    [header.queue_address.offset, page],
  ]),
  'mmio-modern': new Map([
    [modern.Status.offset, status],
    [modern.DeviceFeaturesSel.offset, featureWord],
    [modern.DeviceFeatures.offset, offered],
    [modern.QueueSel.offset, select],
    [modern.QueueSizeMax.offset, largest],
    [modern.QueueSize.offset, size],
    [modern.QueueDescLow.offset, low('descriptorArea')],
    [modern.QueueDescHigh.offset, high('descriptorArea')],
    [modern.QueueDriverLow.offset, low('driverArea')],
    [modern.QueueDriverHigh.offset, high('driverArea')],
    [modern.QueueDeviceLow.offset, low('deviceArea')],
    [modern.QueueDeviceHigh.offset, high('deviceArea')],
    [modern.QueueReady.offset, enable],
  ]),
  'mmio-legacy': new Map([
    [old.Status.offset, status],
    [old.HostFeaturesSel.offset, featureWord],
    [old.HostFeatures.offset, offered],
    [old.QueueSel.offset, select],
    [old.QueueSizeMax.offset, largest],
    [old.QueueSize.offset, size],
    [old.QueuePFN.offset, page],
  ]),
}

/** Where the configuration space begins in a region; undefined where it is not there. */
function configStart(region: string, isMsixEnabled: boolean): number | undefined {
  if (region === 'device') return 0
  if (region === 'mmio-modern' || region === 'mmio-legacy') return modern.Config.offset
  // Behind the two registers of vectors where there are any.
  return region === 'legacy' ? (isMsixEnabled ? header.queue_msix_vector.offset + 2 : header.config_msix_vector.offset) : undefined
}

/** Says whether a read is of the configuration space, and where. */
export function configOffset({ region, offset }: Access, isMsixEnabled: boolean): number | undefined {
  const start = configStart(region, isMsixEnabled)
  return start === undefined || offset < start ? undefined : offset - start
}

/** Says what a write of MSI-X's message control means; undefined for all else. */
export function enablesMsix({ direction, region, offset, value }: Access): boolean | undefined {
  return direction === 'w' && region === 'msix.cap' && offset === pci_msix_capability_flags ? (value & PCI_MSIX_FLAGS_ENABLE) !== 0 : undefined
}

export function find({ accesses }: LinuxRecord): Found {
  const finder = new Finder()
  const isKnown = new Set<number>()
  let isMsixEnabled = false
  for (const access of accesses) {
    const { direction, region, offset, width, value } = access
    isMsixEnabled = enablesMsix(access) ?? isMsixEnabled
    meanings[region]?.get(offset)?.(finder, value, direction)
    const at = configOffset(access, isMsixEnabled)
    if (at === undefined) continue
    for (let byte = 0; byte < width; byte++) {
      if (!isKnown.has(at + byte)) finder.config[at + byte] = value >>> (8 * byte)
      isKnown.add(at + byte)
    }
  }
  return finder
}
