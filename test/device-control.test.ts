/** The life of a device as its driver directs it, whatever the transport. */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { type FakeDriver, fakeDriver, SplitFakeDriver, TestMemory } from 'virtgen/testing'
import { VIRTIO_BLK_F_CONFIG_WCE, VIRTIO_BLK_F_MQ } from 'virtgen/wire/blk'
import {
  ACKNOWLEDGE,
  DEVICE_NEEDS_RESET,
  DRIVER,
  DRIVER_OK,
  FAILED,
  FEATURES_OK,
  SUSPEND,
  VIRTIO_F_ACCESS_PLATFORM,
  VIRTIO_F_ADMIN_VQ,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_NOTIF_CONFIG_DATA,
  VIRTIO_F_NOTIFICATION_DATA,
  VIRTIO_F_ORDER_PLATFORM,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_RING_RESET,
  VIRTIO_F_SR_IOV,
  VIRTIO_F_VERSION_1,
} from 'virtgen/wire/content'
import { beforeEach, describe, expect, it } from 'vitest'
import type { Chain } from '../runtime/chain.ts'
import type { DeviceHost } from '../runtime/device.ts'
import { DeviceControl, type DeviceControlOptions } from '../runtime/device-control.ts'
import { createDeviceQueue } from '../runtime/device-queue.ts'
import { type ControlState, restoreDevice, saveDevice } from '../runtime/device-state.ts'
import { GuestMemory } from '../runtime/memory.ts'
import { StateError } from '../runtime/saved-value.ts'
import type { Violation } from '../runtime/violation.ts'
import { DummyDevice, useAll } from './support/dummy-device.ts'
import { offer, usedBy } from './support/offers.ts'

const version1 = FeatureSet.of(VIRTIO_F_VERSION_1)
const upToFeatures = ACKNOWLEDGE | DRIVER | FEATURES_OK
const live = upToFeatures | DRIVER_OK

/** A control with everything that comes out of it. */
class Bench {
  readonly bytes: Uint8Array
  readonly memory: TestMemory
  readonly device: DummyDevice
  readonly control: DeviceControl
  readonly events: string[] = []
  readonly violations: Violation[] = []
  readonly errors: unknown[] = []
  readonly deferred: (() => void)[] = []
  onNotify: (queue: number) => void = () => {}
  onConfigChanged: () => void = () => {}

  constructor(device = new DummyDevice(), bytes: Uint8Array = new Uint8Array(0x4000), settings: Partial<DeviceControlOptions> = {}) {
    this.device = device
    this.bytes = bytes
    this.memory = new TestMemory({ regions: [{ guestAddress: 0, size: bytes.length, source: bytes }] })
    this.control = new DeviceControl(device, {
      memory: this.memory,
      notify: (queue) => {
        this.events.push(`used ${queue}`)
        this.onNotify(queue)
      },
      configChanged: () => {
        this.events.push('config')
        this.onConfigChanged()
      },
      needsReset: () => this.events.push('needs reset'),
      reset: () => this.events.push('reset'),
      onViolation: (violation) => this.violations.push(violation),
      onError: (error) => this.errors.push(error),
      defer: (callback) => this.deferred.push(callback),
      ...settings,
    })
  }

  negotiate(features = version1): this {
    const { control } = this
    control.writeStatus(ACKNOWLEDGE)
    control.writeStatus(ACKNOWLEDGE | DRIVER)
    for (let word = 0; word < 4; word++) control.setDriverFeatures(word, features.word(word))
    control.writeStatus(upToFeatures)
    return this
  }

  /** Sets up a queue and makes it ready. */
  ring(index: number, size = 4): SplitFakeDriver {
    const ring = new SplitFakeDriver(this.memory, { size, index })
    this.place(index, ring)
    this.control.setQueueReady(index, true)
    return ring
  }

  place(index: number, ring: FakeDriver): void {
    this.control.setQueueSize(index, ring.size)
    for (const area of ['descriptorArea', 'driverArea', 'deviceArea'] as const) this.control.setQueueAddress(index, area, 0, ring.setup[area])
  }

  start(): this {
    this.control.writeStatus(live)
    return this
  }
}

let bench: Bench
beforeEach(() => {
  bench = new Bench()
})

describe('the status', () => {
  const values = [
    0,
    1,
    2,
    3,
    4,
    7,
    8,
    9,
    11,
    12,
    15,
    FAILED,
    FAILED | 3,
    FAILED | live,
    DEVICE_NEEDS_RESET,
    DEVICE_NEEDS_RESET | 3,
    DEVICE_NEEDS_RESET | live,
  ]
  const meaningful = [...values, SUSPEND, SUSPEND | live, 0x100, 0x100 | ACKNOWLEDGE]

  /** Device Status Field and Device Initialization, word by word. */
  function text(status: number, value: number, refused: boolean): number {
    // "Writing zero triggers a device reset."
    if (value === 0) return 0
    // "If the driver sets the FAILED bit, the driver MUST later reset the device before attempting to re-initialize."
    if (status & FAILED) return status
    if (value & FAILED) return status | FAILED
    const order = [ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK]
    // "The driver MUST NOT clear a device status bit."
    if (order.some((bit) => status & bit && !(value & bit))) return status
    // "The driver MUST follow this sequence"
    if (order.some((bit, index) => value & bit && order.slice(0, index).some((earlier) => !(value & earlier)))) return status
    for (const bit of order) {
      // "otherwise it MUST fail to set the FEATURES_OK device status bit when the driver writes it"
      if (bit === FEATURES_OK && value & bit && refused) return status
      if (value & bit) status |= bit
    }
    return status
  }

  /** Calls back with all sequences of values up to a length. */
  function walk(length: number, visit: (sequence: readonly number[]) => void, sequence: number[] = []): void {
    if (sequence.length > 0) visit(sequence)
    if (sequence.length < length) for (const value of meaningful) walk(length, visit, [...sequence, value])
  }

  it.each([
    ['acceptable', version1],
    ['unacceptable', FeatureSet.empty],
  ])('follows the text for every sequence of up to 4 writes, with %s features', (_, features) => {
    const memory = GuestMemory.of(new Uint8Array(16))
    let wrong: string | undefined
    walk(4, (sequence) => {
      const device = new DummyDevice([])
      const control = new DeviceControl(device, { memory, notify: () => {}, configChanged: () => {} })
      let expected = 0
      const calls: string[] = []
      for (const value of sequence) {
        // Features are forgotten by a reset, so they are written each time.
        control.setDriverFeatures(1, features.word(1))
        const before = expected
        expected = text(before, value, features.isEmpty)
        control.writeStatus(value)
        if (value === 0 && before !== 0) calls.push('reset')
        else if (!(before & DRIVER_OK) && expected & DRIVER_OK) calls.push('activate')
      }
      if (control.status !== expected || device.log.join() !== calls.join())
        wrong ??= `${sequence}: status ${control.status}, not ${expected}; ${device.log}, not ${calls}`
    })
    expect(wrong).toBeUndefined()
  })
})

