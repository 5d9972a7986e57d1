/** The driver side of Virtio Over PCI Bus, against a function that does what a test tells it. */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import {
  ACKNOWLEDGE,
  DEVICE_NEEDS_RESET,
  DRIVER,
  DRIVER_OK,
  FAILED,
  FEATURES_OK,
  VIRTIO_F_ANY_LAYOUT,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_NOTIF_CONFIG_DATA,
  VIRTIO_F_NOTIFICATION_DATA,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_RING_RESET,
  VIRTIO_F_VERSION_1,
} from 'virtgen/wire/content'
import { PCI_COMMAND_INTX_DISABLE, PCI_COMMAND_IO, PCI_COMMAND_MASTER, PCI_COMMAND_MEMORY } from 'virtgen/wire/pci'
import { describe, expect, it } from 'vitest'
import { createDeviceQueue } from '../runtime/device-queue.ts'
import type { DriverError, DriverHost } from '../runtime/driver/host.ts'
import { DriverMemory } from '../runtime/driver/memory.ts'
import { GuestMemory } from '../runtime/memory.ts'
import { PciBus } from '../runtime/pci/bus.ts'
import { PciDevice } from '../runtime/pci/device.ts'
import { connectPci, type PciConnection, type PciDriverOptions } from '../runtime/pci/driver.ts'
import { pciCapabilities, virtioStructures } from '../runtime/pci/driver-capabilities.ts'
import type { PciFunction } from '../runtime/pci/function.ts'
import { pciLayouts } from '../runtime/pci/layout.ts'
import type { PciDeviceOptions } from '../runtime/pci/options.ts'
import { DummyDevice } from './support/dummy-device.ts'
import { defaultCapabilities, type FakeCapability, FakePci, type FakePciScript, structures } from './support/fake-pci.ts'

const live = ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK
const decoding = PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER
const transitional = { device: 0x1001, subsystem: 42 } as const

