/** The driver side of Virtio Over MMIO, against a register file that does what a test tells it. */
import { FeatureSet, featureNames } from 'virtgen/codegen/v1/wire'
import {
  ACKNOWLEDGE,
  DEVICE_NEEDS_RESET,
  DRIVER,
  DRIVER_OK,
  FAILED,
  FEATURES_OK,
  features as reservedFeatures,
  VIRTIO_F_ACCESS_PLATFORM,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_NOTIF_CONFIG_DATA,
  VIRTIO_F_NOTIFICATION_DATA,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_RING_RESET,
  VIRTIO_F_SR_IOV,
  VIRTIO_F_SUSPEND,
  VIRTIO_F_VERSION_1,
} from 'virtgen/wire/content'
import { virtio_mmio } from 'virtgen/wire/transport-mmio'
import { describe, expect, it } from 'vitest'
import type { Chain } from '../runtime/chain.ts'
import { createDeviceQueue } from '../runtime/device-queue.ts'
import type { DriverError, DriverHost } from '../runtime/driver/host.ts'
import { DriverMemory } from '../runtime/driver/memory.ts'
import { GuestMemory } from '../runtime/memory.ts'
import { MmioDevice } from '../runtime/mmio/device.ts'
import { type MmioDeviceState, restoreMmioDevice, saveMmioDevice } from '../runtime/mmio/device-state.ts'
import { connectMmio, type MmioDriverOptions } from '../runtime/mmio/driver.ts'
import { DummyDevice } from './support/dummy-device.ts'

const names = new Map(Object.entries(virtio_mmio).map(([name, { offset }]) => [offset as number, name]))
const live = ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK

