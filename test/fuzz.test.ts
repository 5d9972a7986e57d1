/** A short run of the fuzzer, and that it finds what it is for. `npm run fuzz` runs longer. */
import { describe, expect, it } from 'vitest'
import type { Arena } from '../fuzz/arena.ts'
import { makeArenas } from '../fuzz/arenas.ts'
import { type CampaignOptions, runCampaign, type TargetSummary } from '../fuzz/campaign.ts'
import type { MakeDeviceQueue } from '../fuzz/device-execution.ts'
import type { MakeDriverQueue } from '../fuzz/driver-execution.ts'
import { Executions, formatOf, sideOf } from '../fuzz/executions.ts'
import { QueueTarget } from '../fuzz/queue-target.ts'
import { Racer } from '../fuzz/racer.ts'
import { FailedExecution, type Target } from '../fuzz/target.ts'
import { createDeviceQueue } from '../runtime/device-queue.ts'
import { createDriverQueue } from '../runtime/driver-queue.ts'

const subjects = { device: createDeviceQueue, driver: createDriverQueue } satisfies { device: MakeDeviceQueue; driver: MakeDriverQueue }
/** Violations that are found in a few seconds, at least. */
const kinds = { device: 8, driver: 3 }

const anySeed = (): number => (Math.random() * 2 ** 32) >>> 0

async function campaign(target: Target, options: Partial<CampaignOptions> = {}): Promise<TargetSummary> {
  const { targets } = await runCampaign([target], { seconds: 2, seed: anySeed(), ...options })
  return targets[0]!
}

describe.each(['split', 'packed'] as const)('fuzzing a %s virtqueue', (format) => {
  it.each(['device', 'driver'] as const)('finds nothing on the side of the %s in some seconds, with violations of many kinds', async (side) => {
    const { executions, counts, violations } = await campaign(new QueueTarget(subjects, { format, side }))
    expect(executions).toBeGreaterThan(200)
    expect(counts.races).toBeGreaterThan(2)
    expect(Object.keys(violations).length).toBeGreaterThan(kinds[side])
  })
})

it('a race is one: the other thread writes while a queue works', () => {
  const arenas = makeArenas('shared')
  const [arena] = arenas as [Arena]
  const racer = new Racer(arenas)
  const words = new Uint16Array(arena.buffer)
  const seen = new Set<number>()
  for (const seed of [1, 2]) {
    racer.during(arena, [{ place: 200, first: 7, second: 8 }], seed, () => {
      seen.clear()
      const end = performance.now() + 10_000
      while (!(seen.has(7) && seen.has(8)) && performance.now() < end) seen.add(Atomics.load(words, 200))
    })
    expect(seen.has(7) && seen.has(8)).toBe(true)
    words[200] = 9
    for (let i = 0; i < 1e6; i++) if (Atomics.load(words, 200) !== 9) throw new Error('the thread writes though the race is over')
  }
  racer.close()
})

it('an execution shows the same for the same seed', () => {
  const traces = Array.from({ length: 100 }, (_, seed) => new Executions(subjects).run(seed))
  expect(Array.from({ length: 100 }, (_, seed) => new Executions(subjects).run(seed))).toEqual(traces)
  expect(new Set(traces.map(({ trace }) => trace)).size).toBeGreaterThan(50)
})

