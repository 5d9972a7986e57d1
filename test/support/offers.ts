/** The least that a driver says to a device: a buffer to write into, and what came back. */
import { chain, type FakeDriver, type TestQueue } from 'virtgen/testing'

/** Makes a device-writable buffer available; gives what the device uses it by. */
export function offer(driver: FakeDriver, at: number, length: number): number {
  return driver.offer(chain().writable(length, { at })).id
}

/** What the device has used since the last call, with the bytes that it says it wrote. */
export function usedBy(driver: FakeDriver): [id: number, written: number][] {
  return driver.drain().map(({ id, written }) => [id, written])
}

/** Makes device-writable buffers of 16 bytes available together, by these heads. */
export function offerHeads(driver: FakeDriver, ...heads: readonly number[]): void {
  // What came back may be given again.
  driver.drain()
  for (const head of heads) driver.put(chain().writable(16), { head })
  driver.publish()
}

/**
 * Lets a device queue serve chains of all lengths that the ring has, two at a time, so that what is tested then does not meet the queue as it was made: a queue
 * keeps room for segments from chain to chain, and reads chains that find room there in another way.
 */
export function warm({ driver, queue }: TestQueue, longest: number = driver.size): void {
  const at = driver.setup.descriptorArea
  const offerMany = (length: number): void => {
    if (length === 0) return
    const spec = chain()
    for (let i = 0; i < length; i++) spec.element({ writable: i === length - 1, length: 1, at })
    driver.offer(spec)
  }
  for (let length = Math.min(driver.size, longest); length > 0; length--) {
    for (const lengths of [
      [length, Math.min(driver.size - length, longest)],
      [Math.min(driver.size - length, longest), length],
    ]) {
      lengths.forEach(offerMany)
      for (const taken of [queue.next(), queue.next()].toReversed()) taken?.complete(0)
      driver.drain()
    }
  }
}
