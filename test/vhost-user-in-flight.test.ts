/** The inflight area: the process may die behind any store, and who comes after it loses no chain and uses none twice. vhost-user, Inflight I/O tracking. */
import fc from 'fast-check'
import { DescStatePacked, DescStateSplit, QueueRegionPacked, QueueRegionSplit } from 'virtgen/wire/vhost-user'
import { describe, expect, it } from 'vitest'
import { clearInFlight, inFlightRegion, inFlightSize } from '../hosts/linux/vhost-user/in-flight.ts'
import { createVring, vringBase } from '../hosts/linux/vhost-user/vring.ts'
import type { Chain } from '../runtime/chain.ts'
import { GuestMemory } from '../runtime/memory.ts'
import type { DeviceQueue } from '../runtime/queue.ts'
import type { Violation } from '../runtime/violation.ts'
import { type ImageChain, imageSize, PackedImage, type RingImage, SplitImage } from './support/ring-image.ts'
import { StoreJournal } from './support/store-journal.ts'

interface Setting {
  readonly packed: boolean
  readonly inOrder: boolean
  readonly size: number
  readonly base: number
}

type Command =
  | { readonly do: 'offer'; readonly descriptors: number; readonly indirect: boolean }
  | { readonly do: 'next' | 'cork' | 'uncork' | 'putBack' }
  | { readonly do: 'reap' }
  | { readonly do: 'complete'; readonly which: number }
  /** Dies behind a store of the command before. */
  | { readonly do: 'die'; readonly behind: number }

const areaBytes = (setting: Setting): number => inFlightSize(1, setting.size, setting.packed)

/** A queue over memory and area in one buffer; what breaks it is thrown. */
function open(setting: Setting, buffer: ArrayBuffer, driver: RingImage): DeviceQueue {
  const { packed, inOrder, size, base } = setting
  const bytes = new Uint8Array(buffer, 0, imageSize)
  const memory = GuestMemory.of(bytes)
  const area = new Uint8Array(buffer, imageSize, areaBytes(setting))
  const inFlight = inFlightRegion(area, 0, size, packed)!
  const fail = (violation: Violation): never => {
    throw new Error(`${violation.kind}: ${violation.detail}`)
  }
  return createVring(memory, driver.setup, { packed, inOrder, indirect: true, notify: () => {}, fail }, { base, inFlight })
}

const told = ({ head, writable }: Chain): [number, number] => [head, writable.length]
const toldOf = ({ id, length }: ImageChain): [number, number] => [id, length]

/**
 * Whoever begins with these bytes gets each chain that the driver has not got back, once, as it was and in its order; and when those are used, the driver has got each
 * chain once.
 */
function checkImage(setting: Setting, image: Uint8Array, driver: RingImage): void {
  const used = driver.usedIn(image)
  const left = driver.out.filter((chain) => !used.includes(chain))
  const buffer = image.buffer as ArrayBuffer
  const queue = open(setting, buffer, driver)
  const chains: Chain[] = []
  for (let chain = queue.next(); chain; chain = queue.next()) chains.push(chain)
  expect(chains.map(told)).toEqual(left.map(toldOf))
  for (const chain of chains.toReversed()) chain.complete(0)
  expect(driver.usedIn(new Uint8Array(buffer)).map(toldOf).toSorted()).toEqual(driver.out.map(toldOf).toSorted())
  expect(open(setting, buffer, driver).next()).toBeUndefined()
}

/** A machine that goes through commands, and is looked at as it is behind each store. */
class Machine {
  readonly #setting: Setting
  readonly #journal: StoreJournal
  readonly #driver: RingImage
  #queue: DeviceQueue | undefined
  #chains: Chain[] = []
  #corked = 0
  looks = 0

  constructor(setting: Setting, journal: StoreJournal) {
    this.#setting = setting
    this.#journal = journal
    const Image = setting.packed ? PackedImage : SplitImage
    this.#driver = new Image(journal.buffer, setting.size, setting.inOrder, setting.base)
    this.#device(() => this.#open())
  }

