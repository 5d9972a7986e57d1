/** The catalogues of chains: what a hostile driver makes is a violation of its kind, once; what only looks odd is taken. */
import { forgedChains, type QueueNeeds, type TestQueue, testQueue, unusualChains } from 'virtgen/testing'
import { describe, expect, it } from 'vitest'
import { warm } from './support/offers.ts'
import { queueStates } from './support/ring-formats.ts'

describe.each(queueStates)('a $state $format device queue', ({ format, packed, isWarm }) => {
  /** A position is for a queue that is new. */
  const make = (needs: QueueNeeds = {}): TestQueue => {
    const test = testQueue({ packed, ...needs })
    if (!isWarm || needs.position !== undefined) return test
    warm(test, typeof needs.maxChainLength === 'number' ? needs.maxChainLength : undefined)
    test.memory.settle()
    test.recorder.clear()
    return test
  }
  const forged = forgedChains.filter(({ violation }) => violation[format] !== undefined)

  it.each(forged)('finds $title', ({ forge, forgeLater, needs, before = 0, violation }) => {
    const { queue, driver, memory, recorder } = make(needs)
    forge(driver)
    for (let i = 0; i < before; i++) expect(queue.next()?.head).toBeDefined()
    forgeLater?.(driver)
    expect(queue.next()?.head).toBeUndefined()
    expect(recorder.violations).toMatchObject([{ kind: violation[format], queue: 0 }])
    expect(queue.broken).toBe(recorder.violations[0])
    expect(queue.next()?.head).toBeUndefined()
    expect(queue.enableNotifications()).toBe(false)
    expect([recorder.violations.length, recorder.notifications]).toEqual([1, 0])
    // Nothing is written but the words by which the device asks for notifications: the flags, or what is behind the used ring.
    const words = { split: [0, 4 + 8 * driver.size], packed: [0] }[format].map((offset) => driver.setup.deviceArea + offset)
    for (const { address, length } of memory.changes())
      expect([words.some((word) => word <= address && address < word + 4), length <= 4]).toEqual([true, true])
    memory.checkGuards()
    recorder.expectWritesCoverChanges(memory)
  })

  it.each(unusualChains.filter(({ formats }) => formats.includes(format)))('takes $title', ({ forge, needs, readable, writable }) => {
    const { queue, driver, memory, recorder } = make(needs)
    forge(driver)
    const chain = queue.next()
    expect(recorder.violations).toEqual([])
    expect([chain?.readable.length, chain?.writable.length]).toEqual([readable, writable])
    if (writable < 2 ** 20) chain!.writable.fill(0x55)
    chain!.complete()
    const [used] = driver.drain()
    expect(used?.bytes.every((byte) => byte === 0x55)).toBe(true)
    expect(used?.written).toBe(writable)
    memory.checkGuards()
    recorder.expectWritesCoverChanges(memory)
  })
})
