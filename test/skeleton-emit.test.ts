/** Tables of messages, skeletons and driver clients: what the emitters say of the built-in devices and of the hard ones. */
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import * as fc from 'fast-check'
import { FeatureSet, featuresFromHex, type Struct, viewOf } from 'virtgen/codegen/v1/wire'
import * as blk from 'virtgen/messages/blk'
import * as console_ from 'virtgen/messages/console'
import * as entropy from 'virtgen/messages/entropy'
import {
  VirtioBlkReqDiscardHeader,
  VirtioBlkReqHeader,
  VirtioBlkReqReply,
  VirtioBlkReqScsiCmdHeader,
  VirtioBlkReqZoneReportReply,
} from 'virtgen/parts/blk'
import { ConsoleControlTxHeader } from 'virtgen/parts/console'
import type { ConsoleOutputRequest } from 'virtgen/skeleton/console'
import { VIRTIO_BLK_F_MQ, VIRTIO_BLK_F_ZONED, VIRTIO_BLK_T_BARRIER, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT, VirtioBlkConfig } from 'virtgen/wire/blk'
import { VIRTIO_CONSOLE_F_MULTIPORT, VIRTIO_CONSOLE_PORT_READY, VirtioConsoleConfig } from 'virtgen/wire/console'
import { describe, expect, test } from 'vitest'
import { DeviceChapter } from '../generator/emit/device/device-chapter.ts'
import { baseMembers } from '../generator/emit/device/names.ts'
import { emitAll } from '../generator/emit/index.ts'
import { Needs } from '../generator/emit/wire/needs.ts'
import type { Model } from '../generator/model.ts'
import { contractTypes } from '../generator/names.ts'
import type { ConfigField } from '../runtime/config-space.ts'
import { DeviceDriver } from '../runtime/driver/device-driver.ts'
import { EventDevice } from '../runtime/request/event-device.ts'
import type { DeviceInfo, LayoutInfo, MessageInfo, RequestContext, RequestInfo } from '../runtime/request/message.ts'
import { loadText, loadWithShapes } from './support/description.ts'
import { loadWire } from './support/wire-modules.ts'

const config = (fields: Parameters<typeof VirtioBlkConfig.encode>[0]): VirtioBlkConfig =>
  new VirtioBlkConfig().at(viewOf(VirtioBlkConfig.encode(fields)))

function contextOf(features: FeatureSet, fields: Parameters<typeof VirtioBlkConfig.encode>[0] = {}): RequestContext {
  return { features, config: config(fields), queueSize: 256, caller: {} }
}

const nothing = contextOf(FeatureSet.empty)

/** An accessor over bytes. */
function over<S extends Struct>(struct: S, bytes: Uint8Array): S {
  return struct.at(viewOf(bytes))
}

describe('the parts of requests as classes', () => {
  test('leave the payload out', () => {
    expect([VirtioBlkReqHeader.size, VirtioBlkReqReply.size]).toEqual([16, 1])
    expect(Object.keys(VirtioBlkReqHeader.offsetOf)).toEqual(['type', 'reserved', 'sector'])
  })

  test('are one class for all requests that add no members of their own', () => {
    const { read, write, flush, zoneOpen, zoneReport } = blk.requests
    for (const { header } of [write, flush, zoneOpen, zoneReport]) expect(header).toBe(read.header)
    expect(write.reply).toBe(read.reply)
    expect(zoneReport.reply?.create(nothing, 0, undefined)).toBeInstanceOf(VirtioBlkReqZoneReportReply)
  })

  test('find the members behind an open one from the end', () => {
    const bytes = new Uint8Array(64 + 2 * 64 + 1)
    bytes[bytes.length - 1] = 7
    const reply = over(new VirtioBlkReqZoneReportReply(), bytes)
    expect([reply.zones_length, reply.status, reply.$whole]).toEqual([2, 7, true])
    expect(over(new VirtioBlkReqZoneReportReply(), bytes.subarray(0, -1)).$whole).toBe(false)
  })
})

