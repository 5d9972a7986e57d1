/** `virtgen/testing`: both sides of a virtqueue by hand, right or wrong, for unit tests of devices, drivers and queues. */
export { type Amendment, type ChainDescription, type ChainElement, type ChainSpec, type ChainTable, type Content, chain } from './chain.ts'
export {
  FakeDriver,
  type FakeDriverOptions,
  type OfferedChain,
  type PutOptions,
  type RingFormat,
  type RingPosition,
  RuleBroken,
  type UsedChain,
  type Wish,
} from './fake-driver.ts'
export type { ForgedChain, QueueNeeds, UnusualChain } from './forged-chain.ts'
export { forgedChains } from './forged-chains.ts'
export { defaultRegions, differences, type Range, TestMemory, type TestMemoryOptions, type TestRegion } from './memory.ts'
export { type RecordedEvent, Recorder } from './recorder.ts'
export { SplitFakeDriver } from './split-fake-driver.ts'
export { type TestQueue, type TestQueueOptions, testQueue } from './test-queue.ts'