/** A queue some members of which are others. */
function changed<T extends object>(queue: T, others: Partial<T>): T {
  return new Proxy(queue, {
    get: (target, name) => {
      if (Object.hasOwn(others, name)) return (others as Record<PropertyKey, unknown>)[name]
      const value = Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

const changedDevice =
  (change: (queue: ReturnType<MakeDeviceQueue>, memory: Parameters<MakeDeviceQueue>[0]) => Partial<ReturnType<MakeDeviceQueue>>): MakeDeviceQueue =>
  (memory, setup, options) => {
    const queue = createDeviceQueue(memory, setup, options)
    return changed(queue, change(queue, memory))
  }

/** Device queues with one fault each. */
const deviceFaults: Readonly<Record<string, MakeDeviceQueue>> = {
  'throws where the driver is wrong': (memory, setup, options) =>
    createDeviceQueue(memory, setup, {
      ...options,
      fail: (violation) => {
        options.fail(violation)
        throw new Error('the ring is broken')
      },
    }),
  'reports what has no type': (memory, setup, options) =>
    createDeviceQueue(memory, setup, { ...options, fail: (violation) => options.fail({ ...violation, detail: `descriptor ${undefined}` }) }),
  'reports twice': (memory, setup, options) =>
    createDeviceQueue(memory, setup, {
      ...options,
      fail: (violation) => {
        options.fail(violation)
        options.fail(violation)
      },
    }),
  'tells nobody of what is used': (memory, setup, options) => createDeviceQueue(memory, setup, { ...options, notify: () => {} }),
  'sees indirect tables that were not negotiated': (memory, setup, options) => createDeviceQueue(memory, setup, { ...options, indirect: true }),
  'does not keep the order': (memory, setup, options) => createDeviceQueue(memory, setup, { ...options, inOrder: false }),
  'takes longer chains': (memory, setup, options) => createDeviceQueue(memory, setup, { ...options, maxChainLength: 65536 }),
  'writes outside of the regions': changedDevice((queue, memory) => ({
    next: () => {
      const { u8 } = memory.regions[0]!
      new Uint8Array(u8.buffer)[u8.byteOffset - 1]! ^= 1
      return queue.next()
    },
  })),
  'writes where no chain is': changedDevice((queue, memory) => ({
    next: () => {
      memory.regions[0]!.u8[0]! ^= 1
      return queue.next()
    },
  })),
  'reads outside of the regions': (memory, setup, options) => {
    const { u8 } = memory.regions[0]!
    const outside = new Uint8Array(u8.buffer)[u8.byteOffset - 1]!
    return createDeviceQueue(memory, setup, { ...options, fail: (violation) => options.fail({ ...violation, detail: `found ${outside}` }) })
  },
  'forgets a chain': changedDevice((queue) => ({ next: () => (queue.next() === undefined ? undefined : queue.next()) })),
  'delivers a chain twice': changedDevice((queue) => {
    let last = queue.next()
    const next = () => {
      last ??= queue.next()
      return last
    }
    return { next }
  }),
  'hides what is available': changedDevice((queue) => ({ enableNotifications: () => !queue.enableNotifications() })),
  'saves a chain too few': changedDevice((queue) => ({
    save: () => {
      const state = queue.save()
      return { ...state, inFlight: state.inFlight.slice(1) }
    },
  })),
}

const changedDriver =
  (change: (queue: ReturnType<MakeDriverQueue>, memory: Parameters<MakeDriverQueue>[0]) => Partial<ReturnType<MakeDriverQueue>>): MakeDriverQueue =>
  (memory, setup, options) => {
    const queue = createDriverQueue(memory, setup, options)
    return changed(queue, change(queue, memory))
  }

/** Driver queues with one fault each. */
const driverFaults: Readonly<Record<string, MakeDriverQueue>> = {
  'believes any length': changedDriver((queue) => ({
    get written() {
      return queue.written + 1
    },
  })),
  'throws where the device is wrong': (memory, setup, options) =>
    createDriverQueue(memory, setup, {
      ...options,
      fail: (violation) => {
        throw new Error(violation.detail)
      },
    }),
  'tells nobody of what is available': (memory, setup, options) => createDriverQueue(memory, setup, { ...options, notify: () => {} }),
  'tells of everything': (memory, setup, options) => {
    const queue = createDriverQueue(memory, setup, options)
    return changed(queue, {
      publish: () => {
        queue.publish()
        options.notify()
      },
    })
  },
  'gives a buffer twice': changedDriver((queue) => {
    let last = queue.completed()
    const completed = () => {
      last = queue.completed() ?? last
      return last
    }
    return { completed }
  }),
  'loses a buffer in the end': changedDriver((queue) => ({ detach: () => (queue.detach() === undefined ? undefined : queue.detach()) })),
  'puts buffers elsewhere': changedDriver((queue) => ({
    append: (address: number, length: number, writable: boolean) => queue.append(address + 1, length, writable),
  })),
  'writes into the part of the device': changedDriver((queue, memory) => ({
    publish: () => {
      queue.publish()
      memory.regions.at(-1)!.u8[0]! ^= 1
    },
  })),
}

describe('the fuzzer notices', () => {
  const run = (side: string, faulty: Partial<typeof subjects>): void => {
    const executions = new Executions({ ...subjects, ...faulty })
    for (let seed = 0; seed < 8000; seed++) if (sideOf(seed) === side) executions.run(seed)
  }

  it.each(Object.entries(deviceFaults))('a device queue that %s', (_, device) => {
    expect(() => run('device', { device })).toThrow(FailedExecution)
  })

  it.each(Object.entries(driverFaults))('a driver queue that %s', (_, driver) => {
    expect(() => run('driver', { driver: driver as typeof subjects.driver })).toThrow(FailedExecution)
  })

  it('each of the formats and sides among its seeds', () => {
    expect(new Set([0, 1, 2, 3].map((seed) => `${formatOf(seed)} ${sideOf(seed)}`)).size).toBe(4)
  })
})