/** A device's registers: records every access, checks widths and directions, and follows `script`. */
class Registers {
  readonly log: string[] = []
  readonly script: {
    magic?: number
    version?: number
    id?: number
    features?: FeatureSet
    sizes?: number[]
    readyBefore?: boolean
    acceptsFeatures?: boolean
    resetLooks?: number
    needsReset?: boolean
    queueResetLooks?: number
    keepsQueueReady?: boolean
    onConfigRead?: () => void
  }
  readonly config = Uint8Array.from([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
  generation = 0
  status = 0
  interruptStatus = 0
  accepted = FeatureSet.empty
  readonly queues: Record<string, number>[] = []
  readonly notified: number[] = []
  #featuresSelected = -1
  #driverSelected = -1
  #queue = -1
  #looks = 0

  constructor(script: Registers['script'] = {}) {
    this.script = script
  }

  get offered() {
    return this.script.features ?? FeatureSet.of(VIRTIO_F_VERSION_1, VIRTIO_F_EVENT_IDX, VIRTIO_F_SR_IOV, 0, 5)
  }

  #check(offset: number, width: number, direction: 'r' | 'w'): string {
    if (offset >= virtio_mmio.Config.offset) return `Config+${offset - virtio_mmio.Config.offset}/${width}`
    const name = names.get(offset)
    if (name === undefined || width !== 4) throw new Error(`access of ${width} bytes at ${offset}`)
    const { access } = virtio_mmio[name as keyof typeof virtio_mmio]
    if (!access.includes(direction)) throw new Error(`${name} is ${access}`)
    return name
  }

  read(offset: number, width: 1 | 2 | 4): number {
    const name = this.#check(offset, width, 'r')
    const value = this.#read(name, offset, width)
    this.log.push(`${name} -> ${value}`)
    return value
  }

  #read(name: string, offset: number, width: number): number {
    const { script } = this
    if (name === 'MagicValue') return script.magic ?? 0x74726976
    if (name === 'Version') return script.version ?? 2
    if (name === 'DeviceID') return script.id ?? 42
    if (name === 'Status') return this.#readStatus()
    if (name === 'DeviceFeatures') return this.offered.word(this.#featuresSelected)
    if (name === 'QueueReady') return this.queues[this.#queue]?.[name] ?? (script.readyBefore ? 1 : 0)
    if (name === 'QueueReset') return this.#readQueueReset(this.queues[this.#queue] ?? {})
    if (name === 'QueueSizeMax') return (script.sizes ?? [64, 1000])[this.#queue] ?? 0
    if (name === 'InterruptStatus') return this.interruptStatus
    if (name === 'ConfigGeneration') return this.generation
    if (!name.startsWith('Config+')) throw new Error(`unexpected read of ${name}`)
    script.onConfigRead?.()
    const at = offset - virtio_mmio.Config.offset
    return this.config.slice(at, at + width).reduceRight((value, byte) => value * 256 + byte, 0)
  }

  #readStatus(): number {
    if (this.#looks > 0 && --this.#looks > 0) return this.status
    if (this.#looks === 0 && this.status === 0x1_00) this.status = 0
    return this.script.needsReset && this.status & DRIVER_OK ? this.status | DEVICE_NEEDS_RESET : this.status
  }

  #readQueueReset(queue: Record<string, number>): number {
    const looks = this.script.queueResetLooks ?? 1
    this.script.queueResetLooks = looks - 1
    if (looks <= 1) Object.assign(queue, this.script.keepsQueueReady ? { QueueReset: 0 } : { QueueReset: 0, QueueReady: 0 })
    return queue.QueueReset ?? 0
  }

  write(offset: number, width: 1 | 2 | 4, value: number): void {
    const name = this.#check(offset, width, 'w')
    this.log.push(`${name} <- ${value}`)
    if (value < 0 || !Number.isInteger(value)) throw new Error(`${name} <- ${value}`)
    if (name === 'Status') this.#writeStatus(value)
    else if (name === 'DeviceFeaturesSel') this.#featuresSelected = value
    else if (name === 'DriverFeaturesSel') this.#driverSelected = value
    else if (name === 'DriverFeatures') this.accepted = this.accepted.withWord(this.#driverSelected, value)
    else if (name === 'QueueSel') this.#queue = value
    else if (name === 'QueueNotify') {
      if ((this.status & DRIVER_OK) === 0) throw new Error('notified before DRIVER_OK')
      this.notified.push(value)
    } else if (name === 'InterruptACK') this.interruptStatus &= ~value
    else if (name.startsWith('Queue')) {
      this.queues[this.#queue] ??= {}
      this.queues[this.#queue]![name] = value
    }
  }

  #writeStatus(value: number): void {
    if (value === 0) {
      this.#looks = this.script.resetLooks ?? 0
      this.status = this.#looks > 0 ? 0x100 : 0
      this.queues.length = 0
      this.interruptStatus = 0
    } else {
      if ((value & this.status) !== this.status) throw new Error(`the driver clears bits: ${this.status} <- ${value}`)
      this.status = (this.script.acceptsFeatures ?? true) ? value : value & ~FEATURES_OK
    }
  }
}

class Client {
  static readonly deviceId = 42
  static readonly features: FeatureSet = FeatureSet.of(0, 1)
  static readonly configLength: number = 10
  static queues(_features: FeatureSet, _config: Uint8Array) {
    return [
      { index: 0, name: 'first', message: undefined },
      { index: 1, name: 'second', message: undefined },
    ]
  }
  readonly host: DriverHost
  constructor(host: DriverHost) {
    this.host = host
  }
}

function setting(script: Registers['script'] = {}, options: Partial<MmioDriverOptions> = {}) {
  const registers = new Registers(script)
  const guest = GuestMemory.of(new Uint8Array(0x1_0000))
  const memory = options.memory ?? new DriverMemory(guest, 0x1000, 0xf000)
  return { registers, memory, guest, connect: (type = Client) => connectMmio(registers, type, { ...options, memory }) }
}

const failure = async (promise: Promise<unknown>): Promise<DriverError> =>
  promise.then(
    () => expect.fail('connected'),
    (error) => error,
  )

describe('the initialisation', () => {
  it('follows the sequence of the text, register by register', async () => {
    const { registers, connect } = setting({ sizes: [64, 1000] }, { queueSize: 100 })
    await connect()
    const setup = (index: number, size: number) => [
      `QueueSel <- ${index}`,
      'QueueReady -> 0',
      `QueueSizeMax -> ${[64, 1000][index]}`,
      `QueueSel <- ${index}`,
      `QueueSize <- ${size}`,
      ...['QueueDescLow', 'QueueDescHigh', 'QueueDriverLow', 'QueueDriverHigh', 'QueueDeviceLow', 'QueueDeviceHigh'].map(
        (name) => `${name} <- ${registers.queues[index]![name]}`,
      ),
      'QueueReady <- 1',
    ]
    expect(registers.log).toEqual([
      `MagicValue -> ${0x74726976}`,
      'Version -> 2',
      'DeviceID -> 42',
      'Status <- 0',
      'Status -> 0',
      'Status -> 0',
      'Status <- 1',
      'Status -> 1',
      'Status <- 3',
      'DeviceFeaturesSel <- 0',
      `DeviceFeatures -> ${registers.offered.word(0)}`,
      'DeviceFeaturesSel <- 1',
      `DeviceFeatures -> ${registers.offered.word(1)}`,
      'DriverFeaturesSel <- 0',
      `DriverFeatures <- ${FeatureSet.of(0, VIRTIO_F_EVENT_IDX).word(0)}`,
      'DriverFeaturesSel <- 1',
      'DriverFeatures <- 1',
      'Status -> 3',
      'Status <- 11',
      'Status -> 11',
      'ConfigGeneration -> 0',
      ...registers.log.filter((line) => line.startsWith('Config+')),
      'ConfigGeneration -> 0',
      ...setup(0, 64),
      ...setup(1, 64),
      'Status -> 11',
      'Status <- 15',
      'Status -> 15',
    ])
  })

  it('puts the queues at aligned, zeroed, separate places', async () => {
    const { registers, connect, guest } = setting()
    guest.regions[0]!.u8.fill(0xff)
    const { driver } = await connect()
    const areas = registers.queues.flatMap((queue) => [queue.QueueDescLow!, queue.QueueDriverLow!, queue.QueueDeviceLow!])
    expect(areas.every((address) => address % 16 === 0 && address >= 0x1000)).toBe(true)
    expect(new Set(areas).size).toBe(6)
    expect(registers.queues.map((queue) => queue.QueueSize)).toEqual([64, 256])
    expect(guest.resolve(registers.queues[1]!.QueueDeviceLow!, 6 + 8 * 256)!.every((byte) => byte === 0)).toBe(true)
    expect(driver.host.queues.map((queue) => queue.name)).toEqual(['first', 'second'])
    expect(() => driver.host.queue(2)).toThrow('there is no queue 2, only 0, 1')
  })

  it('accepts what both know, and the platform features only when they are named', async () => {
    const rings = [
      VIRTIO_F_INDIRECT_DESC,
      VIRTIO_F_EVENT_IDX,
      VIRTIO_F_RING_PACKED,
      VIRTIO_F_IN_ORDER,
      VIRTIO_F_NOTIFICATION_DATA,
      VIRTIO_F_RING_RESET,
    ]
    const all = FeatureSet.of(
      0,
      1,
      7,
      VIRTIO_F_VERSION_1,
      ...rings,
      VIRTIO_F_ACCESS_PLATFORM,
      VIRTIO_F_SR_IOV,
      VIRTIO_F_NOTIF_CONFIG_DATA,
      VIRTIO_F_SUSPEND,
    )
    const accepted = async (options: Partial<MmioDriverOptions>) => {
      const { registers, connect } = setting({ features: all }, options)
      const { driver } = await connect()
      expect(driver.host.features.equals(registers.accepted)).toBe(true)
      return registers.accepted.bits
    }
    expect(await accepted({})).toEqual(FeatureSet.of(0, 1, VIRTIO_F_VERSION_1, ...rings).bits)
    expect(await accepted({ features: FeatureSet.of(1) })).toEqual([1, VIRTIO_F_VERSION_1])
    expect(await accepted({ features: FeatureSet.empty, required: FeatureSet.of(VIRTIO_F_ACCESS_PLATFORM) })).toEqual([
      VIRTIO_F_VERSION_1,
      VIRTIO_F_ACCESS_PLATFORM,
    ])
  })

  it('waits for a reset that takes its time', async () => {
    let pauses = 0
    const pause = () => Promise.resolve(void pauses++)
    const { registers, connect } = setting({ resetLooks: 5 }, { pause })
    await connect()
    expect([pauses > 2, registers.status]).toEqual([true, live])
  })

  it('reads the configuration again while it changes', async () => {
    const { registers, connect } = setting()
    let changes = 3
    registers.script.onConfigRead = () => {
      if (changes-- > 0) registers.generation++
      registers.config.fill(registers.generation)
    }
    const seen: number[] = []
    await connect(
      class extends Client {
        static override queues(_features: FeatureSet, config: Uint8Array) {
          seen.push(...config)
          return []
        }
      },
    )
    expect(seen).toEqual(new Array(10).fill(3))
  })

  it('reads each field of the configuration by its own width, 64-bit ones in halves, write-only ones never', async () => {
    const { registers, connect } = setting()
    await connect(
      class extends Client {
        static override readonly configLength = 20
        static readonly configFields = [
          { name: 'a', offset: 0, width: 8, access: 'r' as const },
          { name: 'b', offset: 8, width: 2, access: 'r' as const },
          { name: 'c', offset: 10, width: 1, access: 'rw' as const },
          { name: 'd', offset: 12, width: 4, access: 'w' as const },
          { name: 'e', offset: 16, width: 3, access: 'r' as const },
        ]
      },
    )
    const reads = registers.log.filter((line) => line.startsWith('Config+')).map((line) => line.split(' ')[0])
    expect(reads).toEqual(['Config+0/4', 'Config+4/4', 'Config+8/2', 'Config+10/1', 'Config+16/1', 'Config+17/1', 'Config+18/1'])
  })

  it('does not read a field whose feature the device does not offer, also if it does not accept the feature itself', async () => {
    const { registers, connect } = setting({ features: FeatureSet.of(VIRTIO_F_VERSION_1, 4) })
    const seen: number[][] = []
    await connect(
      class extends Client {
        static override readonly configLength = 3
        static readonly configFields = [
          { name: 'always', offset: 0, width: 1, access: 'r' as const },
          { name: 'offered', offset: 1, width: 1, access: 'r' as const, exists: (offered: FeatureSet) => offered.has(4) },
          { name: 'not offered', offset: 2, width: 1, access: 'r' as const, exists: (offered: FeatureSet) => offered.has(5) },
        ]
        static override queues(_features: FeatureSet, config: Uint8Array) {
          seen.push([...config])
          return []
        }
      },
      { features: FeatureSet.empty },
    )
    const reads = registers.log.filter((line) => line.startsWith('Config+')).map((line) => line.split(' ')[0])
    expect(reads).toEqual(['Config+0/1', 'Config+1/1'])
    expect(seen[0]?.[2]).toBe(0)
  })
})

describe('what can go wrong', () => {
  it('touches nothing where there is no such device', async () => {
    for (const [script, kind, reads] of [
      [{ magic: 0 }, 'not-virtio', 1],
      [{ version: 1 }, 'version', 2],
      [{ id: 0 }, 'device-id', 3],
      [{ id: 7 }, 'device-id', 3],
    ] as const) {
      const { registers, connect } = setting(script)
      expect(await failure(connect())).toMatchObject({ name: 'DriverError', kind })
      expect(registers.log).toHaveLength(reads)
    }
  })

  it('gives the device up (FAILED) and its memory back', async () => {
    const cases: [string, Registers['script'], Partial<MmioDriverOptions>?][] = [
      ['feature', { features: FeatureSet.of(0) }],
      ['feature', {}, { required: FeatureSet.of(1) }],
      ['feature', { features: FeatureSet.of(VIRTIO_F_VERSION_1, 9) }, { required: FeatureSet.of(9) }],
      ['features-refused', { acceptsFeatures: false }],
      ['queue', { sizes: [64] }],
      ['queue', { readyBefore: true }],
      ['needs-reset', { needsReset: true }],
    ]
    for (const [kind, script, options] of cases) {
      const { registers, connect, memory } = setting(script, options)
      expect(await failure(connect())).toMatchObject({ name: 'DriverError', kind })
      expect([registers.status & FAILED, memory.available], kind).toEqual([FAILED, 0xf000])
    }
  })

  it('says so when the memory is too small, for all of a queue or for its last part', async () => {
    for (const length of [0x800, 0x480, 0x200]) {
      const memory = new DriverMemory(GuestMemory.of(new Uint8Array(0x4000)), 0x1000, length)
      const { registers, connect } = setting({}, { memory, queueSize: 64 })
      expect(await failure(connect())).toMatchObject({ kind: 'memory' })
      expect([registers.status & FAILED, memory.available]).toEqual([FAILED, length])
    }
  })

  it('gives up a device that does not come back from a reset', async () => {
    const { registers, connect } = setting({ resetLooks: 1e9 }, { resetPolls: 20 })
    expect(await failure(connect())).toMatchObject({ kind: 'reset' })
    expect([registers.status & FAILED, registers.status & ACKNOWLEDGE]).toEqual([FAILED, 0])
  })

  it('gives up a configuration that never settles', async () => {
    const { registers, connect } = setting()
    registers.script.onConfigRead = () => {
      registers.generation++
    }
    expect(await failure(connect())).toMatchObject({ kind: 'config' })
    expect(registers.status & FAILED).toBe(FAILED)
  })

  it('does not accept a feature without what it requires', async () => {
    const { registers, connect } = setting()
    const type = class extends Client {
      static checkFeatures() {
        return [{ feature: 'VIRTIO_X_F_A', requires: 'VIRTIO_X_F_B' }]
      }
    }
    const error = await failure(connect(type))
    expect([error.kind, error.message]).toEqual(['feature', 'VIRTIO_X_F_A requires VIRTIO_X_F_B, which is not accepted or not offered'])
    expect(registers.log.some((line) => line.startsWith('DriverFeatures '))).toBe(false)
  })

  it('resets the device when its client cannot be made', async () => {
    const { registers, connect, memory } = setting()
    const type = class extends Client {
      constructor(host: DriverHost) {
        super(host)
        throw new Error('no')
      }
    }
    expect((await failure(connect(type))).message).toBe('no')
    expect([registers.queues, registers.status, memory.available]).toEqual([[], FAILED, 0xf000])
  })

  it('refuses wrong options', async () => {
    for (const options of [{ queueSize: 0 }, { queueSize: 1.5 }, { resetPolls: 0 }]) {
      const { registers, connect } = setting({}, options)
      expect(await failure(connect())).toBeInstanceOf(RangeError)
      expect(registers.log).toEqual([])
    }
  })
})

describe('a connected device', () => {
  const piece = [{ address: 0x8000, length: 4 }]
  const use = (guest: GuestMemory, queue: Record<string, number>, id: number, length: number) => {
    const { view } = guest.regions[0]!
    const index = view.getUint16(queue.QueueDeviceLow! + 2, true)
    const at = queue.QueueDeviceLow! + 4 + 8 * (index % queue.QueueSize!)
    view.setUint32(at, id, true)
    view.setUint32(at + 4, length, true)
    view.setUint16(queue.QueueDeviceLow! + 2, index + 1, true)
  }

  it('is notified by the index of the queue', async () => {
    const { registers, connect } = setting()
    const { driver } = await connect()
    const queue = driver.host.queue(1)
    queue.add(piece, [], 'a')
    queue.publish()
    expect(registers.notified).toEqual([1])
  })

  it.each([
    ['split: 15 bits of the available index and the 16th', [], 1 + 3 * 0x1_0000],
    ['packed: an offset and the wrap counter', [VIRTIO_F_RING_PACKED], 0x8003_0001],
  ])('is notified with the position where VIRTIO_F_NOTIFICATION_DATA is negotiated; %s', async (_, more, word) => {
    const { registers, connect } = setting({ features: FeatureSet.of(VIRTIO_F_VERSION_1, VIRTIO_F_NOTIFICATION_DATA, ...more) })
    const { driver } = await connect()
    const queue = driver.host.queue(1)
    for (const token of ['a', 'b', 'c']) queue.add(piece, [], token)
    queue.publish()
    expect(registers.notified).toEqual([word])
  })

  it('has queues of any size where the ring is packed, and powers of 2 where it is split', async () => {
    for (const [more, sizes] of [
      [[], [64, 512]],
      [[VIRTIO_F_RING_PACKED], [100, 700]],
    ] as const) {
      const { registers, connect } = setting({ features: FeatureSet.of(VIRTIO_F_VERSION_1, ...more), sizes: [100, 1000] }, { queueSize: 700 })
      await connect()
      expect(registers.queues.map((queue) => queue.QueueSize)).toEqual(sizes)
    }
  })

  it('serves its queues on an interrupt and acknowledges what it handled, no undefined bit', async () => {
    const { registers, connect, guest } = setting({ features: FeatureSet.of(VIRTIO_F_VERSION_1) })
    const { driver, interrupt } = await connect()
    const queue = driver.host.queue(0)
    const seen: unknown[] = []
    driver.host.onUsed(0, () => {
      for (let token = queue.completed(); token !== undefined; token = queue.completed()) seen.push(token)
    })
    queue.add([], piece, 'a')
    queue.publish()
    expect(interrupt()).toBe(false)
    use(guest, registers.queues[0]!, 0, 4)
    registers.interruptStatus = 0xfffffff1
    registers.log.length = 0
    expect(interrupt()).toBe(true)
    expect([seen, registers.log]).toEqual([['a'], ['InterruptStatus -> 4294967281', 'InterruptACK <- 1']])
    expect(() => driver.host.onUsed(0, () => {})).toThrow('has a handler')
  })

  it('misses nothing that the device uses between the handling and the acknowledgement', async () => {
    const { registers, connect, guest } = setting({ features: FeatureSet.of(VIRTIO_F_VERSION_1) })
    const { driver, interrupt } = await connect()
    const queue = driver.host.queue(0)
    const seen: unknown[] = []
    driver.host.onUsed(0, () => {
      for (let token = queue.completed(); token !== undefined; token = queue.completed()) seen.push(token)
      // Now, before the acknowledgement, the device uses the second one.
      if (seen.length === 1) use(guest, registers.queues[0]!, 1, 0)
    })
    queue.add([], piece, 'a')
    queue.add([], piece, 'b')
    queue.publish()
    use(guest, registers.queues[0]!, 0, 4)
    registers.interruptStatus = 1
    interrupt()
    expect(seen).toEqual(['a', 'b'])
  })

  it('tells of each configuration change once, also with the same generation, and of one that comes in between', async () => {
    const { registers, connect } = setting()
    const { driver, interrupt } = await connect()
    let changes = 0
    driver.host.onConfigChange(() => {
      changes++
      if (changes === 3) registers.generation++
    })
    registers.interruptStatus = 2
    expect(interrupt()).toBe(true)
    expect([changes, registers.interruptStatus]).toEqual([1, 0])
    registers.interruptStatus = 2
    interrupt()
    expect(changes).toBe(2)
    registers.interruptStatus = 2
    interrupt()
    expect(changes).toBe(4)
  })

  it('writes fields of the configuration by their width', async () => {
    const { registers, connect } = setting()
    const { driver } = await connect()
    registers.log.length = 0
    driver.host.config.write(9, Uint8Array.of(0xfe))
    driver.host.config.write(0, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 0x80))
    expect(registers.log).toEqual(['Config+9/1 <- 254', `Config+0/4 <- ${0x04030201}`, `Config+4/4 <- ${0x80070605}`])
    expect(() => driver.host.config.write(8, Uint8Array.of(1, 2, 3, 4))).toThrow(RangeError)
    expect(() => driver.host.config.write(0, Uint8Array.of(1, 2, 3))).toThrow(RangeError)
  })

  it('is given up when it needs a reset', async () => {
    const { registers, connect } = setting()
    const { driver, interrupt } = await connect()
    const errors: DriverError[] = []
    driver.host.onFailure((error) => errors.push(error))
    driver.host.onConfigChange(() => expect.fail('no configuration change'))
    registers.status |= DEVICE_NEEDS_RESET
    registers.interruptStatus = 2
    interrupt()
    expect(errors.map((error) => error.kind)).toEqual(['needs-reset'])
  })

  it('is given up (FAILED) when it breaks the rules', async () => {
    const { registers, connect, guest } = setting()
    const { driver } = await connect()
    const errors: DriverError[] = []
    driver.host.onFailure((error) => errors.push(error))
    use(guest, registers.queues[0]!, 0, 0)
    expect(driver.host.queue(0).completed()).toBeUndefined()
    expect(errors).toMatchObject([{ kind: 'violation', violation: { kind: 'used-index', queue: 0 } }])
    expect(registers.status & FAILED).toBe(FAILED)
    const late: DriverError[] = []
    driver.host.onFailure((error) => late.push(error))
    expect(late).toEqual(errors)
  })

  it('gives the memory back when it is reset, and is left alone afterwards', async () => {
    const { registers, connect, memory } = setting()
    const { driver, interrupt } = await connect()
    driver.host.queue(0).add(piece, [], 'a')
    await driver.host.reset()
    expect([registers.status, memory.available]).toEqual([0, 0xf000])
    registers.log.length = 0
    registers.interruptStatus = 3
    expect([interrupt(), driver.host.queue(0).detach(), registers.log]).toEqual([false, 'a', []])
    await driver.host.reset()
    expect(registers.log).toEqual([])
  })

  it('keeps the memory of a device that does not come back', async () => {
    const { registers, connect, memory } = setting({}, { resetPolls: 10 })
    const { driver } = await connect()
    registers.script.resetLooks = 1e9
    const before = memory.available
    expect(await failure(driver.host.reset())).toMatchObject({ kind: 'reset' })
    expect(memory.available).toBe(before)
  })
})

describe('the reset of one queue', () => {
  const features = FeatureSet.of(VIRTIO_F_VERSION_1, VIRTIO_F_RING_RESET)

  it('follows the text: QueueReset is read back until it is 0, then the queue is set up like at first', async () => {
    const { registers, connect, memory } = setting({ features, queueResetLooks: 3, sizes: [64, 1000] })
    const { driver } = await connect()
    const { host } = driver
    const old = host.queue(1)
    old.add([{ address: 0x8000, length: 4 }], [], 'a')
    const before = memory.available
    registers.log.length = 0
    const reset = host.resetQueue(1)
    const joined = host.resetQueue(1)
    expect(() => host.queue(1)).toThrow('queue 1 is reset')
    expect(() => host.enableQueue(1)).toThrow('queue 1 is not reset')
    await Promise.all([reset, joined])
    expect(registers.log).toEqual([
      'QueueSel <- 1',
      'QueueReset <- 1',
      'QueueSel <- 1',
      'QueueReset -> 1',
      'QueueSel <- 1',
      'QueueReset -> 1',
      'QueueSel <- 1',
      'QueueReset -> 0',
      'QueueReady -> 0',
    ])
    expect([memory.available > before, old.detach(), old.detach()]).toEqual([true, 'a', undefined])
    expect(() => host.queue(1)).toThrow('queue 1 is reset')
    registers.log.length = 0
    const queue = host.enableQueue(1, 32)
    expect(registers.log.slice(0, 5)).toEqual(['QueueSel <- 1', 'QueueReady -> 0', 'QueueSizeMax -> 1000', 'QueueSel <- 1', 'QueueSize <- 32'])
    expect([registers.log.at(-1), host.queue(1) === queue, queue.size, registers.status]).toEqual(['QueueReady <- 1', true, 32, live])
    await host.resetQueue(1)
    expect(host.enableQueue(1).size).toBe(256)
    expect(memory.available).toBe(before)
  })

  it('leaves the others at work, and its own handler waits for the new queue', async () => {
    const { registers, connect } = setting({ features })
    const { driver, interrupt } = await connect()
    const calls: number[] = []
    for (const index of [0, 1]) driver.host.onUsed(index, () => calls.push(index))
    await driver.host.resetQueue(0)
    registers.interruptStatus = 1
    interrupt()
    expect(calls).toEqual([1, 1])
    driver.host.enableQueue(0)
    registers.interruptStatus = 1
    interrupt()
    expect(calls.slice(2)).toEqual([0, 1, 0, 1])
  })

  it('needs the feature, a queue, a device that works, and memory', async () => {
    const without = await setting({ features: FeatureSet.of(VIRTIO_F_VERSION_1) }).connect()
    expect(await failure(without.driver.host.resetQueue(0))).toMatchObject({ kind: 'feature' })
    const { registers, connect, memory } = setting({ features })
    const { host } = (await connect()).driver
    await expect(host.resetQueue(2)).rejects.toThrow('there is no queue 2')
    expect(() => host.enableQueue(2)).toThrow('there is no queue 2')
    await host.resetQueue(0)
    expect(() => host.enableQueue(0, 0)).toThrow(RangeError)
    const before = memory.available
    const rest = Array.from({ length: Math.floor(before / 0x400) - 2 }, () => memory.allocate(0x400))
    expect(() => host.enableQueue(0)).toThrow(expect.objectContaining({ kind: 'memory' }))
    for (const piece of rest) memory.free(piece)
    expect(memory.available).toBe(before)
    registers.queues[0]!.QueueReady = 1
    expect(() => host.enableQueue(0)).toThrow(expect.objectContaining({ kind: 'queue' }))
    registers.queues[0]!.QueueReady = 0
    host.enableQueue(0)
    await host.reset()
    expect(memory.available).toBe(0xf000)
    expect(await failure(host.resetQueue(0))).toMatchObject({ kind: 'closed' })
    expect(() => host.enableQueue(0)).toThrow(expect.objectContaining({ kind: 'closed' }))
  })

  it.each([
    ['does not end', { queueResetLooks: 1e9 }],
    ['leaves the queue ready', { keepsQueueReady: true }],
  ])('that %s gives the device up; the memory stays with it', async (_, script) => {
    const { registers, connect, memory } = setting({ features, ...script }, { resetPolls: 20 })
    const { host } = (await connect()).driver
    const errors: DriverError[] = []
    host.onFailure((error) => errors.push(error))
    const before = memory.available
    expect(await failure(host.resetQueue(0))).toMatchObject({ kind: 'reset' })
    expect([registers.status & FAILED, errors.map(({ kind }) => kind), memory.available]).toEqual([FAILED, ['reset'], before])
    await host.reset()
    expect(memory.available).toBe(0xf000)
  })

  it('may be overtaken by a reset of the device', async () => {
    const { connect, memory } = setting({ features, queueResetLooks: 50 })
    const { host } = (await connect()).driver
    const one = host.resetQueue(0)
    await host.reset()
    expect(memory.available).toBe(0xf000)
    await one
    expect(memory.available).toBe(0xf000)
  })
})

describe('with the device side of this package', () => {
  const pair = async (queueSize: number, ringFeatures?: FeatureSet) => {
    const guest = GuestMemory.of(new Uint8Array(0x2_0000))
    const memory = new DriverMemory(guest, 0x1000, 0x1_f000)
    const device = new DummyDevice([queueSize, 16])
    const state: { interrupt: (() => boolean) | undefined; errors: DriverError[] } = { interrupt: undefined, errors: [] }
    const mmio = new MmioDevice(device, {
      memory: guest,
      interrupt: (level) => level && state.interrupt?.(),
      createQueue: createDeviceQueue,
      ...(ringFeatures ? { ringFeatures } : {}),
    })
    // Answers with the bytes of the request plus one, now or, with an even first byte, after the next one.
    let parked: (() => void) | undefined
    device.onQueue = (index, host) => {
      const queue = host.queue(index)!
      for (let chain = queue.next(); chain !== undefined; chain = queue.next()) {
        const taken = chain
        const bytes = new Uint8Array(taken.readable.length)
        taken.readable.copyTo(bytes)
        const answer = () => {
          taken.writable.copyFrom(bytes.map((byte) => byte + 1))
          taken.complete()
        }
        const earlier = parked
        parked = undefined
        if (bytes[0]! % 2 === 0 && earlier === undefined) parked = answer
        else answer()
        earlier?.()
      }
    }
    const connection = await connectMmio(mmio, Client, { memory })
    state.interrupt = connection.interrupt
    connection.driver.host.onFailure((error) => state.errors.push(error))
    return { ...connection, host: connection.driver.host, memory, mmio, device, errors: state.errors }
  }

  /** The handler of a queue, and how to send on it: each buffer is answered with the bytes of the request plus one. */
  const traffic = ({ host, memory }: Pick<Awaited<ReturnType<typeof pair>>, 'host' | 'memory'>, index: number, slots: number) => {
    const buffers = Array.from({ length: slots }, () => memory.allocate(16))
    const free = [...buffers.keys()]
    const seen = { sent: 0, received: 0, wrong: [] as string[] }
    host.onUsed(index, () => {
      const queue = host.queue(index)
      for (let token = queue.completed(); token !== undefined; token = queue.completed()) {
        const [slot, value] = token as [number, number]
        const answer = buffers[slot]!.bytes[8]
        if (answer !== ((value + 1) & 0xff) || queue.written !== 2) seen.wrong.push(`${value}: ${answer}, ${queue.written}`)
        free.push(slot)
        seen.received++
      }
    })
    const send = (): boolean => {
      const slot = free.at(-1)
      if (slot === undefined) return false
      const { address, bytes } = buffers[slot]!
      bytes[0] = seen.sent
      const pieces = [
        { address, length: 1 },
        { address: address + 1, length: 1 },
      ]
      if (!host.queue(index).add(pieces, [{ address: address + 8, length: 4 }], [slot, seen.sent & 0xff])) return false
      free.pop()
      seen.sent++
      return true
    }
    /** The queue was reset: what was out is lost. */
    const forget = (): void => {
      free.splice(0, free.length, ...buffers.keys())
      seen.sent = 0
      seen.received = 0
    }
    return { seen, send, forget }
  }

  const ringSets = [[], [VIRTIO_F_RING_PACKED]].flatMap((format) =>
    [[], [VIRTIO_F_EVENT_IDX]].flatMap((events) =>
      [[], [VIRTIO_F_INDIRECT_DESC]].flatMap((indirect) =>
        [[], [VIRTIO_F_IN_ORDER], [VIRTIO_F_IN_ORDER, VIRTIO_F_NOTIFICATION_DATA]].map((order) =>
          FeatureSet.of(VIRTIO_F_VERSION_1, ...format, ...events, ...indirect, ...order),
        ),
      ),
    ),
  )

  it.each(ringSets.map((features) => [featureNames(features, reservedFeatures).join(', '), features] as const))(
    'carries buffers over all wraps of the positions, with %s',
    async (_, features) => {
      const { host, memory, errors } = await pair(features.has(VIRTIO_F_RING_PACKED) ? 7 : 8, features)
      expect(host.features.equals(features)).toBe(true)
      const { seen, send } = traffic({ host, memory }, 0, 8)
      // The indices of a split ring wrap at 65536, the positions of a packed one at its size.
      const count = features.has(VIRTIO_F_RING_PACKED) ? 20_000 : 70_000
      for (let turn = 0; turn < 2 * count && seen.sent < count; turn++) {
        for (let batch = 1 + (seen.sent % 3); batch > 0 && send(); batch--);
        host.queue(0).publish()
      }
      expect([seen.wrong, errors, seen.sent >= count, seen.sent - seen.received <= 1]).toEqual([[], [], true, true])
    },
  )

  it.each(ringSets.map((features) => [featureNames(features, reservedFeatures).join(', '), features.with(VIRTIO_F_RING_RESET)] as const))(
    'resets one queue while the other goes on, and sets it up with another size, with %s',
    async (_, features) => {
      const { host, memory, device, errors } = await pair(16, features)
      const [first, second] = [traffic({ host, memory }, 0, 8), traffic({ host, memory }, 1, 8)]
      for (let round = 0; round < 40; round++) {
        for (const { send } of [first, second]) for (let i = 0; i < 5; i++) send()
        for (const index of [0, 1]) host.queue(index).publish()
        if (round % 4 !== 3) continue
        const old = host.queue(0)
        const { out } = old
        await host.resetQueue(0)
        let detached = 0
        while (old.detach() !== undefined) detached++
        expect(detached).toBe(out)
        first.forget()
        const size = [8, 4, 16][(round >> 2) % 3]!
        expect([host.enableQueue(0, size).size, device.host!.queue(0)!.size]).toEqual([size, size])
      }
      expect([first.seen.wrong, second.seen.wrong, errors]).toEqual([[], [], []])
      expect(second.seen.sent).toBeGreaterThan(150)
      expect(second.seen.sent - second.seen.received).toBeLessThan(2)
    },
  )

  it.each(ringSets.map((features) => [featureNames(features, reservedFeatures).join(', '), features] as const))(
    'goes on behind another device that a snapshot was restored into, requests in flight, with %s',
    async (_, features) => {
      const guest = GuestMemory.of(new Uint8Array(0x2_0000))
      const memory = new DriverMemory(guest, 0x1000, 0x1_f000)
      let interrupt = (): unknown => undefined
      let parked: Chain[] = []
      const plug = () => {
        const device = new DummyDevice([8, 8])
        device.onQueue = (index, host) => {
          for (let chain = host.queue(index)!.next(); chain; chain = host.queue(index)!.next()) parked.push(chain)
        }
        const errors: unknown[] = []
        const report = (what: unknown): unknown => errors.push(what)
        const mmio = new MmioDevice(device, {
          memory: guest,
          interrupt: (level) => level && interrupt(),
          ringFeatures: features,
          createQueue: createDeviceQueue,
          onViolation: report,
          onError: report,
        })
        return { mmio, errors }
      }
      let now = plug()
      const bus = {
        read: (offset: number, width: 1 | 2 | 4) => now.mmio.read(offset, width),
        write: (offset: number, width: 1 | 2 | 4, value: number) => now.mmio.write(offset, width, value),
      }
      const connection = await connectMmio(bus, Client, { memory })
      interrupt = connection.interrupt
      const { host } = connection.driver
      const queue = host.queue(0)
      const received: [unknown, number][] = []
      host.onUsed(0, () => {
        for (let token = queue.completed(); token !== undefined; token = queue.completed()) received.push([token, queue.written])
      })
      const data = memory.allocate(0x400)
      const sent: number[] = []
      const send = (count: number): void => {
        for (let i = 0; i < count; i++) {
          const at = data.address + 16 * (sent.length % 32)
          const pieces = [
            { address: at, length: 1 },
            { address: at + 1, length: 1 },
          ]
          if (!queue.add([], pieces, sent.length)) return
          sent.push(sent.length)
        }
      }
      const answer = (chain: Chain | undefined): void => {
        chain?.writable.fill(0xaa)
        chain?.complete()
      }
      for (let round = 0; round < 60; round++) {
        send(1 + (round % 3))
        queue.publish()
        // The later ones first: with VIRTIO_F_IN_ORDER their completion is held back, and saved.
        const [odd, even] = [parked.filter((_chain, i) => i % 2 === 1), parked.filter((_chain, i) => i % 2 === 0)]
        for (const chain of odd.slice(0, round % 3)) {
          answer(chain)
          parked.splice(parked.indexOf(chain), 1)
        }
        if (round % 5 === 4)
          for (const chain of even) {
            answer(chain)
            parked.splice(parked.indexOf(chain), 1)
          }
        if (round % 2 === 0) continue
        const saved = JSON.parse(JSON.stringify(saveMmioDevice(now.mmio))) as MmioDeviceState
        const before = parked.length
        parked = []
        now = plug()
        restoreMmioDevice(now.mmio, saved)
        expect(parked).toHaveLength(before)
        expect(JSON.parse(JSON.stringify(saveMmioDevice(now.mmio)))).toEqual(saved)
      }
      for (const chain of parked.splice(0)) answer(chain)
      expect([now.errors, queue.broken, queue.out]).toEqual([[], undefined, 0])
      expect(received.map(([token]) => token as number).sort((a, b) => a - b)).toEqual(sent)
      expect(received.every(([, written]) => written === 2)).toBe(true)
      if (features.has(VIRTIO_F_IN_ORDER)) expect(received.map(([token]) => token)).toEqual(sent)
      expect(sent.length).toBeGreaterThan(30)
    },
  )

  it('sees configuration changes and the need for a reset, and can begin anew', async () => {
    const { host, device, mmio, errors, memory } = await pair(8)
    let changes = 0
    host.onConfigChange(() => changes++)
    device.config.update((fields) => fields.$view.setUint8(0, 99))
    expect([changes, host.config.read()[0]]).toEqual([1, 99])
    device.host!.fail({ kind: 'request-size', queue: 0, detail: 'test' })
    expect(errors.map((error) => error.kind)).toEqual(['needs-reset'])
    await host.reset()
    expect([memory.available, mmio.control.status]).toEqual([0x1_f000, 0])
    const again = await connectMmio(mmio, Client, { memory })
    expect(again.driver.host.features.has(VIRTIO_F_VERSION_1)).toBe(true)
  })

  it('waits for a device whose reset takes its time', async () => {
    const { host, device } = await pair(8)
    let finish = () => {}
    device.onReset = () => new Promise<void>((resolve) => (finish = resolve))
    let isOver = false
    const reset = host.reset().then(() => {
      isOver = true
    })
    for (let i = 0; i < 20; i++) await Promise.resolve()
    expect(isOver).toBe(false)
    finish()
    await reset
  })
})
