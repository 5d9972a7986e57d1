/** From a seed to an execution. */
import type { Arena } from './arena.ts'
import { makeArenas } from './arenas.ts'
import { DeviceExecution, type MakeDeviceQueue } from './device-execution.ts'
import { DriverExecution, type MakeDriverQueue } from './driver-execution.ts'
import { Failure } from './failure.ts'
import { RaceExecution } from './race-execution.ts'
import { Racer } from './racer.ts'
import { Random } from './random.ts'
import { FailedExecution, type Result } from './target.ts'

export type Format = 'split' | 'packed'

export type Side = 'device' | 'driver'

/** The queues under test. */
export interface Subjects {
  readonly device: MakeDeviceQueue
  readonly driver: MakeDriverQueue
}

/** The lowest bit of a seed says which ring format is under test, the next one which side. */
export const formatOf = (seed: number): Format => ((seed & 1) === 0 ? 'split' : 'packed')
export const sideOf = (seed: number): Side => ((seed & 2) === 0 ? 'device' : 'driver')

/** One execution in so many is a race with another thread. */
const races = 64
export const isRace = (seed: number): boolean => (seed >>> 2) % races === races - 1

/** Two guards; what can be seen must not depend on which one it is. */
const poisons = [0xa5, 0x5a] as const
/** Every so many executions run twice, over different guards. */
const twice = 16
const isTwice = (seed: number): boolean => (seed >>> 2) % twice === 0

/** Runs executions, in memories that are made once. */
export class Executions {
  readonly #subjects: Subjects
  readonly #arenas = makeArenas('fixed', 'moving')
  readonly #random = new Random(0)
  /** Made when they are first needed: another thread comes with them. */
  #raced: readonly Arena[] | undefined
  #racer: Racer | undefined

  constructor(subjects: Subjects) {
    this.#subjects = subjects
  }

  /**
   * The same for the same seed; of a race, its inputs.
   *
   * @param seed - 32 bits
   * @throws FailedExecution
   */
  run(seed: number): Result {
    try {
      if (isRace(seed)) return this.#race(seed)
      const result = this.#once(seed, poisons[0])
      if (isTwice(seed) && this.#once(seed, poisons[1]).trace !== result.trace)
        throw new Failure('what was seen depends on bytes outside of the regions')
      return result
    } catch (error) {
      throw new FailedExecution('queue', seed, error)
    }
  }

  /** Ends the other thread. */
  close(): void {
    this.#racer?.close()
    this.#racer = undefined
  }

  #race(seed: number): Result {
    this.#raced ??= makeArenas('shared')
    this.#racer ??= new Racer(this.#raced)
    this.#random.restart(seed)
    const race = new RaceExecution(this.#random, this.#raced, formatOf(seed) === 'packed', poisons[0])
    if (sideOf(seed) === 'device') race.runDevice(this.#subjects.device, this.#racer)
    else race.runDriver(this.#subjects.driver, this.#racer)
    return { trace: 0, violation: race.violation }
  }

  #once(seed: number, poison: number): Result {
    this.#random.restart(seed)
    const setting = [this.#random, this.#arenas, formatOf(seed) === 'packed', poison] as const
    const { device, driver } = this.#subjects
    const execution = sideOf(seed) === 'device' ? new DeviceExecution(device, ...setting) : new DriverExecution(driver, ...setting)
    execution.run()
    if (isTwice(seed)) execution.traceMemory()
    return { trace: execution.trace.value, violation: execution.violation }
  }
}