describe('negotiation', () => {
  it('offers the features of the device and of the rings, 128 bits', () => {
    expect(bench.control.offered.bits).toEqual([VIRTIO_BLK_F_CONFIG_WCE, VIRTIO_BLK_F_MQ, 28, 29, 32, 40, 70])
    const all = version1.with(
      VIRTIO_F_ACCESS_PLATFORM,
      VIRTIO_F_RING_PACKED,
      VIRTIO_F_IN_ORDER,
      VIRTIO_F_ORDER_PLATFORM,
      VIRTIO_F_NOTIFICATION_DATA,
      VIRTIO_F_RING_RESET,
    )
    expect(new Bench(undefined, undefined, { ringFeatures: all, createQueue: createDeviceQueue }).control.offered.bits).toEqual([
      11, 12, 32, 33, 34, 35, 36, 38, 40, 70,
    ])
  })

  it.each([
    ['a feature that is not offered', version1.with(3)],
    ['a feature that is not offered, in the last word', version1.with(127)],
    ['no VERSION_1', FeatureSet.of(VIRTIO_BLK_F_MQ)],
    ['nothing', FeatureSet.empty],
  ])('refuses %s: FEATURES_OK stays clear, and the driver may try again', (_, features) => {
    bench.negotiate(features)
    expect(bench.control.status).toBe(ACKNOWLEDGE | DRIVER)
    expect(bench.control.features.isEmpty).toBe(true)
    for (let word = 0; word < 4; word++) bench.control.setDriverFeatures(word, version1.word(word))
    bench.control.writeStatus(upToFeatures)
    expect(bench.control.status).toBe(upToFeatures)
  })

  it('refuses what the device does not accept, also when it throws', () => {
    bench.device.onAccepts = (features) => !features.has(70)
    bench.negotiate(version1.with(70))
    expect(bench.control.status).toBe(ACKNOWLEDGE | DRIVER)
    bench.device.onAccepts = () => {
      throw new Error('no idea')
    }
    bench.control.writeStatus(upToFeatures)
    expect([bench.control.status, bench.errors]).toEqual([ACKNOWLEDGE | DRIVER, [new Error('no idea')]])
  })

  it('ends with a device that resets itself when it is asked whether it accepts them', () => {
    bench.device.onAccepts = () => {
      bench.control.reset()
      return true
    }
    bench.negotiate()
    expect(bench.control.status).toBe(0)
  })

  it('freezes the features at FEATURES_OK and ignores words beyond the fourth', () => {
    bench.control.setDriverFeatures(4, 0xffff_ffff)
    bench.control.setDriverFeatures(0xffff_ffff, 1)
    bench.negotiate(version1.with(70))
    bench.control.setDriverFeatures(0, 0xffff_ffff)
    expect(bench.control.features.bits).toEqual([32, 70])
    expect(bench.control.offered.word(4)).toBe(0)
  })

  it.each([
    ['virtual functions', version1.with(VIRTIO_F_SR_IOV), 'features 37 cannot be offered'],
    ['an administration queue', version1.with(VIRTIO_F_ADMIN_VQ), 'features 41 cannot be offered'],
    ['names of queues that no transport gives', version1.with(VIRTIO_F_NOTIF_CONFIG_DATA), 'features 39 cannot be offered'],
    ['a ring format that is not there', version1.with(VIRTIO_F_RING_PACKED), 'features 34 need the option createQueue: createDeviceQueue'],
    ['no VERSION_1', FeatureSet.of(VIRTIO_F_INDIRECT_DESC), 'a device must offer VIRTIO_F_VERSION_1'],
  ])('cannot be set up with %s', (_, ringFeatures, message) => {
    expect(() => new Bench(undefined, undefined, { ringFeatures })).toThrow(message)
  })

  it('cannot be set up with a device that offers what its transport cannot, or has impossible queues', () => {
    const device = new DummyDevice()
    device.offered = FeatureSet.of(VIRTIO_F_SR_IOV)
    expect(() => new Bench(device)).toThrow('features 37 cannot be offered')
    for (const maxChainLength of [0, 1.5, 65_537]) expect(() => new Bench(undefined, undefined, { maxChainLength })).toThrow(`not ${maxChainLength}`)
    for (const size of [-1, 1.5, 32769, Number.NaN]) expect(() => new Bench(new DummyDevice([size]))).toThrow(`not ${size}`)
  })
})

describe('queue registers', () => {
  it('take what the driver writes, and read 0 where there is no queue', () => {
    bench.control.setQueueSize(0, 5)
    bench.control.setQueueAddress(0, 'driverArea', 1, 0xffff_ffff)
    expect([bench.control.queueSize(0), bench.control.queueAddress(0, 'driverArea', 1), bench.control.queueAddress(0, 'driverArea', 0)]).toEqual([
      5, 0xffff_ffff, 0,
    ])
    for (const index of [1, 3, 0xffff_ffff, -1, 0.5]) {
      bench.control.setQueueSize(index, 4)
      bench.control.setQueueReady(index, true)
      bench.control.notifyAvailable(index)
      expect([bench.control.queueMaximum(index), bench.control.queueSize(index), bench.control.queueReady(index)]).toEqual([0, 0, false])
    }
    expect([bench.control.queueCount, bench.control.queueMaximum(2)]).toEqual([3, 4])
  })

  it('are frozen while the queue is ready', () => {
    bench.negotiate()
    const { setup } = bench.ring(0)
    bench.control.setQueueSize(0, 2)
    bench.control.setQueueAddress(0, 'descriptorArea', 0, 0)
    expect([bench.control.queueSize(0), bench.control.queueAddress(0, 'descriptorArea', 0)]).toEqual([4, setup.descriptorArea])
    bench.control.setQueueReady(0, false)
    bench.control.setQueueSize(0, 2)
    expect([bench.control.queueReady(0), bench.control.queueSize(0)]).toEqual([false, 2])
  })

  it('do not become a queue before FEATURES_OK', () => {
    bench.ring(0)
    expect([bench.control.queueReady(0), bench.violations]).toEqual([false, []])
  })

  const high = (area: 'descriptorArea' | 'driverArea' | 'deviceArea', value: number) => (control: DeviceControl) =>
    control.setQueueAddress(0, area, 1, value)
  it.each<[string, (control: DeviceControl) => void, string]>([
    ['a size of 0', (control) => control.setQueueSize(0, 0), 'queue-size'],
    ['a size above the maximum', (control) => control.setQueueSize(0, 16), 'queue-size'],
    ['a size that 16 bits would make small', (control) => control.setQueueSize(0, 0x1_0004), 'queue-size'],
    ['a size that is no power of 2', (control) => control.setQueueSize(0, 3), 'queue-size'],
    ['an address outside guest memory', (control) => control.setQueueAddress(0, 'driverArea', 0, 0x4000), 'queue-address'],
    ['a misaligned address', (control) => control.setQueueAddress(0, 'descriptorArea', 0, 0x1008), 'queue-address'],
    ['a descriptor area beyond 2^53', high('descriptorArea', 0x20_0000), 'queue-address'],
    ['a driver area at the end of 64 bits', high('driverArea', 0xffff_ffff), 'queue-address'],
    ['a device area beyond 2^32', high('deviceArea', 1), 'queue-address'],
  ])('with %s make a violation when the queue becomes ready', (_, spoil, kind) => {
    bench.negotiate()
    bench.place(0, fakeDriver(bench.memory, { size: 4 }))
    spoil(bench.control)
    expect(bench.events).toEqual([])
    bench.control.setQueueReady(0, true)
    expect(bench.violations.map((violation) => [violation.kind, violation.queue])).toEqual([[kind, 0]])
    expect(bench.control.status).toBe(upToFeatures | DEVICE_NEEDS_RESET)
    // The driver is told once it listens, and the device never hears of it.
    expect(bench.events).toEqual(['needs reset'])
    bench.start()
    expect(bench.events).toEqual(['needs reset', 'config'])
    bench.control.notifyAvailable(0)
    expect(bench.device.log).toEqual([])
    bench.control.writeStatus(0)
    expect([bench.control.status, bench.control.queueReady(0), bench.control.queueSize(0)]).toEqual([0, false, 8])
  })
})

