/** The small gateway: a guest gets an address, finds names, and finds out that it is connected. What is expected is put together by hand, from the RFCs. */
import { Gateway, type GatewayOptions } from 'virtgen/devices/net'
import { describe, expect, it } from 'vitest'
import { mac, referenceChecksum } from './support/net.ts'

const guestMac = '52:54:0:0:0:2'
const gatewayMac = '52:55:a:0:2:2'
const everybody = 'ff:ff:ff:ff:ff:ff'
const u16 = (value: number): number[] => [(value >> 8) & 0xff, value & 0xff]
const ip = (text: string): number[] => text.split('.').map(Number)
const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** A gateway, and what it says. */
function network(options: GatewayOptions = {}): { gateway: Gateway; frames: Uint8Array[]; say(frame: ArrayLike<number>): Uint8Array[] } {
  const gateway = new Gateway(options)
  const frames: Uint8Array[] = []
  gateway.attach({ mac: mac(guestMac), receive: (frame) => frames.push(frame.slice()) > 0, setCarrier: () => {} })
  const say = (frame: ArrayLike<number>): Uint8Array[] => {
    frames.length = 0
    gateway.send(Uint8Array.from(frame))
    return frames
  }
  return { gateway, frames, say }
}

const ethernet = (to: string, type: number, payload: ArrayLike<number>, from = guestMac): number[] => [
  ...mac(to),
  ...mac(from),
  ...u16(type),
  ...Array.from(payload),
]

function ipv4(source: string, destination: string, protocol: number, payload: ArrayLike<number>, to = gatewayMac): number[] {
  const header = [0x45, 0, ...u16(20 + payload.length), 0, 1, 0, 0, 64, protocol, 0, 0, ...ip(source), ...ip(destination)]
  header.splice(10, 2, ...u16(referenceChecksum(header)))
  return ethernet(to, 0x0800, [...header, ...Array.from(payload)])
}

function udp(source: string, sourcePort: number, destination: string, port: number, payload: ArrayLike<number>, to = gatewayMac): number[] {
  const datagram = [...u16(sourcePort), ...u16(port), ...u16(8 + payload.length), 0, 0, ...Array.from(payload)]
  return ipv4(source, destination, 17, datagram, to)
}

/** The parts of a frame with UDP, all checksums checked. */
function readUdp(frame: Uint8Array): { to: Uint8Array; source: string; destination: string; sourcePort: number; port: number; payload: Uint8Array } {
  const packet = frame.subarray(14)
  expect([packet[0], packet[9], referenceChecksum(packet.subarray(0, 20))]).toEqual([0x45, 17, 0])
  const length = packet[24]! * 256 + packet[25]!
  expect([packet[2]! * 256 + packet[3]!, frame.length]).toEqual([20 + length, 34 + length])
  const pseudo = [...packet.subarray(12, 20), 0, 17, ...u16(length)]
  expect(referenceChecksum(pseudo, packet.subarray(20))).toBe(0)
  return {
    to: frame.subarray(0, 6),
    source: packet.subarray(12, 16).join('.'),
    destination: packet.subarray(16, 20).join('.'),
    sourcePort: packet[20]! * 256 + packet[21]!,
    port: packet[22]! * 256 + packet[23]!,
    payload: packet.subarray(28),
  }
}

describe('ARP', () => {
  const request = (target: string, extra: number[] = []): number[] =>
    ethernet(everybody, 0x0806, [0, 1, 8, 0, 6, 4, 0, 1, ...mac(guestMac), ...ip('10.0.2.15'), 0, 0, 0, 0, 0, 0, ...ip(target), ...extra])

  it('tells where the gateway is', () => {
    const reply = ethernet(
      guestMac,
      0x0806,
      [0, 1, 8, 0, 6, 4, 0, 2, ...mac(gatewayMac), ...ip('10.0.2.2'), ...mac(guestMac), ...ip('10.0.2.15')],
      gatewayMac,
    )
    expect(network().say(request('10.0.2.2'))).toEqual([Uint8Array.from(reply)])
    // Padded to the length of the shortest frame.
    expect(network().say(request('10.0.2.2', new Array(18).fill(0)))).toEqual([Uint8Array.from(reply)])
  })

  it('tells of nobody else, and nothing of requests that are none', () => {
    const { say } = network()
    expect(say(request('10.0.2.9'))).toEqual([])
    const good = request('10.0.2.2')
    for (const at of [14, 15, 16, 18, 19, 21]) expect(say(good.with(at, 9)), `byte ${at}`).toEqual([])
    for (let length = 0; length < good.length; length++) expect(say(good.slice(0, length))).toEqual([])
  })
})

