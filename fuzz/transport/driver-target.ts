/** The driver side of the transports under test, against registers that read anything: a device that is right, and a bus that is not. */
import type { FeatureSet } from 'virtgen/codegen/v1/wire'
import { BlkDriver } from 'virtgen/driver/blk'
import { ConsoleDriver } from 'virtgen/driver/console'
import { EntropyDriver } from 'virtgen/driver/entropy'
import { NetDriver } from 'virtgen/driver/net'
import { createDeviceQueue } from '../../runtime/device-queue.ts'
import type { VectorConnection } from '../../runtime/driver/connect.ts'
import { DriverError, type DriverType } from '../../runtime/driver/host.ts'
import { DriverMemory } from '../../runtime/driver/memory.ts'
import { MmioDevice } from '../../runtime/mmio/device.ts'
import { connectMmio } from '../../runtime/mmio/driver.ts'
import { LegacyMmioDevice } from '../../runtime/mmio/legacy-device.ts'
import { PciBus } from '../../runtime/pci/bus.ts'
import { PciDevice } from '../../runtime/pci/device.ts'
import { connectPci } from '../../runtime/pci/driver.ts'
import { pciLayouts } from '../../runtime/pci/layout.ts'
import { TestMemory } from '../../runtime/testing/memory.ts'
import { Failure, require } from '../failure.ts'
import { Random } from '../random.ts'
import { Rejections } from '../rejections.ts'
import { FailedExecution, type Result, type Target } from '../target.ts'
import { Trace } from '../trace.ts'
import { type FuzzedDevice, kinds } from './devices.ts'
import { turn } from './machine.ts'
import { Temper } from './temper.ts'

const drivers: readonly DriverType<{ close(): Promise<void> }>[] = [BlkDriver, NetDriver, ConsoleDriver, EntropyDriver]
const values = [0, 0, 1, 1, 2, 3, 4, 7, 8, 15, 0x1000, 0x7fff, 0xffff, 0x1_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]
const driverMemory = { address: 0x8000, length: 0x1_0000 }
/** Register accesses that an execution may make, however many queues a device claims to have. */
const mostAccesses = 200_000
const resetPolls = 10

type Width = 1 | 2 | 4

export class DriverTarget implements Target {
  readonly name = 'driver-registers'
  readonly #random = new Random(0)
  readonly #rejections = new Rejections()

