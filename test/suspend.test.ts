/** A device that stands still: suspended by its driver, or held by its transport. */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { SplitFakeDriver, TestMemory } from 'virtgen/testing'
import {
  ACKNOWLEDGE,
  DEVICE_NEEDS_RESET,
  DRIVER,
  DRIVER_OK,
  FAILED,
  FEATURES_OK,
  SUSPEND,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_RING_RESET,
  VIRTIO_F_SUSPEND,
  VIRTIO_F_VERSION_1,
} from 'virtgen/wire/content'
import { beforeEach, describe, expect, it } from 'vitest'
import type { Chain } from '../runtime/chain.ts'
import { DeviceControl } from '../runtime/device-control.ts'
import { createDeviceQueue } from '../runtime/device-queue.ts'
import { type ControlState, restoreDevice, saveDevice } from '../runtime/device-state.ts'
import { DummyDevice } from './support/dummy-device.ts'
import { offer, usedBy } from './support/offers.ts'

const running = ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK
const suspended = ACKNOWLEDGE | DRIVER | FEATURES_OK | SUSPEND
const features = FeatureSet.of(VIRTIO_F_VERSION_1, VIRTIO_F_SUSPEND, VIRTIO_F_RING_RESET)

/** A live device with one queue, whose chains are parked until a test completes them. */
class Machine {
  readonly bytes = new Uint8Array(0x4000)
  readonly memory = new TestMemory({ regions: [{ guestAddress: 0, size: this.bytes.length, source: this.bytes }] })
  readonly device = new DummyDevice([8])
  readonly parked: Chain[] = []
  readonly events: string[] = []
  readonly control: DeviceControl
  onConfigChanged: () => void = () => this.events.push('config')
  ring = new SplitFakeDriver(this.memory, { size: 8, index: 0 })

  constructor(more: readonly number[] = []) {
    this.device.onQueue = (index, host) => {
      const queue = host.queue(index)
      for (let chain = queue?.next(); chain; chain = queue?.next()) this.parked.push(chain)
    }
    this.control = new DeviceControl(this.device, {
      memory: this.memory,
      ringFeatures: features.with(...more),
      createQueue: createDeviceQueue,
      notify: (queue) => this.events.push(`used ${queue}`),
      configChanged: () => this.onConfigChanged(),
    })
  }

  start(chosen = features): this {
    const { control, ring } = this
    control.writeStatus(ACKNOWLEDGE | DRIVER)
    for (let word = 0; word < 4; word++) control.setDriverFeatures(word, chosen.word(word))
    control.writeStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK)
    for (const area of ['descriptorArea', 'driverArea', 'deviceArea'] as const) control.setQueueAddress(0, area, 0, ring.setup[area])
    control.setQueueReady(0, true)
    control.writeStatus(running)
    return this
  }

  /** Makes a buffer available and notifies. */
  kick(address = 0x2000): number {
    const head = offer(this.ring, address, 4)
    this.control.notifyAvailable(0)
    return head
  }
}

/** Promises that are ready get their turn. */
const settle = async (): Promise<void> => {
  for (let i = 0; i < 10; i++) await Promise.resolve()
}

let machine: Machine
beforeEach(() => {
  machine = new Machine().start()
})

