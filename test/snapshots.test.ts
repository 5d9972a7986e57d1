/** `save` at any moment and `restore` into a fresh instance, behind every transport: the driver goes on, no request is lost and none is answered twice. */
import fc from 'fast-check'
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { ConfigSpace, StateError } from 'virtgen/runtime'
import {
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_NOTIFICATION_DATA,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_RING_RESET,
  VIRTIO_F_SUSPEND,
  VIRTIO_F_VERSION_1,
} from 'virtgen/wire/content'
import { describe, expect, it } from 'vitest'
import type { MakeSubject } from '../fuzz/transport/subject.ts'
import { transports } from '../fuzz/transport/transport-target.ts'
import { MovingDisk, MovingGuest, queueCount } from './support/moving-guest.ts'
import { type MakeDevice, makePlace, memorySize, type Place, type Setting } from './support/moving-machine.ts'
import { ReceivingGuest } from './support/receiving-guest.ts'
import { changed, pathsOf } from './support/spoiled.ts'

const optional = [
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_NOTIFICATION_DATA,
  VIRTIO_F_RING_RESET,
  VIRTIO_F_SUSPEND,
]
const ringFeatures = fc.subarray(optional).map((bits) => FeatureSet.of(VIRTIO_F_VERSION_1, ...bits))
/** Without the masks of vectors that a fuzzer wants. */
const variant = fc.nat(2 ** 28 - 1)

const queue = fc.nat(queueCount - 1)
const which = fc.nat(15)

/** Devices that are not like the others. */
class OtherId extends MovingDisk {
  override readonly id: number = 9
}
class MoreQueues extends MovingDisk {
  constructor(queueSize: number, onError: (error: unknown) => void) {
    super(queueSize, onError, queueCount + 1)
  }
}
class FewerFeatures extends MovingDisk {
  override readonly offered = FeatureSet.empty
}
class LongerConfig extends MovingDisk {
  override readonly config = new ConfigSpace(new Uint8Array(104)) as MovingDisk['config']
}

/** What may stand in a changed state. */
const anything = fc.oneof(
  fc.constantFrom(undefined, null, true, '', '0x1', 'x', -1, 0.5, Number.NaN, 2 ** 53, 2 ** 32, 65536, [], {}, [[]], [1, 2]),
  fc.integer({ min: 0, max: 10 }),
  fc.integer({ min: 0, max: 0xffff }),
  fc.jsonValue(),
)

/** What a guest, its device and its VMM may do, in any order. */
const steps = {
  offer: fc.tuple(queue, fc.integer({ min: 1, max: 4 }), fc.boolean()),
  finish: fc.tuple(which),
  serve: fc.tuple(),
  turn: fc.tuple(),
  move: fc.tuple(),
  haunt: fc.tuple(which),
  ask: fc.tuple(),
  reset: fc.tuple(),
  resetQueue: fc.tuple(queue),
  suspend: fc.tuple(),
  resume: fc.tuple(),
  slow: fc.tuple(fc.boolean()),
  rest: fc.tuple(),
} as const
const weights: Partial<Record<keyof typeof steps, number>> = { offer: 6, finish: 4, serve: 3, turn: 3, move: 4, ask: 2, reset: 1, resetQueue: 1 }

type Step = { readonly do: keyof typeof steps; readonly with: readonly (number | boolean)[] }

const anyStep: fc.Arbitrary<Step> = fc.oneof(
  ...Object.entries(steps).map(([name, args]) => ({
    weight: weights[name as keyof typeof steps] ?? 1,
    arbitrary: (args as fc.Arbitrary<(number | boolean)[]>).map((list) => ({ do: name as keyof typeof steps, with: list })),
  })),
)

const packetSteps = ['arrive', 'arrive', 'offer', 'offer', 'serve', 'serve', 'turn', 'move', 'move', 'haunt', 'ask', 'suspend', 'resume'] as const
/** `with`: bytes of a packet, or what else there is to choose. */
const anyPacketStep = fc.record({ do: fc.constantFrom(...packetSteps), with: fc.integer({ min: 1, max: 900 }) })

async function take(guest: MovingGuest, step: Step): Promise<void> {
  const [first, second, third] = step.with as [number, number, boolean]
  switch (step.do) {
    case 'offer':
      return guest.offer(first, second, third)
    case 'finish':
      return guest.finish(first)
    case 'haunt':
      return guest.haunt(first)
    case 'resetQueue':
      guest.resetQueue(first)
      return
    case 'slow':
      guest.device.takesLong = step.with[0] as boolean
      return
    case 'rest':
      return guest.device.rest()
    default:
      return guest[step.do]()
  }
}

/** Sums over the runs of a property. */
interface Sums {
  answered: number
  moves: number
  inFlight: number
}

async function keepsEverything(make: MakeSubject, options: fc.Parameters<unknown>): Promise<Sums> {
  const sums = { answered: 0, moves: 0, inFlight: 0 }
  const settings = fc.record({ make: fc.constant(make), ringFeatures, variant, queueSize: fc.integer({ min: 4, max: 16 }) })
  await fc.assert(
    fc.asyncProperty(settings, fc.array(anyStep, { maxLength: 60, size: 'max' }), async (setting, list) => {
      const guest = new MovingGuest(setting)
      for (const step of list) {
        await take(guest, step)
        expect(guest.troubles).toEqual([])
      }
      expect(await guest.end()).toEqual([])
      expect(guest.troubles).toEqual([])
      sums.answered += guest.answered
      sums.moves += guest.left.length
      sums.inFlight += guest.inFlight
    }),
    options as fc.Parameters<never>,
  )
  return sums
}

