/** The saved state of a PCI function: plain data that JSON carries unchanged. */
import { PCI_STATUS_INTERRUPT, pci_header_status } from 'virtgen/wire/pci'
import { pci_isr, VIRTIO_MSI_NO_VECTOR } from 'virtgen/wire/transport-pci'
import { type ControlState, restoreDevice, saveDevice } from '../device-state.ts'
import { bytesToHex, putHex } from '../hex.ts'
import { flag, type Members, object, savedInteger, list as savedList, text, wrong } from '../saved-value.ts'
import type { PciDevice } from './device.ts'

/** MSI-X: table and pending bits, hexadecimal. */
export interface MsixState {
  readonly table: string
  readonly pending: string
}

/** Registers whose last byte has not come (`byteWrites`), hexadecimal, and a notification likewise. */
export interface PartsState {
  readonly common: string
  readonly legacy: string
  readonly notify: number
}

/** A saved function: configuration space, selectors, vectors, pending interrupts, and the device. */
export interface PciDeviceState {
  readonly version: 1
  /** Bytes of the configuration space, hexadecimal. */
  readonly config: string
  /** ISR status. */
  readonly isr: number
  /** VIRTIO_MSI_NO_VECTOR where the event is unmapped. */
  readonly configVector: number
  /** By index of the queue, likewise. */
  readonly queueVectors: readonly number[]
  readonly deviceFeatureSelect: number
  readonly driverFeatureSelect: number
  readonly queueSelect: number
  /** Of a transitional device: that of the legacy interface. */
  readonly legacyQueueSelect: number
  /** config_generation, and whether there was a change since the driver looked. */
  readonly generation: number
  readonly changed: boolean
  /** Absent where there is no MSI-X. */
  readonly msix?: MsixState
  /** Absent without `byteWrites`. */
  readonly parts?: PartsState
  readonly control: ControlState
}

/** Without the part that is not PCI's. */
type FunctionState = Omit<PciDeviceState, 'control' | 'version'>

const largestWord = 0xffff_ffff
const largestShort = 0xffff
const pendingBits = pci_isr.queue_interrupt | pci_isr.device_configuration_interrupt

/** See `saveDevice`. */
export function savePciDevice(pci: PciDevice): PciDeviceState {
  // First: it may raise an interrupt.
  const control = saveDevice(pci.control)
  return { version: 1, ...functionState(pci), control }
}

/**
 * See `restoreDevice`. The function must be one of the same options: what its driver cannot change in the configuration space must be the same. The pin is driven as it was,
 * pending messages are sent that can be, and `barChanged` tells of every BAR that is decoded.
 */
export function restorePciDevice(pci: PciDevice, saved: PciDeviceState): void {
  const state = object<PciDeviceState>(saved, 'it')
  if (state.version !== 1) wrong('version', state.version, '1')
  const checked = checkState(pci, state)
  const control = object<ControlState>(state.control, 'control')
  if (control.legacy !== undefined && pci.$legacy === undefined)
    wrong('control.legacy', control.legacy, 'absent, as the function is not transitional')
  const before = functionState(pci)
  const { configGeneration } = pci.control
  const savedGeneration = savedInteger(control.configGeneration, largestWord, 'configGeneration')
  // What is PCI's first: activation may interrupt, and a driver that is called back finds registers as they were. A master at once: chains that were out must be with the
  // device before it is asked whether it is through with them, as while it suspends.
  apply(pci, checked, savedGeneration)
  try {
    restoreDevice(pci.control, state.control as ControlState)
  } catch (error) {
    apply(pci, before, configGeneration)
    throw error
  }
  pci.$settle()
}

function functionState(pci: PciDevice): FunctionState {
  const { $interrupts, $common, $deviceConfig, $legacy, $msix, $commonWindow, $notify } = pci
  const queues = pci.control.queueCount
  return {
    config: bytesToHex(pci.$space.$bytes),
    isr: $interrupts.$isr,
    configVector: $interrupts.configVector,
    queueVectors: Array.from({ length: queues }, (_, index) => $interrupts.queueVector(index)),
    deviceFeatureSelect: $common.$deviceFeatureSelect,
    driverFeatureSelect: $common.$driverFeatureSelect,
    queueSelect: $common.$queueSelect,
    legacyQueueSelect: $legacy?.$queueSelect ?? 0,
    generation: $deviceConfig.$generation,
    changed: $deviceConfig.$changed,
    ...($msix && { msix: { table: bytesToHex($msix.$table), pending: bytesToHex($msix.$pending) } }),
    ...($commonWindow.$parts && {
      parts: { common: bytesToHex($commonWindow.$parts), legacy: bytesToHex($legacy?.$registers.$parts ?? new Uint8Array(0)), notify: $notify.$part },
    }),
  }
}

