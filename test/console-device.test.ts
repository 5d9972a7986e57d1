/** The console as a VMM author finds it, with the generated driver client in the place of a guest. */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { Console, type ConsoleOptions, type ConsolePort } from 'virtgen/devices/console'
import { ConsoleDriver } from 'virtgen/driver/console'
import { MmioDevice, restoreMmioDevice, saveMmioDevice } from 'virtgen/mmio'
import { GuestMemory, StateError } from 'virtgen/runtime'
import { VIRTIO_CONSOLE_F_EMERG_WRITE, VIRTIO_CONSOLE_F_MULTIPORT, VIRTIO_CONSOLE_F_SIZE } from 'virtgen/wire/console'
import { VIRTIO_F_VERSION_1 } from 'virtgen/wire/content'
import { describe, expect, it } from 'vitest'
import { loopback } from './support/loopback.ts'

const all = FeatureSet.of(VIRTIO_F_VERSION_1, VIRTIO_CONSOLE_F_SIZE, VIRTIO_CONSOLE_F_MULTIPORT, VIRTIO_CONSOLE_F_EMERG_WRITE)
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)
const bytes = (words: string): Uint8Array => new TextEncoder().encode(words)
const settle = async (): Promise<void> => {
  for (let i = 0; i < 20; i++) await Promise.resolve()
}

/** A guest's driver that does what Linux does: it answers each announcement, opens what is a console, and keeps what it gets. */
async function guestOf(options: ConsoleOptions, accepts = all) {
  const device = new Console(options)
  const line = await loopback<ConsoleDriver>({ device, type: ConsoleDriver, accepts, queueSize: 16 })
  const { driver } = line
  const seen: string[] = []
  const input = new Map<number, string>()
  driver.onInput(({ queue, data }) => input.set(queue, (input.get(queue) ?? '') + text(data)))
  if (!device.offered.has(VIRTIO_CONSOLE_F_MULTIPORT)) return { ...line, device, seen, input }
  driver.onDeviceAdd(({ id }) => {
    seen.push(`add ${id}`)
    void driver.portReady({ id, value: 1 })
  })
  driver.onDeviceRemove(({ id }) => void seen.push(`remove ${id}`))
  driver.onConsolePort(({ id }) => {
    seen.push(`console ${id}`)
    void driver.portOpen({ id, value: 1 })
  })
  driver.onPortName(({ id, name }) => void seen.push(`name ${id} ${text(name)}`))
  driver.onPortOpen(({ id, value }) => void seen.push(`open ${id} ${value}`))
  driver.onResize(({ id, cols, rows }) => void seen.push(`size ${id} ${cols}x${rows}`))
  await settle()
  return { ...line, device, seen, input }
}

const portOf = (device: Console, index: number): ConsolePort => device.port(index) as ConsolePort