describe('service', () => {
  it('makes up for notifications before DRIVER_OK, once for each ready queue', () => {
    bench.device.onQueue = (index, host) => useAll(index, host)
    bench.negotiate()
    const ring = bench.ring(0)
    const head = offer(ring, 0x2000, 8)
    bench.control.notifyAvailable(0)
    bench.control.notifyAvailable(0)
    expect([bench.device.log, usedBy(ring)]).toEqual([[], []])
    bench.start()
    expect(bench.device.log).toEqual(['activate', 'queue 0'])
    expect(usedBy(ring)).toEqual([[head, 8]])
    expect(bench.events).toEqual(['used 0'])
    expect(bench.bytes[0x2007]).toBe(0xaa)
  })

  it('makes up for notifications of a queue that becomes ready after DRIVER_OK', () => {
    bench.negotiate().start()
    bench.control.notifyAvailable(2)
    expect(bench.device.log).toEqual(['activate'])
    bench.ring(2)
    expect(bench.device.log).toEqual(['activate', 'queue 2'])
  })

  it('never recurses into the same queue: a notification meanwhile means one more round', () => {
    let depth = 0
    let deepest = 0
    let requests = 5
    bench.negotiate()
    const ring = bench.ring(0)
    bench.device.onQueue = (index, host) => {
      deepest = Math.max(deepest, ++depth)
      useAll(index, host)
      depth--
    }
    // The driver runs inside the interrupt: it sends the next request at once.
    bench.onNotify = () => {
      usedBy(ring)
      if (requests-- > 0) {
        offer(ring, 0x2000, 4)
        bench.control.notifyAvailable(0)
      }
    }
    bench.start()
    offer(ring, 0x2000, 4)
    bench.control.notifyAvailable(0)
    expect([deepest, requests]).toEqual([1, -1])
    expect(bench.events.filter((event) => event === 'used 0')).toHaveLength(6)
  })

  it('gives others a turn when a driver inside its interrupts never stops', () => {
    bench.negotiate()
    const ring = bench.ring(0)
    bench.device.onQueue = (index, host) => host.queue(index)?.next()?.complete(0)
    bench.onNotify = () => {
      usedBy(ring)
      offer(ring, 0x2000, 4)
      bench.control.notifyAvailable(0)
    }
    bench.start()
    offer(ring, 0x2000, 4)
    bench.control.notifyAvailable(0)
    const rounds = bench.device.log.length
    expect(rounds).toBeLessThan(20)
    expect(bench.deferred).toHaveLength(1)
    // What was put off goes on from there, and is bounded itself.
    bench.deferred.shift()?.()
    expect(bench.device.log.length).toBeGreaterThan(rounds)
    expect(bench.device.log.length).toBeLessThan(2 * 20)
    expect(bench.deferred).toHaveLength(1)
  })

  it('that is put off for ever leaves everything else its turn', async () => {
    const control = new DeviceControl(new DummyDevice(), { memory: new TestMemory(), notify: () => {}, configChanged: () => {} })
    let rounds = 0
    const device = control.device as DummyDevice
    device.onQueue = (index, host) => {
      rounds++
      host.serveLater(index)
    }
    control.writeStatus(ACKNOWLEDGE | DRIVER)
    control.setDriverFeatures(1, version1.word(1))
    control.writeStatus(upToFeatures)
    const ring = new SplitFakeDriver(control.memory as TestMemory, { size: 4 })
    control.setQueueSize(0, 4)
    for (const area of ['descriptorArea', 'driverArea', 'deviceArea'] as const) control.setQueueAddress(0, area, 0, ring.setup[area])
    control.setQueueReady(0, true)
    control.writeStatus(live)
    await new Promise((resolve) => setTimeout(resolve, 5))
    expect(rounds).toBeGreaterThan(1)
    control.writeStatus(0)
  })

  it('can be put off, outside of what goes on', () => {
    bench.negotiate()
    bench.ring(0)
    bench.start()
    bench.device.host?.serveLater(0)
    bench.device.host?.serveLater(0)
    bench.device.host?.serveLater(7)
    expect([bench.device.log, bench.deferred.length]).toEqual([['activate', 'queue 0'], 1])
    bench.deferred[0]?.()
    expect(bench.device.log).toEqual(['activate', 'queue 0', 'queue 0'])
  })

  it('that was put off is not lost over a reset, and does not reach a device that is not live', () => {
    bench.negotiate()
    bench.ring(0)
    bench.start()
    bench.device.host?.serveLater(0)
    bench.control.writeStatus(0)
    bench.deferred.shift()?.()
    expect(bench.device.log).toEqual(['activate', 'queue 0', 'reset'])
    bench.negotiate()
    bench.ring(0)
    bench.start()
    bench.device.host?.serveLater(0)
    bench.deferred.shift()?.()
    expect(bench.device.log.slice(3)).toEqual(['activate', 'queue 0', 'queue 0'])
  })

  it('ends with a queue that the driver stops; another queue in its place begins anew', async () => {
    let parked: Chain | undefined
    bench.device.onQueue = (index, host) => {
      parked = host.queue(index)?.next() ?? parked
    }
    bench.negotiate()
    const ring = bench.ring(0)
    bench.start()
    offer(ring, 0x2000, 4)
    bench.control.notifyAvailable(0)
    const view = parked?.writable.bytes(0)
    bench.control.setQueueReady(0, false)
    // The device may still write through the view: it must not read 0 before that is over.
    expect([bench.control.queueReady(0), parked?.cancelled]).toEqual([true, true])
    expect(saveDevice(bench.control).queues[0]).toMatchObject({ size: 4, ready: false })
    view?.fill(1)
    parked?.complete()
    await Promise.resolve()
    await Promise.resolve()
    await Promise.resolve()
    expect([bench.control.queueReady(0), usedBy(ring), bench.events]).toEqual([false, [], []])
    bench.device.onQueue = (index, host) => useAll(index, host)
    bench.bytes.fill(0)
    const anew = bench.ring(0)
    offer(anew, 0x2000, 4)
    bench.control.notifyAvailable(0)
    expect(usedBy(anew)).toEqual([[0, 4]])
  })
})