describe('the table of a request', () => {
  test('has the values that select it, and numbers of its own in the chapter', () => {
    expect(blk.requests.flush).toMatchObject({ name: 'flush', method: 'flush', is: [[4], [5]], values: { type: 4 } })
    const all = [...Object.values(console_.requests), ...Object.values(console_.events)]
    expect(new Set(all.map(({ id }) => id)).size).toBe(all.length)
  })

  test('reads the deciding value without the flags beside it, and writes it so that they stay', () => {
    const header = over(new VirtioBlkReqHeader(), new Uint8Array(16))
    header.type = VIRTIO_BLK_T_BARRIER + VIRTIO_BLK_T_OUT
    expect(blk.virtio_blk_req.by.map((read) => read(header))).toEqual([VIRTIO_BLK_T_OUT])
    blk.virtio_blk_req.select?.(header, [VIRTIO_BLK_T_IN])
    expect(header.type).toBe(VIRTIO_BLK_T_BARRIER + VIRTIO_BLK_T_IN)
    expect(console_.console_control_tx.select).toBeUndefined()
  })

  test('has what the payload must be', () => {
    expect(blk.requests.read.writable?.multiple?.(nothing)).toBe(512)
    expect(blk.requests.read.readable).toBeUndefined()
    expect(blk.requests.scsiCmd.readable?.multiple?.(nothing)).toBe(512)
    const zoned = contextOf(FeatureSet.of(VIRTIO_BLK_F_ZONED), { zoned: { write_granularity: 4096 } as never })
    expect(blk.requests.zoneAppend.readable?.multiple?.(zoned)).toBe(4096)
    expect(entropy.requests.read.writable?.count?.(nothing)).toEqual([1, 0xffff_ffff])
  })

  test('says how many bytes stand behind the payload, the body, or another open member', () => {
    const suffixes = (['read', 'flush', 'getId', 'zoneReport', 'scsiCmd'] as const).map((name) => blk.requests[name].reply?.suffix)
    expect(suffixes).toEqual([1, 1, 1, 1, 96 + 4 * 4 + 1])
    expect(blk.requests.read.header?.suffix).toBe(0)
  })

  test('makes a header with a framed member of the length of its descriptor', () => {
    const { header } = blk.requests.scsiCmd
    expect(header?.framedAt).toBe(16)
    const made = header?.create(nothing, 6, undefined) as VirtioBlkReqScsiCmdHeader
    expect(made).toBeInstanceOf(VirtioBlkReqScsiCmdHeader)
    expect(made.$minimum).toBe(22)
    expect(over(made, new Uint8Array(22)).cmd.length).toBe(6)
    expect(header?.sizeOf?.({ cmd: new Uint8Array(10) }, nothing)).toBe(26)
  })

  test('fills in members of the reply that always have the same value', async () => {
    const { device } = await generated(`
structs:
  v_head: [magic: {type: le32, const: 0x1234}, status: u8]
messages:
  v_req:
    source: prose
    writable: [head: v_head]
    status: {field: head.status, ok: 0, failed: 1}
    requests: [go: {readable: [a: u8]}]
`)
    const [message] = device.messages
    const bytes = new Uint8Array(5)
    message?.reply?.fill?.(over(message.reply.create(nothing, 0, undefined), bytes))
    expect([...bytes]).toEqual([0x34, 0x12, 0, 0, 0])
  })

  test('knows the status with its names', () => {
    const { status } = blk.virtio_blk_req
    const reply = over(new VirtioBlkReqReply(), new Uint8Array(1))
    status?.set(reply, 2)
    expect([status?.get(reply), status?.ok, status?.failed, status?.unknown]).toEqual([2, 0, 1, 2])
    expect(status?.names[3]).toBe('VIRTIO_BLK_S_ZONE_INVALID_CMD')
  })

  test('says when it exists', () => {
    expect(blk.requests.read.when).toBeUndefined()
    expect(blk.requests.zoneOpen.when?.(nothing)).toBe(false)
    expect(blk.requests.zoneOpen.when?.(contextOf(FeatureSet.of(VIRTIO_BLK_F_ZONED)))).toBe(true)
  })
})