describe('a console of one terminal', () => {
  it('has no control queues, and carries bytes both ways as soon as the driver is there', async () => {
    const output: string[] = []
    const device = new Console({ ports: [{ onOutput: (got) => void output.push(text(got)) }] })
    expect([device.offered.has(VIRTIO_CONSOLE_F_MULTIPORT), device.queueSizes.length]).toEqual([false, 2])
    portOf(device, 0).write(bytes('early '))
    const { driver } = await loopback<ConsoleDriver>({ device, type: ConsoleDriver, accepts: all })
    let input = ''
    driver.onInput(({ data }) => {
      input += text(data)
    })
    await settle()
    portOf(device, 0).write(bytes('bird'))
    await driver.output(bytes('hello'))
    await settle()
    expect([output, input, portOf(device, 0).isOpen]).toEqual([['hello'], 'early bird', true])
  })

  it('tells of a new size by its configuration', async () => {
    const { device, driver } = await guestOf({ ports: [{ size: { columns: 80, rows: 24 } }] })
    expect([driver.config.cols, driver.config.rows]).toEqual([80, 24])
    portOf(device, 0).resize({ columns: 132, rows: 43 })
    expect([driver.config.cols, driver.config.rows]).toEqual([132, 43])
    expect(() => portOf(device, 0).resize({ columns: 65_536, rows: 1 })).toThrow('columns must be an integer from 0 to 65535, not 65536')
  })

  it('takes emergency writes as output, or as the host likes it', async () => {
    const output: string[] = []
    const written: number[] = []
    const { driver } = await guestOf({ ports: [{ onOutput: (got) => void output.push(text(got)) }] })
    driver.writeConfig('emerg_wr', 0x41)
    const other = await guestOf({ onEmergencyWrite: (byte) => void written.push(byte) })
    other.driver.writeConfig('emerg_wr', 0x142)
    expect([output, written]).toEqual([['A'], [0x42]])
  })

  it('keeps the guest’s buffer while the receiver is busy, and gives long output in pieces', async () => {
    const sizes: number[] = []
    let release = (): void => {}
    const { driver } = await guestOf({
      ports: [
        {
          onOutput: (got) => {
            sizes.push(got.length)
            return new Promise<void>((resolve) => {
              release = resolve
            })
          },
        },
      ],
    })
    let done = false
    void driver.output(new Uint8Array(100_000)).then(() => {
      done = true
    })
    await settle()
    expect([sizes, done]).toEqual([[65_536], false])
    release()
    await settle()
    expect([sizes, done]).toEqual([[65_536, 34_464], false])
    release()
    await settle()
    expect(done).toBe(true)
  })

  it('gives one buffer after the other, however long they are and however slow the receiver is', async () => {
    const seen: string[] = []
    const { driver } = await guestOf({
      ports: [
        {
          onOutput: async (got) => {
            seen.push(`${String.fromCharCode(got[0] as number)} ${got.length}`)
            await new Promise((resolve) => setTimeout(resolve))
            seen.push('done')
          },
        },
      ],
    })
    await Promise.all([driver.output(new Uint8Array(100_000).fill(0x61)), driver.output(bytes('b')), driver.output(bytes('c'))])
    expect(seen).toEqual(['a 65536', 'done', 'a 34464', 'done', 'b 1', 'done', 'c 1', 'done'])
  })

  it('does not wait after a reset for a receiver that never ends', async () => {
    const seen: string[] = []
    const options: ConsoleOptions = {
      ports: [
        {
          onOutput: (got) => {
            seen.push(text(got))
            return new Promise(() => {})
          },
        },
      ],
    }
    const device = new Console(options)
    const first = await loopback<ConsoleDriver>({ device, type: ConsoleDriver, accepts: all })
    void first.driver.output(bytes('one')).catch(() => {})
    void first.driver.output(bytes('two')).catch(() => {})
    await settle()
    first.transport.control.reset()
    await settle()
    const second = await loopback<ConsoleDriver>({ device, type: ConsoleDriver, accepts: all })
    void second.driver.output(bytes('three')).catch(() => {})
    await settle()
    expect(seen).toEqual(['one', 'three'])
  })

  it('tells of a receiver that fails with an emergency write, and lets no guest fill its memory with those', async () => {
    const errors: unknown[] = []
    let calls = 0
    let fail = (_: Error): void => {}
    const { driver } = await guestOf({
      onError: (error) => errors.push(error),
      ports: [
        {
          onOutput: () => {
            calls++
            return new Promise<void>((_, reject) => {
              fail = reject
            })
          },
        },
      ],
    })
    for (let i = 0; i < 10_000; i++) driver.writeConfig('emerg_wr', 0x41)
    expect(calls).toBe(4096)
    fail(new Error('closed'))
    await settle()
    expect(errors).toEqual([new Error('closed')])
    driver.writeConfig('emerg_wr', 0x41)
    expect(calls).toBe(4097)
  })

  it('fails the device, not the VMM, when the receiver throws', async () => {
    const errors: unknown[] = []
    const { driver, violations } = await guestOf({
      onError: (error) => errors.push(error),
      ports: [
        {
          onOutput: () => {
            throw new Error('closed')
          },
        },
      ],
    })
    void driver.output(bytes('x')).catch(() => {})
    await settle()
    expect([errors, violations.map(({ kind }) => kind)]).toEqual([[new Error('closed')], ['device-failed']])
  })

  it('says when too much waits for the guest, and when there is room again', () => {
    let drained = 0
    const device = new Console({ ports: [{ onDrain: () => void drained++ }] })
    const port = portOf(device, 0)
    expect([port.write(new Uint8Array(65_536)), port.write(new Uint8Array(1)), port.waiting]).toEqual([true, false, 65_537])
    expect(drained).toBe(0)
  })
})