  #open(): void {
    this.#chains = []
    this.#corked = 0
    this.#queue = undefined
    this.#queue = open(this.#setting, this.#journal.buffer, this.#driver)
  }

  run(command: Command): void {
    if (command.do === 'die') this.#die(command.behind)
    else if (command.do === 'offer' || command.do === 'reap') this.#drive(command)
    else this.#device(() => this.#step(command))
  }

  /** What the driver does stays, wherever the device dies next. */
  #drive(command: Extract<Command, { do: 'offer' }> | { do: 'reap' }): void {
    if (command.do === 'offer') this.#driver.offer(command.descriptors, command.indirect)
    else this.#driver.reap()
    this.#journal.begin()
  }

  #step(command: Exclude<Command, { do: 'offer' | 'reap' | 'die' }>): void {
    const queue = this.#queue!
    const chains = this.#chains
    if (command.do === 'next') {
      const chain = queue.next()
      if (chain) chains.push(chain)
    } else if (command.do === 'complete') chains.splice(command.which % Math.max(chains.length, 1), 1)[0]?.complete(0)
    else if (command.do === 'cork') {
      queue.cork()
      this.#corked++
    } else if (command.do === 'uncork') {
      if (this.#corked > 0) queue.uncork()
      this.#corked = Math.max(this.#corked - 1, 0)
    } else {
      try {
        const last = chains.at(-1)
        if (last) queue.putBack(last)
        chains.pop()
      } catch {
        // Another one was taken later.
      }
    }
  }

  /** What the device does, and what is there behind each store. */
  #device(step: () => void): void {
    this.#journal.begin()
    this.#journal.watch()
    try {
      step()
    } finally {
      this.#journal.unwatch()
    }
    for (let stores = 0; stores <= this.#journal.length; stores++) {
      checkImage(this.#setting, this.#journal.after(stores), this.#driver)
      this.looks++
    }
  }

  #die(behind: number): void {
    const image = this.#journal.after(behind % (this.#journal.length + 1))
    new Uint8Array(this.#journal.buffer).set(image)
    this.#device(() => this.#open())
  }
}

const command: fc.Arbitrary<Command> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('offer' as const), descriptors: fc.integer({ min: 1, max: 3 }), indirect: fc.boolean() }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('next' as const) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('complete' as const), which: fc.nat(7) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('reap' as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('cork' as const, 'uncork' as const, 'uncork' as const, 'putBack' as const) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('die' as const), behind: fc.nat(30) }) },
)

const positions = {
  split: { sizes: fc.constantFrom(1, 2, 4, 8), bases: (_size: number) => fc.constantFrom(0, 65_530, 65_535) },
  packed: {
    sizes: fc.integer({ min: 1, max: 7 }),
    bases: (size: number) => fc.record({ offset: fc.nat(size - 1), wrap: fc.nat(1) }).map(({ offset, wrap }) => offset | (wrap << 15)),
  },
} as const

describe.each([
  { format: 'split', inOrder: false },
  { format: 'split', inOrder: true },
  { format: 'packed', inOrder: false },
  { format: 'packed', inOrder: true },
] as const)('a back-end with a $format ring that dies, with VIRTIO_F_IN_ORDER: $inOrder', ({ format, inOrder }) => {
  const packed = format === 'packed'
  const { sizes, bases } = positions[format]
  const settings = sizes.chain((size) => bases(size).map((base): Setting => ({ packed, inOrder, size, base })))

  it('loses no chain and uses none twice, behind whichever store it dies', () => {
    let looks = 0
    fc.assert(
      fc.property(settings, fc.array(command, { minLength: 5, maxLength: 60, size: 'max' }), (setting, commands) => {
        const fresh = new StoreJournal(imageSize + areaBytes(setting))
        const machine = new Machine(setting, fresh)
        for (const each of commands) machine.run(each)
        looks += machine.looks
      }),
      { numRuns: Number(process.env.FC_RUNS ?? 60) },
    )
    expect(looks).toBeGreaterThan(1000)
  })
})

// ---- An area with other contents

const split: Setting = { packed: false, inOrder: false, size: 4, base: 0 }
const packed: Setting = { packed: true, inOrder: false, size: 4, base: 0x8000 }

/** A driver with three chains of which the device has taken two, and what is in memory then. */
function busy(setting: Setting): { buffer: ArrayBuffer; driver: RingImage; area: DataView } {
  const buffer = new ArrayBuffer(imageSize + areaBytes(setting))
  const driver = new (setting.packed ? PackedImage : SplitImage)(buffer, setting.size, false, setting.base)
  const queue = open(setting, buffer, driver)
  for (let i = 0; i < 3; i++) driver.offer(1, false)
  queue.next()
  queue.next()
  return { buffer, driver, area: new DataView(buffer, imageSize) }
}

/** What a queue over an area says that may hold anything: its violations, and the heads that it delivers. */
function opened(setting: Setting, buffer: ArrayBuffer, driver: RingImage): { queue: DeviceQueue; heads: number[]; violations: Violation[] } {
  const violations: Violation[] = []
  const memory = GuestMemory.of(new Uint8Array(buffer, 0, imageSize))
  const inFlight = inFlightRegion(new Uint8Array(buffer, imageSize), 0, setting.size, setting.packed)!
  const options = { packed: setting.packed, indirect: true, notify: () => {}, fail: (violation: Violation) => violations.push(violation) }
  const queue = createVring(memory, driver.setup, options, { base: setting.base, inFlight })
  const heads: number[] = []
  for (let chain = queue.next(); chain; chain = queue.next()) heads.push(chain.head)
  return { queue, heads, violations }
}