describe('the check of a header', () => {
  const { check } = blk.requests.discard
  const context = contextOf(FeatureSet.empty, { max_discard_seg: 2 })
  const header = (segments: { sector: number }[]) => {
    const value = { segments: segments.map((segment) => ({ ...segment, num_sectors: 1, flags: { unmap: 0 } })) }
    return over(new VirtioBlkReqDiscardHeader(), VirtioBlkReqDiscardHeader.encode(value))
  }

  test('takes what keeps the rules', () => {
    expect(check?.(header([{ sector: 1 }, { sector: Number.MAX_SAFE_INTEGER }]), context)).toBe(true)
  })

  test('refuses too few and too many elements', () => {
    expect(check?.(header([]), context)).toBe(false)
    expect(check?.(header([{ sector: 1 }, { sector: 2 }, { sector: 3 }]), context)).toBe(false)
  })

  test('refuses a part of an element', () => {
    const { $view } = header([{ sector: 1 }, { sector: 2 }])
    expect(check?.(new VirtioBlkReqDiscardHeader().at($view, 0, $view.byteLength - 1), context)).toBe(false)
  })

  test('refuses a 64-bit number that no number holds exactly, in the header and in an element', () => {
    const inElement = header([{ sector: 1 }, { sector: 2 }])
    inElement.$view.setBigUint64(32, 2n ** 53n, true)
    const inHeader = header([{ sector: 1 }])
    inHeader.$view.setBigUint64(8, 2n ** 64n - 1n, true)
    expect([check?.(inElement, context), check?.(inHeader, context)]).toEqual([false, false])
  })

  test('asks for the limits as they are at that moment', () => {
    const live = contextOf(FeatureSet.empty, { max_discard_seg: 1 })
    const two = header([{ sector: 1 }, { sector: 2 }])
    expect(check?.(two, live)).toBe(false)
    ;(live.config as VirtioBlkConfig).max_discard_seg = 2
    expect(check?.(two, live)).toBe(true)
  })

  test('stands for ranges, constants and counts in structs inside the header', async () => {
    const { device } = await generated(`
structs:
  v_inner:
    - level: {type: u8, range: 2 .. 9}
    - bits: {type: u8, bits: [{version: {width: 4, const: 3}}, {rest: reserved 4}]}
constants:
  v_kind:
    values: {V_ONE: 1}
messages:
  v_req:
    source: prose
    by: kind
    readable:
      - kind: {type: u8, enum: v_kind}
      - magic: {type: le16, const: 0x1234}
      - inner: v_inner
      - _: body
    requests:
      - go:
          is: V_ONE
          readable:
            - items[]: {type: le16, count: 1 .. 2, range: 0 .. 100}
`)
    const [go] = (device.messages[0] as MessageInfo).requests as [RequestInfo]
    const accepts = (...bytes: number[]): boolean | undefined =>
      go.check?.(over(go.header?.create(nothing, 0, undefined) as Struct, Uint8Array.from(bytes)), nothing)
    expect(accepts(1, 0x34, 0x12, 5, 3, 7, 0)).toBe(true)
    expect(accepts(1, 0x35, 0x12, 5, 3, 7, 0)).toBe(false)
    expect(accepts(1, 0x34, 0x12, 1, 3, 7, 0)).toBe(false)
    expect(accepts(1, 0x34, 0x12, 10, 3, 7, 0)).toBe(false)
    expect(accepts(1, 0x34, 0x12, 5, 4, 7, 0)).toBe(false)
    expect(accepts(1, 0x34, 0x12, 5, 3)).toBe(false)
    expect(accepts(1, 0x34, 0x12, 5, 3, 7, 0, 7)).toBe(false)
    expect(accepts(1, 0x34, 0x12, 5, 3, 101, 0)).toBe(false)
    expect(accepts(1, 0x34, 0x12, 5, 3, 1, 0, 2, 0, 3, 0)).toBe(false)
  })
})

