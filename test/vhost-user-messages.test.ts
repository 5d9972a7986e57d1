/** Messages of vhost-user out of a stream that the other side cuts, mixes up and leaves as it likes. */
import fc from 'fast-check'
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { type Context, vhost_user, vhost_user_backend } from 'virtgen/protocol/vhost-user'
import { describe, expect, it } from 'vitest'
import { type AwaitedReply, MessageReader, ReplyReader } from '../hosts/linux/vhost-user/message-reader.ts'
import { encodeReply, encodeRequest, isAnswered, type MessageOf } from '../hosts/linux/vhost-user/messages.ts'
import { ProtocolError } from '../hosts/linux/vhost-user/protocol-error.ts'
import { anyRequest, CutStream, context, Descriptors, type Sent } from './support/vhost-user-messages.ts'

type Message = MessageOf<typeof vhost_user>

const bare: Context = { features: FeatureSet.empty, caller: { protocol_features: 0, postcopy: 0 } }
const cuts = fc.array(fc.nat(40), { minLength: 1, maxLength: 8 }).filter((pieces) => pieces.some((piece) => piece > 0))

/** Reads all that a stream gives. */
function readAll(stream: CutStream, descriptors: Descriptors, now: Context = context): (Message | ProtocolError)[] {
  const reader = new MessageReader({ table: vhost_user, context: () => now, close: (fd) => descriptors.close(fd) })
  const messages: (Message | ProtocolError)[] = []
  for (let idle = 0; !stream.atEnd || idle < 10; ) {
    const message = reader.read(stream)
    if (message === undefined) idle++
    else messages.push(message)
    if (message instanceof ProtocolError) break
  }
  reader.close()
  return messages
}

/** One message alone. */
function readOne(bytes: Uint8Array, fds: readonly number[] = [], now: Context = context): Message | ProtocolError | undefined {
  const descriptors = new Descriptors()
  for (const fd of fds) descriptors.open.add(fd)
  return readAll(new CutStream([{ bytes, fds }], [64]), descriptors, now)[0]
}

function kindOf(message: unknown): string {
  if (!(message instanceof ProtocolError)) throw new Error(`no error, but ${String(message)}`)
  return message.kind
}

describe('a stream of messages', () => {
  it('gives the same messages wherever it is cut, each with its own descriptors', () => {
    fc.assert(
      fc.property(fc.array(anyRequest, { maxLength: 12 }), cuts, (makers, pieces) => {
        const descriptors = new Descriptors()
        const sent = makers.map((make) => make(descriptors))
        const got = readAll(new CutStream(sent, pieces), descriptors) as Message[]
        expect(got.map(({ name, bytes, fds }): Sent => ({ name, bytes, fds }))).toEqual(sent)
        expect(descriptors.open.size).toBe(sent.flatMap(({ fds }) => fds).length)
      }),
      { numRuns: 300 },
    )
  })

  it('gives messages or an error for whatever bytes come, and closes the descriptors of what it refuses', () => {
    const change = fc.record({ message: fc.nat(), at: fc.nat(), byte: fc.nat(255), fds: fc.constantFrom('more', 'fewer', 'same', 'same', 'many') })
    fc.assert(
      fc.property(
        fc.array(anyRequest, { minLength: 1, maxLength: 6 }),
        fc.array(change, { minLength: 1, maxLength: 4 }),
        cuts,
        (makers, changes, pieces) => {
          const descriptors = new Descriptors()
          const sent = makers.map((make) => ({ ...make(descriptors) }))
          for (const { message, at, byte, fds } of changes) {
            const one = sent[message % sent.length] as Sent & { fds: readonly number[] }
            // The header decides most.
            one.bytes[at % 3 === 0 ? at % one.bytes.length : at % 12] = byte
            if (fds === 'more') one.fds = [...one.fds, ...descriptors.take(1)]
            if (fds === 'many') one.fds = [...one.fds, ...descriptors.take(20)]
            if (fds === 'fewer' && one.fds.length > 0) {
              descriptors.close(one.fds[0] as number)
              one.fds = one.fds.slice(1)
            }
          }
          const stream = new CutStream(sent, pieces)
          const got = readAll(stream, descriptors)
          const taken = got.flatMap((message) => (message instanceof ProtocolError ? [] : message.fds))
          expect([...descriptors.open].sort()).toEqual([...taken, ...stream.left].sort())
          for (const message of got) if (!(message instanceof ProtocolError)) expect(message.request.$size).toBe(message.bytes.length)
        },
      ),
      { numRuns: 2000 },
    )
  })

  it('says that it ended inside a message, and closes what came of it', () => {
    const descriptors = new Descriptors()
    const fds = descriptors.take(1)
    const bytes = encodeRequest(vhost_user.set_vring_kick, { ring: { u64: { index: 0, invalid_fd: 0 } } }, context)
    const reader = new MessageReader({ table: vhost_user, context: () => context, close: (fd) => descriptors.close(fd) })
    expect(reader.isInside).toBe(false)
    expect(reader.read(new CutStream([{ bytes: bytes.subarray(0, 15), fds }], [5]))).toBeUndefined()
    expect(reader.isInside).toBe(true)
    reader.close()
    expect(descriptors.open.size).toBe(0)
  })

  it('stays wrong once it is', () => {
    const reader = new MessageReader({ table: vhost_user, context: () => context })
    const wrong = reader.read(new CutStream([{ bytes: new Uint8Array(12).fill(0xff), fds: [] }], [12]))
    expect(kindOf(wrong)).toBe('unknown-request')
    expect(reader.read(new CutStream([{ bytes: encodeRequest(vhost_user.get_features, {}, context), fds: [] }], [12]))).toBe(wrong)
  })
})

