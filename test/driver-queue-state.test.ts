/** A driver queue that goes on where another one was saved, in either format; and states in which no queue can be. */
import { describe, expect, it } from 'vitest'
import type { DriverQueueState } from '../runtime/queue.ts'
import { formats, makeDriver, piece, type Setting, small } from './support/driver-setup.ts'

const json = (state: DriverQueueState): DriverQueueState => JSON.parse(JSON.stringify(state))

for (const format of formats) {
  const make = (setting: Setting = {}) => makeDriver(format, setting)

  describe(`a saved ${format} driver queue`, () => {
    it('goes on with the buffers that are out, in the middle of a lap', () => {
      const made = make({ size: 7, powerOf2: 8 })
      for (let i = 0; i < 5; i++) {
        made.queue.add(small, small, i)
        made.queue.publish()
        made.device.use(made.device.take()[0]!.id)
        made.queue.completed()
      }
      for (const token of ['a', 'b']) made.queue.add(small, [piece(0x1_8000, 9)], token)
      made.queue.publish()
      const [a, b] = made.device.take().map(({ id }) => id)
      const state = json(made.queue.save())
      const queue = made.again(state, ['A', 'B'])
      expect([queue.free, queue.out, queue.published]).toEqual([made.queue.free, 2, made.queue.published])
      expect(queue.save()).toEqual(state)
      made.device.use(b!, 9)
      expect([queue.completed(), queue.written, queue.completed()]).toEqual(['B', 9, undefined])
      queue.add(small, [], 'c')
      queue.publish()
      made.device.use(made.device.take()[0]!.id)
      made.device.use(a!, 1)
      expect([queue.completed(), queue.completed(), queue.written, queue.free]).toEqual(['c', 'A', 1, queue.size])
      expect(made.violations).toEqual([])
    })

    it('has made visible what was added before, and drops what was only appended', () => {
      const { queue, device, counts, again } = make()
      queue.add(small, small, 'a')
      queue.append(0x1_8000, 1, false)
      const state = queue.save()
      expect([state.out.length, counts.notifications, device.take().length]).toEqual([1, 1, 1])
      expect(again(state, ['a']).inspect()).toMatchObject({ inFlight: device.ids, available: queue.published, availableSeen: queue.published })
    })

    it('goes on in the middle of a batch', () => {
      const made = make({ inOrder: true })
      for (const token of ['a', 'b', 'c', 'd']) made.queue.add([], [piece(0x1_8000, token.charCodeAt(0))], token)
      made.queue.publish()
      const [a, b, c, d] = made.device.take().map(({ id }) => id)
      made.device.use(c!, 7, [a!, b!])
      expect(made.queue.completed()).toBe('a')
      const state = json(made.queue.save())
      expect(state.batch).toEqual({ buffers: 2, written: 7 })
      const queue = made.again(state, ['B', 'C', 'D'])
      made.device.use(d!, 1)
      expect(['B', 'C', 'D'].map(() => [queue.completed(), queue.written])).toEqual([
        ['B', 'b'.charCodeAt(0)],
        ['C', 7],
        ['D', 1],
      ])
      expect([queue.completed(), queue.free, made.violations]).toEqual([undefined, 8, []])
    })

    it('asks for notifications again', () => {
      for (const eventIndex of [false, true]) {
        const { queue, device, again } = make({ eventIndex })
        queue.disableNotifications()
        again(queue.save(), [])
        expect(device.driverWish).toEqual(eventIndex ? { ahead: 0 } : 'all')
      }
    })

    it('trusts no more in what it has restored than in what it has added', () => {
      const { queue, device, again, violations } = make()
      queue.add([], small, 'a')
      queue.publish()
      const { id } = device.take()[0]!
      const restored = again(queue.save(), ['a'])
      device.use(id, 5)
      expect(restored.completed()).toBeUndefined()
      expect(violations).toMatchObject([{ kind: 'used-length', head: id }])
    })

    it('cannot be in a state that does not hold together', () => {
      const { queue, again } = make()
      for (const token of ['a', 'b']) queue.add(small, small, token)
      const state = json(queue.save())
      const [first, second] = state.out as [DriverQueueState['out'][0], DriverQueueState['out'][0]]
      const descriptors = (count: number) => (format === 'packed' ? count : Array.from({ length: count }, (_, i) => i + first.head))
      const wrong: Partial<DriverQueueState>[] = [
        { available: -1 },
        { available: 0x1_0000 },
        { used: 1.5 },
        { used: state.used + 1 },
        { available: Number.NaN },
        { out: [first] },
        { out: [first, first] },
        { out: [first, { ...second, head: 8 }] },
        { out: [first, { ...second, head: first.head }] },
        { out: [first, { ...second, writable: -1 }] },
        { out: [first, { ...second, writable: 2 ** 32 + 1 }] },
        { out: [first, { ...second, descriptors: descriptors(0) }] },
        { out: [first, { ...second, descriptors: descriptors(9) }] },
        { batch: { buffers: 1, written: 0 } },
        ...(format === 'packed'
          ? [
              { available: 8 | 0x8000 },
              { used: 0 },
              { out: [first, { ...second, descriptors: 3 }] },
              {
                available: 7,
                used: 0x8000,
                out: [
                  { ...first, descriptors: 8 },
                  { ...second, descriptors: 7 },
                ],
              },
            ]
          : [
              { out: [first, { ...second, descriptors: 2 }] },
              { out: [first, { ...second, descriptors: [second.head, first.head] }] },
              { out: [first, { ...second, descriptors: [second.head, 8] }] },
            ]),
      ]
      for (const change of wrong)
        expect(() => again({ ...state, ...change }, ['a', 'b'].slice(0, change.out?.length)), JSON.stringify(change)).toThrow(RangeError)
      for (const tokens of [[], ['a'], ['a', 'b', 'c']]) expect(() => again(state, tokens)).toThrow('there must be 2 tokens')
      expect(() => again(state, ['a', 'b'])).not.toThrow()
    })

    it('cannot be in what is no state at all', () => {
      const { queue, again } = make({ inOrder: true })
      queue.add(small, small, 'a')
      const state = json(queue.save())
      const odd = [null, true, 'a', [], {}, { toString: {} }]
      const wrong: unknown[] = [undefined, ...odd].flatMap((value) => [
        ...['available', 'used', 'out', 'batch', 'descriptor'].map((name) => ({ ...state, [name]: value })),
        ...['head', 'writable', 'descriptors'].map((name) => ({ ...state, out: [{ ...state.out[0], [name]: value }] })),
        { ...state, out: [value] },
        { ...state, batch: { buffers: value, written: 0 } },
      ])
      const possible = [{ ...state, batch: undefined }, ...(format === 'packed' ? [{ ...state, descriptor: undefined }] : [])].map((each) =>
        JSON.stringify(each),
      )
      for (const each of [...odd, ...wrong.filter((other) => !possible.includes(JSON.stringify(other)))])
        expect(() => again(each as DriverQueueState, ['a']), JSON.stringify(each)).toThrow(RangeError)
    })

    it('cannot be in a batch that is not out', () => {
      const { queue, again } = make({ inOrder: true })
      for (const token of ['a', 'b']) queue.add(small, small, token)
      const state = json(queue.save())
      for (const batch of [
        { buffers: 0, written: 0 },
        { buffers: 3, written: 0 },
        { buffers: 1, written: 5 },
      ])
        expect(() => again({ ...state, batch }, ['a', 'b']), JSON.stringify(batch)).toThrow(RangeError)
    })
  })
}