describe('the check of a union', () => {
  test('looks at the arm that is selected, and at no other', async () => {
    const { device } = await generated(`
constants:
  v_kind:
    values: {V_PLUG: 1, V_STATE: 2}
messages:
  v_req:
    source: prose
    readable:
      - kind: {type: le16, enum: v_kind}
      - u:
          by: kind
          union:
            - plug: {type: le64, unit: address, is: V_PLUG}
            - state: {type: le64, is: V_STATE}
    requests:
      - go: {}
`)
    const [go] = (device.messages[0] as MessageInfo).requests as [RequestInfo]
    const accepts = (kind: number, high: number): boolean | undefined => {
      const bytes = Uint8Array.of(kind, 0, 0, 0, 0, 0, 0, 0, high, 0)
      return go.check?.(over(go.header?.create(nothing, 0, undefined) as Struct, bytes), nothing)
    }
    expect([accepts(1, 0x1f), accepts(1, 0x20), accepts(2, 0x20), accepts(3, 0x20)]).toEqual([true, false, true, true])
  })
})

describe('the queues of a device', () => {
  const of = (features: FeatureSet, fields: Parameters<typeof VirtioConsoleConfig.encode>[0]) =>
    console_.queues(features, VirtioConsoleConfig.encode(fields))

  test('are those that are negotiated and configured', () => {
    const numQueues = VirtioBlkConfig.encode({ num_queues: 4 })
    expect(blk.queues(FeatureSet.empty, numQueues).map(({ index }) => index)).toEqual([0])
    expect(blk.queues(FeatureSet.of(VIRTIO_BLK_F_MQ), numQueues).map(({ index, name, i }) => [index, name, i])).toEqual([
      [0, 'requestq', 1],
      [1, 'requestq', 2],
      [2, 'requestq', 3],
      [3, 'requestq', 4],
    ])
    expect(of(FeatureSet.empty, {}).map(({ index }) => index)).toEqual([0, 1])
    expect(of(FeatureSet.of(VIRTIO_CONSOLE_F_MULTIPORT), { max_nr_ports: 3 }).map(({ index, message }) => [index, message?.name])).toEqual([
      [0, 'console_rx'],
      [1, 'console_tx'],
      [2, 'console_control_rx'],
      [3, 'console_control_tx'],
      [4, 'console_rx'],
      [6, 'console_rx'],
      [5, 'console_tx'],
      [7, 'console_tx'],
    ])
  })

  test('are never more than there are indices, whatever the configuration claims', () => {
    const queues = of(FeatureSet.of(VIRTIO_CONSOLE_F_MULTIPORT), { max_nr_ports: 0xffff_ffff })
    expect(queues.length).toBe(0x1_0000)
    expect(new Set(queues.map(({ index }) => index)).size).toBe(0x1_0000)
  })

  test('are read from a configuration space that is shorter than its struct', () => {
    expect(console_.queues(FeatureSet.of(VIRTIO_CONSOLE_F_MULTIPORT), new Uint8Array(0)).length).toBe(4)
  })
})