describe('a request', () => {
  const owner = encodeRequest(vhost_user.set_owner, {}, context)
  const changed = (bytes: Uint8Array, at: number, value: number): Uint8Array => {
    const copy = bytes.slice()
    new DataView(copy.buffer).setUint32(at, value, true)
    return copy
  }

  it('is refused in another version of the protocol', () => {
    expect(kindOf(readOne(changed(owner, 4, 2)))).toBe('header')
  })

  it('is refused where it is a reply', () => {
    expect(kindOf(readOne(changed(owner, 4, 5)))).toBe('header')
  })

  it('is refused before anything is allocated for an absurd size', () => {
    expect(kindOf(readOne(changed(owner, 8, 0xffff_ffff)))).toBe('size')
    const config = encodeRequest(vhost_user.get_config, { config: { offset: 0, size: 4, flags: 0, payload: new Uint8Array(4) } }, context)
    expect(kindOf(readOne(changed(config, 8, 0x7fff_0000)))).toBe('size')
  })

  it('is refused where its array is longer than its bytes', () => {
    const table = encodeRequest(vhost_user.set_mem_table, { memory: { num_regions: 0, regions: [] } }, context)
    expect(kindOf(readOne(changed(table, 12, 3)))).toBe('size')
  })

  it('is refused without its descriptor, and with one too many', () => {
    const kick = encodeRequest(vhost_user.set_vring_kick, { ring: { u64: { index: 0, invalid_fd: 0 } } }, context)
    expect(kindOf(readOne(kick))).toBe('descriptors')
    expect(kindOf(readOne(kick, [1000, 1001]))).toBe('descriptors')
    const polled = encodeRequest(vhost_user.set_vring_kick, { ring: { u64: { index: 0, invalid_fd: 1 } } }, context)
    expect(readOne(polled)).toMatchObject({ name: 'set_vring_kick', fds: [] })
    expect(kindOf(readOne(polled, [1000]))).toBe('descriptors')
  })

  it('may bring a descriptor that is only closed, where it takes a region away', () => {
    const descriptors = new Descriptors()
    const region = { guest_address: 0, size: 4096, user_address: 0, mmap_offset: 0 }
    const bytes = encodeRequest(vhost_user.rem_mem_reg, { mem_reg: { region } }, context)
    const [message] = readAll(new CutStream([{ bytes, fds: descriptors.take(1) }], [64]), descriptors)
    expect(message).toMatchObject({ name: 'rem_mem_reg', fds: [] })
    expect(descriptors.open.size).toBe(0)
  })

  it('is refused while its protocol feature is not in use', () => {
    const bytes = encodeRequest(vhost_user.get_queue_num, {}, bare)
    expect(kindOf(readOne(bytes, [], bare))).toBe('not-negotiated')
    expect(readOne(bytes)).toMatchObject({ name: 'get_queue_num' })
  })

  it('has the layout of what is negotiated', () => {
    const old = encodeRequest(vhost_user.set_log_base, { u64: 4096n }, bare)
    expect(readOne(old, [], bare)).toMatchObject({ name: 'set_log_base' })
    expect(kindOf(readOne(old, [1000]))).toBe('size')
    const message = readOne(encodeRequest(vhost_user.set_log_base, { log: { log_size: 4096, log_offset: 64 } }, context), [1000])
    if (message instanceof ProtocolError || message?.name !== 'set_log_base') throw new Error('no log')
    expect(message.request.log?.log_offset).toBe(64)
  })
})

