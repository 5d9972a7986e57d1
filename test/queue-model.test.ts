/**
 * Both sides of a virtqueue interleaved at random, against a model of plain arrays: our device with a driver by hand, our driver with a device by hand, and ours with each
 * other; in both formats, with all ring features, from positions near the wrap, with saves and restores at any moment.
 */
import fc from 'fast-check'
import { describe, it } from 'vitest'
import { finish, QueueModel, queueCommands, type Real } from './support/queue-model.ts'
import { HandDevice, HandDriver, OurDevice, OurDriver, Ring, type Setting } from './support/queue-sides.ts'
import { ringFormats } from './support/ring-formats.ts'

const pairs = {
  'our device, a driver by hand': (ring: Ring): Real => ({ ring, driver: new HandDriver(ring), device: new OurDevice(ring) }),
  'our driver, a device by hand': (ring: Ring): Real => ({ ring, driver: new OurDriver(ring), device: new HandDevice(ring) }),
  'our driver and device': (ring: Ring): Real => ({ ring, driver: new OurDriver(ring), device: new OurDevice(ring) }),
}
const flags = [false, true]
const features = flags.flatMap((eventIndex) => flags.flatMap((indirect) => flags.map((inOrder) => ({ eventIndex, indirect, inOrder }))))

/** Sizes and positions: a new ring mostly, or one that is about to wrap. */
function settings(packed: boolean): fc.Arbitrary<Pick<Setting, 'size' | 'position'>> {
  if (!packed) return fc.record({ size: fc.constantFrom(1, 2, 4, 8), position: fc.constantFrom(0, 0, 0x7fff, 65530, 65535) })
  return fc
    .record({ size: fc.integer({ min: 1, max: 7 }), offset: fc.nat(6), wrap: fc.nat(1) })
    .map(({ size, offset, wrap }) => ({ size, position: (offset % size) | (wrap << 15) }))
}

describe.each(ringFormats)('a $format virtqueue', ({ packed }) => {
  describe.each(Object.entries(pairs))('with %s', (_, pair) => {
    it.each(features)('is as the model says, with %o', { timeout: 120_000 }, (rings) => {
      fc.assert(
        fc.property(settings(packed), queueCommands(60), (setting, commands) => {
          const ring = new Ring({ packed, ...rings, ...setting })
          const real = pair(ring)
          ring.arrange()
          real.driver.begin?.()
          real.device.begin?.()
          const model = new QueueModel(ring)
          fc.modelRun(() => ({ model, real }), commands)
          finish(model, real)
        }),
        { numRuns: 40 },
      )
    })
  })
})