describe('what is known of the configuration space', () => {
  test('is its fields one by one, with what the driver may write', () => {
    const field = (wanted: string) => blk.configFields.find(({ name }) => name === wanted)
    expect(field('writeback')).toMatchObject({ name: 'writeback', offset: 32, width: 1, access: 'rw' })
    expect(field('zoned.write_granularity')).toMatchObject({ name: 'zoned.write_granularity', offset: 88, width: 4, access: 'r' })
    expect(console_.configFields.find(({ name }) => name === 'emerg_wr')?.access).toBe('w')
    expect(entropy.configFields).toEqual([])
  })

  test('has the condition under which a field may be written', async () => {
    const { configFields } = await generated(`
features:
  VIRTIO_V_F_SET: {bit: 0}
config:
  v_config:
    fields:
      - level: {type: le32, access: rw if VIRTIO_V_F_SET}
`)
    const [level] = configFields
    expect([level?.writable?.(FeatureSet.empty), level?.writable?.(FeatureSet.of(0))]).toEqual([false, true])
  })

  test('has the condition under which there is a field, with those of what it is in', async () => {
    const { configFields } = await generated(`
features:
  VIRTIO_V_F_A: {bit: 0}
  VIRTIO_V_F_B: {bit: 1}
  VIRTIO_V_F_C: {bit: 2}
structs:
  v_inner:
    fields:
      - deep: {type: le32, when: VIRTIO_V_F_B or VIRTIO_V_F_C}
config:
  v_config:
    fields:
      - plain: le32
      - outer: {type: v_inner, when: VIRTIO_V_F_A}
`)
    const [plain, deep] = configFields
    const sets = [[], [0], [1], [0, 1], [0, 2]].map((bits) => FeatureSet.of(...bits))
    expect([plain?.exists, sets.map((set) => deep?.exists?.(set))]).toEqual([undefined, [false, false, false, true, true]])
  })
})

describe('names', () => {
  const text = (...requests: string[]) => `
messages:
${requests.map((name, index) => `  v_${index}:\n    source: prose\n    requests: [${name}: {readable: [data: bytes]}]`).join('\n')}
`
  const methods = (source: string) => deviceOf(source).requests.map(({ method }) => method)

  test('of methods are those of the requests, in camel case', () => {
    expect(methods(text('zone_append', 'get-id'))).toEqual(['zoneAppend', 'getId'])
  })

  test('get that of the message in front where two messages have the same request', () => {
    expect(methods(text('open', 'open'))).toEqual(['v0Open', 'v1Open'])
  })

  test('may be the same for a request and an event', () => {
    expect(console_.requests.portOpen.method).toBe('portOpen')
    expect(console_.events.portOpen.method).toBe('sendPortOpen')
  })

  test('that the base classes have are not taken', () => {
    expect(methods(text('reset', 'request'))).toEqual(['resetRequest', 'requestRequest'])
    for (const base of [EventDevice, DeviceDriver]) {
      for (let type: object = base.prototype; type !== Object.prototype; type = Object.getPrototypeOf(type) as object)
        for (const name of Object.getOwnPropertyNames(type)) if (!name.startsWith('$')) expect(baseMembers, name).toContain(name)
    }
  })

  test('of parts that a struct of the chapter has already are an error that names both', () => {
    const source = `${text('open')}structs:\n  v_0_open_header: [{a: u8}]\n`.replace('readable: [data: bytes]', 'readable: [a: u8]')
    expect(() => emitText(source)).toThrow(/"v_0_open_header" and the readable part of "v_0\.open" both become V0OpenHeader/)
  })

  test('that the modules import from the contract are known to the check of names', () => {
    const contract = readFileSync('runtime/codegen.ts', 'utf8').match(/\b[A-Z]\w*(Device|DeviceOptions|Driver|Request|Event)\b/g) ?? []
    expect(contract).toContain('RequestDevice')
    expect(contract.filter((name) => !contractTypes.has(name))).toEqual([])
  })
})