const entry = (setting: Setting, index: number): number =>
  setting.packed ? QueueRegionPacked.offsetOf.desc + index * DescStatePacked.size : QueueRegionSplit.offsetOf.desc + index * DescStateSplit.size

describe('an area with impossible contents breaks the queue', () => {
  const inSplit = QueueRegionSplit.offsetOf
  const inPacked = QueueRegionPacked.offsetOf
  const inEntry = { split: DescStateSplit.offsetOf, packed: DescStatePacked.offsetOf }

  it.each<[what: string, setting: Setting, spoil: (area: DataView) => void]>([
    ['another version', split, (area) => area.setUint16(inSplit.version, 2, true)],
    ['fewer entries than the queue has', split, (area) => area.setUint16(inSplit.desc_num, 3, true)],
    ['more entries than there is room for', split, (area) => area.setUint16(inSplit.desc_num, 5, true)],
    ['more heads used last than there are', split, (area) => area.setUint16(inSplit.used_idx, 0x8000, true)],
    [
      'a list of heads used last that goes round',
      split,
      (area) => {
        area.setUint16(inSplit.used_idx, 0xfffe, true)
        area.setUint16(entry(split, 0) + inEntry.split.next, 0, true)
      },
    ],
    [
      'a list of heads used last that leaves the entries',
      split,
      (area) => {
        area.setUint16(inSplit.used_idx, 0xffff, true)
        area.setUint16(inSplit.last_batch_head, 4, true)
      },
    ],
    ['a counter that is none', split, (area) => area.setUint32(entry(split, 0) + inEntry.split.counter + 4, 0xffff_ffff, true)],
    ['another version, packed', packed, (area) => area.setUint16(inPacked.version, 0xffff, true)],
    ['more entries than there is room for, packed', packed, (area) => area.setUint16(inPacked.desc_num, 0xffff, true)],
    ['a used index outside the ring', packed, (area) => area.setUint16(inPacked.used_idx, 4, true)],
    ['free entries that go round', packed, (area) => area.setUint16(entry(packed, 3) + inEntry.packed.next, 2, true)],
    ['free entries that are not all there, packed', packed, (area) => area.setUint16(inPacked.old_free_head, 0xffff, true)],
    ['a chain of no descriptor', packed, (area) => area.setUint16(entry(packed, 0) + inEntry.packed.num, 0, true)],
    ['a chain longer than the queue', packed, (area) => area.setUint16(entry(packed, 0) + inEntry.packed.num, 5, true)],
    ["a chain that goes on in another one's entry", packed, (area) => area.setUint16(entry(packed, 1) + inEntry.packed.num, 2, true)],
    [
      'two chains with one id',
      packed,
      (area) => area.setUint16(entry(packed, 0) + inEntry.packed.id, area.getUint16(entry(packed, 1) + inEntry.packed.id, true), true),
    ],
    ['a counter that is none, packed', packed, (area) => area.setUint32(entry(packed, 0) + inEntry.packed.counter + 4, 0xffff_ffff, true)],
  ])('%s', (_what, setting, spoil) => {
    const { buffer, driver, area } = busy(setting)
    spoil(area)
    const { heads, violations, queue } = opened(setting, buffer, driver)
    expect(heads).toEqual([])
    expect(violations).toMatchObject([{ kind: 'in-flight', queue: 0 }])
    expect(queue.broken).toBe(violations[0])
  })

  it.each([split, packed])('or a buffer that is none: it is looked at like any other ($packed)', (setting) => {
    const { buffer, driver, area } = busy(setting)
    if (setting.packed) area.setUint32(entry(setting, 0) + inEntry.packed.addr + 4, 1, true)
    else new DataView(buffer).setUint32(driver.setup.descriptorArea + 4, 1, true)
    expect(opened(setting, buffer, driver)).toMatchObject({ heads: [], violations: [{ kind: 'descriptor-address' }] })
  })

  it.each([split, packed])('or it delivers no more chains than there are, whatever the front-end writes there at any time ($packed)', (setting) => {
    const writes = fc.array(fc.tuple(fc.nat(areaBytes(setting) - 1), fc.oneof(fc.constantFrom(0, 1, 2, 3, 4, 0x80, 0xff), fc.nat(255))), {
      maxLength: 40,
    })
    fc.assert(
      fc.property(writes, writes, fc.boolean(), (before, during, fresh) => {
        const { buffer, driver, area } = busy(setting)
        if (fresh) area.setUint16(QueueRegionSplit.offsetOf.version, 0, true)
        for (const [at, value] of before) area.setUint8(at, value)
        const { queue, heads, violations } = opened(setting, buffer, driver)
        expect(heads.length).toBeLessThanOrEqual(setting.size)
        expect(new Set(heads).size).toBe(heads.length)
        expect(violations.length).toBeLessThanOrEqual(1)
        for (const [at, value] of during) area.setUint8(at, value)
        queue.next()?.complete(0)
        queue.reset()
      }),
      { numRuns: 500 },
    )
  })
})

