/** A whole device with all that a unit test of it needs: no registers, no driver of its type. */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { ACKNOWLEDGE, DEVICE_NEEDS_RESET, DRIVER, DRIVER_OK, FEATURES_OK } from 'virtgen/wire/content'
import type { VirtioDevice } from '../device.ts'
import { DeviceControl, type DeviceControlSettings } from '../device-control.ts'
import { createDeviceQueue } from '../device-queue.ts'
import type { RingFeatures } from '../queue.ts'
import { negotiateQueueSize } from '../queue-layout.ts'
import type { ChainSpec } from './chain.ts'
import type { FakeDriver, OfferedChain, UsedChain } from './fake-driver.ts'
import { fakeDriver } from './fakes.ts'
import { TestMemory } from './memory.ts'
import { Recorder } from './recorder.ts'
import { ringFeatureSet } from './ring-features.ts'

export interface TestDeviceOptions extends RingFeatures, Pick<DeviceControlSettings, 'maxChainLength' | 'defer'> {
  /** Of the features of its type that the device offers, those that the driver accepts: a set, or bit numbers. Default: all. */
  readonly features?: FeatureSet | readonly number[]
  /** Entries of each queue at most, 16 by default; of a split ring rounded down to a power of 2. */
  readonly size?: number
  readonly memory?: TestMemory
}

interface Waiting {
  readonly driver: FakeDriver
  readonly resolve: (used: UsedChain) => void
  readonly reject: (error: unknown) => void
}

const defaultSize = 16
const words = [0, 1, 2, 3]
const areas = ['descriptorArea', 'driverArea', 'deviceArea'] as const

/**
 * A device, ready to serve (DRIVER_OK), behind the same control that real transports have.
 *
 * @example
 * const disk = testDevice(new Disk())
 * const header = VirtioBlkReqHeader.encode({ type: VIRTIO_BLK_T_IN, sector: 1 })
 * const { bytes } = await disk.request(chain().readable(header).writable(512).writable(1))
 * bytes[512] // VIRTIO_BLK_S_OK
 * @throws RangeError for features that the device does not offer or does not work with
 */
export function testDevice<Device extends VirtioDevice>(device: Device, options: TestDeviceOptions = {}): TestDevice<Device> {
  return new TestDevice(device, options)
}

export class TestDevice<Device extends VirtioDevice = VirtioDevice> {
  readonly device: Device
  readonly memory: TestMemory
  /** Hears of notifications, writes, violations, and what the device throws. */
  readonly recorder: Recorder = new Recorder()
  readonly control: DeviceControl
  readonly #options: TestDeviceOptions
  #drivers: FakeDriver[] = []
  /** Who waits for a chain. */
  readonly #waiting = new Map<OfferedChain, Waiting>()

  constructor(device: Device, options: TestDeviceOptions) {
    const { memory = new TestMemory(), maxChainLength, defer } = options
    this.device = device
    this.memory = memory
    this.#options = options
    this.recorder.watch(memory)
    this.control = new DeviceControl(device, {
      memory,
      ringFeatures: ringFeatureSet(options),
      createQueue: createDeviceQueue,
      notify: (queue) => this.#notified(queue),
      configChanged: this.recorder.configChanged,
      onViolation: (violation) => {
        this.recorder.fail(violation)
        this.#giveUp(new Error(`the device found a violation: ${violation.kind}, ${violation.detail}`))
      },
      onError: (error) => {
        this.recorder.error(error)
        this.#giveUp(error)
      },
      ...(maxChainLength !== undefined && { maxChainLength }),
      ...(defer !== undefined && { defer }),
    })
    this.start()
  }

  /** Goes through the initialization that a driver does (VIRTIO 1.4, Device Initialization). The constructor does it already; for use after `reset`. */
  start(): void {
    const { control } = this
    const { size = defaultSize, features, packed = false } = this.#options
    const chosen = features === undefined ? this.device.offered : features instanceof FeatureSet ? features : FeatureSet.of(...features)
    const accepted = chosen.union(ringFeatureSet(this.#options))
    control.writeStatus(ACKNOWLEDGE | DRIVER)
    for (const word of words) control.setDriverFeatures(word, accepted.word(word))
    control.writeStatus(control.status | FEATURES_OK)
    if ((control.status & FEATURES_OK) === 0) throw new RangeError(`the device does not work with the features ${accepted}`)
    this.#drivers = this.device.queueSizes.map((most, index) => {
      const entries = negotiateQueueSize(most, size, { packed })
      const driver = fakeDriver(this.memory, { ...this.#options, size: entries, index, notify: () => control.notifyAvailable(index) })
      if (most > 0) this.#setUp(driver)
      return driver
    })
    control.writeStatus(control.status | DRIVER_OK)
  }

  /** The driver's side of a queue. */
  driver(queue = 0): FakeDriver {
    const driver = this.#drivers[queue]
    if (driver === undefined || driver.size === 0) throw new RangeError(`the device has no queue ${queue}`)
    return driver
  }

  /**
   * Makes a chain available and waits until the device has used it. For buffers of an event queue as well: they are used when there is something to tell.
   *
   * @returns a promise that is rejected when the device finds a violation or throws, breaks a rule itself, or is reset
   */
  request(spec: ChainSpec, queue = 0): Promise<UsedChain> {
    const driver = this.driver(queue)
    if (!this.#isServing) return Promise.reject(new Error(this.#whyNotServing))
    return new Promise((resolve, reject) => {
      this.#waiting.set(driver.put(spec), { driver, resolve, reject })
      driver.publish()
      // The driver may have asked for no notifications.
      this.#look(driver)
    })
  }

  /** DEVICE_NEEDS_RESET is set. */
  get needsReset(): boolean {
    return (this.control.status & DEVICE_NEEDS_RESET) !== 0
  }

  /** Resets the device; when it is over, `start` begins anew. */
  async reset(): Promise<void> {
    const over = this.control.reset()
    this.#giveUp(new Error('the device was reset'))
    await over
  }

  get #isServing(): boolean {
    return (this.control.status & (DRIVER_OK | DEVICE_NEEDS_RESET)) === DRIVER_OK
  }

  get #whyNotServing(): string {
    if (!this.needsReset) return 'the device was reset: start it again with start()'
    return 'the device needs a reset: recorder.violations or recorder.errors say why; reset() and start() begin anew'
  }

  #setUp({ setup }: FakeDriver): void {
    const { control } = this
    control.setQueueSize(setup.index, setup.size)
    for (const area of areas) {
      control.setQueueAddress(setup.index, area, 0, setup[area] % 2 ** 32)
      control.setQueueAddress(setup.index, area, 1, Math.floor(setup[area] / 2 ** 32))
    }
    control.setQueueReady(setup.index, true)
  }

  #notified(queue: number): void {
    this.recorder.notify(queue)
    this.#look(this.#drivers[queue]!)
  }

  /** Gives used chains to those who wait for them; what was offered without a wait stays with the driver. */
  #look(driver: FakeDriver): void {
    try {
      for (const [chain, waiting] of this.#waiting) {
        const used = waiting.driver === driver ? driver.usedOf(chain) : undefined
        if (used === undefined) continue
        this.#waiting.delete(chain)
        waiting.resolve(used)
      }
    } catch (error) {
      // The device did it, but it is not in a position to hear of it.
      this.recorder.error(error)
      this.#giveUp(error)
    }
  }

  #giveUp(error: unknown): void {
    for (const { reject } of this.#waiting.values()) reject(error)
    this.#waiting.clear()
  }
}