describe('ICMP', () => {
  const echo = (payload: number[], destination = '10.0.2.2'): number[] => {
    const message = [8, 0, 0, 0, 0x12, 0x34, 0, 1, ...payload]
    message.splice(2, 2, ...u16(referenceChecksum(message)))
    return ipv4('10.0.2.15', destination, 1, message)
  }

  it('answers a ping with all that was in it', () => {
    const [reply, ...others] = network().say(echo([1, 2, 3, 4, 5]))
    const packet = reply!.subarray(14)
    expect([...reply!.subarray(0, 12)]).toEqual([...mac(guestMac), ...mac(gatewayMac)])
    expect([referenceChecksum(packet.subarray(0, 20)), referenceChecksum(packet.subarray(20))]).toEqual([0, 0])
    expect([...packet.subarray(12, 20)]).toEqual([...ip('10.0.2.2'), ...ip('10.0.2.15')])
    expect([packet[20], packet[21], ...packet.subarray(24)]).toEqual([0, 0, 0x12, 0x34, 0, 1, 1, 2, 3, 4, 5])
    expect(others).toEqual([])
  })

  it('answers none with a wrong checksum, in pieces, or for another', () => {
    const { say } = network()
    expect(say(echo([], '10.0.2.3'))).toEqual([])
    const good = echo([1, 2])
    // The message, the header, the length, a fragment.
    for (const at of [40, 25, 16, 20]) expect(say(good.with(at, good[at]! ^ 0x21)), `byte ${at}`).toEqual([])
    for (let length = 0; length < good.length; length++) expect(say(good.slice(0, length))).toEqual([])
  })

  it('refuses TCP at once, and datagrams that nobody takes', () => {
    const { say } = network()
    const [tcp] = say(ipv4('10.0.2.15', '1.2.3.4', 6, new Array(20).fill(1)))
    expect([tcp![34], tcp![35], referenceChecksum(tcp!.subarray(34))]).toEqual([3, 2, 0])
    // What is sent back begins with the header of what it is about.
    expect([...tcp!.subarray(42 + 12, 42 + 20)]).toEqual([...ip('10.0.2.15'), ...ip('1.2.3.4')])
    const [datagram] = say(udp('10.0.2.15', 1000, '10.0.2.2', 7, [1]))
    expect([datagram![34], datagram![35], datagram!.subarray(26, 30).join('.')]).toEqual([3, 3, '10.0.2.2'])
    for (const destination of ['255.255.255.255', '224.0.0.1', '10.0.2.255']) expect(say(udp('10.0.2.15', 1000, destination, 7, [1]))).toEqual([])
  })
})