describe('a saved split queue with VIRTIO_F_IN_ORDER', () => {
  it('goes on at the descriptor that follows, even where nothing is out', () => {
    const made = makeDriver('split', { inOrder: true })
    made.queue.add([...small, ...small], small, 'a')
    made.queue.publish()
    made.device.use(made.device.take()[0]!.id)
    expect(made.queue.completed()).toBe('a')
    const queue = made.again(json(made.queue.save()), [])
    queue.add(small, small, 'b')
    queue.publish()
    expect(made.device.chain(made.device.take()[0]!.id).map(({ at }) => at)).toEqual([3, 4])
  })

  it('cannot have descriptors in another order than that of the table', () => {
    const { queue, again } = makeDriver('split', { inOrder: true })
    queue.add(small, small, 'a')
    const state = queue.save()
    expect(() => again({ ...state, out: [{ ...state.out[0]!, descriptors: [0, 2] }] }, ['a'])).toThrow(RangeError)
    expect(() => again({ ...state, descriptor: 5 }, ['a'])).toThrow(RangeError)
    expect(() => again({ ...state, descriptor: 8 }, ['a'])).toThrow(RangeError)
    expect(() => again(state, ['a'])).not.toThrow()
  })
})

describe('a saved packed queue with VIRTIO_F_IN_ORDER', () => {
  it('goes on with buffer ids that are free, in whatever order the others were taken', () => {
    const { queue, device, again } = makeDriver('packed', { size: 4, inOrder: true })
    for (const token of ['a', 'b', 'c']) queue.add(small, [], token)
    queue.publish()
    device.take()
    const state = json(queue.save())
    const ids = [3, 0, 2]
    const restored = again({ ...state, out: state.out.map((buffer, i) => ({ ...buffer, head: ids[i]! })) }, ['A', 'B', 'C'])
    expect(restored.add(small, [], 'd')).toBe(true)
    expect(restored.inspect().inFlight).toEqual([3, 0, 2, 1])
    expect(restored.add(small, [], 'e')).toBe(false)
  })
})