class Client {
  static readonly deviceId: number = 42
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

/** The same, and looks at no configuration. */
class Simple extends Client {
  static override readonly configLength = 0
}

function setting(script: FakePciScript = {}, options: Partial<PciDriverOptions> = {}) {
  const fn = new FakePci(script)
  const guest = GuestMemory.of(new Uint8Array(0x1_0000))
  const memory = options.memory ?? new DriverMemory(guest, 0x1000, 0xf000)
  return { fn, memory, guest, connect: (type = Client) => connectPci(fn, type, { ...options, memory }) }
}

const failure = async (promise: Promise<unknown>): Promise<DriverError> =>
  promise.then(
    () => expect.fail('connected'),
    (error) => error,
  )

const messages = (count: number) => Array.from({ length: count }, (_, i) => ({ address: 0xfee0_0000 + 2 ** 32 * i, data: 0x40 + i }))
const piece = [{ address: 0x8000, length: 4 }]

describe('the initialisation', () => {
  it('follows the sequence of the text, each register by its own width', async () => {
    const { fn, connect } = setting({}, { queueSize: 100 })
    await connect()
    const address = (index: number, name: string) => `${name} <- ${fn.queues[index]![name]}`
    const setup = (index: number) => [
      'num_queues -> 2',
      `queue_select <- ${index}`,
      'queue_enable -> 0',
      `queue_size -> ${[64, 1024][index]}`,
      `queue_notify_off -> ${index}`,
      `queue_select <- ${index}`,
      'queue_size <- 64',
      ...['desc', 'driver', 'device'].flatMap((area) => [address(index, `queue_${area}_lo`), address(index, `queue_${area}_hi`)]),
      'queue_enable <- 1',
    ]
    expect(fn.log).toEqual([
      `command <- ${decoding}`,
      'device_status <- 0',
      'device_status -> 0',
      'device_status -> 0',
      'device_status <- 1',
      'device_status -> 1',
      'device_status <- 3',
      'device_feature_select <- 0',
      `device_feature -> ${fn.offered.word(0)}`,
      'device_feature_select <- 1',
      `device_feature -> ${fn.offered.word(1)}`,
      'driver_feature_select <- 0',
      `driver_feature <- ${FeatureSet.of(0, VIRTIO_F_EVENT_IDX).word(0)}`,
      'driver_feature_select <- 1',
      'driver_feature <- 1',
      'device_status -> 3',
      'device_status <- 11',
      'device_status -> 11',
      'config_generation -> 0',
      ...fn.log.filter((line) => line.startsWith('config+')),
      'config_generation -> 0',
      ...setup(0),
      ...setup(1),
      'device_status -> 11',
      'device_status <- 15',
      'device_status -> 15',
    ])
    expect(fn.queues.map((queue) => queue.queue_desc_lo! % 64)).toEqual([0, 0])
  })

  it('takes a device by its PCI device id, and a transitional one by its subsystem', async () => {
    for (const script of [{ device: 0x1040 + 42 }, transitional, { device: 0x103f, subsystem: 42 }]) {
      const { fn, connect } = setting(script)
      expect((await connect()).legacy).toBe(false)
      expect(fn.status).toBe(live)
    }
  })

  it('maps no more than it needs of structures that are longer', async () => {
    const huge = defaultCapabilities.map((each) => (each.type === 5 ? each : { ...each, length: 0xffff_ffff }))
    const { fn, connect } = setting({ capabilities: huge })
    await connect()
    expect(fn.maps).toEqual([
      [4, 0, 64],
      [4, 0x1000, 1],
      [4, 0x3000, 2],
      [4, 0x2000, 4096],
      [4, 0x3000, 2],
      [4, 0x3004, 2],
    ])
  })

  it('makes the interrupt line work and puts the command register back when the driver leaves', async () => {
    const { fn, connect } = setting()
    fn.space[5] = PCI_COMMAND_INTX_DISABLE >> 8
    const { driver, vectors } = await connect()
    expect([fn.command, vectors]).toEqual([decoding, 0])
    await driver.host.reset()
    expect([fn.command, fn.status]).toEqual([PCI_COMMAND_INTX_DISABLE, 0])
  })

  it('lets decode what has an address, no more', async () => {
    for (const [bars, bits] of [
      [[0, 0, 0, 0, 0xc, 8], PCI_COMMAND_MEMORY],
      // The upper half of an address is no register of its own, even if it looks like that of a port.
      [[0, 0, 0, 0, 0xc, 0xc001], PCI_COMMAND_MEMORY],
      [[1, 0xfe00_0000, 0, 0, 0, 0], PCI_COMMAND_MEMORY],
      [[0xc001, 0, 0, 0, 4, 0], PCI_COMMAND_IO],
      [[0xc001, 0, 0, 0, 0, 4], PCI_COMMAND_IO],
    ] as const) {
      const { fn, connect } = setting({ ...transitional, bars, reachable: [] })
      await connect()
      expect(fn.command, bars.join()).toBe(bits | PCI_COMMAND_MASTER)
    }
  })

  it('can begin anew', async () => {
    const { fn, memory, connect } = setting({ vectors: 4 }, { vectors: messages(3) })
    for (let i = 0; i < 3; i++) {
      const { driver } = await connect()
      expect([fn.status, fn.msixEnabled]).toEqual([live, true])
      await driver.host.reset()
      expect([fn.command, fn.msixEnabled, memory.available]).toEqual([0, false, 0xf000])
    }
  })

  it('reads what the device has of a longer configuration, the rest as 0', async () => {
    const short = defaultCapabilities.map((each) => (each.type === 4 ? { ...each, length: 6 } : each))
    const { connect, fn } = setting({ capabilities: short })
    const { driver } = await connect()
    expect([...driver.host.config.read()]).toEqual([1, 2, 3, 4, 5, 6, 0, 0, 0, 0])
    fn.log.length = 0
    driver.host.config.write(4, Uint8Array.of(7, 0))
    driver.host.config.write(8, Uint8Array.of(7))
    expect(fn.log).toEqual(['config+4/2 <- 7'])
  })

  it('needs no configuration space where the client looks at none', async () => {
    const { connect } = setting({ capabilities: defaultCapabilities.filter(({ type }) => type !== 4) })
    expect(await failure(connect())).toMatchObject({ kind: 'layout' })
    await connect(Simple)
  })
})

describe('the walk of capabilities', () => {
  const walk = (capabilities: FakeCapability[], script: FakePciScript = {}) => {
    const fn = new FakePci({ ...script, capabilities })
    return { places: pciCapabilities(fn), structures: virtioStructures(fn) }
  }

  it('finds all structures in order, with all their members', () => {
    const shared = { type: 8, bar: 2, capId: 7, offset: 0x1000, length: 0x2000, more: [1, 2] }
    const { structures: found } = walk([...defaultCapabilities, shared], { vectors: 3 })
    expect(found.map(({ type }) => type)).toEqual([1, 3, 4, 2, 5, 8])
    expect(found[3]).toMatchObject({ bar: 4, offset: 0x3000, length: 0x1000, multiplier: 4 })
    expect(found[5]).toMatchObject({ bar: 2, id: 7, offset: 2 ** 32 + 0x1000, length: 2 ** 33 + 0x2000, multiplier: 0 })
  })

  it('ignores reserved types and BARs, other capabilities and vendor data', () => {
    const ignored = [
      { ...structures.common, type: 0 },
      { ...structures.common, type: 6 },
      { ...structures.common, type: 0xff },
      { ...structures.common, bar: 6 },
      { ...structures.common, bar: 255 },
      { ...structures.common, id: 5 },
      { type: 9, bar: 4 },
    ]
    expect(walk([...ignored, structures.common]).structures).toHaveLength(1)
  })

  it('ignores those that are too short for their type, accepts longer ones', () => {
    for (const [capability, least] of [
      [structures.common, 16],
      [structures.notify, 20],
      [structures.window, 20],
      [{ type: 8, bar: 4, more: [0, 0] }, 24],
    ] as const) {
      for (const capLength of [0, 1, least - 1]) expect(walk([{ ...capability, capLength }]).structures, `${capability.type}`).toEqual([])
      expect(walk([{ ...capability, capLength: least + 4, more: [...('more' in capability ? capability.more : []), 0] }]).structures).toHaveLength(1)
    }
  })

  it.each([
    ['at itself', 0x40],
    ['at an earlier one', 0x40],
    ['into the header', 0x10],
    ['at an odd place', 0x43],
    ['at the last bytes', 0xff],
  ])('ends where the list points %s', (_, next) => {
    const capabilities: FakeCapability[] = next === 0x43 ? [{ ...structures.common, next }] : [structures.isr, { ...structures.common, next }]
    const { places } = walk(capabilities)
    expect(places.length).toBeLessThanOrEqual(3)
    expect(new Set(places.map(({ at }) => at)).size).toBe(places.length)
  })

  it('ignores those that reach beyond the configuration space', () => {
    for (const [at, type, count] of [
      [0xf0, 1, 1],
      [0xec, 2, 1],
      [0xf4, 1, 0],
      [0xf0, 2, 0],
      [0xec, 8, 0],
      [0xfc, 1, 0],
    ] as const) {
      const fn = new FakePci({ capabilities: [] })
      fn.space[0x34] = at
      fn.space.set([9, 0, 64, type], at)
      expect(virtioStructures(fn), `${type} at ${at}`).toHaveLength(count)
    }
  })

  it('is bounded, whatever the bytes of the configuration space are', () => {
    const fn = new FakePci({ capabilities: [] })
    let seed = 1
    for (let run = 0; run < 500; run++) {
      for (let i = 0x34; i < 256; i++) {
        seed = (seed * 1103515245 + 12345) >>> 0
        fn.space[i] = seed >>> 16
      }
      expect(pciCapabilities(fn).length).toBeLessThanOrEqual(48)
      for (const { bar, type } of virtioStructures(fn)) expect(bar < 6 || type === 5).toBe(true)
    }
  })

  it('finds nothing where the status says that there is no list', () => {
    expect(walk(defaultCapabilities, { capabilityStatus: 0 }).places).toEqual([])
  })
})

describe('structures', () => {
  it('are the first of their type that can be used', async () => {
    const wrong: [string, FakeCapability][] = [
      ['too short', { ...structures.common, length: 0x37 }],
      ['misaligned', { ...structures.common, offset: 2 }],
      ['in a BAR that is not there', { ...structures.common, bar: 3 }],
      ['beyond the BAR', { ...structures.common, offset: 0x3ff0 }],
      ['far beyond', { ...structures.common, offset: 0xffff_fff0 }],
      ['in a reserved BAR', { ...structures.common, bar: 7 }],
    ]
    for (const [name, each] of wrong) {
      const { fn, connect } = setting({ capabilities: [each, ...defaultCapabilities] })
      await connect()
      expect(fn.status, name).toBe(live)
      const alone = setting({ capabilities: [each, ...defaultCapabilities.filter(({ type }) => type !== 1 && type !== 5)] })
      const error = await failure(alone.connect())
      expect([error.name, error.kind], name).toEqual(['DriverError', 'layout'])
      expect([alone.fn.command, alone.fn.log.some((line) => line.includes('device_status'))], name).toEqual([0, false])
    }
  })

  it.each([
    ['common configuration', 1],
    ['notification', 2],
    ['ISR status', 3],
    ['configuration space', 4],
  ])('that are missing are told: %s', async (name, type) => {
    const { fn, connect } = setting({ capabilities: defaultCapabilities.filter((each) => each.type !== type) })
    const error = await failure(connect())
    expect([error.kind, error.message]).toEqual(['layout', expect.stringContaining(`there is no ${name}`)])
    expect(fn.command).toBe(0)
  })

  it('that no BAR leads to are reached through the window of the configuration space', async () => {
    const { fn, connect } = setting({ reachable: [], sizes: [16, 16] })
    const { driver, interrupt } = await connect()
    expect([fn.status, fn.maps.every(([bar]) => bar === 4)]).toEqual([live, true])
    expect([...driver.host.config.read()]).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    const queue = driver.host.queue(1)
    queue.add(piece, [], 'a')
    queue.publish()
    expect(fn.notified).toEqual([[4, 2, 1]])
    fn.isr = 3
    expect([interrupt(), fn.isr, interrupt()]).toEqual([true, 0, false])
  })
})

describe('what can go wrong', () => {
  it('touches nothing where there is no such device', async () => {
    for (const [script, kind, options] of [
      [{ vendor: 0xffff }, 'not-virtio'],
      [{ vendor: 0x8086 }, 'not-virtio'],
      [{ device: 0xfff }, 'not-virtio'],
      [{ device: 0x1080 }, 'not-virtio'],
      [{ headerType: 1 }, 'not-virtio'],
      [{ device: 0x1041 }, 'device-id'],
      [{ device: 0x1001, subsystem: 2 }, 'device-id'],
      [{}, 'version', { interface: 'legacy' }],
      [{ ...transitional, capabilities: [] }, 'version'],
    ] as [FakePciScript, string, Partial<PciDriverOptions>?][]) {
      const { fn, connect } = setting(script, options)
      expect(await failure(connect())).toMatchObject({ name: 'DriverError', kind })
      expect(fn.log).toEqual([])
    }
  })

  it('gives the device up (FAILED), its memory and its bus back', async () => {
    const cases: [string, string, FakePciScript, Partial<PciDriverOptions>?][] = [
      ['no VERSION_1', 'feature', { features: FeatureSet.of(0) }],
      ['a required feature is not offered', 'feature', {}, { required: FeatureSet.of(1) }],
      ['features are refused', 'features-refused', { acceptsFeatures: false }],
      ['a queue has no entries', 'queue', { sizes: [64, 0] }],
      ['num_queues is 0', 'queue', { numQueues: 0 }],
      ['num_queues is 1', 'queue', { numQueues: 1 }],
      ['a queue is in use', 'queue', { enabledBefore: true }],
      ['the notify offset is beyond the structure', 'layout', { notifyOffset: () => 0x400 }],
      ['the notify offset is far beyond', 'layout', { notifyOffset: () => 0xffff }],
      ['it needs a reset at once', 'needs-reset', { needsReset: true }],
      ['vectors are refused for a queue', 'vectors', { vectors: 3, refusesVector: (event) => event === 1 }, { vectors: messages(3) }],
      [
        'vectors are refused for the configuration',
        'vectors',
        { vectors: 3, refusesVector: (event) => event === 'config' },
        { vectors: messages(3) },
      ],
      ['the platform believes in an MSI-X that is not there', 'vectors', {}, { vectors: 2 }],
      ['the platform has not enabled the MSI-X that it speaks of', 'vectors', { vectors: 2 }, { vectors: 2 }],
    ]
    for (const [name, kind, script, options] of cases) {
      const { fn, connect, memory } = setting(script, options)
      const error = await failure(connect())
      expect([error.name, error.kind], name).toEqual(['DriverError', kind])
      expect([fn.status & FAILED, memory.available, fn.command, fn.msixEnabled], name).toEqual([FAILED, 0xf000, 0, false])
    }
  })

  it('takes queue sizes that no device may say as far as a ring can have them', async () => {
    const { fn, connect } = setting({ sizes: [3, 0xffff] }, { queueSize: 200 })
    await connect()
    expect(fn.queues.map((queue) => queue.queue_size)).toEqual([2, 128])
    const small = new DriverMemory(GuestMemory.of(new Uint8Array(0x4000)), 0x1000, 0x3000)
    const { connect: refused } = setting({ sizes: [0xffff, 0xffff] }, { queueSize: 0xffff, memory: small })
    expect(await failure(refused())).toMatchObject({ kind: 'memory' })
    expect(small.available).toBe(0x3000)
  })

  it('takes num_queues for no more than a bound', async () => {
    const { fn, connect } = setting({ numQueues: 0xffff })
    await connect()
    expect(fn.queues).toHaveLength(2)
  })

  it('gives up a device that does not come back from a reset, and one whose configuration never settles', async () => {
    const stuck = setting({ resetLooks: 1e9 }, { resetPolls: 20 })
    expect(await failure(stuck.connect())).toMatchObject({ kind: 'reset' })
    expect([stuck.fn.status & FAILED, stuck.fn.status & ACKNOWLEDGE, stuck.fn.command]).toEqual([FAILED, 0, 0])
    const restless = setting()
    restless.fn.script.onConfigRead = () => {
      restless.fn.generation = (restless.fn.generation + 1) % 256
    }
    expect(await failure(restless.connect())).toMatchObject({ kind: 'config' })
    expect(restless.fn.status & FAILED).toBe(FAILED)
  })

  it('says so when a function vanishes: all reads ones', async () => {
    const { fn, connect } = setting()
    const { driver, interrupt } = await connect()
    const errors: DriverError[] = []
    driver.host.onFailure((error) => errors.push(error))
    fn.status = 0xff
    fn.isr = 0xff
    expect([interrupt(), errors.map(({ kind }) => kind)]).toEqual([true, ['needs-reset']])
  })

  it('refuses wrong options', async () => {
    const wrong: Partial<PciDriverOptions>[] = [
      { queueSize: 0 },
      { resetPolls: 0 },
      { vectors: -1 },
      { vectors: 1.5 },
      { vectors: 2049 },
      { vectors: [{ address: -1, data: 0 }] },
      { vectors: [{ address: 0xfee0_0000, data: 2 ** 32 }] },
      { interface: 'old' as 'legacy' },
    ]
    for (const options of wrong) {
      const { fn, connect } = setting({}, options)
      expect(await failure(connect())).toBeInstanceOf(RangeError)
      expect(fn.log).toEqual([])
    }
  })
})

describe('notifications', () => {
  const notified = async (script: FakePciScript, features: number[]) => {
    const { fn, connect } = setting({ ...script, features: FeatureSet.of(VIRTIO_F_VERSION_1, ...features) })
    const queue = (await connect()).driver.host.queue(1)
    queue.add(piece, [], 'a')
    queue.publish()
    return fn.notified
  }

  it('are 16 bits with the index at the place of the queue', async () => {
    expect(await notified({}, [])).toEqual([[4, 2, 1]])
    expect(await notified({ notifyOffset: () => 0x3ff }, [])).toEqual([[0xffc, 2, 1]])
  })

  it('go all to one place with multiplier 0', async () => {
    const capabilities = defaultCapabilities.map((each) => (each.type === 2 ? { ...each, length: 2, more: [0] } : each))
    expect(await notified({ capabilities, notifyOffset: () => 0xffff }, [])).toEqual([[0, 2, 1]])
  })

  it('are 32 bits with the position (VIRTIO_F_NOTIFICATION_DATA), and carry what the device gave (VIRTIO_F_NOTIF_CONFIG_DATA)', async () => {
    const configData = (queue: number) => 0xab00 + queue
    expect(await notified({}, [VIRTIO_F_NOTIFICATION_DATA])).toEqual([[4, 4, 0x1_0001]])
    expect(await notified({}, [VIRTIO_F_NOTIFICATION_DATA, VIRTIO_F_RING_PACKED])).toEqual([[4, 4, 0x8001_0001]])
    expect(await notified({ configData }, [VIRTIO_F_NOTIF_CONFIG_DATA])).toEqual([[4, 2, 0xab01]])
    expect(await notified({ configData }, [VIRTIO_F_NOTIFICATION_DATA, VIRTIO_F_NOTIF_CONFIG_DATA])).toEqual([[4, 4, 0x1_ab01]])
  })

  it('do not go to a misaligned or too short place', async () => {
    const notify = (change: FakeCapability) => defaultCapabilities.map((each) => (each.type === 2 ? { ...each, ...change } : each))
    const cases: [FakeCapability, number[]][] = [
      [{ offset: 0x3001 }, []],
      [{ more: [3] }, []],
      [{ length: 1 }, []],
      [{ length: 5 }, []],
      [{ more: [2] }, [VIRTIO_F_NOTIFICATION_DATA]],
      [{ length: 6 }, [VIRTIO_F_NOTIFICATION_DATA]],
    ]
    for (const [change, features] of cases) {
      const capabilities = notify(change).filter(({ type }) => type !== 5)
      const { connect } = setting({ capabilities, features: FeatureSet.of(VIRTIO_F_VERSION_1, ...features) })
      expect(await failure(connect()), JSON.stringify(change)).toMatchObject({ kind: 'layout' })
    }
  })

  it('features whose registers a short common structure does not have are not accepted', async () => {
    const features = FeatureSet.of(VIRTIO_F_VERSION_1, VIRTIO_F_RING_RESET, VIRTIO_F_NOTIF_CONFIG_DATA)
    for (const [length, accepted] of [
      [0x38, []],
      [0x3a, [VIRTIO_F_NOTIF_CONFIG_DATA]],
      [0x3c, [VIRTIO_F_NOTIF_CONFIG_DATA, VIRTIO_F_RING_RESET]],
    ] as const) {
      const capabilities = defaultCapabilities.map((each) => (each.type === 1 ? { ...each, length } : each))
      const { fn, connect } = setting({ capabilities, features })
      await connect()
      expect(fn.accepted.equals(FeatureSet.of(VIRTIO_F_VERSION_1, ...accepted)), `${length}`).toBe(true)
    }
  })
})

describe('interrupts', () => {
  const watch = (host: DriverHost) => {
    const calls: string[] = []
    for (const index of [0, 1]) host.onUsed(index, () => calls.push(`queue ${index}`))
    host.onConfigChange(() => calls.push('config'))
    return calls
  }

  it('by the line read ISR once, which takes them back', async () => {
    const { fn, connect } = setting()
    const { driver, interrupt } = await connect()
    const calls = watch(driver.host)
    fn.log.length = 0
    expect([interrupt(), calls, fn.log]).toEqual([false, [], ['isr -> 0']])
    fn.log.length = 0
    fn.isr = 1
    expect([interrupt(), calls, fn.log]).toEqual([true, ['queue 0', 'queue 1'], ['isr -> 1']])
    fn.isr = 2
    expect([interrupt(), calls.slice(2)]).toEqual([true, ['config']])
    fn.isr = 3
    expect([interrupt(), calls.slice(3)]).toEqual([true, ['queue 0', 'queue 1', 'config']])
    fn.isr = 0xfc
    expect([interrupt(), calls.length]).toEqual([false, 6])
  })

  it('by messages come to the queue of the vector, and ISR is left alone', async () => {
    const { fn, connect } = setting({ vectors: 8 }, { vectors: messages(4) })
    const { driver, interrupt, vectors } = await connect()
    expect([vectors, fn.configVector, fn.queues.map((queue) => queue.queue_msix_vector)]).toEqual([4, 0, [1, 2]])
    const calls = watch(driver.host)
    fn.log.length = 0
    expect([interrupt(1), interrupt(2), calls]).toEqual([true, true, ['queue 0', 'queue 1']])
    expect(fn.log).toEqual([])
    interrupt(0)
    expect([calls.slice(2), interrupt(7), calls.length]).toEqual([['config'], false, 3])
    expect(fn.log.some((line) => line.startsWith('isr'))).toBe(false)
  })

  it('are programmed into the table before they are enabled, and the table is masked meanwhile', async () => {
    const { fn, connect } = setting({ vectors: 2 }, { vectors: messages(2) })
    await connect()
    const lines = fn.log.filter((line) => /^(msix|table|config_msix|queue_msix|device_status <- 15)/.test(line))
    expect(lines).toEqual([
      'msix <- c001',
      `table+0 <- ${0xfee0_0000}`,
      'table+4 <- 0',
      'table+8 <- 64',
      'table+12 <- 0',
      `table+16 <- ${0xfee0_0000}`,
      'table+20 <- 1',
      'table+24 <- 65',
      'table+28 <- 0',
      'msix <- 8001',
      'config_msix_vector <- 0',
      'config_msix_vector -> 0',
      'queue_msix_vector <- 1',
      'queue_msix_vector -> 1',
      'queue_msix_vector <- 1',
      'queue_msix_vector -> 1',
      'device_status <- 15',
    ])
  })

  it('share what vectors there are: all of them one, all queues one', async () => {
    for (const [device, given, used, config, queues] of [
      [1, 5, 1, 0, [0, 0]],
      [5, 1, 1, 0, [0, 0]],
      [2, 5, 2, 0, [1, 1]],
      [2048, 3, 3, 0, [1, 2]],
    ] as const) {
      const { fn, connect } = setting({ vectors: device }, { vectors: messages(given) })
      const { vectors } = await connect()
      expect([vectors, fn.configVector, fn.queues.map((queue) => queue.queue_msix_vector)]).toEqual([used, config, queues])
    }
  })

  it('tell of the configuration by its generation where the vector is shared', async () => {
    const { fn, connect } = setting({ vectors: 1 }, { vectors: messages(1) })
    const { driver, interrupt } = await connect()
    const calls = watch(driver.host)
    interrupt(0)
    expect(calls).toEqual(['queue 0', 'queue 1'])
    fn.generation++
    interrupt(0)
    expect(calls.slice(2)).toEqual(['queue 0', 'queue 1', 'config'])
    interrupt(0)
    interrupt()
    expect(calls.slice(5)).toEqual(['queue 0', 'queue 1', 'queue 0', 'queue 1'])
    fn.generation++
    driver.host.config.read()
    interrupt(0)
    expect(calls.slice(9)).toEqual(['queue 0', 'queue 1'])
    fn.status |= DEVICE_NEEDS_RESET
    const errors: DriverError[] = []
    driver.host.onFailure((error) => errors.push(error))
    interrupt(0)
    expect(errors.map(({ kind }) => kind)).toEqual(['needs-reset'])
  })

  it('come by the line where the device has no MSI-X, or its table cannot be reached', async () => {
    for (const script of [{}, { vectors: 2, msixTable: 6 }, { vectors: 2, msixTable: 0x1000 | 1 }, { vectors: 2, msixTable: 0xffff_fff8 | 1 }]) {
      const { fn, connect } = setting(script, { vectors: messages(2) })
      const { driver, interrupt, vectors } = await connect()
      const calls = watch(driver.host)
      fn.isr = 1
      expect([vectors, fn.msixEnabled, interrupt(), calls.length]).toEqual([0, false, true, 2])
    }
  })

  it('that the platform has programmed are mapped, the table is left alone', async () => {
    const { fn, connect } = setting({ vectors: 8 }, { vectors: 3 })
    fn.space[fn.msixAt + 3] = 0x80
    const { driver, vectors } = await connect()
    expect([vectors, fn.configVector, fn.queues.map((queue) => queue.queue_msix_vector)]).toEqual([3, 0, [1, 2]])
    expect(fn.log.filter((line) => /^(msix|table)/.test(line))).toEqual([])
    await driver.host.reset()
    expect(fn.msixEnabled).toBe(true)
    const fewer = setting({ vectors: 2 }, { vectors: 8 })
    fewer.fn.space[fewer.fn.msixAt + 3] = 0x80
    expect((await fewer.connect()).vectors).toBe(2)
  })

  it('that someone left enabled are turned off where the line is to be used', async () => {
    const { fn, connect } = setting({ vectors: 8 })
    fn.space[fn.msixAt + 3] = 0x80
    await connect()
    expect(fn.msixEnabled).toBe(false)
    const broken = setting({ vectors: 8, capabilities: [] })
    broken.fn.space[broken.fn.msixAt + 3] = 0x80
    expect(await failure(broken.connect())).toMatchObject({ kind: 'layout' })
    expect(broken.fn.msixEnabled).toBe(true)
  })
})

describe('the reset of one queue', () => {
  const features = FeatureSet.of(VIRTIO_F_VERSION_1, VIRTIO_F_RING_RESET)

  it('waits for queue_reset and sets the queue up again, with its vector', async () => {
    const { fn, connect } = setting({ features, queueResetLooks: 3, vectors: 4 }, { vectors: messages(4) })
    const { host } = (await connect()).driver
    fn.log.length = 0
    await host.resetQueue(1)
    const look = (value: number) => ['queue_select <- 1', `queue_reset -> ${value}`]
    expect(fn.log).toEqual(['queue_select <- 1', 'queue_reset <- 1', ...look(1), ...look(1), ...look(0)])
    fn.log.length = 0
    expect(host.enableQueue(1, 32).size).toBe(32)
    expect(fn.log).toContain('queue_size <- 32')
    expect(fn.log).toContain('queue_msix_vector <- 2')
    expect(fn.log.at(-1)).toBe('queue_enable <- 1')
  })

  it('that does not end gives the device up; one whose vector is refused afterwards can be tried again', async () => {
    const stuck = setting({ features, queueResetLooks: 1e9 }, { resetPolls: 20 })
    const { host } = (await stuck.connect()).driver
    expect(await failure(host.resetQueue(0))).toMatchObject({ kind: 'reset' })
    expect(stuck.fn.status & FAILED).toBe(FAILED)

    const { fn, connect, memory } = setting({ features, vectors: 4 }, { vectors: messages(4) })
    const other = (await connect()).driver.host
    const before = memory.available
    await other.resetQueue(1)
    fn.script.refusesVector = () => true
    expect(() => other.enableQueue(1)).toThrow(expect.objectContaining({ kind: 'vectors' }))
    fn.script.refusesVector = () => false
    other.enableQueue(1)
    expect(memory.available).toBe(before)
  })
})

describe('shared memory', () => {
  const shared = (change: FakeCapability = {}): FakeCapability => ({
    type: 8,
    bar: 4,
    capId: 3,
    offset: 0x1000,
    length: 0x2000,
    more: [0, 0],
    ...change,
  })

  it('is found by its id, with its place in the BAR and in the address space', async () => {
    const { connect } = setting({ capabilities: [...defaultCapabilities, shared(), shared({ offset: 0 })] })
    const { host } = (await connect()).driver
    expect(host.sharedMemory(3)).toEqual({ id: 3, length: 0x2000, address: 8 * 2 ** 32 + 0x1000, bar: { index: 4, offset: 0x1000 } })
    expect([host.sharedMemory(0), host.sharedMemory(255)]).toEqual([undefined, undefined])
    for (const id of [-1, 256, 1.5]) expect(() => host.sharedMemory(id)).toThrow(RangeError)
  })

  it('is refused where it is not inside the BAR', async () => {
    for (const change of [{ length: 0 }, { length: 0x3001 }, { offset: 0x4000 }, { bar: 2 }, { more: [1, 0] }, { more: [0, 0xffff_ffff] }]) {
      const { connect } = setting({ capabilities: [...defaultCapabilities, shared(change)] })
      const { host } = (await connect()).driver
      expect(() => host.sharedMemory(3), JSON.stringify(change)).toThrow(expect.objectContaining({ kind: 'layout' }))
    }
  })
})

describe('the legacy interface of a transitional device', () => {
  const legacy = { interface: 'legacy' } as const
  const features = FeatureSet.of(VIRTIO_F_VERSION_1, VIRTIO_F_RING_RESET, VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_ANY_LAYOUT, 0, 24, 30)

  it('is used as a legacy driver does: 32 feature bits, no FEATURES_OK, queues by pages and of the size that the device says', async () => {
    const { fn, connect } = setting({ ...transitional, features }, { ...legacy, queueSize: 8 })
    const { driver, legacy: used } = await connect()
    expect([used, driver.host.features.bits]).toEqual([true, [0, VIRTIO_F_ANY_LAYOUT, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX]])
    const setup = (index: number) => [
      `queue_select <- ${index}`,
      'queue_address -> 0',
      `queue_size -> ${[64, 128][index]}`,
      `queue_select <- ${index}`,
      `queue_address <- ${fn.queues[index]!.queue_address}`,
    ]
    expect(fn.log).toEqual([
      `command <- ${decoding}`,
      'device_status <- 0',
      'device_status -> 0',
      'device_status -> 0',
      'device_status <- 1',
      'device_status -> 1',
      'device_status <- 3',
      `device_features -> ${features.word(0)}`,
      `driver_features <- ${driver.host.features.word(0)}`,
      ...fn.log.filter((line) => line.startsWith('config+')),
      ...setup(0),
      ...setup(1),
      'device_status -> 3',
      'device_status <- 7',
      'device_status -> 7',
    ])
    expect([driver.host.queue(0).size, driver.host.queue(1).size]).toEqual([64, 128])
    const queue = driver.host.queue(1)
    queue.add(piece, [], 'a')
    queue.publish()
    expect(fn.notified).toEqual([[0, 2, 1]])
    expect(driver.host.sharedMemory(0)).toBeUndefined()
  })

  it('reads the configuration until two reads are the same', async () => {
    const { fn, connect } = setting(transitional, legacy)
    let reads = 0
    fn.script.onConfigRead = () => {
      if (++reads < 12) fn.config.fill(reads)
    }
    const { driver } = await connect()
    expect([...driver.host.config.read()]).toEqual(new Array(10).fill(11))
    fn.script.onConfigRead = () => {
      fn.config.fill(reads++)
    }
    expect(() => driver.host.config.read()).toThrow(expect.objectContaining({ kind: 'config' }))
  })

  it('finds the configuration further on while MSI-X is enabled', async () => {
    const { fn, connect } = setting({ ...transitional, vectors: 3 }, { ...legacy, vectors: messages(3) })
    const { driver, interrupt } = await connect()
    expect([fn.configVector, fn.queues.map((queue) => queue.queue_msix_vector)]).toEqual([0, [1, 2]])
    expect([...driver.host.config.read()]).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    const calls: string[] = []
    driver.host.onUsed(1, () => calls.push('queue 1'))
    driver.host.onConfigChange(() => calls.push('config'))
    interrupt(1)
    interrupt(2)
    interrupt(0)
    expect(calls).toEqual(['queue 1', 'config'])
  })

  it('tells a configuration change by the bytes where the vector is shared', async () => {
    const { fn, connect } = setting({ ...transitional, vectors: 1 }, { ...legacy, vectors: messages(1) })
    const { driver, interrupt } = await connect()
    let changes = 0
    driver.host.onConfigChange(() => changes++)
    interrupt(0)
    expect(changes).toBe(0)
    fn.config[3] = 99
    interrupt(0)
    interrupt(0)
    expect(changes).toBe(1)
  })

  it('reads ISR of the header once for each interrupt', async () => {
    const { fn, connect } = setting(transitional, legacy)
    const { interrupt } = await connect()
    fn.log.length = 0
    fn.isr = 1
    expect([interrupt(), interrupt(), fn.log]).toEqual([true, false, ['isr_status -> 1', 'isr_status -> 0']])
  })

  it('is chosen with `any` only where there is no other', async () => {
    const any = { interface: 'any' } as const
    expect((await setting(transitional, any).connect()).legacy).toBe(false)
    expect((await setting({ ...transitional, capabilities: [] }, any).connect()).legacy).toBe(true)
    expect(await failure(setting({ capabilities: [] }, any).connect())).toMatchObject({ kind: 'layout' })
  })

  it('refuses what no legacy device can be', async () => {
    const cases: [string, string, FakePciScript, Partial<PciDriverOptions>?][] = [
      ['BAR 0 is memory', 'layout', { bars: [0xfd00_0000, 0, 0, 0, 0xc, 8] }],
      ['BAR 0 is out of reach', 'layout', { reachable: [1, 4] }],
      ['a queue has no entries', 'queue', { sizes: [64, 0] }],
      ['a queue has no power of 2', 'queue', { sizes: [64, 100] }],
      ['a queue has more than a ring can have', 'queue', { sizes: [64, 0xffff] }],
      ['a queue is in use', 'queue', { enabledBefore: true }],
      ['a queue is larger than the memory', 'memory', { sizes: [0x8000, 64] }],
      ['a feature beyond the 32 bits is required', 'feature', {}, { required: FeatureSet.of(VIRTIO_F_RING_PACKED) }],
      ['vectors are refused', 'vectors', { vectors: 4, refusesVector: () => true }, { vectors: messages(4) }],
      ['it does not come back', 'reset', { resetLooks: 1e9 }, { resetPolls: 10 }],
    ]
    for (const [name, kind, script, options] of cases) {
      const { fn, connect, memory } = setting({ ...transitional, ...script }, { ...legacy, ...options })
      const error = await failure(connect())
      expect([error.name, error.kind], name).toEqual(['DriverError', kind])
      expect([memory.available, fn.command, fn.msixEnabled], name).toEqual([0xf000, 0, false])
    }
  })

  it('keeps queues below 2^44, where page numbers have 32 bits', async () => {
    const guest = GuestMemory.of(new Uint8Array(0x1_0000), 2 ** 44)
    const memory = new DriverMemory(guest, 2 ** 44, 0x1_0000)
    const { connect } = setting(transitional, { ...legacy, memory })
    expect(await failure(connect())).toMatchObject({ kind: 'memory' })
  })
})

describe('with the device side of this package', () => {
  interface Machine {
    /** Answers each request with its bytes plus one; returns the answers. */
    talk(count: number): number[]
    readonly host: DriverHost
    readonly device: DummyDevice
    readonly connection: PciConnection<Client>
  }

  /** One that can be transitional. */
  class Disk extends DummyDevice {
    override readonly id = 2
  }
  class DiskClient extends Client {
    static override readonly deviceId = 2
  }

  /** A device on a bus, whose interrupts the driver serves. */
  const machine = async (device: Partial<PciDeviceOptions>, driver: Partial<PciDriverOptions>, wrap = (fn: PciFunction) => fn): Promise<Machine> => {
    const guest = GuestMemory.of(new Uint8Array(0x8_0000))
    const memory = new DriverMemory(guest, 0x1000, 0x7_f000)
    const dummy = new Disk([8, 4])
    let serve: ((vector?: number) => unknown) | undefined
    const bus = new PciBus({ interrupt: (_, level) => level && serve?.() })
    bus.add(3, (interrupt) => {
      const message = (_: number, data: number) => serve?.(data - 0x40)
      return new PciDevice(dummy, { memory: guest, interrupt, message, createQueue: createDeviceQueue, ...device })
    })
    bus.assign({ memory: { address: 0xf000_0000, size: 0x100_0000 }, io: { address: 0xc000, size: 0x1000 } })
    const connection = await connectPci(wrap(bus.function(3)), DiskClient, { memory, ...driver })
    serve = connection.interrupt
    const { host } = connection.driver
    dummy.onQueue = (index, { queue }) => {
      for (let chain = queue(index)!.next(); chain !== undefined; chain = queue(index)!.next()) {
        const bytes = new Uint8Array(chain.readable.length)
        chain.readable.copyTo(bytes)
        chain.writable.copyFrom(bytes.map((byte) => byte + 1))
        chain.complete()
      }
    }
    const buffer = memory.allocate(16)
    const answers: number[] = []
    host.onUsed(1, () => {
      while (host.queue(1).completed() !== undefined) answers.push(buffer.bytes[8]!)
    })
    const talk = (count: number): number[] => {
      answers.length = 0
      for (let i = 0; i < count; i++) {
        buffer.bytes[0] = i
        host.queue(1).add([{ address: buffer.address, length: 1 }], [{ address: buffer.address + 8, length: 1 }], i)
        host.queue(1).publish()
      }
      return answers
    }
    return { talk, host, device: dummy, connection }
  }

  const expected = Array.from({ length: 20 }, (_, i) => i + 1)
  const unmapped = (fn: PciFunction): PciFunction => ({
    readConfig: (offset, width) => fn.readConfig(offset, width),
    writeConfig: (offset, width, value) => fn.writeConfig(offset, width, value),
    map: () => undefined,
  })
  const allRings = FeatureSet.of(
    VIRTIO_F_VERSION_1,
    VIRTIO_F_NOTIFICATION_DATA,
    VIRTIO_F_NOTIF_CONFIG_DATA,
    VIRTIO_F_RING_PACKED,
    VIRTIO_F_RING_RESET,
  )

  it.each<[string, Partial<PciDeviceOptions>, Partial<PciDriverOptions>, number, ((fn: PciFunction) => PciFunction)?]>([
    ['memory BARs and the line', {}, {}, 0],
    ['memory BARs and a vector for each', {}, { vectors: messages(3) }, 3],
    ['memory BARs and one vector', {}, { vectors: messages(1) }, 1],
    ['I/O BARs', { layout: pciLayouts.io }, {}, 0],
    ['the window of the configuration space', {}, {}, 0, unmapped],
    ['the window, where the table of vectors is out of reach', {}, { vectors: messages(3) }, 0, unmapped],
    ['all features of notifications', { ringFeatures: allRings, notifConfigData: [0x77, 0x99] }, {}, 0],
    ['a transitional device, as a modern one', { transitional: true }, { interface: 'any' }, 0],
    ['a transitional device, as a legacy one', { transitional: true }, { interface: 'legacy' }, 0],
    ['a transitional device, as a legacy one with vectors', { transitional: true }, { interface: 'legacy', vectors: messages(3) }, 3],
  ])('carries requests over %s', async (_, device, driver, vectors, wrap) => {
    const { talk, connection, host, device: dummy } = await machine(device, driver, wrap)
    expect([connection.vectors, connection.legacy, host.features.has(VIRTIO_F_VERSION_1)]).toEqual([
      vectors,
      driver.interface === 'legacy',
      driver.interface !== 'legacy',
    ])
    expect(talk(20)).toEqual(expected)
    let changes = 0
    host.onConfigChange(() => changes++)
    dummy.config.update(({ $view }) => $view.setUint8(0, 0xee))
    expect([changes, host.config.read()[0]]).toEqual([1, 0xee])
    if (host.features.has(VIRTIO_F_RING_RESET)) {
      await host.resetQueue(1)
      host.enableQueue(1)
      expect(talk(20)).toEqual(expected)
    }
    await host.reset()
    expect(connection.interrupt()).toBe(false)
  })
})
