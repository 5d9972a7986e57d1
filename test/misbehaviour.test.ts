/** Devices, drivers and VMMs that do what they must not, on every transport: what becomes of it is docs/life-cycle.md. */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { BlkDriver } from 'virtgen/driver/blk'
import { EntropyDriver } from 'virtgen/driver/entropy'
import { type DeviceRequest, type DriverHost, PARKED } from 'virtgen/runtime'
import { VIRTIO_BLK_S_IOERR, virtio_blk_size } from 'virtgen/wire/blk'
import { DEVICE_NEEDS_RESET, DRIVER_OK } from 'virtgen/wire/content'
import { beforeEach, describe, expect, it } from 'vitest'
import { DummyDevice } from './support/dummy-device.ts'
import { Counter, RamDisk } from './support/small-devices.ts'
import { type Plugged, type Transport, transports } from './support/transports.ts'

const { sector_bytes } = virtio_blk_size
/** What a promise came to, as far as it is settled now. */
interface Fate {
  value?: unknown
  error?: unknown
}
const watch = (promise: Promise<unknown>): Fate => {
  const fate: Fate = {}
  promise.then(
    (value) => {
      fate.value = value ?? 'done'
    },
    (error) => {
      fate.error = error
    },
  )
  return fate
}
const turns = async (): Promise<void> => {
  for (let i = 0; i < 20; i++) await Promise.resolve()
}

/** A driver without a protocol of its own. */
class RawDriver {
  static readonly deviceId: number = BlkDriver.deviceId
  static readonly features: FeatureSet = FeatureSet.empty
  static readonly configLength: number = 16
  static queues() {
    return [
      { index: 0, name: 'first', message: undefined },
      { index: 2, name: 'third', message: undefined },
    ]
  }
  readonly host: DriverHost
  constructor(host: DriverHost) {
    this.host = host
  }
}

/** Of a type that has a legacy interface too. */
class Device extends DummyDevice {
  override readonly id = BlkDriver.deviceId
}

