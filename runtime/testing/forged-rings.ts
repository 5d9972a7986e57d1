/** What a hostile driver does to the ring itself. */
import { chain } from './chain.ts'
import type { FakeDriver } from './fake-driver.ts'
import type { ForgedChain } from './forged-chain.ts'
import { SplitFakeDriver } from './split-fake-driver.ts'

function onSplit(forge: (driver: SplitFakeDriver) => void): (driver: FakeDriver) => void {
  return (driver) => {
    if (!(driver instanceof SplitFakeDriver)) throw new TypeError('this forgery is one of a split ring')
    forge(driver)
  }
}

/** Goes on by `entries` of the available ring more than what was put there. */
function jump(entries: (size: number) => number): (driver: FakeDriver) => void {
  return onSplit((driver) => {
    driver.put(chain().readable(1))
    driver.jumpTo(driver.position.available - 1 + entries(driver.size))
  })
}

export const forgedSplitRings: readonly ForgedChain[] = [
  {
    title: 'a chain that begins outside of the table',
    violation: { split: 'descriptor-index' },
    forge: onSplit((driver) => driver.offerHeads(driver.size)),
  },
  {
    title: 'a chain that begins at descriptor 65535',
    violation: { split: 'descriptor-index' },
    forge: onSplit((driver) => driver.offerHeads(0xffff)),
  },
  { title: 'an available index that jumps over one entry too many', violation: { split: 'available-index' }, forge: jump((size) => size + 1) },
  { title: 'an available index that jumps by half of all', violation: { split: 'available-index' }, forge: jump(() => 0x8000) },
  { title: 'an available index that goes back', violation: { split: 'available-index' }, forge: jump(() => -1) },
  {
    title: 'a chain that the device has already',
    violation: { split: 'available-index' },
    before: 1,
    forge: onSplit((driver) => {
      const { id } = driver.offer(chain().readable(1))
      driver.offerHeads(id)
    }),
  },
]

export const forgedPackedRings: readonly ForgedChain[] = []