describe.each(Object.entries(transports))('a guest behind %s', (_, make) => {
  it('that is moved at any moment loses no request and gets none twice', async () => {
    const { answered, moves, inFlight } = await keepsEverything(make, { numRuns: 100 })
    expect(Math.min(answered, moves, inFlight)).toBeGreaterThan(100)
  })

  it('that is moved while packets arrive gets each one, once and in order', async () => {
    const sums = { received: 0, moves: 0 }
    const settings = fc.record({ make: fc.constant(make), ringFeatures, variant, queueSize: fc.integer({ min: 8, max: 16 }) })
    await fc.assert(
      fc.asyncProperty(settings, fc.array(anyPacketStep, { maxLength: 60, size: 'max' }), async (setting, list) => {
        const guest = new ReceivingGuest(setting)
        for (const step of list) {
          if (step.do === 'arrive') guest.arrive(step.with)
          else if (step.do === 'offer') guest.offer(1 + (step.with % 6))
          else if (step.do === 'haunt') guest.haunt(step.with)
          else await guest[step.do]()
          expect(guest.troubles).toEqual([])
        }
        expect(await guest.end()).toEqual([])
        expect(guest.troubles).toEqual([])
        sums.received += guest.received
        sums.moves += guest.left.length
      }),
      { numRuns: 60 },
    )
    expect(Math.min(sums.received, sums.moves)).toBeGreaterThan(60)
  })

  const setting: Setting = { make, ringFeatures: FeatureSet.of(VIRTIO_F_VERSION_1, ...optional), variant: 0, queueSize: 8 }
  const ears = { onInterrupt: () => {}, onTrouble: () => {} }
  const emptyPlace = (of: Setting, makeDisk: MakeDevice<MovingDisk> = (...options) => new MovingDisk(...options)): Place<MovingDisk> =>
    makePlace(of, makeDisk, new Uint8Array(memorySize), ears)

  /** A device at work, with requests in flight. */
  function savedState(): unknown {
    const guest = new MovingGuest(setting)
    guest.offer(0, 2, true)
    guest.offer(1, 2, false)
    return JSON.parse(JSON.stringify(guest.subject.save()))
  }

  it.each<[string, Partial<Setting>, MakeDevice<MovingDisk>?]>([
    ['other features of the rings', { ringFeatures: FeatureSet.of(VIRTIO_F_VERSION_1, VIRTIO_F_IN_ORDER) }],
    ['smaller queues', { queueSize: 4 }],
    ['larger queues', { queueSize: 16 }],
    ['another id', {}, (...options) => new OtherId(...options)],
    ['features of its type that are others', {}, (...options) => new FewerFeatures(...options)],
    ['more queues', {}, (...options) => new MoreQueues(...options)],
    ['a longer configuration space', {}, (...options) => new LongerConfig(...options)],
  ])('is not moved to a device with %s: the refusal is typed, and nothing has changed', (__, other, makeDisk) => {
    const { subject } = emptyPlace({ ...setting, ...other }, makeDisk)
    const fresh = JSON.stringify(subject.save())
    expect(() => subject.restore(savedState())).toThrow(StateError)
    expect(JSON.stringify(subject.save())).toBe(fresh)
  })

  it('is not moved with a state of another version, wherever it says so', () => {
    const state = savedState()
    const versions = pathsOf(state).filter((path) => path.at(-1) === 'version')
    expect(versions.length).toBeGreaterThanOrEqual(3)
    for (const path of versions)
      for (const version of [0, 2, '1', null]) expect(() => emptyPlace(setting).subject.restore(changed(state, path, version))).toThrow(StateError)
  })

  it('is refused with a StateError where somebody has changed the state, or goes on; nothing else is thrown', () => {
    const state = savedState()
    const paths = pathsOf(state)
    let refused = 0
    fc.assert(
      fc.property(fc.constantFrom(...paths), anything, (path, put) => {
        const { subject } = emptyPlace(setting)
        const fresh = JSON.stringify(subject.save())
        try {
          subject.restore(changed(state, path, put))
        } catch (error) {
          refused++
          expect(error).toBeInstanceOf(StateError)
          expect(JSON.stringify(subject.save())).toBe(fresh)
        }
        subject.notify(0, 0)
        subject.status = 0
        expect(subject.control.status).toBe(0)
      }),
      { numRuns: 400 },
    )
    expect(refused).toBeGreaterThan(100)
  })
})

/** A state that has lost something on its way. */
const losing =
  (change: (name: string, value: never) => unknown): MakeSubject =>
  (device, settings) => {
    const subject = transports.mmio!(device, settings)
    subject.save = (
      (save) => () =>
        JSON.parse(JSON.stringify(save(), change as never))
    )(subject.save.bind(subject))
    return subject
  }

describe('the property notices a saved state', () => {
  it.each<[string, (name: string, value: never) => unknown]>([
    ['that lacks a chain', (name, value: unknown[]) => (name === 'inFlight' ? value.slice(1) : value)],
    ['that has a chain twice', (name, value: unknown[]) => (name === 'inFlight' && value.length > 0 ? [...value, value[0]] : value)],
    ['that is one chain behind', (name, value: number) => (name === 'available' && value > 0 ? value - 1 : value)],
    ['that has forgotten the interrupt', (name, value: number) => (name === 'interruptStatus' ? 0 : value)],
    ['that has forgotten that the driver waits for a suspension', (name, value: unknown) => (name === 'suspending' ? undefined : value)],
    ['that has forgotten what the device remembers', (name, value: unknown) => (name === 'state' ? 0 : value)],
  ])('%s', async (_, change) => {
    await expect(keepsEverything(losing(change), { numRuns: 1000, endOnFailure: true })).rejects.toThrow()
  })
})
