/** One queue that is held, opened and closed by itself, as transports do that start rings one by one. */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { SplitFakeDriver, TestMemory } from 'virtgen/testing'
import { ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, VIRTIO_F_VERSION_1 } from 'virtgen/wire/content'
import { beforeEach, describe, expect, it } from 'vitest'
import type { Chain } from '../runtime/chain.ts'
import { DeviceControl } from '../runtime/device-control.ts'
import { createDeviceQueue } from '../runtime/device-queue.ts'
import type { QueueState } from '../runtime/queue.ts'
import { closeQueue, holdQueue, openQueue, queueDrained } from '../runtime/queue-control.ts'
import { DummyDevice } from './support/dummy-device.ts'
import { offer, usedBy } from './support/offers.ts'

const negotiated = ACKNOWLEDGE | DRIVER | FEATURES_OK

/** A live device with two queues, whose chains are parked until a test completes them. */
class Machine {
  readonly bytes = new Uint8Array(0x8000)
  readonly memory = new TestMemory({ regions: [{ guestAddress: 0, size: this.bytes.length, source: this.bytes }] })
  readonly parked: Chain[] = []
  readonly violations: string[] = []
  readonly rings = [0, 1].map((index) => new SplitFakeDriver(this.memory, { size: 8, index }))
  readonly control: DeviceControl
  states: (QueueState | undefined)[] = []

  constructor() {
    const device = new DummyDevice([8, 8])
    device.onQueue = (index, host) => {
      const queue = host.queue(index)
      for (let chain = queue?.next(); chain; chain = queue?.next()) this.parked.push(chain)
    }
    this.control = new DeviceControl(device, {
      memory: this.memory,
      ringFeatures: FeatureSet.of(VIRTIO_F_VERSION_1),
      createQueue: (memory, setup, options) => {
        const state = this.states[setup.index]
        return createDeviceQueue(memory, setup, { ...options, ...(state && { state }) })
      },
      notify: () => {},
      configChanged: () => {},
      onViolation: ({ kind }) => this.violations.push(kind),
    })
  }

  start(): this {
    const { control } = this
    control.writeStatus(ACKNOWLEDGE | DRIVER)
    control.setDriverFeatures(1, FeatureSet.of(VIRTIO_F_VERSION_1).word(1))
    control.writeStatus(negotiated)
    control.writeStatus(negotiated | DRIVER_OK)
    return this
  }

  open(index: number): void {
    openQueue(this.control, this.rings[index]!.setup)
  }

  kick(index: number): number {
    const head = offer(this.rings[index]!, 0x4000, 4)
    this.control.notifyAvailable(index)
    return head
  }
}

let machine: Machine

beforeEach(() => {
  machine = new Machine().start()
})

describe('a queue that is held', () => {
  it('gives nothing while the other one does, and makes up for notifications when it goes on', () => {
    machine.open(0)
    machine.open(1)
    holdQueue(machine.control, 0, true)
    const heads = [machine.kick(0), machine.kick(1)]
    expect(machine.parked.map((chain) => chain.head)).toEqual([heads[1]])
    holdQueue(machine.control, 0, false)
    expect(machine.parked).toHaveLength(2)
  })

  it('stays so when it is opened, when the transport holds the device and lets it go, and when the device is reset', () => {
    const { control } = machine
    holdQueue(control, 0, true)
    machine.open(0)
    machine.kick(0)
    control.hold(true)
    control.hold(false)
    expect(machine.parked).toEqual([])
    control.reset()
    machine.start().open(0)
    machine.kick(0)
    expect(machine.parked).toEqual([])
    holdQueue(control, 0, false)
    expect(machine.parked).toHaveLength(2)
  })

  it('does not go on while the transport holds the whole device', () => {
    machine.open(0)
    holdQueue(machine.control, 0, true)
    machine.control.hold(true)
    machine.kick(0)
    holdQueue(machine.control, 0, false)
    expect(machine.parked).toEqual([])
    machine.control.hold(false)
    expect(machine.parked).toHaveLength(1)
  })

  it('is nothing where there is no such queue', () => {
    expect(() => holdQueue(machine.control, 7, true)).not.toThrow()
    expect(queueDrained(machine.control, 7)).toBeUndefined()
    expect(closeQueue(machine.control, 7)).toEqual({ state: undefined, atRest: undefined })
  })
})

describe('a queue that is drained', () => {
  it('is so at once where no chain is out', () => {
    machine.open(0)
    expect(queueDrained(machine.control, 0)).toBeUndefined()
  })

  it('is so when the last chain is used', async () => {
    machine.open(0)
    const heads = [machine.kick(0), machine.kick(0)]
    holdQueue(machine.control, 0, true)
    let drained = false
    const wait = queueDrained(machine.control, 0)?.then(() => {
      drained = true
    })
    machine.parked[1]?.complete(4)
    await Promise.resolve()
    expect(drained).toBe(false)
    machine.parked[0]?.complete(4)
    await wait
    expect(usedBy(machine.rings[0]!)).toEqual([
      [heads[1], 4],
      [heads[0], 4],
    ])
  })

  it('waits, where it is broken, for the work on chains that cannot be used any more', async () => {
    machine.open(0)
    machine.kick(0)
    const view = machine.parked[0]!.writable.bytes(0)
    expect(view).toHaveLength(4)
    // More buffers than there are entries.
    new Uint16Array(machine.bytes.buffer)[machine.rings[0]!.setup.driverArea / 2 + 1]! += 100
    machine.control.notifyAvailable(0)
    expect(machine.violations).toEqual(['available-index'])
    let drained = false
    const wait = queueDrained(machine.control, 0)?.then(() => {
      drained = true
    })
    await new Promise((resolve) => setTimeout(resolve))
    expect([wait === undefined, drained]).toEqual([false, false])
    machine.parked[0]?.complete(4)
    await wait
    expect(usedBy(machine.rings[0]!)).toEqual([])
  })
})

describe('a queue that is closed', () => {
  it('gives its position, from which it goes on when it is opened again', () => {
    machine.open(0)
    machine.kick(0)
    machine.parked.pop()?.complete(0)
    const { state, atRest } = closeQueue(machine.control, 0)
    expect([state, atRest, machine.control.queueReady(0)]).toEqual([{ available: 1, used: 1, inFlight: [] }, undefined, false])
    const head = machine.kick(0)
    expect(machine.parked).toEqual([])
    machine.states = [state]
    machine.open(0)
    expect(machine.parked.map((chain) => chain.head)).toEqual([head])
  })

  it('is at rest when the work on its chains has ended, and ready until then', async () => {
    machine.open(0)
    machine.kick(0)
    machine.parked[0]?.writable.bytes(0)
    const { state, atRest } = closeQueue(machine.control, 0)
    expect(state?.inFlight).toHaveLength(1)
    expect(machine.control.queueReady(0)).toBe(true)
    machine.parked[0]?.complete(0)
    await atRest
    expect(machine.control.queueReady(0)).toBe(false)
  })

  it('cannot be opened twice', () => {
    machine.open(0)
    expect(() => machine.open(0)).toThrow('queue 0 is ready already')
  })
})
