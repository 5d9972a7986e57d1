/** What a hostile driver does to the ring itself. */

import { VIRTQ_DESC_F_AVAIL, VIRTQ_DESC_F_NEXT, VIRTQ_DESC_F_USED } from 'virtgen/wire/packed-ring'
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

const NEXT = VIRTQ_DESC_F_NEXT
const USED_AND_AVAIL = VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED

/** The flags by which a descriptor would be available in the other round of the ring. */
function otherRound(driver: FakeDriver): { set: number; clear: number } {
  const wrap = driver.position.available >> 15
  return wrap === 1 ? { set: VIRTQ_DESC_F_USED, clear: VIRTQ_DESC_F_AVAIL } : { set: VIRTQ_DESC_F_AVAIL, clear: VIRTQ_DESC_F_USED }
}

export const forgedPackedRings: readonly ForgedChain[] = [
  {
    title: 'a list that goes on in a descriptor that was never written',
    violation: { packed: 'descriptor-flags' },
    forge: (driver) => driver.offer(chain().readable(1, { amend: { set: NEXT } })),
  },
  {
    title: 'a list whose second descriptor has the wrap counter of the other round',
    violation: { packed: 'descriptor-flags' },
    forge: (driver) =>
      driver.offer(
        chain()
          .readable(1)
          .readable(1, { amend: otherRound(driver) })
          .writable(1),
      ),
  },
  {
    title: 'a list whose last descriptor is marked as used',
    violation: { packed: 'descriptor-flags' },
    forge: (driver) =>
      driver.offer(
        chain()
          .readable(1)
          .writable(1, { amend: { set: USED_AND_AVAIL } }),
      ),
  },
  {
    title: 'a list whose last descriptor is marked as neither available nor used',
    violation: { packed: 'descriptor-flags' },
    forge: (driver) =>
      driver.offer(
        chain()
          .readable(1)
          .writable(1, { amend: { clear: USED_AND_AVAIL } }),
      ),
  },
  {
    title: 'a list that goes on in the descriptors of a chain that the device has',
    violation: { packed: 'descriptor-flags' },
    before: 1,
    forge: (driver) => {
      const first = chain()
      for (let i = 1; i < driver.size; i++) first.readable(1)
      driver.offer(first)
      driver.offer(chain().readable(1, { amend: { set: NEXT } }))
    },
  },
  {
    title: 'a list that goes round the ring and on',
    violation: { packed: 'descriptor-loop' },
    forge: (driver) => {
      const description = chain()
      for (let i = 1; i < driver.size; i++) description.readable(1)
      driver.offer(description.readable(1, { amend: { set: NEXT } }))
    },
  },
  {
    title: 'a chain in an entry that another one, which the device has, still takes',
    violation: { packed: 'available-index' },
    before: 1,
    forge: (driver) => {
      const all = chain()
      for (let i = 0; i < driver.size; i++) all.readable(1)
      driver.offer(all)
    },
    forgeLater: (driver) => {
      // As it would be available in the round that the driver has come to, with an id that is free.
      const { descriptors, id } = driver.out[0]!
      driver.setDescriptor(descriptors[0]!, { id: id + 1, flags: driver.position.available >> 15 === 1 ? VIRTQ_DESC_F_AVAIL : VIRTQ_DESC_F_USED })
      driver.publish()
    },
  },
  {
    title: 'a buffer id that the device has already',
    violation: { packed: 'available-index' },
    before: 1,
    forge: (driver) => {
      const { id } = driver.offer(chain().readable(1))
      driver.offer(chain().readable(1, { amend: { id } }))
    },
  },
]
