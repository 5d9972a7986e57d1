/** Requests that tell of the memory of the guest. vhost-user protocol, Front-end message types. */
import { ProtocolError } from '../protocol-error.ts'
import type { MemoryTable, TableRegion } from './memory-table.ts'
import type { Neighbours } from './options.ts'
import type { Answer, Handlers, MessageNamed } from './requests.ts'
import type { Rings } from './rings.ts'

/** Regions that one front-end may have: as many as any that is known wants. */
const mostSlots = 512

export class MemoryRequests {
  readonly #table: MemoryTable
  readonly #rings: Rings
  readonly #neighbours: Neighbours
  readonly handlers: Handlers = {
    set_mem_table: (message) => this.#setMemTable(message),
    get_max_mem_slots: () => ({ value: { max_mem_slots: BigInt(mostSlots) } }),
    add_mem_reg: (message) => this.#addMemReg(message),
    rem_mem_reg: (message) => this.#remMemReg(message),
  }

  constructor(table: MemoryTable, rings: Rings, neighbours: Neighbours) {
    this.#table = table
    this.#rings = rings
    this.#neighbours = neighbours
  }

  #setMemTable({ request, fds }: MessageNamed<'set_mem_table'>): Promise<Answer> {
    const regions: TableRegion[] = []
    try {
      for (const [index, fd] of fds.entries()) regions.push(this.#table.map(request.memory.regions(index), fd))
      this.#table.check(regions)
    } catch (error) {
      this.#table.unmap(regions)
      throw error
    }
    return this.#remap(regions)
  }

  #addMemReg({ request, fds }: MessageNamed<'add_mem_reg'>): Answer | Promise<Answer> {
    const { regions } = this.#table
    if (regions.length >= mostSlots) throw new ProtocolError('memory', `there are ${mostSlots} regions already`)
    const region = this.#table.map(request.mem_reg.region, fds[0]!)
    try {
      this.#table.check([...regions, region])
    } catch (error) {
      this.#table.unmap([region])
      throw error
    }
    // What works in the others is not disturbed.
    const others = this.#neighbours.atRest([region.file])
    return others === undefined ? this.#use([...regions, region]) : others.then(() => this.#use([...regions, region]))
  }

  #remMemReg({ request }: MessageNamed<'rem_mem_reg'>): Promise<Answer> {
    const region = this.#table.find(request.mem_reg.region)
    if (region === undefined) throw new ProtocolError('memory', 'there is no such region')
    return this.#remap(this.#table.regions.filter((each) => each !== region))
  }

  /** Nothing is at work in memory while it goes. */
  async #remap(regions: readonly TableRegion[]): Promise<Answer> {
    await this.#neighbours.atRest(regions.map(({ file }) => file))
    await this.#rings.remap(regions, () => this.#table.use(regions))
    return undefined
  }

  #use(regions: readonly TableRegion[]): Answer {
    this.#table.use(regions)
    this.#rings.start()
    return undefined
  }
}