describe.each(transports)('a disk behind $name', (transport: Transport) => {
  let disk: RamDisk
  let errors: unknown[]
  let plugged: Plugged
  let driver: BlkDriver

  beforeEach(async () => {
    errors = []
    disk = new RamDisk({ onError: (error) => errors.push(error) })
    disk.bytes.fill(7)
    plugged = transport.plug(disk)
    driver = await plugged.connect(BlkDriver)
  })
  const read = (): Promise<{ data: Uint8Array }> => driver.read({ sector: 0 }, sector_bytes)
  /** All is well: with the driver that there is. */
  const works = async (): Promise<void> => {
    disk.instead = undefined
    expect((await read()).data).toEqual(new Uint8Array(sector_bytes).fill(7))
  }
  /** The guest starts over. */
  const again = async (): Promise<void> => {
    driver = await plugged.connect(BlkDriver)
    await works()
    await driver.close()
    expect([plugged.control.status, plugged.guest.driverMemory.available]).toEqual([0, 1 << 20])
  }

  it.each<[string, () => number | Promise<number>, RegExp]>([
    [
      'throws',
      () => {
        throw new Error('bad sector')
      },
      /bad sector/,
    ],
    ['rejects', () => Promise.reject(new Error('bad sector')), /bad sector/],
    ['returns what is no status', () => 512, /512/],
    ['resolves to what is none', () => Promise.resolve(-1), /-1/],
  ])('answers with the status for failures where a handler %s, tells the VMM, and goes on', async (_, handler, told) => {
    disk.instead = handler
    const failed = watch(read())
    const other = watch(driver.flush())
    await turns()
    expect(failed.error).toMatchObject({ name: 'RequestError', status: VIRTIO_BLK_S_IOERR })
    expect([other.value, errors.map(String), plugged.guest.errors, plugged.guest.violations]).toEqual(['done', [expect.stringMatching(told)], [], []])
    await works()
  })

  it('serves other requests while a handler never resolves, and gives that one up with the driver', async () => {
    disk.instead = () => new Promise(() => {})
    const never = watch(read())
    await turns()
    await works()
    await driver.flush()
    expect(never).toEqual({})
    await driver.close()
    expect(never.error).toMatchObject({ kind: 'closed' })
    await again()
  })

  it('ends no reset while a handler has memory of the guest in its hands', async () => {
    const parked: DeviceRequest[] = []
    let view: Uint8Array = new Uint8Array()
    disk.instead = (request) => {
      view = request.writable!.bytes(0)
      parked.push(request)
      return PARKED
    }
    const never = watch(read())
    await turns()
    const closed = watch(driver.close())
    await turns()
    await new Promise((resolve) => setTimeout(resolve))
    expect([never.error, closed.error]).toMatchObject([{ kind: 'closed' }, { kind: 'reset' }])
    expect(plugged.control.status & DRIVER_OK).toBe(DRIVER_OK)
    expect([parked[0]?.cancelled, view.length]).toEqual([true, sector_bytes])
    parked[0]?.complete()
    await turns()
    expect([plugged.control.status, errors]).toEqual([0, []])
  })

  it('refuses a second completion to its author, and nobody else notices', async () => {
    const mistakes: unknown[] = []
    disk.instead = (request) => {
      request.complete()
      try {
        request.complete()
      } catch (error) {
        mistakes.push(error)
      }
      return PARKED
    }
    await read()
    expect(mistakes.map(String)).toEqual([expect.stringContaining('completed')])
    for (const end of [() => {}, (request: DeviceRequest) => request.complete(), (request: DeviceRequest) => request.fail(new Error('too late'))]) {
      disk.instead = (request) => {
        request.complete()
        end(request)
      }
      await read()
    }
    await works()
    expect(errors.map(String)).toEqual([
      'Error: read was completed already, and its handler returned what completes it',
      expect.stringContaining('is completed: it must not be used any more'),
      'Error: too late',
      expect.stringContaining('is completed: it must not be used any more'),
    ])
    expect([plugged.guest.errors, plugged.guest.violations, plugged.control.status & DEVICE_NEEDS_RESET]).toEqual([[], [], 0])
  })

  it.each<[string, (request: DeviceRequest) => undefined | typeof PARKED | Promise<void>]>([
    ['and goes on', () => undefined],
    [
      'and completes',
      (request) => {
        request.complete()
        return PARKED
      },
    ],
    ['and resolves later', () => Promise.resolve()],
    [
      'and throws',
      () => {
        throw new Error('after the reset')
      },
    ],
  ])('is as new when a handler presses the reset button of the VMM %s', async (_, rest) => {
    disk.instead = (request) => {
      plugged.powerOnReset()
      return rest(request)
    }
    const lost = watch(read())
    await turns()
    expect([plugged.control.status, lost, plugged.guest.violations]).toEqual([0, {}, []])
    await driver.close()
    expect(lost.error).toMatchObject({ kind: 'closed' })
    await again()
  })

  it('is as new when the driver resets it from inside the interrupt that a handler has raised', async () => {
    const parked: DeviceRequest[] = []
    disk.instead = (request) => {
      parked.push(request)
      return PARKED
    }
    const fates = [watch(read()), watch(read()), watch(read())]
    await turns()
    expect(parked).toHaveLength(3)
    let closing: Fate | undefined
    plugged.guest.listen(() => {
      closing ??= watch(driver.close())
    })
    for (const request of parked) request.complete()
    await turns()
    expect([closing?.value, fates.map((fate) => fate.error)]).toMatchObject(['done', [{ kind: 'closed' }, { kind: 'closed' }, { kind: 'closed' }]])
    expect([errors, plugged.guest.errors, plugged.control.status]).toEqual([[], [], 0])
    await again()
  })
})

describe.each(transports)('a source of entropy, whose requests have no status, behind $name', (transport: Transport) => {
  it('needs a reset when a handler throws, tells the driver and the VMM, and is as new after the reset', async () => {
    const errors: unknown[] = []
    const source = new Counter({ onError: (error) => errors.push(error) })
    const { connect, control, guest } = transport.plug(source)
    source.instead = () => {
      throw new Error('no noise')
    }
    const driver = await connect(EntropyDriver)
    const fates = [watch(driver.read(4)), watch(driver.read(4))]
    await turns()
    expect(fates.map(({ error }) => error)).toMatchObject([{ kind: 'needs-reset' }, { kind: 'needs-reset' }])
    expect(control.status & DEVICE_NEEDS_RESET).toBe(DEVICE_NEEDS_RESET)
    expect([guest.violations, errors.map(String)]).toMatchObject([[{ kind: 'device-failed', queue: 0 }], ['Error: no noise']])
    source.instead = undefined
    await driver.close()
    const next = await connect(EntropyDriver)
    expect((await next.read(4)).data).toEqual(Uint8Array.of(0, 1, 2, 3))
  })
})