describe('a console of several ports', () => {
  const ports = [{ size: { columns: 80, rows: 24 } }, { name: 'agent' }, { console: true }]

  it('announces them once the driver is ready: which are terminals, their names and sizes, and that they are open', async () => {
    const { driver, seen, device } = await guestOf({ ports, maxPorts: 5 })
    expect([seen, driver.config.max_nr_ports]).toEqual([[], 5])
    await driver.deviceReady({ value: 1 })
    await settle()
    expect(seen.sort()).toEqual(
      ['add 0', 'add 1', 'add 2', 'console 0', 'size 0 80x24', 'open 0 1', 'name 1 agent', 'open 1 1', 'console 2', 'open 2 1'].sort(),
    )
    expect([0, 1, 2].map((index) => portOf(device, index).isOpen)).toEqual([true, false, true])
    seen.length = 0
    await driver.deviceReady({ value: 1 })
    await settle()
    expect(seen).toEqual([])
  })

  it('gives a port its input once the guest has opened it, on its own queue', async () => {
    const opened: boolean[] = []
    const { driver, device, input } = await guestOf({ ports: [{}, { name: 'agent', onOpen: (open) => opened.push(open) }] })
    await driver.deviceReady({ value: 1 })
    await settle()
    portOf(device, 1).write(bytes('for the agent'))
    portOf(device, 0).write(bytes('for the terminal'))
    await settle()
    expect([...input]).toEqual([[0, 'for the terminal']])
    await driver.portOpen({ id: 1, value: 1 })
    await settle()
    expect([input.get(4), opened]).toEqual(['for the agent', [true]])
    await driver.portOpen({ id: 1, value: 0 })
    expect(opened).toEqual([true, false])
  })

  it('gives the output of each port to its receiver', async () => {
    const output: string[] = []
    const { driver } = await guestOf({
      ports: [{ onOutput: (got) => void output.push(`0 ${text(got)}`) }, { onOutput: (got) => void output.push(`1 ${text(got)}`) }],
    })
    await driver.output(bytes('a'), 1)
    await driver.output(bytes('b'), 5)
    expect(output).toEqual(['0 a', '1 b'])
  })

  it('can have ports that come and go, and tells each thing once', async () => {
    const { driver, device, seen } = await guestOf({ ports: [{}], maxPorts: 3 })
    await driver.deviceReady({ value: 1 })
    await settle()
    seen.length = 0
    const agent = device.addPort({ name: 'agent' })
    await settle()
    expect(seen).toEqual(['add 1', 'name 1 agent', 'open 1 1'])
    agent.hostOpen = false
    agent.hostOpen = false
    await settle()
    device.removePort(agent)
    await settle()
    expect(seen.slice(3)).toEqual(['open 1 0', 'remove 1'])
    expect([device.port(1), device.portNamed('agent'), device.addPort({}).index, device.addPort({}).index]).toEqual([undefined, undefined, 1, 2])
    expect(() => device.addPort({})).toThrow('there can be 3 ports at most')
    expect(() => device.removePort(agent)).toThrow('port 1 cannot be removed')
    expect(() => device.removePort(portOf(device, 0))).toThrow('port 0 cannot be removed')
  })

  it('does not take a port away that the driver was never told of', async () => {
    const device = new Console({ maxPorts: 3 })
    const { driver } = await loopback<ConsoleDriver>({ device, type: ConsoleDriver, accepts: all, queueSize: 16 })
    // It has given no buffer for messages so far.
    await driver.deviceReady({ value: 1 })
    device.removePort(device.addPort({}))
    const seen: string[] = []
    driver.onDeviceAdd(({ id }) => void seen.push(`add ${id}`))
    driver.onDeviceRemove(({ id }) => void seen.push(`remove ${id}`))
    await settle()
    expect(seen).toEqual(['add 0'])
  })

  it('does not care for ports that a driver makes up, nor for one that fails', async () => {
    const { driver, seen, device, violations } = await guestOf({ ports: [{}, {}] })
    await driver.portReady({ id: 0, value: 1 })
    await driver.portOpen({ id: 1, value: 1 })
    await driver.portOpen({ id: 0xffff_ffff, value: 1 })
    await driver.deviceReady({ value: 0 })
    await settle()
    expect([seen, portOf(device, 1).isOpen, violations]).toEqual([[], false, []])
  })

  it('is closed by a reset, and announced anew to the next driver', async () => {
    const { transport, device, driver } = await guestOf({ ports })
    await driver.deviceReady({ value: 1 })
    await settle()
    transport.control.reset()
    expect([0, 1, 2].map((index) => portOf(device, index).isOpen)).toEqual([false, false, false])
  })
})

