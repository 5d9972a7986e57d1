/** The memory of test/support/weak allows what ECMA-262 does, and nothing else: the classic pairs of threads. */
import { describe, expect, it } from 'vitest'
import { type Side, WeakMemory } from './support/weak/memory.ts'

/** Runs a little program with each way to choose among up to 3 values, up to 8 times; gives what came out. */
function outcomes(program: (memory: WeakMemory) => string): string[] {
  const found = new Set<string>()
  for (let choices = 0; choices < 3 ** 8; choices++) {
    let left = choices
    const choose = (count: number) => {
      const choice = left % 3
      left = (left - choice) / 3
      return choice % count
    }
    found.add(program(new WeakMemory(16, { choose, before: () => {} })))
  }
  return [...found].sort()
}

const x = 0
const y = 4

function store(memory: WeakMemory, side: Side, at: number, value: number, { atomic = false, size = 2 } = {}): void {
  memory.store(
    side,
    at,
    Uint8Array.from({ length: size }, () => value),
    atomic,
    false,
  )
}

/** The bytes as digits: 11 is a whole 1 of two bytes. */
function load(memory: WeakMemory, side: Side, at: number, { atomic = false, size = 2 } = {}): string {
  return memory.load(side, at, size, atomic, false).join('')
}

describe('message passing: one side stores x and then y, the other loads y and then x', () => {
  const pass = (storeAtomic: boolean, loadAtomic: boolean) =>
    outcomes((memory) => {
      store(memory, 0, x, 1)
      store(memory, 0, y, 1, { atomic: storeAtomic })
      return `y ${load(memory, 1, y, { atomic: loadAtomic })} x ${load(memory, 1, x)}`
    })

  it('who loads the new y with Atomics finds the new x, where it was stored with Atomics', () => {
    expect(pass(true, true)).toEqual(['y 11 x 11'])
  })
  it.each([
    ['store', false, true],
    ['load', true, false],
  ])('with a plain %s of y the old x may come with the new y', (_, storeAtomic, loadAtomic) => {
    expect(pass(storeAtomic, loadAtomic)).toContain('y 11 x 00')
  })
})

describe('store buffering: each side stores its word and loads that of the other', () => {
  const buffer = (atomic: boolean) =>
    outcomes((memory) => {
      store(memory, 0, x, 1, { atomic })
      store(memory, 1, y, 1, { atomic })
      return `${load(memory, 0, y, { atomic })} ${load(memory, 1, x, { atomic })}`
    })

  it('with Atomics at least one sees the other', () => {
    expect(buffer(true)).toEqual(['11 11'])
  })
  it('plainly both may miss', () => {
    expect(buffer(false)).toContain('00 00')
  })
})

describe('Atomics of unequal size', () => {
  it('order nothing', () => {
    const found = outcomes((memory) => {
      store(memory, 0, x, 1)
      store(memory, 0, y, 1, { atomic: true, size: 2 })
      return `y ${load(memory, 1, y, { atomic: true, size: 4 })} x ${load(memory, 1, x)}`
    })
    expect(found).toContain('y 1100 x 00')
  })
  it('may tear', () => {
    const found = outcomes((memory) => {
      store(memory, 0, y, 1, { atomic: true, size: 4 })
      store(memory, 1, y, 2, { atomic: true, size: 2 })
      return load(memory, 0, y, { atomic: true, size: 4 })
    })
    expect(found).toContain('2211')
    expect(found).toContain('1111')
  })
})

describe('two plain stores of the same bytes', () => {
  it('do not mix: one of them wins', () => {
    const found = outcomes((memory) => {
      store(memory, 0, x, 1)
      store(memory, 0, x, 2)
      return load(memory, 1, x)
    })
    expect(found).toContain('11')
    expect(found).toContain('22')
    expect(found).not.toContain('12')
    expect(found).not.toContain('21')
  })
})

describe('races', () => {
  const racesOf = (...steps: ((memory: WeakMemory) => void)[]): number => {
    const memory = new WeakMemory(16, { choose: () => 0, before: () => {} })
    for (const step of steps) step(memory)
    return memory.races.size
  }
  const stores =
    (side: Side, at: number, atomic = false) =>
    (memory: WeakMemory) =>
      store(memory, side, at, 1, { atomic })
  const loads =
    (side: Side, at: number, atomic = false) =>
    (memory: WeakMemory) =>
      load(memory, side, at, { atomic })

  it('are plain accesses that no Atomics order', () => {
    expect(racesOf(stores(0, x), loads(1, x))).toBe(1)
    expect(racesOf(loads(0, x), stores(1, x))).toBe(1)
    expect(racesOf(stores(0, x), stores(1, x))).toBe(1)
  })
  it('are not those that Atomics order', () => {
    expect(racesOf(loads(0, x), stores(0, x + 2), stores(0, y, true), loads(1, y, true), stores(1, x), loads(1, x + 2))).toBe(0)
  })
})