describe('a method of a skeleton', () => {
  const skeleton = (source: string): string => emitText(source).get('skeleton/v.ts') as string

  test('is abstract where the request is always there, and optional where it is negotiated or its queues are', () => {
    const source = `
features:
  VIRTIO_V_F_A: {bit: 0}
queues:
  - first: {index: 0, carries: v_req}
  - second: {index: 1, when: VIRTIO_V_F_A, carries: v_more}
messages:
  v_req:
    source: prose
    requests:
      - read: {readable: [data: bytes]}
      - fast: {when: VIRTIO_V_F_A, writable: [data: bytes]}
  v_more:
    source: prose
    requests:
      - more: {readable: [data: bytes]}
`
    expect(skeleton(source)).toContain('protected abstract read(request: VReadRequest): Outcome')
    expect(skeleton(source)).toContain('protected fast?(request: VFastRequest): Outcome')
    expect(skeleton(source)).toContain('protected more?(request: VMoreRequest): Outcome')
  })

  test('is called for its request, and UNKNOWN stands for one that is not there', async () => {
    const { ConsoleDevice } = await import('virtgen/skeleton/console')
    const { chain, testDevice } = await import('virtgen/testing')
    const heard: number[] = []
    class Listener extends ConsoleDevice {
      protected override output({ readable }: ConsoleOutputRequest): void {
        heard.push(readable.length)
      }
    }
    const bench = testDevice(new Listener({ features: [VIRTIO_CONSOLE_F_MULTIPORT], config: { cols: 80 } }))
    expect([bench.device.id, bench.device.config.fields?.cols]).toEqual([3, 80])
    await bench.request(chain().readable(5), 1)
    const ready = ConsoleControlTxHeader.encode({ event: VIRTIO_CONSOLE_PORT_READY })
    expect((await bench.request(chain().readable(ready), 3)).written).toBe(0)
    expect([heard, bench.needsReset]).toEqual([[5], false])
  })
})

describe('the devices of the hard descriptions', async () => {
  const model = loadWithShapes()
  await loadWire(model)
  const chapters = model.chapters.filter(({ kind, builtin }) => kind === 'device' && !builtin).map(({ name }) => name)

  test.each(chapters)('%s: tables can be used on whatever a driver writes, and no check throws', async (name) => {
    const { device } = (await import(/* @vite-ignore */ `./generated/messages/${name}.ts`)) as Awaited<ReturnType<typeof generated>>
    await import(/* @vite-ignore */ `./generated/skeleton/${name}.ts`)
    await import(/* @vite-ignore */ `./generated/driver/${name}.ts`)
    const { Config } = await configClass(model, name)
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 2000, maxLength: 2000, size: 'max' }),
        fc.nat(300),
        fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
        (bytes, extra, bits) => {
          const features = featuresFromHex(bits.toString(16))
          // Lengths in it of more than 16 bits would only take time.
          const configBytes = bytes.slice(0, device.configLength).map((byte, index) => (index % 4 < 2 ? byte : 0))
          const context: RequestContext = { features, config: Config && over(new Config(), configBytes), queueSize: 4, caller: {} }
          expect(device.queues(features, configBytes).every(({ index }) => index >= 0 && index <= 0xffff)).toBe(true)
          for (const message of device.messages) {
            const frame = message.frame && place(message.frame, context, bytes, 0, undefined)
            for (const read of message.by) expect(Number.isSafeInteger(read(frame as Struct))).toBe(true)
            for (const info of message.requests) {
              expect([true, false, undefined]).toContain(info.when?.(context, frame))
              const header = info.header && place(info.header, context, bytes, extra, undefined)
              if (header) expect([true, false, undefined]).toContain(info.check?.(header, context))
              const reply = info.reply && place(info.reply, context, bytes, extra, header)
              const status = info.status ?? message.status
              if (reply && status) expect(Number.isInteger(status.get(reply))).toBe(true)
            }
          }
        },
      ),
      { numRuns: 30 },
    )
  })

  test('compile with everything that TypeScript can be strict about', { timeout: 300_000 }, () => {
    const files = emitAll(model, { chapters: 'extension' }).map(({ path }) => path)
    writeFileSync(here('generated/tsconfig.json'), JSON.stringify({ ...strictProject, files }))
    const { stdout } = spawnSync(process.execPath, [here('../node_modules/typescript/bin/tsc'), '-p', here('generated/tsconfig.json')], {
      encoding: 'utf8',
    })
    expect(stdout.split('\n').filter((line) => /(^|\/)generated\//.test(line))).toEqual([])
  })

  test.each(chapters)('%s: a driver header of its own values is the request that it says', async (name) => {
    const { device } = (await import(/* @vite-ignore */ `./generated/messages/${name}.ts`)) as Awaited<ReturnType<typeof generated>>
    const { Config } = await configClass(model, name)
    const context: RequestContext = {
      features: FeatureSet.empty,
      config: Config && over(new Config(), new Uint8Array(device.configLength)),
      queueSize: 4,
      caller: {},
    }
    for (const message of device.messages.filter(({ frame }) => frame !== undefined))
      for (const info of message.requests) {
        const layout = (message.kind === 'requests' ? info.header : info.reply) as LayoutInfo
        const struct = place(layout, context, new Uint8Array(4000), 0, undefined) as Struct & { $set(value: object): unknown }
        struct.$set(info.values)
        const frame = message.frame?.create(context, 0, undefined).at(struct.$view) as Struct
        expect(message.by.map((read) => read(frame))).toEqual(info.is[0] ?? [])
      }
  })
})