describe('a saved console', () => {
  it('goes on with its ports open, its input waiting, and what it still has to tell', async () => {
    const options = { ports: [{}, { name: 'agent' }], maxPorts: 3 }
    const { transport, device, driver, memory } = await guestOf(options)
    await driver.deviceReady({ value: 1 })
    await settle()
    portOf(device, 1).write(bytes('waits'))
    const saved = JSON.parse(JSON.stringify(saveMmioDevice(transport)))
    const other = new Console(options)
    const copy = GuestMemory.of(new Uint8Array(memory.regions[0]?.u8 ?? []), 0x4000_0000)
    restoreMmioDevice(new MmioDevice(other, { memory: copy, interrupt: () => {} }), saved)
    expect([portOf(other, 0).isOpen, portOf(other, 1).isOpen, portOf(other, 1).waiting]).toEqual([true, false, 5])
  })

  it('tells the guest of the size that the terminal has here', async () => {
    const sized = (columns: number): ConsoleOptions => ({ ports: [{ size: { columns, rows: 24 } }, { console: true, size: { columns, rows: 25 } }] })
    const { transport, driver, memory } = await guestOf(sized(80))
    await driver.deviceReady({ value: 1 })
    await settle()
    const saved = JSON.parse(JSON.stringify(saveMmioDevice(transport)))
    const other = new Console(sized(132))
    const copy = GuestMemory.of(new Uint8Array(memory.regions[0]?.u8 ?? []), 0x4000_0000)
    restoreMmioDevice(new MmioDevice(other, { memory: copy, interrupt: () => {} }), saved)
    expect([other.config.fields?.cols, other.config.fields?.rows]).toEqual([132, 24])
    const { messages } = other.saveState() as { messages: unknown }
    expect(messages).toEqual([])
  })

  it('may have millions of bytes that wait', () => {
    const device = new Console()
    portOf(device, 0).write(new Uint8Array(6_000_000))
    const other = new Console()
    other.restoreState(device.saveState())
    expect(portOf(other, 0).waiting).toBe(6_000_000)
  })

  it.each([
    ['nothing', null, 'driverReady'],
    ['other ports', { driverReady: true, messages: [], ports: [null] }, 'ports'],
    [
      'a message that is none',
      { driverReady: true, messages: [[0, 'shout']], ports: [{ announced: true, ready: true, guestOpen: true, hostOpen: true, waiting: '' }] },
      'messages',
    ],
    [
      'digits that are none',
      { driverReady: true, messages: [], ports: [{ announced: true, ready: true, guestOpen: true, hostOpen: true, waiting: 'x' }] },
      'ports',
    ],
  ])('is refused where it has %s', (_, state, member) => {
    const device = new Console()
    expect(() => device.restoreState(state)).toThrow(StateError)
    expect(() => device.restoreState(state)).toThrow(member)
  })
})

describe('what cannot be', () => {
  it.each([
    [{ maxPorts: 0 }, 'maxPorts must be an integer from 1 to 512, not 0'],
    [{ maxPorts: 513 }, 'maxPorts must be an integer from 1 to 512, not 513'],
    [{ ports: [{}, {}], maxPorts: 1 }, '2 ports are more than maxPorts, 1'],
    [{ ports: [{ size: { columns: -1, rows: 1 } }] }, 'columns must be an integer from 0 to 65535, not -1'],
  ])('is refused: %j', (options, message) => {
    expect(() => new Console(options)).toThrow(message)
  })
})