describe('a notification as the driver wrote it', () => {
  const withData = version1.with(VIRTIO_F_NOTIFICATION_DATA)
  const offering = (features: FeatureSet, settings: Partial<DeviceControlOptions> = {}): Bench => {
    const other = new Bench(undefined, undefined, { ringFeatures: features, ...settings })
    other.negotiate(features)
    other.ring(0)
    other.ring(2)
    other.start()
    other.device.log.length = 0
    return other
  }

  it('is the index of a queue; what is no queue is nothing', () => {
    const other = offering(version1)
    for (const value of [2, 0x1_0000, 0x1_0002, 1, 3, 0xffff_ffff]) other.control.notified(value)
    expect([other.device.log, other.control.announcedAvailable(2)]).toEqual([['queue 2'], undefined])
  })

  it('has the position besides with VIRTIO_F_NOTIFICATION_DATA, in which nobody believes', () => {
    const other = offering(withData)
    for (const value of [0x1234_0002, 0x8001_0000, 0x0001_0001, 0xffff_ffff]) other.control.notified(value)
    expect(other.device.log).toEqual(['queue 2', 'queue 0'])
    expect([0, 1, 2, 3].map((index) => other.control.announcedAvailable(index))).toEqual([0x8001, undefined, 0x1234, undefined])
    expect([other.violations, other.control.inspectQueue(2)?.available]).toEqual([[], 0])
    other.control.writeStatus(0)
    expect(other.control.announcedAvailable(0)).toBeUndefined()
  })

  it('names the queue by what the device has given, with VIRTIO_F_NOTIF_CONFIG_DATA', () => {
    for (const features of [version1, withData]) {
      const other = offering(features.with(VIRTIO_F_NOTIF_CONFIG_DATA), { notifConfigData: [0xffff, 0, 7] })
      for (const value of [7, 0xffff, 2, 0]) other.control.notified(value)
      expect(other.device.log).toEqual(['queue 2', 'queue 0'])
      const without = new Bench(undefined, undefined, { ringFeatures: features.with(VIRTIO_F_NOTIF_CONFIG_DATA), notifConfigData: [0xffff, 0, 7] })
      without.negotiate(features)
      without.ring(2)
      without.start().control.notified(2)
      expect(without.device.log).toEqual(['activate', 'queue 2', 'queue 2'])
    }
    for (const notifConfigData of [
      [1, 2],
      [1, 2, 2],
      [1, 2, 0x1_0000],
      [1, 2, 0.5],
    ])
      expect(() => new Bench(undefined, undefined, { notifConfigData })).toThrow('notifConfigData')
  })

  it('does nothing before FEATURES_OK', () => {
    bench.control.notified(0)
    expect(bench.device.log).toEqual([])
  })
})

describe('the reset of one queue', () => {
  const withReset = version1.with(VIRTIO_F_RING_RESET)
  const registers = ({ control }: Bench, index = 0): unknown[] => [
    control.queueReady(index),
    control.queueResetting(index),
    control.queueSize(index),
    control.queueAddress(index, 'descriptorArea', 0),
    control.queueAddress(index, 'driverArea', 0),
    control.queueAddress(index, 'deviceArea', 0),
  ]
  const initial = [false, false, 8, 0, 0, 0]

  it('brings the queue back to what it was at first, tells the device, and leaves the other queues alone', () => {
    bench.device.onQueue = (index, host) => useAll(index, host)
    bench.negotiate(withReset)
    const ring = bench.ring(0)
    const other = bench.ring(2)
    bench.start()
    offer(ring, 0x2000, 4)
    bench.control.notifyAvailable(0)
    bench.device.log.length = 0
    bench.events.length = 0
    bench.control.resetQueue(0)
    expect(registers(bench)).toEqual(initial)
    // Neither executed nor notified of any more.
    offer(ring, 0x2000, 4)
    bench.control.notifyAvailable(0)
    expect([bench.device.log, bench.events, usedBy(ring)]).toEqual([['queue 0 reset'], [], [[0, 4]]])
    expect(bench.device.host?.queue(0)).toBeUndefined()
    offer(other, 0x2000, 4)
    bench.control.notifyAvailable(2)
    expect([bench.control.status, usedBy(other)]).toEqual([live, [[0, 4]]])
  })

  it('lets the driver set it up again, smaller and elsewhere, from position 0', () => {
    bench.device.onQueue = (index, host) => useAll(index, host)
    bench.negotiate(withReset)
    const ring = bench.ring(0)
    bench.start()
    for (let i = 0; i < 3; i++) offer(ring, 0x2000, 4)
    bench.control.notifyAvailable(0)
    bench.control.resetQueue(0)
    const anew = fakeDriver(bench.memory, { size: 2 })
    offer(anew, 0x2000, 8)
    bench.place(0, anew)
    bench.device.log.length = 0
    bench.control.setQueueReady(0, true)
    expect([bench.device.log, usedBy(anew), bench.control.inspectQueue(0)?.size]).toEqual([['queue 0'], [[0, 8]], 2])
  })

  it('needs the feature, and a queue', () => {
    bench.negotiate()
    bench.ring(0)
    bench.start()
    bench.control.resetQueue(0)
    expect(registers(bench).slice(0, 2)).toEqual([true, false])
    const other = new Bench()
    other.control.resetQueue(0)
    other.negotiate(withReset).start()
    for (const index of [1, 3, -1, 0xffff_ffff]) {
      other.control.resetQueue(index)
      expect(other.control.queueResetting(index)).toBe(false)
    }
    expect(other.device.log).toEqual(['activate'])
  })

  it('of a queue that is not ready brings its registers back', () => {
    bench.negotiate(withReset).start()
    bench.place(0, fakeDriver(bench.memory, { size: 4 }))
    bench.control.resetQueue(0)
    expect([registers(bench), bench.device.log]).toEqual([initial, ['activate']])
  })

  it('goes on until the device is at rest; the queue stays ready until then, and nothing about it can be changed', async () => {
    let parked: Chain | undefined
    let settle = (): void => {}
    bench.device.onQueue = (index, host) => {
      parked = host.queue(index)?.next() ?? parked
    }
    bench.device.onQueueReset = () =>
      new Promise<void>((resolve) => {
        settle = resolve
      })
    bench.negotiate(withReset)
    const ring = bench.ring(0)
    offer(ring, 0x2000, 4)
    bench.start()
    parked?.writable.bytes(0)
    bench.control.resetQueue(0)
    bench.control.resetQueue(0)
    bench.control.setQueueSize(0, 2)
    bench.control.setQueueReady(0, false)
    bench.control.setQueueReady(0, true)
    expect([registers(bench).slice(0, 3), parked?.cancelled]).toEqual([[true, true, 4], true])
    expect(saveDevice(bench.control).queues[0]).toEqual(saveDevice(new Bench().control).queues[0])
    settle()
    for (let i = 0; i < 10; i++) await Promise.resolve()
    expect(bench.control.queueResetting(0)).toBe(true)
    parked?.complete(4)
    for (let i = 0; i < 10; i++) await Promise.resolve()
    expect([registers(bench), usedBy(ring), bench.events]).toEqual([initial, [], []])
    expect(bench.device.log.filter((line) => line === 'queue 0 reset')).toHaveLength(1)
  })

  it('joins the stop of the queue', async () => {
    let parked: Chain | undefined
    bench.device.onQueue = (index, host) => {
      parked = host.queue(index)?.next() ?? parked
    }
    bench.negotiate(withReset)
    offer(bench.ring(0), 0x2000, 4)
    bench.start()
    parked?.writable.bytes(0)
    bench.control.setQueueReady(0, false)
    bench.control.resetQueue(0)
    expect(registers(bench).slice(0, 2)).toEqual([true, true])
    parked?.complete()
    for (let i = 0; i < 10; i++) await Promise.resolve()
    expect(registers(bench)).toEqual(initial)
  })

  it('ends with a reset of the device', async () => {
    let settle = (): void => {}
    bench.device.onQueueReset = () =>
      new Promise<void>((resolve) => {
        settle = resolve
      })
    bench.negotiate(withReset)
    bench.ring(0)
    bench.start()
    bench.control.resetQueue(0)
    const done = bench.control.reset()
    expect([bench.control.status, bench.control.queueResetting(0)]).toEqual([live, true])
    settle()
    await done
    expect([bench.control.status, registers(bench)]).toEqual([0, initial])
  })

  it.each<[string, () => void]>([
    ['stops the queue', () => bench.control.setQueueReady(0, false)],
    ['resets the queue', () => bench.control.resetQueue(0)],
    ['resets the device', () => bench.control.writeStatus(0)],
  ])('is waited for by a driver that %s when it is told of the last writes', async (_, act) => {
    let parked: Chain | undefined
    bench.device.onQueue = (index, host) => {
      parked = host.queue(index)?.next() ?? parked
    }
    bench.negotiate(withReset)
    offer(bench.ring(0), 0x2000, 4)
    bench.start()
    parked?.writable.bytes(0)
    let acted = 0
    bench.memory.onWrite = () => {
      if (acted++ === 0) act()
    }
    bench.control.resetQueue(0)
    for (let i = 0; i < 10; i++) await Promise.resolve()
    expect([acted, bench.control.status, bench.control.queueReady(0)]).toEqual([1, live, true])
    parked?.complete()
    for (let i = 0; i < 10; i++) await Promise.resolve()
    expect([registers(bench), bench.device.log.includes('queue 0 reset')]).toEqual([initial, bench.control.status === live])
  })

  it('does not end a queue that was set up behind a reset of the device', async () => {
    let settle = (): void => {}
    bench.device.onQueueReset = () => {
      bench.control.writeStatus(0)
      return new Promise<void>((resolve) => {
        settle = resolve
      })
    }
    bench.negotiate(withReset)
    bench.ring(0)
    bench.start()
    bench.control.resetQueue(0)
    bench.negotiate(withReset)
    bench.ring(0)
    bench.start()
    settle()
    for (let i = 0; i < 10; i++) await Promise.resolve()
    expect([bench.control.status, registers(bench).slice(0, 2)]).toEqual([live, [true, false]])
  })

  it('inside a service ends it; the queue that is set up right there is served', () => {
    let anew: SplitFakeDriver | undefined
    bench.device.onQueue = (index, host) => {
      if (anew !== undefined) useAll(index, host)
      else {
        bench.control.resetQueue(0)
        anew = bench.ring(0, 2)
        offer(anew, 0x2000, 4)
        bench.control.notifyAvailable(0)
        expect(host.queue(0)?.size).toBe(2)
      }
    }
    bench.negotiate(withReset)
    bench.ring(0)
    bench.start()
    expect([bench.device.log, anew && usedBy(anew)]).toEqual([['activate', 'queue 0', 'queue 0 reset', 'queue 0'], [[0, 4]]])
  })

  it.each<[string, () => void | Promise<void>]>([
    [
      'throws',
      () => {
        throw new Error('no rest')
      },
    ],
    ['rejects', () => Promise.reject(new Error('no rest'))],
  ])('ends also when the device %s, which then needs a reset', async (_, onQueueReset) => {
    bench.device.onQueueReset = onQueueReset
    bench.negotiate(withReset)
    bench.ring(0)
    bench.start()
    bench.control.resetQueue(0)
    for (let i = 0; i < 10; i++) await Promise.resolve()
    expect([registers(bench), bench.errors, bench.control.status]).toEqual([initial, [new Error('no rest')], live | DEVICE_NEEDS_RESET])
    // And is no way out of that.
    bench.ring(0)
    expect(bench.control.queueReady(0)).toBe(false)
  })
})

