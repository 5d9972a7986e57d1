/** Devices behind a transport under test. */
import { Random } from '../random.ts'
import { Rejections } from '../rejections.ts'
import { FailedExecution, type Result, type Target } from '../target.ts'
import { TransportExecution } from './execution.ts'
import { LegacyMmioSubject } from './legacy-mmio-subject.ts'
import { turn } from './machine.ts'
import { MmioSubject } from './mmio-subject.ts'
import { PciSubject } from './pci-subject.ts'
import type { MakeSubject } from './subject.ts'
import { TransitionalSubject } from './transitional-subject.ts'

/** The transports, by the names of their targets. */
export const transports: Readonly<Record<string, MakeSubject>> = {
  mmio: (device, settings) => new MmioSubject(device, settings),
  'legacy-mmio': (device, settings) => new LegacyMmioSubject(device, settings),
  pci: (device, settings) => new PciSubject(device, settings),
  'transitional-pci': (device, settings) => new TransitionalSubject(device, settings),
}

export class TransportTarget implements Target {
  readonly name: string
  readonly #make: MakeSubject
  readonly #random = new Random(0)
  readonly #rejections = new Rejections()

  constructor(name: string, make: MakeSubject) {
    this.name = name
    this.#make = make
  }

  async run(seed: number): Promise<Result> {
    this.#rejections.begin()
    try {
      this.#random.restart(seed)
      const execution = new TransportExecution(this.#make, this.#random)
      await execution.run()
      await turn()
      this.#rejections.check()
      return { trace: execution.trace.value, violation: execution.violation, counts: execution.counts }
    } catch (error) {
      throw new FailedExecution(this.name, seed, error)
    } finally {
      this.#rejections.end()
    }
  }
}
