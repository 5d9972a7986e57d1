/** All that a hostile device can do to a driver's ring, each with the violation that the driver has to find. Split and packed. */
import type { ViolationKind } from '../violation.ts'
import type { FakeDevice, TakenChain } from './fake-device.ts'
import type { RingFormat } from './fake-driver.ts'
import { SplitFakeDevice } from './split-fake-device.ts'

/** Used buffers that are none. */
export interface ForgedUse {
  /** For the name of a test. */
  readonly title: string
  /** What the driver must find; a format without one: it does not exist there. */
  readonly violation: Readonly<Partial<Record<RingFormat, ViolationKind>>>
  /** What has to be negotiated. */
  readonly needs?: { readonly inOrder?: boolean }
  /** Buffers that are used as they should be, and that the driver gets before. 0 by default. */
  readonly before?: number
  /** Takes what is available, which must be two buffers: the first one with a device-writable part, the second one with none. Then it lies. */
  forge(device: FakeDevice): void
}

const both: readonly RingFormat[] = ['split', 'packed']

function use(
  title: string,
  formats: readonly RingFormat[],
  kind: ViolationKind,
  lie: (device: FakeDevice, first: TakenChain, second: TakenChain) => void,
  more: Pick<ForgedUse, 'needs' | 'before'> = {},
): ForgedUse {
  const forge = (device: FakeDevice): void => {
    const first = device.take()
    const second = device.take()
    if (first === undefined || second === undefined) throw new Error('the driver must have made two buffers available')
    lie(device, first, second)
  }
  return { title, violation: Object.fromEntries(formats.map((format) => [format, kind])), forge, ...more }
}

/** An id that the device does not have, although the ring does. */
function freeId(device: FakeDevice): number {
  for (let id = device.size - 1; ; id--) if (!device.out.some((chain) => chain.id === id)) return id
}

function jump(entries: (device: FakeDevice) => number): (device: FakeDevice) => void {
  return (device) => {
    if (!(device instanceof SplitFakeDevice)) throw new TypeError('only a split ring has a used index')
    device.jumpTo(device.position.used + entries(device))
  }
}

/**
 * Every way to use a buffer that is none. A driver queue must find the violation, once, and give nothing back; `detach` then has all that was out.
 *
 * @example
 * it.each(forgedUses.filter(({ violation }) => violation.split))('$title', ({ forge, violation, before = 0 }) => {
 *   const { queue, device } = …
 *   queue.add([some], [others], 'a')
 *   queue.add([some], [], 'b')
 *   queue.publish()
 *   forge(device)
 *   for (let i = 0; i < before; i++) queue.completed()
 *   expect(queue.completed()).toBeUndefined()
 *   expect(queue.broken).toMatchObject({ kind: violation.split })
 * })
 */
export const forgedUses: readonly ForgedUse[] = [
  use('an id that no buffer has', both, 'used-id', (device, first) => device.use(first, 0, { id: freeId(device) })),
  use('an id that the ring does not have', both, 'used-id', (device, first) => device.use(first, 0, { id: device.size })),
  use('the last id of 16 bits', both, 'used-id', (device, first) => device.use(first, 0, { id: 0xffff })),
  use('the last id of 32 bits', ['split'], 'used-id', (device, first) => device.use(first, 0, { id: 0xffff_ffff })),
  use('an id whose lower half alone is one', ['split'], 'used-id', (device, first) => device.use(first, 0, { id: 0x1_0000 + first.id })),
  use(
    'a buffer twice',
    both,
    'used-id',
    (device, first) => {
      device.put(first)
      device.put(first)
      device.publish()
    },
    { before: 1 },
  ),
  use('one byte more than there is room for', both, 'used-length', (device, first) => device.use(first, 0, { length: first.writable + 1 })),
  use('4 GiB that it wrote', both, 'used-length', (device, first) => device.use(first, 0, { length: 0xffff_ffff })),
  use(
    'bytes that it wrote where it may only read',
    both,
    'used-length',
    (device, first, second) => {
      device.use(first)
      device.use(second, 0, { length: 1 })
    },
    { before: 1 },
  ),
  use(
    'one buffer more than it has',
    ['split'],
    'used-index',
    jump(({ out }) => out.length + 1),
  ),
  use(
    'more buffers than the ring has',
    ['split'],
    'used-index',
    jump(({ size }) => size + 1),
  ),
  use(
    'half of all indices',
    ['split'],
    'used-index',
    jump(() => 0x8000),
  ),
  use(
    'a used index that goes back',
    ['split'],
    'used-index',
    jump(() => -1),
  ),
  use(
    'a used index that goes back behind what was used',
    ['split'],
    'used-index',
    (device, first, second) => {
      device.use(first)
      device.use(second)
      jump(() => -3)(device)
    },
    { before: 0 },
  ),
  use(
    'a descriptor although it has none any more',
    ['packed'],
    'used-index',
    (device, first, second) => {
      device.put(first)
      device.put(second)
      device.put({ ...second, entries: 1 })
      device.publish()
    },
    { before: 2 },
  ),
  use('a later buffer with an index that leaves the earlier one out', ['split'], 'used-id', (device, _, second) => device.use(second), {
    needs: { inOrder: true },
  }),
]
