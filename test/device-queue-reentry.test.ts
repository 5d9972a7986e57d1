/** Who is told of writes, notifications and room may call the queue at once: anything, at any depth, and also let memory be replaced. */
import fc from 'fast-check'
import { type Chain, createDeviceQueue, type DeviceQueue, type Violation } from 'virtgen/runtime'
import { chain, type FakeDriver, fakeDriver, type OfferedChain, TestMemory, type UsedChain } from 'virtgen/testing'
import { describe, expect, it } from 'vitest'
import { checkQueueState } from '../runtime/queue-state.ts'
import { ringFormats } from './support/ring-formats.ts'

const mostDepth = 4
const mostCorks = 2

interface Features {
  readonly packed: boolean
  readonly inOrder: boolean
  readonly eventIndex: boolean
}

/** A queue whose callbacks take the next of some given numbers as what to do, and as whether to do more. */
class Machine {
  readonly #features: Features
  readonly #size: number
  readonly #choices: Iterator<number>
  readonly #memory = new TestMemory()
  readonly #driver: FakeDriver
  readonly violations: Violation[] = []
  readonly used: UsedChain[] = []
  readonly offered = new Map<OfferedChain, number>()
  readonly #out: { readonly taken: Chain; readonly id: number }[] = []
  #queue: DeviceQueue
  #depth = 0
  #corks = 0

  constructor(features: Features, size: number, choices: readonly number[]) {
    this.#features = features
    this.#size = size
    this.#choices = choices.values()
    this.#driver = fakeDriver(this.#memory, { size, ...features })
    this.#queue = createDeviceQueue(this.#memory, this.#driver.setup, {
      ...features,
      notify: () => this.#enter(),
      fail: (violation) => this.violations.push(violation),
      resume: () => this.#enter(),
    })
    if (this.#choice() % 3 > 0) this.#memory.onWrite = () => this.#enter()
  }

  /** 0 where none is left. */
  #choice(): number {
    return this.#choices.next().value ?? 0
  }

  #enter(): void {
    if (this.#depth === mostDepth) return
    this.#depth++
    while (this.#choice() % 2 === 1) this.#act(this.#choice())
    this.#depth--
  }

  run(): void {
    for (let choice = this.#choice(); choice !== 0; choice = this.#choice()) this.#act(choice)
    this.#memory.onWrite = undefined
    while (this.#corks > 0) this.#uncork()
    for (let rounds = 0; rounds < 2 * this.#size + 2; rounds++) {
      while (this.#next());
      while (this.#out.length > 0) this.#complete(0)
      this.#drain()
    }
  }

  #act(choice: number): void {
    const queue = this.#queue
    const more = choice >>> 4
    switch (choice & 15) {
      case 1:
      case 2:
      case 3:
        this.#offer(more)
        break
      case 4:
      case 5:
      case 6:
        this.#next()
        break
      case 7:
      case 8:
      case 9:
        if (this.#out.length > 0) this.#complete(more % this.#out.length)
        break
      case 10:
        this.#putBack()
        break
      case 11:
        if (this.#corks === mostCorks) break
        this.#corks++
        queue.cork(more % 2 === 0)
        break
      case 12:
        if (this.#corks > 0) this.#uncork()
        break
      case 13:
        if (more % 2 === 0) queue.disableNotifications()
        else queue.enableNotifications()
        break
      case 14:
        this.#move()
        queue.inspect()
        break
      default:
        this.#save()
    }
  }

  #offer(more: number): void {
    const pieces = more % 3
    if (this.#driver.free < pieces + 1) this.#drain()
    if (this.#driver.free < pieces + 1) return
    const id = this.offered.size
    const spec = chain().readable([id & 0xff, id >>> 8])
    for (let i = 0; i < pieces; i++) spec.writable(5)
    this.offered.set(this.#driver.put(spec), id)
    this.#driver.publish()
  }

  #next(): boolean {
    const taken = this.#queue.next()
    if (taken === undefined) return false
    expect(this.#out.some((other) => other.taken === taken)).toBe(false)
    const bytes = new Uint8Array(2)
    taken.readable.copyTo(bytes)
    this.#out.push({ taken, id: bytes[0]! | (bytes[1]! << 8) })
    return true
  }

  #complete(index: number): void {
    const { taken, id } = this.#out.splice(index, 1)[0]!
    if (id % 2 === 0) taken.writable.fill(id & 0xff)
    else for (let i = 0; i < taken.writable.segments; i++) taken.writable.bytes(i).fill(id & 0xff)
    taken.complete()
  }

  #putBack(): void {
    const last = this.#out.pop()
    if (last === undefined) return
    try {
      this.#queue.putBack(last.taken)
    } catch (error) {
      // With VIRTIO_F_IN_ORDER a later one may be complete, and wait.
      expect(error).toMatchObject({ message: expect.stringContaining('taken last') })
      this.#out.push(last)
    }
  }

  /** The guest's memory is in another place of the host now. */
  #move(): void {
    this.#memory.replace(this.#memory.regions.map(({ guestAddress, size, u8 }) => ({ guestAddress, size, source: u8.slice() })))
  }

  #uncork(): void {
    this.#corks--
    this.#queue.uncork()
  }

  /** Between two accesses of the driver, when the device is done: a state that can be restored. */
  #save(): void {
    if (this.#depth > 0 || this.#corks > 0) return
    const state = this.#queue.save()
    if (this.#corks === 0) checkQueueState(JSON.parse(JSON.stringify(state)), this.#size, this.#features, 'state')
  }

  #drain(): void {
    this.used.push(...this.#driver.drain())
  }
}

describe.each(ringFormats)('a $format device queue', ({ packed }) => {
  it.each([false, true])('uses each chain once, with its bytes, whatever its callbacks do, with VIRTIO_F_IN_ORDER: %s', (inOrder) => {
    const choices = fc.array(fc.integer({ min: 1, max: 0xffff }), { minLength: 20, maxLength: 400, size: 'max' })
    fc.assert(
      fc.property(fc.nat(3), fc.boolean(), choices, (power, eventIndex, numbers) => {
        const machine = new Machine({ packed, inOrder, eventIndex }, 2 ** power, numbers)
        machine.run()
        expect(machine.violations).toEqual([])
        const ids = machine.used.map((each) => machine.offered.get(each.chain)!)
        expect(inOrder ? ids : ids.toSorted((a, b) => a - b)).toEqual([...machine.offered.values()])
        for (const [i, { bytes, writable }] of machine.used.entries()) expect(bytes).toEqual(new Uint8Array(writable.length).fill(ids[i]!))
      }),
      { numRuns: 300 },
    )
  })
})
