/** Device side of Virtio Over PCI Bus: a PCI function. VIRTIO 1.4, Virtio Transport Options / Virtio Over PCI Bus. */
import type { RegisterMap } from 'virtgen/codegen/v1/wire'
import { virtio_pci_common_cfg, virtio_pci_isr } from 'virtgen/wire/transport-pci'
import { isAccess } from '../access.ts'
import type { SharedMemory, VirtioDevice } from '../device.ts'
import { DeviceControl } from '../device-control.ts'
import { LegacyControl } from '../legacy-control.ts'
import { BaseAddress } from './bar.ts'
import { CapabilityList } from './capabilities.ts'
import { CommonConfig } from './common-config.ts'
import { ConfigAccess } from './config-access.ts'
import { PciConfigSpace } from './config-space.ts'
import { DeviceConfigWindow } from './device-config.ts'
import type { PciBar, PciFunctionDevice } from './function-device.ts'
import { FunctionHeader } from './function-header.ts'
import { pciIdentity } from './identity.ts'
import { PciInterrupts } from './interrupts.ts'
import { isrWindow } from './isr.ts'
import { type PciNeeds, type PlacedBar, type PlacedRegion, placeLayout } from './layout.ts'
import { LegacyHeader, legacyConfigOffset } from './legacy-header.ts'
import { MsixTable, msixLength } from './msix.ts'
import { NotifyWindow, notificationDataWidth } from './notify-window.ts'
import { type PciDeviceOptions, type PciShape, pciShape } from './options.ts'
import { type BarWindow, part, RegisterWindow } from './register-window.ts'
import { sharedWindow } from './shared-window.ts'

/** A region in its BAR, served. */
interface Place {
  readonly offset: number
  readonly end: number
  readonly window: BarWindow
}

/**
 * A virtio device as a PCI function. The VMM routes accesses of its configuration space and of its BARs here; where the BARs are decoded, `bars` says, and `barChanged`
 * when that changes. BARs are served whether they are decoded or not, as the VMM may have a PCI bus of its own.
 *
 * The device takes no buffers before the driver has made the function a bus master (command register). Accesses that the text forbids to the driver have no effect
 * and read as 0; nothing throws, whatever offset, width and value are.
 */
export class PciDevice implements PciFunctionDevice {
  readonly control: DeviceControl
  /** By their indices; the same objects for life. */
  readonly bars: readonly PciBar[]
  /** @internal */
  readonly $space = new PciConfigSpace()
  /** @internal */
  readonly $interrupts: PciInterrupts
  /** @internal */
  readonly $msix: MsixTable | undefined
  /** @internal */
  readonly $common: CommonConfig
  /** @internal */
  readonly $commonWindow: RegisterWindow
  /** @internal */
  readonly $deviceConfig: DeviceConfigWindow
  /** @internal */
  readonly $notify: NotifyWindow
  /** @internal Undefined where the device is not transitional. */
  readonly $legacy: LegacyHeader | undefined
  readonly #options: PciDeviceOptions
  readonly #bars: readonly BaseAddress[]
  /** By the index of the BAR. */
  readonly #places: (readonly Place[] | undefined)[] = []
  readonly #header: FunctionHeader
  readonly #access: ConfigAccess
  readonly #hasPin: boolean
  #line = false