/** A project of somebody who generates a description of their own; the contract is taken from the sources. */
const strictProject = {
  extends: '../../tsconfig.base.json',
  compilerOptions: {
    composite: false,
    noEmit: true,
    exactOptionalPropertyTypes: true,
    noPropertyAccessFromIndexSignature: true,
    skipLibCheck: false,
    rootDir: '../..',
    paths: {
      'virtgen/codegen/v1/wire': ['../../wire/index.ts'],
      'virtgen/codegen/v1/device': ['../../runtime/codegen.ts'],
      'virtgen/wire/*': ['../../generated/wire/*.ts'],
      'virtgen/parts/*': ['../../generated/parts/*.ts'],
      'virtgen/device/*': ['../../generated/device/*.ts'],
      'virtgen/messages/*': ['../../generated/messages/*.ts'],
    },
  },
}

function here(path: string): string {
  return fileURLToPath(new URL(path, import.meta.url))
}

/** An accessor over as many bytes as it needs, and some more. */
function place(layout: LayoutInfo, context: RequestContext, bytes: Uint8Array, extra: number, header: Struct | undefined): Struct {
  const struct = layout.create(context, 4, header)
  // The configuration may ask for any length.
  const length = struct.$minimum + extra
  return struct.at(viewOf(length <= bytes.length ? bytes : new Uint8Array(length)), 0, length)
}

async function configClass(model: Model, chapter: string): Promise<{ Config: (new () => Struct) | undefined }> {
  const { className } = await import('../generator/names.ts')
  const config = model.chapters.find(({ name }) => name === chapter)?.config
  const module = (await import(/* @vite-ignore */ `./generated/wire/${chapter}.ts`)) as Record<string, new () => Struct>
  return { Config: config === undefined ? undefined : module[className(config)] }
}

function modelOf(text: string): Model {
  return loadText(`kind: device\nname: v\nid: 1000\ntitle: V\n${text}`)
}

function deviceOf(text: string): DeviceChapter {
  const model = modelOf(text)
  return new DeviceChapter(model, new Needs(model), model.chapters[0] as Model['chapters'][number])
}

function emitText(text: string): Map<string, string> {
  return new Map(emitAll(modelOf(text)).map(({ path, text: code }) => [path, code]))
}

let count = 0

/** The tables of a small description, loaded. */
async function generated(text: string): Promise<{ device: DeviceInfo; configFields: readonly ConfigField[] }> {
  const name = `v${count++}`
  const model = loadText(`kind: device\nname: ${name}\nid: 1000\ntitle: V\n${text}`)
  await loadWire(model)
  return (await import(/* @vite-ignore */ `./generated/messages/${name}.ts`)) as Awaited<ReturnType<typeof generated>>
}