describe('DHCP', () => {
  const message = (type: number, { options = [] as number[], client = '0.0.0.0', flags = 0, from = guestMac } = {}): number[] => {
    const bytes = new Array<number>(240).fill(0)
    bytes.splice(0, 8, 1, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef)
    bytes.splice(10, 6, ...u16(flags), ...ip(client))
    bytes.splice(28, 6, ...mac(from))
    bytes.splice(236, 4, 0x63, 0x82, 0x53, 0x63)
    return [...bytes, 53, 1, type, ...options, 255]
  }
  const send = (body: number[]): number[] => udp('0.0.0.0', 68, '255.255.255.255', 67, body, everybody)
  const optionsOf = (payload: Uint8Array): Record<number, number[]> => {
    const options: Record<number, number[]> = {}
    for (let at = 240; payload[at] !== 255; at += 2 + payload[at + 1]!)
      options[payload[at]!] = [...payload.subarray(at + 2, at + 2 + payload[at + 1]!)]
    return options
  }
  const requested = (address: string): number[] => [50, 4, ...ip(address)]

  it('offers an address, and gives it to who asks for it', () => {
    const { say } = network({ mtu: 1400, leaseSeconds: 3600 })
    const offer = readUdp(say(send(message(1)))[0]!)
    expect(offer).toMatchObject({ source: '10.0.2.2', destination: '10.0.2.15', sourcePort: 67, port: 68 })
    expect([...offer.to]).toEqual([...mac(guestMac)])
    expect([...offer.payload.subarray(0, 8), offer.payload.subarray(16, 20).join('.')]).toEqual([2, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef, '10.0.2.15'])
    expect(optionsOf(offer.payload)).toEqual({
      53: [2],
      54: ip('10.0.2.2'),
      51: [0, 0, 14, 16],
      1: ip('255.255.255.0'),
      3: ip('10.0.2.2'),
      6: ip('10.0.2.2'),
      26: u16(1400),
    })
    const ack = readUdp(say(send(message(3, { options: [...requested('10.0.2.15'), 54, 4, ...ip('10.0.2.2')] })))[0]!)
    expect([optionsOf(ack.payload)[53], ack.payload.subarray(16, 20).join('.')]).toEqual([[5], '10.0.2.15'])
  })

  it('gives each card its own, and the same again', () => {
    const { say } = network({ firstGuest: '10.0.2.100' })
    const cards = ['2:0:0:0:0:1', '2:0:0:0:0:2', '2:0:0:0:0:1']
    expect(cards.map((from) => readUdp(say(send(message(1, { from })))[0]!).destination)).toEqual(['10.0.2.100', '10.0.2.101', '10.0.2.100'])
  })

  it('runs out of nothing: who was not heard of longest loses his', () => {
    const { say } = network({ prefix: 29, address: '10.0.0.1', firstGuest: '10.0.0.5' })
    const cards = ['2:0:0:0:0:1', '2:0:0:0:0:2', '2:0:0:0:0:1', '2:0:0:0:0:3', '2:0:0:0:0:1']
    const given = cards.map((from) => readUdp(say(send(message(1, { from })))[0]!).destination)
    expect(given).toEqual(['10.0.0.5', '10.0.0.6', '10.0.0.5', '10.0.0.6', '10.0.0.5'])
  })

  it('gives an address that was given back, and not the one that somebody else seems to have', () => {
    const { say } = network({ prefix: 29, address: '10.0.0.2', firstGuest: '10.0.0.1' })
    const given = (from: string): string => readUdp(say(send(message(1, { from })))[0]!).destination
    const [one, two, three, four] = [1, 2, 3, 4].map((n) => `2:0:0:0:0:${n}`) as [string, string, string, string]
    // .2 is the gateway itself.
    expect([given(one), given(two)]).toEqual(['10.0.0.1', '10.0.0.3'])
    say(send(message(7, { from: one })))
    say(send(message(7, { from: one })))
    expect([given(three), given(three)]).toEqual(['10.0.0.1', '10.0.0.1'])
    say(send(message(4, { from: three })))
    expect([given(three), given(four)]).toEqual(['10.0.0.4', '10.0.0.5'])
    // All are given: one that was declined before one that is in use.
    expect([given('2:0:0:0:0:5'), given('2:0:0:0:0:6'), given('2:0:0:0:0:7')]).toEqual(['10.0.0.6', '10.0.0.1', '10.0.0.3'])
  })

  it('takes no longer for a guest that makes up any number of cards', () => {
    const { say } = network({ prefix: 8, address: '10.0.0.2' })
    const asked = 70_000
    const start = performance.now()
    for (let i = 0; i < asked; i++)
      say(send(message(1, { from: `2:0:0:${(i >> 16).toString(16)}:${((i >> 8) & 0xff).toString(16)}:${(i & 0xff).toString(16)}` })))
    expect((performance.now() - start) / asked).toBeLessThan(1)
  })

  it('tells everybody, where one cannot be told alone; refuses another address', () => {
    const { say } = network()
    const offer = readUdp(say(send(message(1, { flags: 0x8000 })))[0]!)
    expect([[...offer.to], offer.destination]).toEqual([[...mac(everybody)], '255.255.255.255'])
    const nak = readUdp(say(send(message(3, { options: requested('192.168.0.7') })))[0]!)
    expect([optionsOf(nak.payload)[53], nak.destination, nak.payload.subarray(16, 20).join('.')]).toEqual([[6], '255.255.255.255', '0.0.0.0'])
  })

  it('renews a lease with who has it', () => {
    const { say } = network()
    say(send(message(1)))
    const renewal = readUdp(say(udp('10.0.2.15', 68, '10.0.2.2', 67, message(3, { client: '10.0.2.15' })))[0]!)
    expect([optionsOf(renewal.payload)[53], renewal.destination]).toEqual([[5], '10.0.2.15'])
  })

  it('answers nothing to what is for another server, or is no message', () => {
    const { say } = network()
    expect(say(send(message(3, { options: [...requested('10.0.2.15'), 54, 4, ...ip('10.0.2.3')] })))).toEqual([])
    for (const type of [0, 2, 4, 5, 6, 7, 9, 255]) expect(say(send(message(type)))).toEqual([])
    for (const at of [0, 1, 2, 236]) expect(say(send(message(1).with(at, 77)))).toEqual([])
    const cut = message(1, { options: [50, 200, 1] })
    for (let length = 0; length < cut.length; length++) say(send(cut.slice(0, length)))
  })
})

