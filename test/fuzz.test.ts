/** A short run of the fuzzer, and that it finds what it is for. `npm run fuzz` runs longer. */

import { describe, expect, it } from 'vitest'
import { runCampaign } from '../fuzz/campaign.ts'
import type { MakeDeviceQueue } from '../fuzz/device-execution.ts'
import { Executions, FailedExecution } from '../fuzz/executions.ts'
import { createDeviceQueue } from '../runtime/device-queue.ts'

const formats = ['split'] as const
const subjects = { device: createDeviceQueue }

describe.each(formats)('fuzzing a %s virtqueue', (format) => {
  it('finds nothing in some seconds, with violations of most kinds', () => {
    const { executions, violations } = runCampaign(subjects, { seconds: 3, seed: (Math.random() * 2 ** 32) >>> 0, format })
    expect(executions).toBeGreaterThan(500)
    expect(Object.keys(violations).length).toBeGreaterThan(8)
  })

  it('shows the same for the same seed', () => {
    const seed = formats.indexOf(format)
    for (let i = 0; i < 50; i++) expect(new Executions(subjects).run(seed + 2 * i)).toEqual(new Executions(subjects).run(seed + 2 * i))
  })
})

/** Device queues with one fault each. */
const faults: Readonly<Record<string, MakeDeviceQueue>> = {
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
  'sees more indirect tables than were negotiated': (memory, setup, options) => createDeviceQueue(memory, setup, { ...options, indirect: true }),
  'writes outside of the regions': changed((queue, memory) => ({
    next: () => {
      const { u8 } = memory.regions[0]!
      new Uint8Array(u8.buffer)[u8.byteOffset - 1]! ^= 1
      return queue.next()
    },
  })),
  'writes where no chain is': changed((queue, memory) => ({
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
  'forgets a chain': changed((queue) => ({ next: () => (queue.next() === undefined ? undefined : queue.next()) })),
  'delivers a chain twice': changed((queue) => {
    let last = queue.next()
    const next = () => {
      last ??= queue.next()
      return last
    }
    return { next }
  }),
  'hides what is available': changed((queue) => ({ enableNotifications: () => !queue.enableNotifications() })),
  'saves a wrong position': changed((queue) => ({ save: () => ({ ...queue.save(), available: (queue.save().available + 1) & 0xffff }) })),
}

function changed(
  change: (queue: ReturnType<MakeDeviceQueue>, memory: Parameters<MakeDeviceQueue>[0]) => Partial<ReturnType<MakeDeviceQueue>>,
): MakeDeviceQueue {
  return (memory, setup, options) => {
    const queue = createDeviceQueue(memory, setup, options)
    const other = change(queue, memory) as Record<PropertyKey, unknown>
    return new Proxy(queue, {
      get: (target, name) => {
        if (Object.hasOwn(other, name)) return other[name]
        const value = Reflect.get(target, name, target)
        return typeof value === 'function' ? value.bind(target) : value
      },
    })
  }
}

describe('the fuzzer notices a device queue that', () => {
  it.each(Object.entries(faults))('%s', (_, device) => {
    const executions = new Executions({ device })
    expect(() => {
      for (let seed = 0; seed < 4000; seed += 2) executions.run(seed)
    }).toThrow(FailedExecution)
  })
})