describe('failure', () => {
  const begin = (): SplitFakeDriver => {
    bench.negotiate()
    const ring = bench.ring(0)
    bench.ring(2)
    bench.start()
    bench.device.log.length = 0
    return ring
  }

  it('is told to the driver also when the one of the VMM who is told throws', () => {
    const told = new Error('told')
    bench = new Bench(undefined, undefined, {
      onViolation: () => {
        throw told
      },
    })
    const ring = begin()
    bench.device.onQueue = (index, host) => useAll(index, host)
    ring.jumpTo(100)
    bench.control.notifyAvailable(0)
    expect([bench.errors, bench.events.slice(-2)]).toEqual([[told], ['needs reset', 'config']])
  })

  it('of the VMM’s interrupt itself ends in onError, also when the notification of it throws', () => {
    const broken = new Error('no interrupt controller')
    const fail = (): never => {
      throw broken
    }
    bench = new Bench(undefined, undefined, { notify: fail, configChanged: fail })
    const ring = begin()
    bench.device.onQueue = (index, host) => useAll(index, host)
    offer(ring, 0x2000, 4)
    bench.control.notifyAvailable(0)
    expect([bench.errors, bench.control.status]).toEqual([[broken, broken], live | DEVICE_NEEDS_RESET])
  })

  it('of a queue needs a reset, is told to driver and VMM, and stops the service of all queues', () => {
    const ring = begin()
    bench.device.onQueue = (index, host) => useAll(index, host)
    ring.jumpTo(100)
    bench.control.notifyAvailable(0)
    expect(bench.violations.map(({ kind }) => kind)).toEqual(['available-index'])
    expect(bench.control.status).toBe(live | DEVICE_NEEDS_RESET)
    expect(bench.events).toEqual(['needs reset', 'config'])
    bench.control.notifyAvailable(0)
    bench.control.notifyAvailable(2)
    expect(bench.device.log).toEqual(['queue 0'])
    expect(bench.device.host?.queue(2)).toBeUndefined()
  })

  it('that the device reports does the same; later reports go to the VMM only', () => {
    begin()
    bench.device.host?.fail({ kind: 'request-size', queue: 2, detail: 'too small' })
    bench.device.host?.fail({ kind: 'request-size', queue: 0, detail: 'too small' })
    expect(bench.violations.map(({ queue }) => queue)).toEqual([2, 0])
    expect(bench.events).toEqual(['needs reset', 'config'])
  })

  it.each<[string, (device: DummyDevice, fail: () => never) => void, () => void]>([
    ['queueNotified', (device, fail) => Object.assign(device, { onQueue: fail }), () => bench.control.notifyAvailable(0)],
    ['configWritten', (device, fail) => Object.assign(device, { onConfig: fail }), () => bench.control.writeConfig(4, 4, 1)],
  ])('of %s does not reach the driver', (_, prepare, act) => {
    begin()
    prepare(bench.device, () => {
      throw new Error('broken device')
    })
    act()
    expect([bench.control.status, bench.errors, bench.violations]).toEqual([live | DEVICE_NEEDS_RESET, [new Error('broken device')], []])
    expect(bench.events).toEqual(['needs reset', 'config'])
  })

  it('of activate does not reach the driver either, and no queue is served', () => {
    bench.device.onActivate = () => {
      throw new Error('broken device')
    }
    begin()
    expect([bench.control.status, bench.errors, bench.device.log]).toEqual([live | DEVICE_NEEDS_RESET, [new Error('broken device')], []])
  })

  it('leaves other devices alone', () => {
    const other = new Bench()
    other.negotiate().start()
    begin().jumpTo(100)
    bench.device.onQueue = (index, host) => useAll(index, host)
    bench.control.notifyAvailable(0)
    expect([bench.control.status & DEVICE_NEEDS_RESET, other.control.status]).toEqual([DEVICE_NEEDS_RESET, live])
  })

  it('is over with a reset from inside the notification', () => {
    const ring = begin()
    bench.device.onQueue = (index, host) => useAll(index, host)
    bench.onConfigChanged = () => bench.control.writeStatus(0)
    ring.jumpTo(100)
    bench.control.notifyAvailable(0)
    expect([bench.control.status, bench.device.log]).toEqual([0, ['queue 0', 'reset']])
  })

  it('after a reset that ended the device meanwhile is reported and no more', () => {
    begin()
    bench.device.onQueue = () => {
      bench.control.writeStatus(0)
      throw new Error('too late')
    }
    bench.control.notifyAvailable(0)
    expect([bench.control.status, bench.errors]).toEqual([0, [new Error('too late')]])
  })
})