function apply(pci: PciDevice, state: FunctionState, configGeneration: number): void {
  const { $interrupts, $common, $deviceConfig, $legacy, $msix, $commonWindow, $notify } = pci
  putHex(pci.$space.$bytes, state.config)
  $interrupts.$isr = state.isr
  $interrupts.mapConfig(state.configVector)
  state.queueVectors.forEach((vector, index) => {
    $interrupts.mapQueue(index, vector)
  })
  $common.$deviceFeatureSelect = state.deviceFeatureSelect
  $common.$driverFeatureSelect = state.driverFeatureSelect
  $common.$queueSelect = state.queueSelect
  if ($legacy) $legacy.$queueSelect = state.legacyQueueSelect
  if ($msix && state.msix) {
    putHex($msix.$table, state.msix.table)
    putHex($msix.$pending, state.msix.pending)
  }
  if ($commonWindow.$parts && state.parts) {
    putHex($commonWindow.$parts, state.parts.common)
    if ($legacy?.$registers.$parts) putHex($legacy.$registers.$parts, state.parts.legacy)
    $notify.$part = state.parts.notify
  }
  $deviceConfig.$restore(state.generation, state.changed, configGeneration)
  pci.$followMaster()
}

function checkState(pci: PciDevice, state: Members<PciDeviceState>): FunctionState {
  const queueVectors = savedList(state.queueVectors, 'queueVectors')
  const queues = pci.control.queueCount
  if (queueVectors.length !== queues) wrong('queueVectors', queueVectors, `those of a device with ${queues} queues`)
  return {
    config: checkConfig(pci, state.config),
    isr: savedInteger(state.isr, pendingBits, 'isr'),
    configVector: checkVector(pci, state.configVector, 'configVector'),
    queueVectors: queueVectors.map((vector, index) => checkVector(pci, vector, `queueVectors[${index}]`)),
    deviceFeatureSelect: savedInteger(state.deviceFeatureSelect, largestWord, 'deviceFeatureSelect'),
    driverFeatureSelect: savedInteger(state.driverFeatureSelect, largestWord, 'driverFeatureSelect'),
    queueSelect: savedInteger(state.queueSelect, largestShort, 'queueSelect'),
    legacyQueueSelect: savedInteger(state.legacyQueueSelect, pci.$legacy ? largestShort : 0, 'legacyQueueSelect'),
    generation: savedInteger(state.generation, 0xff, 'generation'),
    changed: flag(state.changed, 'changed'),
    ...checkMsix(pci, state.msix),
    ...checkParts(pci, state.parts),
  }
}

/** Everything that a driver cannot write says what function it is: identity, BARs, capabilities. */
function checkConfig(pci: PciDevice, value: unknown): string {
  const { $bytes, $writable } = pci.$space
  const digits = checkHex(value, $bytes.length, 'config')
  const saved = $bytes.slice()
  putHex(saved, digits)
  for (let at = 0; at < saved.length; at++) {
    const variable = $writable[at]! | (at === pci_header_status ? PCI_STATUS_INTERRUPT : 0)
    if (((saved[at]! ^ $bytes[at]!) & ~variable) !== 0)
      wrong(`config[${at}]`, saved[at], `${$bytes[at]}, as in every function with these options: identity, layout or capabilities differ`)
  }
  return digits
}

function checkVector(pci: PciDevice, value: unknown, name: string): number {
  if (value === VIRTIO_MSI_NO_VECTOR) return value
  const vectors = pci.$msix?.vectors ?? 0
  return vectors > 0 ? savedInteger(value, vectors - 1, name) : wrong(name, value, String(VIRTIO_MSI_NO_VECTOR))
}

function checkMsix({ $msix }: PciDevice, value: unknown): Pick<FunctionState, 'msix'> {
  if ($msix === undefined) return value === undefined ? {} : wrong('msix', value, 'absent, as the function has none')
  const state = object<MsixState>(value, 'msix')
  return {
    msix: {
      table: checkHex(state.table, $msix.$table.length, 'msix.table'),
      pending: checkHex(state.pending, $msix.$pending.length, 'msix.pending'),
    },
  }
}

function checkParts({ $commonWindow, $legacy }: PciDevice, value: unknown): Pick<FunctionState, 'parts'> {
  if ($commonWindow.$parts === undefined) return value === undefined ? {} : wrong('parts', value, 'absent without byteWrites')
  const state = object<PartsState>(value, 'parts')
  return {
    parts: {
      common: checkHex(state.common, $commonWindow.$parts.length, 'parts.common'),
      legacy: checkHex(state.legacy, $legacy?.$registers.$parts?.length ?? 0, 'parts.legacy'),
      notify: savedInteger(state.notify, largestWord, 'parts.notify'),
    },
  }
}

function checkHex(value: unknown, length: number, name: string): string {
  const digits = text(value, name)
  return digits.length === 2 * length && /^[0-9a-f]*$/i.test(digits) ? digits : wrong(name, value, `${2 * length} hexadecimal digits`)
}