describe('a reply', () => {
  /** What the other end makes of a request, and this end of the reply. */
  function exchange(request: Uint8Array, reply: (message: Message) => Uint8Array, fds: readonly number[] = []) {
    const message = readOne(request)
    if (message === undefined || message instanceof ProtocolError) throw new Error('no request')
    const awaited: AwaitedReply = { message, context }
    return new ReplyReader(
      () => awaited,
      () => {},
    ).read(new CutStream([{ bytes: reply(message), fds }], [7, 3]))
  }

  it('is read as its request says', () => {
    const found = exchange(encodeRequest(vhost_user.get_features, {}, context), (message) =>
      encodeReply(message as never, { features: 0x1_4000_0000n }, context),
    )
    expect(found).toMatchObject({ reply: { features: 0x1_4000_0000n }, fds: [] })
  })

  it('acknowledges where the request asks for that alone', () => {
    const request = encodeRequest(vhost_user.set_owner, {}, context, true)
    expect(exchange(request, (message) => encodeReply(message as never, { result: 1n }, context))).toMatchObject({ reply: { result: 1n } })
  })

  it('may be empty where the configuration cannot be read', () => {
    const request = encodeRequest(vhost_user.get_config, { config: { offset: 0, size: 2, flags: 0, payload: new Uint8Array(2) } }, context)
    const config = { offset: 0, size: 2, flags: 0, payload: Uint8Array.of(1, 2) }
    expect(exchange(request, (message) => encodeReply(message as never, { config }, context))).toMatchObject({
      reply: { config: { payload: config.payload } },
    })
    expect(exchange(request, (message) => encodeReply(message as never, {}, context))).toMatchObject({ reply: { config: undefined } })
  })

  it('is refused with another size, to another request, without its descriptor or as a request', () => {
    const request = encodeRequest(vhost_user.get_inflight_fd, { inflight: { mmap_size: 0, mmap_offset: 0, num_queues: 1, queue_size: 4 } }, context)
    const inflight = { mmap_size: 64, mmap_offset: 0, num_queues: 1, queue_size: 4 }
    const answer = (message: Message) => encodeReply(message as never, { inflight }, context)
    expect(exchange(request, answer, [1000])).toMatchObject({ fds: [1000] })
    expect(kindOf(exchange(request, answer))).toBe('descriptors')
    expect(kindOf(exchange(request, () => encodeRequest(vhost_user.get_features, {}, context)))).toBe('header')
    const changed = (at: number, value: number) => (message: Message) => {
      const bytes = answer(message)
      new DataView(bytes.buffer).setUint32(at, value, true)
      return bytes
    }
    expect(kindOf(exchange(request, changed(0, 1), [1000]))).toBe('unexpected')
    expect(kindOf(exchange(request, changed(8, 20), [1000]))).toBe('size')
  })

  it('is refused where nobody asked', () => {
    const stream = new CutStream([{ bytes: Uint8Array.of(1, 0, 0, 0, 5, 0, 0, 0, 8, 0, 0, 0), fds: [] }], [12])
    expect(kindOf(new ReplyReader(() => undefined).read(stream))).toBe('unexpected')
  })
})

describe('the tables', () => {
  it('say which requests are answered anyway', () => {
    const answered = (now: Context) =>
      Object.values(vhost_user).flatMap(({ name, answers }) => ((answers as (c: Context) => boolean)(now) ? [name] : []))
    expect(answered(bare)).toEqual([
      'get_features',
      'get_vring_base',
      'get_protocol_features',
      'get_queue_num',
      'iotlb_msg',
      'get_config',
      'create_crypto_session',
      'postcopy_advise',
      'postcopy_end',
      'get_inflight_fd',
      'get_max_mem_slots',
      'get_status',
      'get_shared_object',
      'set_device_state_fd',
      'check_device_state',
    ])
    expect(answered(context).filter((name) => !answered(bare).includes(name))).toEqual(['set_log_base'])
    expect(answered({ ...bare, caller: { ...bare.caller, postcopy: 1 } })).toEqual(expect.arrayContaining(['set_mem_table', 'add_mem_reg']))
  })

  it('say how long each message is', () => {
    expect(vhost_user.set_mem_table.size).toEqual({ least: 20, most: 12 + 8 + 8 * 40 })
    expect(vhost_user.set_vring_addr.size).toEqual({ least: 52, most: 52 })
    expect(vhost_user.get_config.size).toEqual({ least: 24, most: Number.POSITIVE_INFINITY })
    expect(vhost_user.set_owner.replySize).toEqual({ least: 0, most: 0 })
    // As the C compiler lays the struct out.
    expect(vhost_user.get_inflight_fd.replySize).toEqual({ least: 36, most: 36 })
    expect(vhost_user_backend.backend_config_change_msg.size).toEqual({ least: 12, most: 12 })
  })

  it('say what a request needs', () => {
    const needs = Object.values(vhost_user).filter((entry) => !('feature' in entry || 'protocolFeature' in entry))
    expect(needs.map(({ name }) => name)).toEqual([
      'get_features',
      'set_features',
      'set_owner',
      'reset_owner',
      'set_mem_table',
      'set_log_base',
      'set_log_fd',
      'set_vring_num',
      'set_vring_addr',
      'set_vring_base',
      'get_vring_base',
      'set_vring_kick',
      'set_vring_call',
      'set_vring_err',
      'gpu_set_socket',
    ])
    const asked = readOne(encodeRequest(vhost_user.set_features, { features: 0n }, context, true))
    expect(isAnswered(asked as Message, context)).toBe(true)
  })
})
