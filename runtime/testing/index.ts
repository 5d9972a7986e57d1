/** `virtgen/testing`: both sides of a virtqueue by hand, right or wrong, for unit tests of devices, drivers and queues. */
export { type Amendment, type ChainDescription, type ChainElement, type ChainSpec, type ChainTable, type Content, chain } from './chain.ts'
export type { EventSuppression } from './event-suppression.ts'
export { FakeDevice, type FakeDeviceOptions, type TakenBuffer, type TakenChain, type UsedAmendment } from './fake-device.ts'
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
export { fakeDevice, fakeDriver } from './fakes.ts'
export type { ForgedChain, QueueNeeds, UnusualChain } from './forged-chain.ts'
export { forgedChains } from './forged-chains.ts'
export { type ForgedUse, forgedUses } from './forged-uses.ts'
export { type InterleaveOptions, type Interleaving, interleave, randomNumbers, type Side, schedules } from './interleave.ts'
export { defaultRegions, differences, type Range, TestMemory, type TestMemoryOptions, type TestRegion } from './memory.ts'
export { PackedFakeDevice } from './packed-fake-device.ts'
export { PackedFakeDriver } from './packed-fake-driver.ts'
export { type RecordedEvent, Recorder } from './recorder.ts'
export { SplitFakeDevice } from './split-fake-device.ts'
export { SplitFakeDriver } from './split-fake-driver.ts'
export { TestDevice, type TestDeviceOptions, testDevice } from './test-device.ts'
export { type TestMachine, type TestMachineOptions, testMachine } from './test-machine.ts'
export { type TestQueue, type TestQueueOptions, testQueue } from './test-queue.ts'
export { unusualChains } from './unusual-chains.ts'
