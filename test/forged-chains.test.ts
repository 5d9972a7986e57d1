/** The catalogue of forged chains and rings: each is a violation of its kind, once; no exception, no loop, no touch outside of the queue's own words. */
import { forgedChains, testQueue } from 'virtgen/testing'
import { describe, expect, it } from 'vitest'

describe.each(['split'] as const)('a %s device queue', (format) => {
  const applying = forgedChains.filter(({ violation }) => violation[format] !== undefined)

  it.each(applying)('finds $title', ({ forge, needs, before = 0, violation }) => {
    const { queue, driver, memory, recorder } = testQueue({ ...needs })
    forge(driver)
    for (let i = 0; i < before; i++) expect(queue.next()).toBeDefined()
    expect(queue.next()).toBeUndefined()
    expect(recorder.violations).toMatchObject([{ kind: violation[format], queue: 0 }])
    expect(queue.broken).toBe(recorder.violations[0])
    expect(queue.next()).toBeUndefined()
    expect(queue.enableNotifications()).toBe(false)
    expect([recorder.violations.length, recorder.notifications]).toEqual([1, 0])
    // Nothing but the words by which the device asks for notifications.
    const { deviceArea } = driver.setup
    const others = memory.changes().filter(({ address, length }) => address < deviceArea || address + length > deviceArea + 4 + 8 * driver.size + 2)
    expect(others).toEqual([])
    memory.checkGuards()
    recorder.expectWritesCoverChanges(memory)
  })
})