describe.each(transports)('any device behind $name', (transport: Transport) => {
  const bad = (): never => {
    throw new Error('bad device')
  }

  it.each<[string, (device: DummyDevice) => void]>([
    ['is notified', (device) => Object.assign(device, { onQueue: bad })],
    ['is activated', (device) => Object.assign(device, { onActivate: bad })],
  ])('that throws when it %s needs a reset; the driver is told', async (_, spoil) => {
    const device = new Device()
    spoil(device)
    const { connect, control, guest } = transport.plug(device)
    const kinds: unknown[] = []
    try {
      const { host } = await connect(RawDriver)
      host.onFailure(({ kind }) => kinds.push(kind))
      const { address } = guest.driverMemory.allocate(4)
      host.queue(0).add([{ address, length: 4 }], [], 1)
      host.queue(0).publish()
    } catch (error) {
      kinds.push((error as { kind?: string }).kind)
    }
    expect([kinds, guest.errors.map(String)]).toEqual([['needs-reset'], ['Error: bad device']])
    Object.assign(device, { onQueue: () => {}, onActivate: () => {} })
    expect((await connect(RawDriver)).host.queues).toHaveLength(2)
    expect(control.status & DEVICE_NEEDS_RESET).toBe(0)
  })

  it.each<[string, () => void | Promise<void>]>([
    ['throws', bad],
    ['rejects', () => Promise.reject(new Error('bad device'))],
  ])('that %s when it is reset is taken to be at rest', async (_, onReset) => {
    const device = new Device()
    const { connect, guest } = transport.plug(device)
    const { host } = await connect(RawDriver)
    device.onReset = onReset
    await host.reset()
    expect(guest.errors.map(String)).toEqual(['Error: bad device'])
    expect((await connect(RawDriver)).host.queues).toHaveLength(2)
  })

  it('that is reset out of each of its methods ends there, and starts anew', async () => {
    for (const hook of ['onActivate', 'onQueue', 'onReset', 'onConfig'] as const) {
      const device = new Device()
      const { connect, control, powerOnReset, guest } = transport.plug(device)
      const { host } = await connect(RawDriver)
      device[hook] = powerOnReset
      if (hook === 'onActivate') await host.reset().then(() => connect(RawDriver).catch(() => {}))
      else if (hook === 'onQueue') {
        host.queue(0).add([{ address: guest.driverMemory.allocate(4).address, length: 4 }], [], 1)
        host.queue(0).publish()
      } else if (hook === 'onReset') powerOnReset()
      else host.config.write(4, Uint8Array.of(1, 2, 3, 4))
      expect([hook, control.status, guest.errors, guest.violations]).toEqual([hook, 0, [], []])
      device[hook] = () => {}
      expect((await connect(RawDriver)).host.queues).toHaveLength(2)
    }
  })

  it('gives everyone else a turn while the driver makes more buffers available inside each interrupt, and loses none of them', async () => {
    const source = new Counter()
    const deferred: (() => void)[] = []
    const { connect, guest } = transport.plug(source, { defer: (callback) => deferred.push(callback) })
    const { host } = await connect(
      class extends RawDriver {
        static override readonly deviceId = EntropyDriver.deviceId
        static override readonly configLength = 0
        static override queues = () => [{ index: 0, name: 'requests', message: undefined }]
      },
    )
    const queue = host.queue(0)
    const { address } = guest.driverMemory.allocate(4)
    let [sent, received, wrong, depth, deepest] = [0, 0, 0, 0, 0]
    const send = (): void => {
      if (queue.add([], [{ address, length: 4 }], sent)) sent++
      queue.publish()
    }
    host.onUsed(0, () => {
      deepest = Math.max(deepest, ++depth)
      for (let token = queue.completed(); token !== undefined; token = queue.completed()) {
        if (token !== received++ || queue.written !== 4) wrong++
        send()
        send()
      }
      depth--
    })
    send()
    const first = received
    for (let turn = 0; turn < 100; turn++) deferred.shift()?.()
    expect([first > 0 && first <= 16 * queue.size, received > 1000, wrong, deepest]).toEqual([true, true, 0, 1])
    expect([guest.violations, guest.errors, deferred.length]).toEqual([[], [], 1])
  })
})