describe('DNS', () => {
  const query = (name: string, type = 1, { questions = 1, flags = 0x0100 } = {}): number[] => [
    ...[0xab, 0xcd, ...u16(flags), ...u16(questions), 0, 0, 0, 0, 0, 0],
    ...name.split('.').flatMap((label) => [label.length, ...Buffer.from(label)]),
    ...[0, ...u16(type), 0, 1],
  ]
  const ask = (body: number[]): number[] => udp('10.0.2.15', 5353, '10.0.2.2', 53, body)
  const answerOf = (frame: Uint8Array): { code: number; addresses: string[] } => {
    const { payload, port, sourcePort, destination } = readUdp(frame)
    expect([sourcePort, port, destination, ...payload.subarray(0, 3)]).toEqual([53, 5353, '10.0.2.15', 0xab, 0xcd, 0x81])
    const count = payload[7]!
    const records = payload.subarray(payload.length - 16 * count)
    return {
      code: payload[3]! & 0xf,
      addresses: Array.from({ length: count }, (_, i) => records.subarray(16 * i + 12, 16 * i + 16).join('.')),
    }
  }

  it('knows the names of its table, however they are written, and its own', () => {
    const { say } = network({ names: { 'Example.org': '93.184.216.34' } })
    expect(answerOf(say(ask(query('eXample.ORG')))[0]!)).toEqual({ code: 0, addresses: ['93.184.216.34'] })
    expect(answerOf(say(ask(query('gateway')))[0]!)).toEqual({ code: 0, addresses: ['10.0.2.2'] })
  })

  it('says that there is no such name, or no such address of it', () => {
    const { say } = network({ names: { a: '1.2.3.4' } })
    expect(answerOf(say(ask(query('b')))[0]!).code).toBe(3)
    expect(answerOf(say(ask(query('constructor')))[0]!).code).toBe(3)
    expect(answerOf(say(ask(query('a', 28)))[0]!)).toEqual({ code: 0, addresses: [] })
  })

  it('asks its VMM, now or later', async () => {
    const asked: string[] = []
    const { say, frames } = network({
      resolve: async (name) => {
        asked.push(name)
        await tick()
        if (name === 'broken') throw new Error('broken')
        return name === 'two.test' ? ['1.1.1.1', '2.2.2.2'] : undefined
      },
    })
    const results: unknown[] = []
    for (const name of ['two.test', 'none', 'broken']) {
      expect(say(ask(query(name)))).toEqual([])
      await tick()
      await tick()
      results.push(answerOf(frames[0]!))
    }
    expect(asked).toEqual(['two.test', 'none', 'broken'])
    expect(results).toEqual([
      { code: 0, addresses: ['1.1.1.1', '2.2.2.2'] },
      { code: 3, addresses: [] },
      { code: 2, addresses: [] },
    ])
  })

  it('answers with as many addresses as a message carries, and says that there are more', async () => {
    const { say } = network({ resolve: () => Array.from({ length: 5000 }, (_, i) => `10.${i >> 8}.${i & 0xff}.1`) })
    const [frame] = say(ask(query('many'))) as [Uint8Array]
    const { payload } = readUdp(frame)
    expect(payload.length).toBeLessThanOrEqual(512)
    // Truncation in the third byte; the number of answers in the seventh and the eighth.
    expect([(payload[2] as number) & 0x02, payload[6], payload[7]]).toEqual([0x02, 0, 30])
  })

  it('tells its VMM of a card that throws when an answer comes later', async () => {
    const errors: unknown[] = []
    const gateway = new Gateway({ resolve: async () => '1.2.3.4', onError: (error) => errors.push(error) })
    gateway.attach({
      mac: mac(guestMac),
      setCarrier: () => {},
      receive: () => {
        throw new Error('unplugged')
      },
    })
    gateway.send(Uint8Array.from(ask(query('a'))))
    await tick()
    expect(errors).toEqual([new Error('unplugged')])
  })

  it('lets only so many lookups go on', () => {
    let asked = 0
    const { say } = network({ resolve: () => new Promise(() => void asked++) })
    for (let i = 0; i < 100; i++) say(ask(query(`n${i}`)))
    expect(asked).toBe(64)
  })

  it('takes any bytes', () => {
    const { say } = network({ resolve: () => '1.2.3.4' })
    expect(answerOf(say(ask(query('a', 1, { questions: 2 })))[0]!).code).toBe(1)
    expect(say(ask(query('a', 1, { flags: 0x8100 })))).toEqual([])
    const pointer = query('a').with(12, 0xc0)
    expect(answerOf(say(ask(pointer))[0]!).code).toBe(1)
    const good = query('some.name')
    for (let length = 0; length < good.length; length++) say(ask(good.slice(0, length)))
    expect(answerOf(say(ask(query(`${'x'.repeat(63)}.`.repeat(5))))[0]!).code).toBe(1)
  })
})

