/** What only a SCSI host device has: lengths that the driver writes into the configuration, and flags beside the kind of an event. */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import type { Outcome } from 'virtgen/runtime'
import { PARKED } from 'virtgen/runtime'
import { describe, expect, test } from 'vitest'
import { ScsiDriver, type ScsiTransportResetEvent } from '../generated/driver/scsi.ts'
import { type ScsiCommandRequest, ScsiDevice } from '../generated/skeleton/scsi.ts'
import {
  VIRTIO_SCSI_EVT_RESET_REMOVED,
  VIRTIO_SCSI_F_HOTPLUG,
  VIRTIO_SCSI_F_T10_PI,
  VIRTIO_SCSI_S_FUNCTION_COMPLETE,
  VIRTIO_SCSI_S_FUNCTION_REJECTED,
  VIRTIO_SCSI_S_FUNCTION_SUCCEEDED,
  VIRTIO_SCSI_T_EVENTS_MISSED,
  VIRTIO_SCSI_T_TRANSPORT_RESET,
} from '../generated/wire/scsi.ts'
import { loopback } from './support/loopback.ts'

const checkCondition = 2

class Host extends ScsiDevice {
  readonly cdbs: number[][] = []
  readonly parked: ScsiCommandRequest[] = []
  parks = false

  functionResult: number | undefined
  override taskManagement(): Outcome {
    return this.functionResult
  }
  override asyncQuery(): void {}
  override asyncSubscribe(): void {}
  override command(request: ScsiCommandRequest): Outcome {
    const { header, reply } = request
    this.cdbs.push([...header.cdb])
    reply.status = checkCondition
    reply.sense = new Uint8Array(reply.sense.length).fill(7)
    if (!this.parks) return undefined
    this.parked.push(request)
    return PARKED
  }
  removed(lun: Uint8Array, flags: number): boolean {
    return this.sendTransportReset({ event: flags, lun, reason: { arm: 'reset', reset: VIRTIO_SCSI_EVT_RESET_REMOVED } })
  }
}

async function connected(options: { features?: number[]; caller?: { linux_pi?: number } } = {}) {
  const { features = [], caller = {} } = options
  const host = new Host({ features, caller, config: { num_queues: 1 } })
  const line = await loopback<ScsiDriver>({ device: host, type: ScsiDriver, accepts: FeatureSet.of(32, ...features), options: { caller } })
  return { host, ...line }
}

const cdb = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => i + 1)

describe('lengths in the configuration', () => {
  test('are those of the text at first, and again after a reset', async () => {
    expect(new Host().config.fields).toMatchObject({ sense_size: 96, cdb_size: 32, num_queues: 0 })
    expect(new Host({ config: { cdb_size: 16 } }).config.fields).toMatchObject({ sense_size: 96, cdb_size: 16 })
    const { host, driver } = await connected()
    driver.writeConfig('cdb_size', 16)
    expect(host.config.fields).toMatchObject({ cdb_size: 16 })
    const { generation } = host.config
    await driver.close()
    expect(host.config.fields).toMatchObject({ sense_size: 96, cdb_size: 32, num_queues: 1 })
    expect(host.config.generation).not.toBe(generation)
  })

  test('count from the moment when the driver has written them', async () => {
    const { host, driver, violations } = await connected()
    for (const [length, sense] of [
      [32, 96],
      [16, 18],
      [260, 252],
      [32, 0],
    ] as const) {
      driver.writeConfig('cdb_size', length)
      driver.writeConfig('sense_size', sense)
      expect(driver.config).toMatchObject({ cdb_size: length, sense_size: sense })
      const reply = await driver.command({ cdb: cdb(length) }, new Uint8Array(0), 4)
      expect(reply).toMatchObject({ status: checkCondition, sense: new Uint8Array(sense).fill(7) })
      expect(host.cdbs.at(-1)).toEqual([...cdb(length)])
    }
    expect(violations).toEqual([])
  })

  test('a command that is out keeps those it was taken with', async () => {
    const { host, driver, violations } = await connected()
    host.parks = true
    const answered = driver.command({ cdb: cdb(32) }, new Uint8Array(0), 0)
    await Promise.resolve()
    driver.writeConfig('cdb_size', 8)
    driver.writeConfig('sense_size', 8)
    const [request] = host.parked
    expect([...(request?.header.cdb ?? [])]).toEqual([...cdb(32)])
    expect(request?.reply.sense.length).toBe(96)
    request?.complete()
    expect((await answered).sense.length).toBe(96)
    expect(violations).toEqual([])
  })

  test('are refused where they do not fit or may not be written', async () => {
    const { driver } = await connected()
    expect(() => driver.writeConfig('cdb_size', -1)).toThrow(RangeError)
    expect(() => driver.writeConfig('cdb_size', 0x1_0000_0000)).toThrow(RangeError)
    expect(() => driver.writeConfig('cdb_size', 1.5)).toThrow(RangeError)
    expect(() => driver.writeConfig('cdb_size', new Uint8Array(3))).toThrow(RangeError)
    expect(() => driver.writeConfig('num_queues' as never, 1)).toThrow(RangeError)
    driver.writeConfig('cdb_size', Uint8Array.of(12, 0, 0, 0))
    expect(driver.config.cdb_size).toBe(12)
  })
})

test('protection information goes both ways, in the order of the text or of Linux', async () => {
  for (const linux_pi of [0, 1]) {
    const { driver, violations } = await connected({ features: [VIRTIO_SCSI_F_T10_PI], caller: { linux_pi } })
    const sizes = linux_pi ? { linux_pi_bytesout: 2, linux_pi_bytesin: 3 } : { pi_bytesout: 2, pi_bytesin: 3 }
    const reply = await driver.command({ cdb: cdb(32), pi_out: Uint8Array.of(1, 2), ...sizes }, Uint8Array.of(9), 0)
    expect(reply.pi_in).toEqual(new Uint8Array(3))
    expect(violations).toEqual([])
  }
})

test('an event keeps the flags beside its kind', async () => {
  const { host, driver } = await connected({ features: [VIRTIO_SCSI_F_HOTPLUG] })
  const events: ScsiTransportResetEvent[] = []
  driver.onTransportReset((event) => events.push(event))
  await Promise.resolve()
  await Promise.resolve()
  const lun = Uint8Array.of(1, 3, 0x40, 5, 0, 0, 0, 0)
  expect(host.removed(lun, VIRTIO_SCSI_T_EVENTS_MISSED)).toBe(true)
  expect(events).toEqual([
    {
      event: (VIRTIO_SCSI_T_TRANSPORT_RESET | VIRTIO_SCSI_T_EVENTS_MISSED) >>> 0,
      lun,
      reason: { arm: 'reset', reset: VIRTIO_SCSI_EVT_RESET_REMOVED },
      queue: 1,
    },
  ])
})

test('a task management function has two results that are successes', async () => {
  const { host, driver } = await connected()
  expect(await driver.taskManagement()).toEqual({ response: VIRTIO_SCSI_S_FUNCTION_COMPLETE })
  host.functionResult = VIRTIO_SCSI_S_FUNCTION_SUCCEEDED
  expect(await driver.taskManagement()).toEqual({ response: VIRTIO_SCSI_S_FUNCTION_SUCCEEDED })
  host.functionResult = VIRTIO_SCSI_S_FUNCTION_REJECTED
  await expect(driver.taskManagement()).rejects.toMatchObject({ name: 'RequestError', status: VIRTIO_SCSI_S_FUNCTION_REJECTED })
})
