/** The least that a driver says to a device: a buffer to write into, and what came back. */
import { chain, type FakeDriver } from 'virtgen/testing'

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