  async run(seed: number): Promise<Result> {
    this.#random.restart(seed)
    const execution = new DriverExecution(this.#random)
    this.#rejections.begin()
    try {
      await execution.run()
      await turn()
      this.#rejections.check()
      return { trace: execution.trace.value, violation: undefined, counts: execution.counts }
    } catch (error) {
      throw new FailedExecution(this.name, seed, error)
    } finally {
      this.#rejections.end()
    }
  }
}

class DriverExecution {
  readonly trace = new Trace()
  readonly counts: Record<string, number> = { accesses: 0, connections: 0 }
  readonly #random: Random
  readonly #memory = new TestMemory({
    regions: [
      { guestAddress: 0, size: driverMemory.address },
      { guestAddress: driverMemory.address, size: driverMemory.length },
    ],
  })
  readonly #driverMemory = new DriverMemory(this.#memory, driverMemory.address, driverMemory.length)
  /** One read in so many is wrong. */
  readonly #badness: number
  readonly #kind: number
  readonly #device: FuzzedDevice
  #isConnected = false
  #interrupted: () => void = () => {}

  constructor(random: Random) {
    this.#random = random
    this.#badness = random.pick([2, 8, 30, 100, 1e9])
    this.#kind = random.below(drivers.length)
    const world = { reset: () => {}, configChanged: () => {}, fail: () => {}, requested: () => {}, called: () => {} }
    this.#device = kinds[this.#kind]!.make(new Temper(random, world, true), { queueSize: random.pick([1, 8, 64]), onError: () => {} })
  }

  /** What a register reads. */
  #read(value: number, width: Width): number {
    require(++this.counts.accesses! < mostAccesses, `the driver has made ${mostAccesses} accesses`)
    if (!this.#random.oneIn(this.#badness)) return value
    const wrong = this.#random.oneIn(3)
      ? this.#random.word()
      : this.#random.oneIn(2)
        ? value ^ (1 << this.#random.below(8 * width))
        : this.#random.pick(values)
    return width === 4 ? wrong >>> 0 : wrong & (2 ** (8 * width) - 1)
  }
  #wrote(): void {
    require(++this.counts.accesses! < mostAccesses, `the driver has made ${mostAccesses} accesses`)
  }

  async run(): Promise<void> {
    const free = this.#driverMemory.available
    let connection: VectorConnection<{ close(): Promise<void> }> | undefined
    try {
      connection = await this.#connect()
    } catch (error) {
      if (!(error instanceof DriverError)) throw error
      this.trace.text(error.kind)
      this.counts[error.kind] = (this.counts[error.kind] ?? 0) + 1
      // A device that does not come back from a reset may still write into what it was given.
      require(error.kind === 'reset' ||
        error.kind === 'needs-reset' ||
        this.#driverMemory.available === free, `memory is lost with a device that is refused: ${error.kind}`)
    }
    if (connection !== undefined) await this.#use(connection)
    this.#memory.checkGuards()
    // The driver's queues lie where the driver has memory; what the device writes goes there as well.
    const elsewhere = this.#memory.changes().find(({ address }) => address < driverMemory.address)
    if (elsewhere !== undefined) throw new Failure(`${elsewhere.length} bytes at ${elsewhere.address} were written, which are not the driver's`)
  }

  #connect(): Promise<VectorConnection<{ close(): Promise<void> }>> {
    const random = this.#random
    const type = drivers[this.#kind]!
    const options = {
      memory: this.#driverMemory,
      queueSize: random.pick([1, 4, 256]),
      resetPolls,
      interface: random.pick(['modern', 'legacy', 'any'] as const),
      features: undefined as FeatureSet | undefined,
    }
    const { features: _, ...others } = options
    const settings = { memory: this.#memory, createQueue: createDeviceQueue, interrupt: () => this.#interrupted() }
    if (random.oneIn(2)) {
      const slot = others.interface === 'legacy' ? new LegacyMmioDevice(this.#device, settings) : new MmioDevice(this.#device, settings)
      const bus = {
        read: (offset: number, width: Width) => this.#read(slot.read(offset, width), width),
        write: (offset: number, width: Width, value: number) => {
          this.#wrote()
          slot.write(offset, width, value)
        },
      }
      return connectMmio(bus, type, others)
    }
    const bus = new PciBus({ interrupt: () => this.#interrupted() })
    const layout = random.pick([pciLayouts.memory, pciLayouts.io])
    const transitional = random.oneIn(2)
    bus.add(1, (interrupt) => new PciDevice(this.#device, { ...settings, interrupt, layout, transitional, message: () => this.#interrupted() }))
    bus.assign({ memory: { address: 0x8000_0000, size: 0x1000_0000 }, io: { address: 0x1000, size: 0x1000 } })
    const right = bus.function(1)
    const fn = {
      readConfig: (offset: number, width: Width) => this.#read(right.readConfig(offset, width), width),
      writeConfig: (offset: number, width: Width, value: number) => {
        this.#wrote()
        right.writeConfig(offset, width, value)
      },
      map: (bar: number, offset: number, length: number) => {
        const part = right.map(bar, offset, length)
        return (
          part && {
            read: (at: number, width: Width) => this.#read(part.read(at, width), width),
            write: (at: number, width: Width, value: number) => {
              this.#wrote()
              part.write(at, width, value)
            },
          }
        )
      },
    }
    const vectors = random.oneIn(2) ? [] : Array.from({ length: random.between(1, 4) }, (_, i) => ({ address: 0xfee0_0000, data: i }))
    return connectPci(fn, type, { ...others, vectors })
  }

  async #use({ driver, interrupt }: VectorConnection<{ close(): Promise<void> }>): Promise<void> {
    this.#isConnected = true
    this.counts.connections!++
    let depth = 0
    this.#interrupted = () => {
      if (depth++ < 8) interrupt()
      depth--
    }
    for (let i = 0; i < 10; i++) {
      require(typeof interrupt() === 'boolean', 'interrupt says neither yes nor no')
      if (this.#random.oneIn(3)) this.#device.config.update(() => {})
      this.#device.act(this.#random)
      await turn()
    }
    const closed = await Promise.race([
      driver.close().then(
        () => 'closed',
        (error) => error,
      ),
      turn().then(turn).then(turn).then(turn),
    ])
    require(closed === undefined || closed === 'closed' || closed instanceof DriverError, `close ends with ${closed}`)
    this.trace.text(String(this.#isConnected))
  }
}
