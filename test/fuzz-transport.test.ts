/** A short run of the fuzzer of transports, and that it finds what it is for. `npm run fuzz` runs longer. */
import { describe, expect, it } from 'vitest'
import { FailedExecution } from '../fuzz/target.ts'
import { DriverTarget } from '../fuzz/transport/driver-target.ts'
import type { MakeSubject, Subject, Window } from '../fuzz/transport/subject.ts'
import { TransportTarget, transports } from '../fuzz/transport/transport-target.ts'

const executions = 120
const names = Object.keys(transports)

describe.each(names)('fuzzing a device behind %s', (name) => {
  const make = transports[name]!

  it('finds nothing in a few executions from any seed, in which devices are started, used and restored', async () => {
    const target = new TransportTarget(name, make)
    const kinds = new Set<string>()
    const sums: Record<string, number> = {}
    const from = (Math.random() * 2 ** 31) >>> 0
    for (let seed = from; seed < from + executions; seed++) {
      const { violation, counts = {} } = await target.run(seed)
      kinds.add(violation?.kind ?? 'none')
      for (const [name, count] of Object.entries(counts)) sums[name] = (sums[name] ?? 0) + count
    }
    for (const count of ['accesses', 'starts', 'requests', 'interrupts', 'restores']) expect(sums[count]).toBeGreaterThan(executions / 4)
    expect(kinds.size).toBeGreaterThan(3)
  })

  it('shows the same for the same seed', async () => {
    const traces = async (): Promise<number[]> => {
      const target = new TransportTarget(name, make)
      const results: number[] = []
      for (let seed = 0; seed < 25; seed++) results.push((await target.run(seed)).trace)
      return results
    }
    const first = await traces()
    expect(await traces()).toEqual(first)
    expect(new Set(first).size).toBe(25)
  })
})

describe('fuzzing drivers over registers that read anything', () => {
  it('finds nothing in a few executions from any seed, in which some connect and others are refused in many ways', async () => {
    const target = new DriverTarget()
    const sums: Record<string, number> = {}
    const from = (Math.random() * 2 ** 31) >>> 0
    for (let seed = from; seed < from + 600; seed++)
      for (const [name, count] of Object.entries((await target.run(seed)).counts ?? {})) sums[name] = (sums[name] ?? 0) + count
    expect(sums.connections).toBeGreaterThan(100)
    expect(Object.keys(sums).length).toBeGreaterThan(8)
  })

  it('shows the same for the same seed', async () => {
    const traces = async (): Promise<number[]> => {
      const target = new DriverTarget()
      const results: number[] = []
      for (let seed = 0; seed < 100; seed++) results.push((await target.run(seed)).trace)
      return results
    }
    expect(await traces()).toEqual(await traces())
  })
})

/** A transport with some members replaced. */
const changed =
  (change: (subject: Subject, ...of: Parameters<MakeSubject>) => Partial<Subject>): MakeSubject =>
  (device, settings) => {
    const subject = transports.mmio!(device, settings)
    const others = change(subject, device, settings)
    return new Proxy(subject, {
      get: (target, member) => {
        if (Object.hasOwn(others, member)) return (others as Record<PropertyKey, unknown>)[member]
        const value = Reflect.get(target, member, target)
        return typeof value === 'function' ? value.bind(target) : value
      },
      set: (target, member, value) => Reflect.set(target, member, value, target),
    })
  }

const changedWindow = (change: (window: Window, ...of: Parameters<MakeSubject>) => Partial<Window>): MakeSubject =>
  changed((subject, ...of) => ({ windows: subject.windows.map((window) => ({ ...window, ...change(window, ...of) })) }))

/** Transports with one fault each. */
const faults: Readonly<Record<string, MakeSubject>> = {
  'throws at an odd offset': changedWindow(({ read }) => ({
    read: (offset, width) => {
      if (offset === 2 ** 53) throw new RangeError('there is no such register')
      return read(offset, width)
    },
  })),
  'reads a signed number': changedWindow(({ read }) => ({ read: (offset, width) => read(offset, width) | 0 })),
  'reads what is wider than what was asked for': changedWindow(({ read }) => ({ read: (offset, width) => read(offset, width === 2 ? 4 : width) })),
  'has a register that a reset does not clear': changedWindow(({ read, write }) => {
    let kept = 0
    return {
      read: (offset, width) => (offset === 0x1fc && width === 4 ? kept : read(offset, width)),
      write: (offset, width, value) => {
        if (offset === 0x14) kept = value >>> 0
        write(offset, width, value)
      },
    }
  }),
  'hears no more than five notifications': changed((subject) => {
    let count = 0
    return {
      notify: (index, value) => {
        if (++count < 6) subject.notify(index, value)
      },
    }
  }),
  'interrupts without end': changedWindow(({ write }, _, { interrupted }) => ({
    write: (offset, width, value) => {
      for (let i = 0; i < 100_000 && offset === 0x64; i++) interrupted(1)
      write(offset, width, value)
    },
  })),
  'looks through all of memory': changedWindow(({ write }, _, { memory }) => ({
    write: (offset, width, value) => {
      for (let at = 0; at < 1e7 && offset === 0x24; at++) memory.resolve(at, 1)
      write(offset, width, value)
    },
  })),
  'writes outside of the regions': changedWindow(({ write }, _, { memory }) => ({
    write: (offset, width, value) => {
      const { u8 } = memory.regions[0]!
      if (offset === 0x80) new Uint8Array(u8.buffer)[u8.byteOffset - 1]! ^= 1
      write(offset, width, value)
    },
  })),
  'makes promises that nobody hears of': changedWindow(({ write }) => ({
    write: (offset, width, value) => {
      if (offset === 0x100) void Promise.reject(new Error('nobody listens'))
      write(offset, width, value)
    },
  })),
  'does not save what is in flight': changed((subject) => ({
    save: () => JSON.parse(JSON.stringify(subject.save(), (name, value) => (name === 'inFlight' ? value.slice(1) : value))),
  })),
  'does not restore its registers': changed((subject) => ({
    restore: (state) => subject.restore({ ...(state as object), interruptStatus: 0 }),
  })),
  'tells a driver that keeps the rules of a violation': changed((subject, _, { onViolation }) => ({
    acknowledge: () => {
      onViolation?.({ kind: 'queue-size', queue: 0, detail: 'nothing is wrong' })
      return subject.acknowledge()
    },
  })),
  'reports what nobody did': changed((subject, _, { onError }) => ({
    acknowledge: () => {
      onError?.(new TypeError('undefined is not a function'))
      return subject.acknowledge()
    },
  })),
}

describe('the fuzzer of transports notices', () => {
  it.each(Object.entries(faults))('one that %s', async (_, make) => {
    const target = new TransportTarget('mmio', make)
    const run = async (): Promise<void> => {
      for (let seed = 0; seed < 400; seed++) await target.run(seed)
    }
    await expect(run()).rejects.toThrow(FailedExecution)
  })
})
