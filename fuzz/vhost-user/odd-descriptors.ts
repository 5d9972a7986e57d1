/** Descriptors of every kind, of which most are not what a message needs. */
import { constants, ftruncateSync, openSync } from 'node:fs'
import { closeFd, createEventfd, createMemfd, socketPair } from '../../hosts/linux/system/index.ts'
import type { Random } from '../random.ts'

const hugeSize = 2 ** 38

/** Makes descriptors, keeps them, and closes them all at the end. */
export class OddDescriptors {
  readonly #all = new Set<number>()
  readonly #random: Random

  constructor(random: Random) {
    this.#random = random
  }

  keep(fd: number): number {
    this.#all.add(fd)
    return fd
  }

  event(): number {
    return this.keep(createEventfd())
  }

  memory(size: number, seal = true): number {
    return this.keep(createMemfd('fuzz', size, { seal }))
  }

  socket(): number {
    const [one, two] = socketPair()
    this.keep(two)
    return this.keep(one)
  }

  any(): number {
    return this.#random.pick(kinds)(this)
  }

  closeAll(): void {
    this.#all.forEach(closeFd)
    this.#all.clear()
  }
}

const file =
  (path: string, flags: number) =>
  (odd: OddDescriptors): number =>
    odd.keep(openSync(path, flags))

function shrunk(odd: OddDescriptors): number {
  const fd = odd.memory(0x10_0000, false)
  ftruncateSync(fd, 0x1000)
  return fd
}

const kinds: readonly ((odd: OddDescriptors) => number)[] = [
  (odd) => odd.event(),
  (odd) => odd.memory(0),
  (odd) => odd.memory(0x1000),
  (odd) => odd.memory(0x4_0000, false),
  (odd) => odd.memory(hugeSize),
  shrunk,
  (odd) => odd.socket(),
  file('/dev/null', constants.O_RDWR),
  file('/dev/zero', constants.O_RDWR),
  file('/proc/self/maps', constants.O_RDONLY),
  file('/', constants.O_RDONLY | constants.O_DIRECTORY),
  file('/etc/passwd', constants.O_RDONLY),
]