describe('an area', () => {
  it.each([split, packed])('that holds nothing any more lets the ring begin where its base says ($packed)', (setting) => {
    const { buffer, driver } = busy(setting)
    clearInFlight(inFlightRegion(new Uint8Array(buffer, imageSize), 0, setting.size, setting.packed)!, setting.packed)
    expect(opened(setting, buffer, driver).heads).toEqual(driver.out.map(({ id }) => id))
  })

  it('has a region for each queue at a multiple of 64 bytes, and none beyond its end', () => {
    // As libvhost-user and DPDK have them.
    expect([inFlightSize(1, 128, false), inFlightSize(3, 128, false), inFlightSize(1, 256, true), inFlightSize(2, 1, false)]).toEqual([
      2112, 6336, 8256, 128,
    ])
    const area = new Uint8Array(inFlightSize(2, 128, false))
    expect(inFlightRegion(area, 1, 128, false)).toMatchObject({ byteOffset: 2112, length: 16 + 128 * 16 })
    expect(inFlightRegion(area, 2, 128, false)).toBeUndefined()
    expect(inFlightRegion(area.subarray(4), 0, 128, false)).toBeUndefined()
  })

  it.each([split, packed])('that is too small for the queue breaks it ($packed)', (setting) => {
    const buffer = new ArrayBuffer(imageSize + inFlightSize(1, 2, setting.packed))
    const driver = new (setting.packed ? PackedImage : SplitImage)(buffer, setting.size, false, setting.base)
    const violations: Violation[] = []
    const inFlight = inFlightRegion(new Uint8Array(buffer, imageSize), 0, 2, setting.packed)!
    const options = { packed: setting.packed, notify: () => {}, fail: (violation: Violation) => violations.push(violation) }
    createVring(GuestMemory.of(new Uint8Array(buffer, 0, imageSize)), driver.setup, options, { base: setting.base, inFlight })
    expect(violations).toMatchObject([{ kind: 'in-flight' }])
  })
})

describe('a ring without an area', () => {
  const start = (setting: Setting, base = setting.base): { queue: DeviceQueue; driver: RingImage; violations: Violation[] } => {
    const buffer = new ArrayBuffer(imageSize)
    const driver = new (setting.packed ? PackedImage : SplitImage)(buffer, setting.size, false, setting.base)
    const violations: Violation[] = []
    const options = { packed: setting.packed, notify: () => {}, fail: (violation: Violation) => violations.push(violation) }
    return { queue: createVring(GuestMemory.of(new Uint8Array(buffer)), driver.setup, options, { base }), driver, violations }
  }

  it.each([
    { ...split, base: 65_535, answer: 0 },
    { ...packed, base: 0x8003, answer: 0 },
    { ...packed, base: 0x8002, answer: 0x8003_8003 },
    { ...packed, base: 1, answer: 0x0002_0002 },
  ])('goes on at its base, and gives another one when it is stopped ($packed, $base)', ({ answer, ...setting }) => {
    const { queue, driver } = start(setting)
    driver.offer(1, false)
    queue.next()!.complete(0)
    expect(vringBase(queue.save(), setting.packed)).toBe(answer)
  })

  it('takes both positions from the lower half of the base: some front-ends leave the upper one 0', () => {
    const { queue, driver } = start(packed, 0x8000)
    driver.offer(1, false)
    queue.next()!.complete(0)
    driver.reap()
    expect(driver.out).toEqual([])
  })

  it('takes what nobody has any more once more: split, behind the used index', () => {
    const { driver, queue } = start({ ...split, base: 7 }, 9)
    driver.offer(1, false)
    expect(queue.next()?.head).toBe(0)
  })

  it('is broken where its base is outside', () => {
    expect(start({ ...packed, base: 0 }, 4).violations).toMatchObject([{ kind: 'in-flight' }])
  })
})