describe('a reset', () => {
  it('brings everything back, except for the generation of the configuration', () => {
    bench.negotiate()
    bench.ring(0)
    bench.start()
    bench.device.config.update(() => {})
    const kept = bench.device.host as DeviceHost
    bench.control.writeStatus(0)
    const { control } = bench
    expect([control.status, control.features.isEmpty, control.driverFeatures.isEmpty, control.queueReady(0), control.queueSize(0)]).toEqual([
      0,
      true,
      true,
      false,
      8,
    ])
    expect([control.queueAddress(0, 'descriptorArea', 0), control.configGeneration]).toEqual([0, 1])
    expect(bench.device.log).toEqual(['activate', 'queue 0', 'reset'])
    // The host of before does nothing any more, also when the next driver is live.
    bench.negotiate()
    bench.ring(0)
    bench.start()
    bench.events.length = 0
    kept.configChanged()
    kept.fail({ kind: 'request-size', queue: 0, detail: '' })
    kept.serveLater(0)
    expect([kept.queue(0), bench.events, bench.violations, bench.deferred]).toEqual([undefined, [], [], []])
  })

  it('reads as busy until the device is at rest; nothing else is heard meanwhile, and another reset joins it', async () => {
    let settle = (): void => {}
    bench.device.onReset = () =>
      new Promise<void>((resolve) => {
        settle = resolve
      })
    bench.negotiate()
    bench.ring(0)
    bench.start()
    bench.events.length = 0
    const first = bench.control.reset()
    expect(bench.control.reset()).toBe(first)
    bench.control.writeStatus(0)
    bench.control.writeStatus(ACKNOWLEDGE)
    bench.control.writeStatus(FAILED)
    bench.control.setQueueReady(0, false)
    bench.control.setQueueReady(2, true)
    bench.control.setQueueSize(2, 2)
    bench.control.setDriverFeatures(0, 1)
    bench.control.writeConfig(4, 4, 9)
    bench.control.notifyAvailable(0)
    bench.device.config.update(() => {})
    expect([bench.control.status, bench.control.queueReady(0), bench.device.log]).toEqual([live, true, ['activate', 'queue 0', 'reset']])
    expect([bench.control.queueSize(2), bench.control.features.bits, bench.device.config.bytes[4]]).toEqual([4, [VIRTIO_F_VERSION_1], 5])
    expect(bench.events).toEqual(['reset'])
    // Saved is the state behind the reset.
    const { configGeneration, ...saved } = saveDevice(bench.control)
    expect([configGeneration, saveDevice(new Bench().control)]).toEqual([1, { ...saved, configGeneration: 0 }])
    settle()
    await first
    expect([bench.control.status, bench.control.queueReady(0), bench.control.queueSize(2)]).toEqual([0, false, 4])
    expect(bench.negotiate().start().control.status).toBe(live)
  })

  it('waits for a chain whose views are still in use, and then writes nothing', async () => {
    let parked: Chain | undefined
    bench.device.onQueue = (index, host) => {
      parked = host.queue(index)?.next() ?? parked
    }
    bench.negotiate()
    const ring = bench.ring(0)
    offer(ring, 0x2000, 4)
    bench.start()
    parked?.writable.bytes(0)
    const done = bench.control.reset()
    expect([bench.control.status, parked?.cancelled]).toEqual([live, true])
    parked?.complete(4)
    await done
    expect([bench.control.status, usedBy(ring)]).toEqual([0, []])
  })

  it('waits also for a queue that the driver has stopped before', async () => {
    let parked: Chain | undefined
    bench.device.onQueue = (index, host) => {
      parked = host.queue(index)?.next() ?? parked
    }
    bench.negotiate()
    offer(bench.ring(0), 0x2000, 4)
    bench.start()
    parked?.writable.bytes(0)
    bench.control.setQueueReady(0, false)
    bench.control.setQueueReady(0, false)
    bench.control.setQueueReady(0, true)
    const done = bench.control.reset()
    expect([bench.control.status, bench.control.queueReady(0)]).toEqual([live, true])
    parked?.complete()
    await done
    expect([bench.control.status, bench.control.queueReady(0)]).toEqual([0, false])
  })

  it.each<[string, () => void | Promise<void>]>([
    [
      'throws',
      () => {
        throw new Error('no rest')
      },
    ],
    ['rejects', () => Promise.reject(new Error('no rest'))],
  ])('ends also when the device %s', async (_, onReset) => {
    bench.device.onReset = onReset
    bench.negotiate().start()
    await bench.control.reset()
    expect([bench.control.status, bench.errors]).toEqual([0, [new Error('no rest')]])
  })

  it('ends also when the one who is told of that throws', async () => {
    const careless = new Bench(undefined, undefined, {
      onError: () => {
        throw new Error('no report')
      },
    })
    careless.device.onReset = () => Promise.reject(new Error('no rest'))
    careless.negotiate().start()
    await careless.control.reset()
    expect(careless.control.status).toBe(0)
  })

  it('inside a service ends it, and a driver that starts anew right there is served', () => {
    bench.negotiate()
    bench.ring(0)
    let rounds = 0
    bench.device.onQueue = () => {
      if (++rounds > 1) return
      bench.control.writeStatus(0)
      bench.negotiate()
      bench.ring(0)
      bench.start()
    }
    bench.start()
    expect(bench.device.log).toEqual(['activate', 'queue 0', 'reset', 'activate', 'queue 0'])
    expect(bench.control.status).toBe(live)
  })
})

describe('the configuration', () => {
  it('is told of only to a driver that is ready', () => {
    const change = (): void => bench.device.config.update((bare) => bare.$view.setUint8(0, 7))
    change()
    bench.negotiate()
    change()
    expect([bench.events, bench.control.configGeneration]).toEqual([[], 2])
    bench.start()
    change()
    expect([bench.events, bench.control.readConfig(0, 4)]).toEqual([['config'], 0x0403_0207])
  })

  it('is written at any time, and what a feature makes writable once that is negotiated', () => {
    bench.control.writeConfig(8, 2, 0x1111)
    expect(bench.device.log).toEqual(['config secret'])
    bench.negotiate(version1.with(VIRTIO_BLK_F_CONFIG_WCE))
    bench.control.writeConfig(8, 2, 0x2222)
    expect(bench.device.log).toEqual(['config secret', 'config secret', 'config conditional'])
    expect([...bench.device.config.bytes.subarray(8, 10)]).toEqual([0x22, 0x22])
  })
})