describe('a driver that suspends the device', () => {
  it('sees it suspended at once where no buffer is in use', () => {
    machine.control.writeStatus(running | SUSPEND)
    expect(machine.control.status).toBe(suspended)
  })

  it('waits until the buffers that were taken are used, and is notified of them', async () => {
    const head = machine.kick()
    machine.control.writeStatus(running | SUSPEND)
    await settle()
    expect(machine.control.status).toBe(running)
    machine.parked[0]?.complete(0)
    await settle()
    expect([machine.control.status, usedBy(machine.ring), machine.events]).toEqual([suspended, [[head, 0]], ['used 0']])
  })

  it('waits also with VIRTIO_F_IN_ORDER, until the last one is used', async () => {
    machine = new Machine([VIRTIO_F_IN_ORDER]).start(features.with(VIRTIO_F_IN_ORDER))
    machine.kick()
    machine.kick()
    machine.control.writeStatus(running | SUSPEND)
    machine.parked[1]?.complete(0)
    await settle()
    expect(machine.control.status).toBe(running)
    machine.parked[0]?.complete(0)
    await settle()
    expect(machine.control.status).toBe(suspended)
  })

  it('finds no buffer taken meanwhile, and all of them served once it goes on', () => {
    machine.control.writeStatus(running | SUSPEND)
    const head = machine.kick()
    expect([machine.parked, machine.device.log.at(-1)]).toEqual([[], 'queue 0'])
    machine.control.writeStatus(suspended | DRIVER_OK)
    expect([machine.control.status, machine.parked.map((chain) => chain.head)]).toEqual([running, [head]])
  })

  it('gets no more buffers of a device that is in the middle of taking them', async () => {
    machine.device.onQueue = (index, host) => {
      const queue = host.queue(index)
      for (let chain = queue?.next(); chain; chain = queue?.next()) {
        machine.control.writeStatus(running | SUSPEND)
        machine.parked.push(chain)
      }
    }
    offer(machine.ring, 0x2000, 4)
    machine.kick()
    expect(machine.parked).toHaveLength(1)
    machine.parked[0]?.complete(0)
    await settle()
    expect(machine.control.status).toBe(suspended)
  })

  it('is told of a change of the configuration when it goes on, and can change nothing there meanwhile', () => {
    machine.control.writeStatus(running | SUSPEND)
    machine.control.writeConfig(4, 4, 99)
    machine.device.config.update((bare) => bare.$view.setUint8(0, 77))
    expect([machine.events, machine.control.readConfig(4, 4), machine.control.readConfig(0, 1)]).toEqual([[], 0x08070605, 77])
    machine.control.writeStatus(suspended | DRIVER_OK)
    expect(machine.events).toEqual(['config'])
    machine.control.writeStatus(running | SUSPEND)
    machine.control.writeStatus(suspended | DRIVER_OK)
    expect(machine.events).toEqual(['config'])
  })

  it('is not heard before DRIVER_OK, without the feature, after a failure, nor twice', async () => {
    const early = new Machine()
    early.control.writeStatus(ACKNOWLEDGE | SUSPEND)
    expect(early.control.status).toBe(ACKNOWLEDGE)
    const without = new Machine().start(features.without(VIRTIO_F_SUSPEND))
    without.control.writeStatus(running | SUSPEND)
    expect(without.control.status).toBe(running)
    machine.device.host?.fail({ kind: 'device-failed', queue: 0, detail: 'a test' })
    machine.control.writeStatus(running | SUSPEND)
    expect(machine.control.status).toBe(running | DEVICE_NEEDS_RESET)
    const twice = new Machine().start()
    twice.kick()
    twice.control.writeStatus(running | SUSPEND)
    twice.control.writeStatus(running | SUSPEND)
    twice.parked[0]?.complete(0)
    await settle()
    twice.control.writeStatus(suspended)
    expect(twice.control.status).toBe(suspended)
  })

  it('sees DEVICE_NEEDS_RESET instead where the device fails before it stands still', async () => {
    machine.kick()
    machine.control.writeStatus(running | SUSPEND)
    machine.device.host?.fail({ kind: 'device-failed', queue: 0, detail: 'a test' })
    machine.parked[0]?.complete(0)
    await settle()
    expect(machine.control.status).toBe(running | DEVICE_NEEDS_RESET)
  })

  it('is told with the resumption that the device has failed meanwhile', () => {
    machine.control.writeStatus(running | SUSPEND)
    machine.device.host?.fail({ kind: 'device-failed', queue: 0, detail: 'a test' })
    expect(machine.events).toEqual([])
    machine.control.writeStatus(suspended | DRIVER_OK)
    expect([machine.control.status, machine.events]).toEqual([running | DEVICE_NEEDS_RESET, ['config']])
  })

  it('can give up, reset one queue, or reset the device at any point', async () => {
    machine.kick()
    machine.control.writeStatus(running | SUSPEND)
    machine.control.resetQueue(0)
    await settle()
    expect([machine.control.status, machine.control.queueReady(0)]).toEqual([suspended, false])
    machine.control.writeStatus(FAILED)
    expect(machine.control.status).toBe(suspended | FAILED)
    machine.control.writeStatus(0)
    machine.ring = new SplitFakeDriver(machine.memory, { size: 8, index: 0 })
    machine.start().kick()
    expect([machine.control.status, machine.parked]).toHaveLength(2)
  })

  it('leaves nothing behind where it resets the device that waits for a buffer', async () => {
    machine.kick()
    machine.control.writeStatus(running | SUSPEND)
    machine.control.writeStatus(0)
    await settle()
    machine.ring = new SplitFakeDriver(machine.memory, { size: 8, index: 0 })
    machine.start().kick()
    await settle()
    expect([machine.control.status, machine.parked.length]).toEqual([running, 2])
  })

  it('is served when it goes on, also where the interrupt that tells of the change throws', () => {
    machine.control.writeStatus(running | SUSPEND)
    machine.device.config.update(() => {})
    machine.kick()
    machine.onConfigChanged = () => {
      throw new Error('interrupt')
    }
    expect(() => machine.control.writeStatus(suspended | DRIVER_OK)).toThrow('interrupt')
    expect([machine.control.status, machine.parked.length]).toEqual([running, 1])
  })

  it('is told of a change once it goes on for good, where it suspends the device anew at once', () => {
    machine.control.writeStatus(running | SUSPEND)
    machine.device.config.update(() => {})
    machine.kick()
    machine.device.onQueue = (index, host) => {
      host.queue(index)?.next()?.complete(0)
      machine.device.onQueue = () => {}
      machine.control.writeStatus(running | SUSPEND)
    }
    machine.control.writeStatus(suspended | DRIVER_OK)
    expect([machine.control.status, machine.events]).toEqual([suspended, ['used 0']])
    machine.control.writeStatus(suspended | DRIVER_OK)
    expect(machine.events).toEqual(['used 0', 'config'])
  })

  it('is told of no change of before its reset, also where the device is saved before that is over', async () => {
    const { control, device } = new Machine().start()
    control.writeStatus(running | SUSPEND)
    device.config.update(() => {})
    let settle = (): void => {}
    device.onReset = () =>
      new Promise((resolve) => {
        settle = resolve
      })
    control.writeStatus(0)
    const saved = JSON.stringify(saveDevice(control))
    settle()
    await control.reset()
    expect(saved).toBe(JSON.stringify(saveDevice(control)))
  })

  it('finds the device as it was after it was saved and restored, suspended or on the way there', async () => {
    const again = (from: Machine): Machine => {
      const to = new Machine()
      to.bytes.set(from.bytes)
      restoreDevice(to.control, JSON.parse(JSON.stringify(saveDevice(from.control))) as ControlState)
      return to
    }
    machine.kick()
    machine.control.writeStatus(running | SUSPEND)
    const waiting = again(machine)
    expect([waiting.control.status, waiting.parked.length]).toEqual([running, 1])
    waiting.parked[0]?.complete(0)
    await settle()
    expect(waiting.control.status).toBe(suspended)
    machine.parked[0]?.complete(0)
    await settle()
    machine.device.config.update(() => {})
    const still = again(machine)
    still.control.notifyAvailable(0)
    expect([still.control.status, still.parked, still.events]).toEqual([suspended, [], []])
    still.control.writeStatus(suspended | DRIVER_OK)
    expect([still.control.status, still.events]).toEqual([running, ['config']])
  })
})

describe('a transport that holds the device', () => {
  it('lets it take no buffers, and makes up for notifications when it goes on', () => {
    machine.control.hold(true)
    machine.kick()
    machine.kick()
    expect(machine.parked).toEqual([])
    machine.control.hold(false)
    expect(machine.parked).toHaveLength(2)
  })

  it('does so also for queues that are set up meanwhile', () => {
    const held = new Machine()
    held.control.hold(true)
    held.start().kick()
    expect(held.parked).toEqual([])
    held.control.hold(false)
    expect(held.parked).toHaveLength(1)
  })

  it('leaves a suspended device suspended', () => {
    machine.control.hold(true)
    machine.control.writeStatus(running | SUSPEND)
    machine.kick()
    machine.control.hold(false)
    expect([machine.control.status, machine.parked]).toEqual([suspended, []])
  })

  it('lets the buffers be used that were taken before', () => {
    const head = machine.kick()
    machine.control.hold(true)
    machine.parked[0]?.complete(0)
    expect(usedBy(machine.ring)).toEqual([[head, 0]])
  })
})
