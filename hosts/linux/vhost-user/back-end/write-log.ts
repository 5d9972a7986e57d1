/** What the back-end tells a front-end that migrates the guest: which pages it has written. vhost-user protocol, Migration. */
import type { GuestMemory } from 'virtgen/runtime'
import type { VhostUserLogValue } from 'virtgen/wire/vhost-user'
import { closeFd, type Mapping, mapShared, signalEventfd } from '../../system/index.ts'
import { DirtyLog, type LoggedRing } from '../dirty-log.ts'
import { ProtocolError } from '../protocol-error.ts'

/** Bytes of a log: for more memory than a machine can have. */
const mostBytes = 2 ** 32

/** The log of a connection: its memory, and whether it is in use. */
export class WriteLog {
  readonly #memory: GuestMemory
  readonly #unsealed: boolean
  readonly #rings: (LoggedRing | undefined)[] = []
  #mapping: Mapping | undefined
  #log: DirtyLog | undefined
  #inUse = false
  #eventfd: number | undefined

  /** @param unsealed - whether memory is taken that could be made shorter, which would end this process */
  constructor(memory: GuestMemory, unsealed: boolean) {
    this.#memory = memory
    this.#unsealed = unsealed
  }

  /**
   * Takes the memory of VHOST_USER_SET_LOG_BASE in place of what was there.
   *
   * @throws ProtocolError where it cannot be mapped
   */
  map({ log_size, log_offset }: VhostUserLogValue, fd: number): void {
    if (log_size > mostBytes) throw new ProtocolError('memory', `the log: ${log_size} bytes are more than there are pages for`)
    let mapping: Mapping
    try {
      mapping = mapShared(fd, { size: log_size, offset: log_offset, unsealed: this.#unsealed })
    } catch (error) {
      throw new ProtocolError('memory', `the log: ${(error as Error).message}`)
    }
    this.#mapping?.unmap()
    this.#mapping = mapping
    const log = new DirtyLog(mapping.windows)
    for (const [index, ring] of this.#rings.entries()) log.setRing(index, ring)
    this.#log = log
    this.#update()
  }

  /** VHOST_F_LOG_ALL: writes are noted from now on, or no longer. Rings may be at work. */
  use(inUse: boolean): void {
    this.#inUse = inUse
    this.#update()
  }

  /** Where writes to a device area are noted as well; undefined: nowhere else. */
  setRing(index: number, ring: LoggedRing | undefined): void {
    this.#rings[index] = ring
    this.#log?.setRing(index, ring)
  }

  /** What is signalled when something was noted. */
  setEventfd(fd: number): void {
    if (this.#eventfd !== undefined) closeFd(this.#eventfd)
    this.#eventfd = fd
  }

  /** Buffers were used: there may be something new in the log. */
  tell(): void {
    if (this.#inUse && this.#eventfd !== undefined) signalEventfd(this.#eventfd)
  }

  #update(): void {
    const log = this.#inUse ? this.#log : undefined
    this.#memory.onWrite = log && ((address, length) => log.mark(address, length))
  }

  release(): void {
    this.#memory.onWrite = undefined
    this.#mapping?.unmap()
    if (this.#eventfd !== undefined) closeFd(this.#eventfd)
    this.#mapping = this.#log = this.#eventfd = undefined
  }
}