  /**
   * @throws RangeError as `DeviceControl`; for a layout that cannot hold the device, capabilities for which the configuration space has no room, and options that the text
   * or PCI forbid
   */
  constructor(device: VirtioDevice, options: PciDeviceOptions) {
    const { notifConfigData, byteWrites = false, message = () => {} } = options
    const shape = pciShape(device, options)
    this.#options = options
    this.#hasPin = shape.pin !== 0
    this.#header = new FunctionHeader(this.$space, pciIdentity(device.id, options), shape.pin)
    const isMsixEnabled = (): boolean => this.#header.isMsixEnabled
    this.$msix = shape.vectors === 0 ? undefined : new MsixTable(shape.vectors, this.#header, message)
    this.$interrupts = new PciInterrupts(device.queueSizes.length, { msix: this.$msix, isMsixEnabled, isrChanged: () => this.#drive() })
    this.control = new DeviceControl(device, {
      ...options,
      transportFeatures: shape.transportFeatures,
      notify: (queue) => this.$interrupts.queueUsed(queue),
      configChanged: () => this.$interrupts.configChanged(),
      reset: () => this.#reset(),
    })
    this.$deviceConfig = new DeviceConfigWindow(this.control)
    const { control, $interrupts: interrupts, $deviceConfig: deviceConfig } = this
    const { adminQueues } = shape
    this.$common = new CommonConfig({ control, deviceConfig, interrupts, adminQueues, notifConfigData })
    this.$commonWindow = new RegisterWindow(virtio_pci_common_cfg, this.$common, byteWrites)
    this.$notify = new NotifyWindow(control, shape.multiplier, byteWrites)
    this.$legacy = options.transitional
      ? new LegacyHeader({
          legacy: new LegacyControl(control),
          interrupts,
          queues: control.queueCount - adminQueues,
          isMsixEnabled,
          driverReady: () => this.#legacyDriverReady(),
          assemble: byteWrites,
        })
      : undefined
    const placed = placeLayout(shape.layout, this.#needs(shape))
    this.#bars = placed.map((bar) => new BaseAddress(bar, this.$space)).sort((a, b) => a.index - b.index)
    this.bars = this.#bars
    for (const bar of placed) this.#places[bar.index] = bar.regions.map((region) => this.#placeOf(region))
    this.#access = this.#addCapabilities(placed, shape)
    this.$space.seal()
    control.hold(true)
  }

  get device(): VirtioDevice {
    return this.control.device
  }

  // ---- What is where

  #needs({ vectors, multiplier }: PciShape): PciNeeds {
    const { config, queueSizes, sharedMemory } = this.device
    const lengths = {
      common: lengthOf(virtio_pci_common_cfg),
      isr: lengthOf(virtio_pci_isr),
      device: config.length,
      notify: Math.max(0, queueSizes.length - 1) * multiplier + notificationDataWidth,
      msix: msixLength(vectors),
      legacy: this.$legacy ? legacyConfigOffset(true) + config.length : 0,
    }
    return { lengths, shared: sharedMemory.map(({ length }) => length) }
  }

  #placeOf(placed: PlacedRegion): Place {
    const { offset, length } = placed
    return { offset, end: offset + length, window: this.#windowOf(placed) }
  }

  #windowOf({ region, sharedIndex }: PlacedRegion): BarWindow {
    switch (region) {
      case 'common':
        return this.$commonWindow
      case 'isr':
        return isrWindow(this.$interrupts)
      case 'device':
        return this.$deviceConfig
      case 'notify':
        return this.$notify
      case 'msix':
        return this.$msix as MsixTable
      case 'legacy':
        return this.$legacy as LegacyHeader
      case 'shared':
        return sharedWindow(this.device.sharedMemory[sharedIndex] as SharedMemory)
    }
  }

  /** In the order of the layout, which is that of the device's preference. */
  #addCapabilities(placed: readonly PlacedBar[], { vectors, multiplier }: PciShape): ConfigAccess {
    const list = new CapabilityList(this.$space)
    for (const place of placed.flatMap(({ regions }) => regions)) {
      if (place.region === 'notify') list.addNotify(place, multiplier)
      else if (place.region === 'shared') list.addShared(place, this.device.sharedMemory[place.sharedIndex] as SharedMemory)
      else if (place.region === 'msix') this.#header.msixAt = list.addMsix(place, vectors, (this.$msix as MsixTable).pendingOffset)
      else if (place.region !== 'legacy') list.addStructure(place.region, place)
    }
    const access = new ConfigAccess(this.$space, this, list.addWindow())
    for (const data of this.#options.vendorData ?? []) list.addVendorData(data)
    return access
  }

  // ---- Accesses

  /**
   * The configuration space: 256 bytes; what lies behind reads as 0.
   *
   * @param width - 1, 2 or 4 bytes, at any offset
   * @returns an unsigned number of that width
   */
  readConfig(offset: number, width: number): number {
    if (!isAccess(offset, width)) return 0
    if (this.#access.covers(offset, width)) this.#access.fetch()
    return this.$space.read(offset, width)
  }

  /** @param value - taken as an unsigned number of that width */
  writeConfig(offset: number, width: number, value: number): void {
    if (!isAccess(offset, width)) return
    this.$space.write(offset, width, value)
    if (this.#access.covers(offset, width)) this.#access.store()
    this.$settle()
  }

  /**
   * @param bar - index
   * @param offset - bytes from its start
   * @param width - 1, 2 or 4 bytes
   * @returns an unsigned number of that width
   */
  readBar(bar: number, offset: number, width: number): number {
    const place = this.#find(bar, offset, width)
    return place ? place.window.read(offset - place.offset, width) : 0
  }

  /** @param value - taken as an unsigned number of that width */
  writeBar(bar: number, offset: number, width: number, value: number): void {
    const place = this.#find(bar, offset, width)
    place?.window.write(offset - place.offset, width, part(value, 0, width))
  }

  #find(bar: number, offset: number, width: number): Place | undefined {
    if (!isAccess(offset, width)) return undefined
    for (const place of this.#places[bar] ?? []) if (place.offset <= offset && offset < place.end) return place
    return undefined
  }

  // ---- What follows from it

  /** @internal Lets everything follow the configuration space. Each callback may come back here: what it finds is what holds by then. */
  $settle(): void {
    if (!this.#header.isMsixEnabled) this.$msix?.clearPending()
    for (const bar of this.#bars) this.#tell(bar)
    this.$followMaster()
    this.$msix?.release()
    this.#drive()
  }

  /** @internal The device takes buffers only while the function is a bus master. */
  $followMaster(): void {
    this.control.hold(!this.#header.isMaster)
  }

  #tell(bar: BaseAddress): void {
    const { address } = bar
    if (address === bar.$told) return
    bar.$told = address
    this.#options.barChanged?.(bar)
  }

  /** The pin is high while ISR status is not 0, unless it is disabled or MSI-X is in use. */
  #drive(): void {
    const pending = this.$interrupts.$isr !== 0 && !this.#header.isMsixEnabled
    this.#header.showPending(pending)
    const level = pending && this.#hasPin && !this.#header.isPinDisabled
    if (level === this.#line) return
    this.#line = level
    this.#options.interrupt(level)
  }

  /** Drivers from before Linux 2.6.34 use a device without having made it a bus master. */
  #legacyDriverReady(): void {
    if (this.#header.isMaster) return
    this.#header.becomeMaster()
    this.$settle()
  }

  /** The driver resets the device: what is PCI's own stays. */
  #reset(): void {
    this.$common.reset()
    this.$commonWindow.reset()
    this.$notify.reset()
    this.$legacy?.reset()
    // Last, as it may lower the pin.
    this.$interrupts.reset()
  }

  /**
   * A reset of the whole function, as of the platform: the device is reset, BARs have no address, MSI-X is disabled and its table empty.
   *
   * @returns resolves when the reset of the device is over; undefined where it is so at once
   */
  powerOnReset(): Promise<void> | undefined {
    this.$space.reset()
    this.$msix?.reset()
    const over = this.control.reset()
    this.$settle()
    return over
  }
}

function lengthOf(map: RegisterMap): number {
  return Math.max(...Object.values(map).map(({ offset, width }) => offset + width))
}