describe('other datagrams', () => {
  it('go to the VMM, which may answer', () => {
    const { say } = network({
      onDatagram: ({ payload, ...of }, reply) => {
        expect(of).toEqual({ source: '10.0.2.15', sourcePort: 1234, destination: '8.8.8.8', port: 7 })
        reply(payload)
        reply(Uint8Array.of(9))
      },
    })
    const replies = say(udp('10.0.2.15', 1234, '8.8.8.8', 7, [1, 2, 3])).map(readUdp)
    expect(replies.map(({ source, port, payload }) => [source, port, ...payload])).toEqual([
      ['8.8.8.8', 1234, 1, 2, 3],
      ['8.8.8.8', 1234, 9],
    ])
  })

  it('come from the VMM as well', () => {
    const { gateway, frames } = network()
    gateway.sendDatagram({ source: '10.0.2.2', sourcePort: 514, destination: '10.0.2.15', port: 99, payload: Uint8Array.of(5) })
    expect(readUdp(frames[0]!)).toMatchObject({ sourcePort: 514, port: 99, payload: Uint8Array.of(5) })
    expect(() => gateway.sendDatagram({ source: 'x', sourcePort: 1, destination: '10.0.2.15', port: 1, payload: new Uint8Array(0) })).toThrow(
      TypeError,
    )
  })
})

describe('options', () => {
  it.each<[GatewayOptions, typeof TypeError | typeof RangeError]>([
    [{ address: '10.0.2' }, TypeError],
    [{ address: '10.0.2.256' }, TypeError],
    [{ prefix: 31 }, RangeError],
    [{ mac: '01:00:00:00:00:00' }, RangeError],
    [{ mac: '1:2:3' }, TypeError],
    [{ firstGuest: '10.0.3.1' }, RangeError],
    // Nobody else could have one.
    [{ address: '10.0.2.254', firstGuest: '10.0.2.254' }, RangeError],
    [{ names: { a: 'b' } }, TypeError],
    [{ mtu: 67 }, RangeError],
  ])('refuses %o', (options, error) => {
    expect(() => new Gateway(options)).toThrow(error)
  })
})