describe('a saved state', () => {
  const viaJson = (state: ControlState): ControlState => JSON.parse(JSON.stringify(state)) as ControlState

  it('lets a device go on where it stood, parked chains included, without the driver noticing', () => {
    const parked: Chain[] = []
    const take = (index: number, host: DeviceHost): void => {
      const queue = host.queue(index)
      for (let chain = queue?.next(); chain; chain = queue?.next()) parked.push(chain)
    }
    bench.device.onQueue = take
    bench.device.memo = { lines: [1, 2, 3] }
    bench.negotiate(version1.with(70, VIRTIO_F_INDIRECT_DESC))
    const ring = bench.ring(0)
    bench.start()
    const heads = [offer(ring, 0x2000, 4), offer(ring, 0x2010, 4), offer(ring, 0x2020, 4)]
    bench.control.notifyAvailable(0)
    parked[1]?.complete(0)
    bench.device.config.update((bare) => bare.$view.setUint8(0, 99))
    expect(usedBy(ring)).toEqual([[heads[1], 0]])

    const saved = viaJson(saveDevice(bench.control))
    const other = new Bench(new DummyDevice(), bench.bytes.slice())
    other.device.onQueue = take
    parked.length = 0
    restoreDevice(other.control, saved)
    expect(parked.map((chain) => chain.head)).toEqual([heads[0], heads[2]])
    expect(other.device.memo).toEqual({ lines: [1, 2, 3] })
    expect([other.control.status, other.control.features.bits, other.control.queueReady(0)]).toEqual([live, [28, 32, 70], true])
    expect([other.control.configGeneration, other.control.readConfig(0, 1)]).toEqual([1, 99])
    expect([other.events, other.device.log]).toEqual([[], ['activate', 'queue 0']])

    bench.bytes.set(other.bytes)
    for (const chain of parked) chain.complete(chain.writable.fill(5))
    bench.bytes.set(other.bytes)
    expect(usedBy(ring)).toEqual([
      [heads[0], 4],
      [heads[2], 4],
    ])
    expect(other.bytes[0x2020]).toBe(5)
    expect(other.events).toEqual(['used 0', 'used 0'])
  })

  it.each([
    ['before anything', 0],
    ['after DRIVER', 3],
    ['after FEATURES_OK', upToFeatures],
    ['after DRIVER_OK', live],
    ['after FAILED', live | FAILED],
  ])('can be taken %s', (_, status) => {
    bench.control.setDriverFeatures(1, 1)
    bench.control.setQueueSize(2, 2)
    bench.control.setQueueAddress(2, 'deviceArea', 1, 0xffff_ffff)
    bench.control.writeStatus(status & live)
    bench.control.writeStatus(status || 0x100)
    const other = new Bench()
    restoreDevice(other.control, viaJson(saveDevice(bench.control)))
    expect(other.control.status).toBe(status)
    expect(saveDevice(other.control)).toEqual(saveDevice(bench.control))
  })

  it('of a device that needs a reset stays so, silently', () => {
    bench.negotiate()
    bench.ring(0).jumpTo(50)
    bench.device.onQueue = (index, host) => useAll(index, host)
    bench.start()
    const other = new Bench()
    restoreDevice(other.control, viaJson(saveDevice(bench.control)))
    other.control.notifyAvailable(0)
    expect([other.control.status, other.events, other.device.log, other.violations]).toEqual([live | DEVICE_NEEDS_RESET, [], [], []])
    other.control.writeStatus(0)
    expect(other.control.status).toBe(0)
  })

  it('of a device that needs a reset does not have to say where its queues stood', () => {
    const other = new Bench()
    const saved = good()
    const lost = { ...saved.queues[0]!, queue: { available: 3, used: 0, inFlight: [] } }
    restoreDevice(other.control, { ...saved, status: live | DEVICE_NEEDS_RESET, queues: [lost, null, saved.queues[2]!] })
    expect([other.control.status, other.control.inspectQueue(0), other.device.log]).toEqual([live | DEVICE_NEEDS_RESET, undefined, []])
  })

  it('of a device with a queue that cannot be does not report that again', () => {
    bench.negotiate()
    bench.place(0, fakeDriver(bench.memory, { size: 4 }))
    bench.control.setQueueAddress(0, 'driverArea', 0, 1)
    bench.control.setQueueReady(0, true)
    expect(bench.violations).toHaveLength(1)
    const other = new Bench()
    restoreDevice(other.control, viaJson(saveDevice(bench.control)))
    expect([other.violations, other.events, other.control.queueReady(0)]).toEqual([[], [], true])
  })

  it('goes only into a device that no driver has begun with', () => {
    const saved = saveDevice(bench.control)
    bench.negotiate()
    expect(() => restoreDevice(bench.control, saved)).toThrow('no driver has begun with')
    bench.control.writeStatus(0)
    restoreDevice(bench.control, saved)
  })

  const good = (): ControlState => {
    const other = new Bench()
    other.negotiate(version1.with(70))
    other.ring(0)
    return saveDevice(other.start().control)
  }
  const queue = (change: object): object => ({ queues: [{ ...good().queues[0], ...change }, null, good().queues[2]] })
  it.each<[string, unknown, string]>([
    ['nothing', null, 'it must be an object, not null'],
    ['text', 'x', 'it must be an object, not "x"'],
    ['another version', { ...good(), version: 2 }, 'version must be 1, not 2'],
    ['a status out of order', { ...good(), status: 4 }, 'status must be bits in the order of the initialization, not 4'],
    ['a status with bits that do not exist', { ...good(), status: 0x20 }, 'status must be'],
    ['a status that is no number', { ...good(), status: '15' }, 'status must be an integer from 0 to 255, not "15"'],
    ['features that are no number', { ...good(), features: 'many' }, 'features must be at most 32 hexadecimal digits, not "many"'],
    ['features that are not offered', { ...good(), features: '0x100000008' }, 'features that are not offered here: bit 3'],
    ['features without VERSION_1', { ...good(), features: '0x0' }, 'has not accepted VIRTIO_F_VERSION_1'],
    ['another configuration space', { ...good(), config: '00' }, 'config must be 32 hexadecimal digits, for a configuration space of 16 bytes'],
    ['a queue with another largest size', { ...good(), ...queue({ maximum: 16 }) }, 'queues[0].maximum must be 8'],
    ['a suspension that is none', { ...good(), suspending: false }, 'suspending must be true or absent'],
    ['a change that is none', { ...good(), changePending: 1 }, 'changePending must be true or absent'],
    ['a legacy interface that is none', { ...good(), legacy: true }, 'legacy must be an object'],
    ['a legacy driver with FEATURES_OK', { ...good(), legacy: { live: true } }, 'status must be bits'],
    [
      'a legacy driver with features that are not offered to it',
      { ...good(), status: 7, legacy: { live: true } },
      'features that are not offered here: VIRTIO_F_VERSION_1',
    ],
    ['a generation that is none', { ...good(), configGeneration: -1 }, 'configGeneration must be an integer from 0 to 4294967295, not -1'],
    ['fewer queues', { ...good(), queues: [] }, 'queues must be those of a device with 3 queues'],
    ['a queue that the device does not have', { ...good(), queues: [good().queues[0], good().queues[0], null] }, 'queues[1] must be null'],
    ['a missing queue', { ...good(), queues: [null, null, good().queues[2]] }, 'queues[0] must be an object, not null'],
    ['an address of one word', { ...good(), ...queue({ driverArea: [1] }) }, 'queues[0].driverArea must be two 32-bit words, not [1]'],
    ['an address of large words', { ...good(), ...queue({ driverArea: [1, 2 ** 32] }) }, 'queues[0].driverArea must be an integer from 0'],
    ['a size that is too large', { ...good(), ...queue({ size: 16 }) }, 'queues[0] must be ready, of 1 to 8 entries'],
    ['a queue that is at work and not ready', { ...good(), ...queue({ ready: false }) }, 'queues[0] must be ready'],
    ['a queue before FEATURES_OK', { ...good(), status: 3 }, 'queues[0] must be ready, of 1 to 8 entries and behind FEATURES_OK'],
    ['a queue that is ready and not at work', { ...good(), ...queue({ queue: undefined }) }, 'queues[0].queue must be there'],
    [
      'another device',
      { ...good(), config: '00'.repeat(16), configGeneration: 9, device: { version: 1, id: 7, state: null } },
      'id of the device must be 42',
    ],
    ['no device', { ...good(), device: null }, 'device must be an object, not null'],
  ])('is refused when it is %s, and nothing has changed', (_, state, message) => {
    expect(() => restoreDevice(bench.control, state as ControlState)).toThrow(StateError)
    expect(() => restoreDevice(bench.control, state as ControlState)).toThrow(message)
    expect(saveDevice(bench.control)).toEqual(saveDevice(new Bench().control))
    expect(bench.device.log).toEqual([])
  })

  /** The queue of such a state, behind a good rest. */
  const withQueue = (features: FeatureSet, position: unknown): unknown => ({
    ...good(),
    features: features.toString(),
    ...queue({ queue: position }),
  })
  const packed = version1.with(VIRTIO_F_RING_PACKED)
  const inOrder = packed.with(VIRTIO_F_IN_ORDER)
  const chain = { head: 9, slots: 1, buffers: [[0x2000, 4, 1]] }
  const one = (change: object, ...more: object[]): object => ({ available: 0x8001, used: 0x8000, inFlight: [{ ...chain, ...change }, ...more] })
  const buffer = (...parts: unknown[]): object => one({ buffers: [parts] })

  it.each<[string, FeatureSet, unknown, string]>([
    ['no object', version1, 7, 'queue must be an object, not 7'],
    ['no chains', version1, { available: 0, used: 0 }, 'inFlight must be an array'],
    ['more chains than entries', version1, { available: 5, used: 0, inFlight: [0, 1, 2, 3, 0] }, 'inFlight must be at most 4 chains'],
    ['a head that does not exist', version1, { available: 1, used: 0, inFlight: [4] }, 'inFlight[0] must be an integer from 0 to 3'],
    ['a head twice', version1, { available: 2, used: 0, inFlight: [1, 1] }, 'inFlight must be chains that begin at different heads'],
    ['a position that is none', version1, { available: -1, used: 0, inFlight: [] }, 'queue.available must be an integer'],
    ['a used position that is none', version1, { available: 0, used: 0x1_0000, inFlight: [] }, 'queue.used must be an integer'],
    ['fewer chains than its positions say', version1, { available: 3, used: 1, inFlight: [0] }, 'available must be 1 entries beyond 1'],
    ['more chains than its positions say', version1, { available: 3, used: 3, inFlight: [0] }, 'available must be 1 entries beyond 3'],
    [
      'a written length without IN_ORDER',
      version1,
      { available: 1, used: 0, inFlight: [{ head: 1, written: 2 }] },
      'inFlight[0].written must be absent',
    ],
    ['entries in a split ring', version1, { available: 1, used: 0, inFlight: [{ head: 1, slots: 1 }] }, 'inFlight[0].slots must be absent'],
    ['buffers in a split ring', version1, { available: 1, used: 0, inFlight: [{ head: 1, buffers: [] }] }, 'inFlight[0].buffers must be absent'],
    ['a packed position outside of the ring', packed, { available: 0x8004, used: 0x8000, inFlight: [] }, 'available must be a place in a ring of 4'],
    ['a packed used position outside', packed, { available: 0x8000, used: 4, inFlight: [] }, 'used must be a place in a ring of 4'],
    ['a packed chain that is only a number', packed, { available: 0x8001, used: 0x8000, inFlight: [1] }, 'inFlight[0] must be an object, not 1'],
    ['a buffer id that does not exist', packed, one({ head: 0x1_0000 }), 'inFlight[0].head must be an integer from 0 to 65535'],
    ['a packed chain of no entry', packed, one({ slots: 0 }), 'inFlight[0].slots must be at least 1'],
    ['a packed chain of more entries than there are', packed, one({ slots: 5 }), 'inFlight[0].slots must be an integer from 0 to 4'],
    ['chains of more entries than there are', packed, { ...one({ slots: 3 }, { ...chain, head: 1, slots: 2 }), available: 1 }, 'available must be 5'],
    ['other entries than the positions say', packed, one({ slots: 2 }), 'available must be 2 entries beyond 32768'],
    ['positions a round apart', packed, { available: 0, used: 0x8000, inFlight: [] }, 'available must be 0 entries beyond 32768'],
    ['no buffers', packed, one({ buffers: undefined }), 'inFlight[0].buffers must be an array'],
    ['a buffer that is none', packed, buffer(0x2000, 4), 'buffers[0] must be an address, a length'],
    ['an address that is none', packed, buffer(-1, 4, 1), 'buffers[0][0] must be an integer'],
    ['a buffer beyond 2^53', packed, buffer(2 ** 53 - 4, 4, 1), 'buffers[0][0] must be an integer from 0 to 9007199254740987'],
    ['a length that is none', packed, buffer(0, 2 ** 32, 1), 'buffers[0][1] must be an integer'],
    ['a direction that is none', packed, buffer(0, 4, 2), 'buffers[0][2] must be an integer from 0 to 1'],
    [
      'the wrong order',
      packed,
      one({
        buffers: [
          [0, 4, 1],
          [8, 4, 0],
        ],
      }),
      'buffers[1][2] must be 1 behind',
    ],
    [
      'too many bytes',
      packed,
      one({
        buffers: [
          [0, 2 ** 32 - 1, 0],
          [0, 2, 0],
        ],
      }),
      'buffers[1][1] must be at most 1',
    ],
    ['a written length that is none', inOrder, one({ written: -1 }), 'inFlight[0].written must be an integer'],
  ])('is refused when its queue has %s', (_, features, position, message) => {
    const other = new Bench(undefined, undefined, { ringFeatures: inOrder, createQueue: createDeviceQueue })
    const restore = (): void => restoreDevice(other.control, withQueue(features, position) as ControlState)
    expect(restore).toThrow(RangeError)
    expect(restore).toThrow(message)
    expect(other.device.log).toEqual([])
  })
})
