/** A driver queue of either format beside a device that is driven by hand. */
import { DriverMemory } from '../../runtime/driver/memory.ts'
import { createDriverQueue } from '../../runtime/driver-queue.ts'
import { GuestMemory } from '../../runtime/memory.ts'
import type { DeviceAddress, DriverQueue, DriverQueueState } from '../../runtime/queue.ts'
import type { Violation } from '../../runtime/violation.ts'
import { type DeviceHand, type FoundBuffer, PackedHand, SplitHand } from './device-hand.ts'

export const formats = ['split', 'packed'] as const
export type Format = (typeof formats)[number]

export interface Setting {
  /** Entries; a split queue takes `powerOf2` where that is given. */
  size?: number
  powerOf2?: number
  eventIndex?: boolean
  inOrder?: boolean
  indirect?: boolean
  /** Bytes for indirect tables. */
  tables?: number
  memory?: GuestMemory
  notify?: () => void
}

export type Token = string | number

/** Guest addresses of the parts. */
export const areaAt = { descriptors: 0x1000, driver: 0x6000, device: 0x8000, tables: 0x1_0000 } as const

/** A device hand that remembers the ids that it has taken. */
export type RememberingHand<H> = H & { readonly ids: number[]; readonly last: number }

function remembering<H extends DeviceHand>(hand: H): RememberingHand<H> {
  const ids: number[] = []
  const take = hand.take.bind(hand)
  return Object.defineProperties(hand, {
    ids: { value: ids },
    last: { get: () => ids.at(-1) },
    take: {
      value: (): FoundBuffer[] => {
        const found = take()
        ids.push(...found.map(({ id }) => id))
        return found
      },
    },
  }) as RememberingHand<H>
}

export interface MadeDriver<H extends DeviceHand = SplitHand | PackedHand> {
  queue: DriverQueue<Token>
  device: RememberingHand<H>
  memory: GuestMemory
  tables: DriverMemory
  setup: { index: number; size: number; descriptorArea: number; driverArea: number; deviceArea: number }
  violations: Violation[]
  counts: { notifications: number }
  /** The queue once more, from a saved state. */
  again(state: DriverQueueState, tokens: readonly Token[]): DriverQueue<Token>
}

export function makeDriver(format: 'split', setting?: Setting): MadeDriver<SplitHand>
export function makeDriver(format: 'packed', setting?: Setting): MadeDriver<PackedHand>
export function makeDriver(format: Format, setting?: Setting): MadeDriver
export function makeDriver(format: Format, setting: Setting = {}): MadeDriver {
  const { size: wanted = 8, powerOf2 = wanted, tables: tablesLength = 0x2000, notify, ...rest } = setting
  const { memory = GuestMemory.of(new Uint8Array(0x2_0000)), ...features } = rest
  const size = format === 'split' ? powerOf2 : wanted
  const setup = { index: 3, size, descriptorArea: areaAt.descriptors, driverArea: areaAt.driver, deviceArea: areaAt.device }
  const violations: Violation[] = []
  const counts = { notifications: 0 }
  const tables = new DriverMemory(memory, areaAt.tables, tablesLength)
  const options = {
    packed: format === 'packed',
    ...features,
    notify: () => {
      counts.notifications++
      notify?.()
    },
    fail: (violation: Violation) => violations.push(violation),
    ...(features.indirect ? { indirectTables: tables } : {}),
  }
  const queue = createDriverQueue<Token>(memory, setup, options)
  const device = format === 'split' ? new SplitHand(memory, setup, features.eventIndex === true) : new PackedHand(memory, setup)
  return {
    queue,
    device: remembering<SplitHand | PackedHand>(device),
    memory,
    tables,
    setup,
    violations,
    counts,
    again: (state, tokens) => createDriverQueue<Token>(memory, setup, { ...options, state, tokens }),
  }
}

export const piece = (address: number, length: number): DeviceAddress => ({ address, length })
export const small = [piece(0x1_8000, 4)]
