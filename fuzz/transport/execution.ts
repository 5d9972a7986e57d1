/** One execution against a device behind a transport: a guest that does anything, a device that does anything, and in the end a reset that leaves nothing of it. */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import {
  DEVICE_NEEDS_RESET,
  VIRTIO_F_ACCESS_PLATFORM,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_NOTIFICATION_DATA,
  VIRTIO_F_ORDER_PLATFORM,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_RING_RESET,
  VIRTIO_F_SUSPEND,
  VIRTIO_F_VERSION_1,
} from 'virtgen/wire/content'
import { restoreConfig, saveConfig } from '../../runtime/config-state.ts'
import type { ControlState } from '../../runtime/device-state.ts'
import type { Violation } from '../../runtime/violation.ts'
import { Failure, require } from '../failure.ts'
import type { Random } from '../random.ts'
import { Random as Numbers } from '../random.ts'
import { Trace } from '../trace.ts'
import { kinds } from './devices.ts'
import { Guest } from './guest.ts'
import { Machine, type Setting, turn } from './machine.ts'
import type { MakeSubject } from './subject.ts'
import { carelessly } from './temper.ts'

const optionalFeatures = [
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_RING_RESET,
  VIRTIO_F_NOTIFICATION_DATA,
  VIRTIO_F_ACCESS_PLATFORM,
  VIRTIO_F_ORDER_PLATFORM,
  VIRTIO_F_SUSPEND,
]

export class TransportExecution {
  readonly trace = new Trace()
  /** How deep it came; `starts`: how often a device became live, `restores`: how often a saved one went on as another one. */
  readonly counts = { accesses: 0, starts: 0, requests: 0, interrupts: 0, restores: 0 }
  violation: Violation | undefined
  readonly #random: Random
  readonly #setting: Setting
  readonly #isPolite: boolean
  readonly #isRestless: boolean
  #machine: Machine
  #guest: Guest

  constructor(make: MakeSubject, random: Random) {
    this.#random = random
    this.#isPolite = random.oneIn(5)
    this.#isRestless = !random.oneIn(3)
    this.#setting = {
      make,
      kind: random.pick(kinds),
      variant: random.word(),
      ringFeatures: FeatureSet.of(VIRTIO_F_VERSION_1, ...optionalFeatures.filter(() => random.oneIn(2))),
      queueSize: random.pick([1, 2, 4, 8, 16]),
      maxChainLength: this.#isPolite ? 1024 : random.pick([1024, 'strict', 4] as const),
      isGood: this.#isPolite || random.oneIn(4),
    }
    this.#machine = new Machine(this.#setting, random.word())
    this.#guest = this.#newGuest(this.#machine, random)
  }

  #newGuest(machine: Machine, random: Random): Guest {
    return new Guest(machine, this.#setting.kind, random, { isPolite: this.#isPolite, isRestless: this.#isRestless })
  }

  async run(): Promise<void> {
    const random = this.#random
    if (!random.oneIn(8)) this.#guest.bringUp()
    const steps = random.between(4, 60)
    for (let i = 0; i < steps; i++) {
      if (random.oneIn(24)) await this.#restore()
      else await this.#step(this.#machine, this.#guest, random)
      this.#look(this.#machine.takeEvents())
    }
    this.#finish(this.#guest)
    await this.#compareWithFresh()
    this.violation = this.#machine.violations[0]
    this.counts.requests += this.#machine.requests
    this.counts.interrupts += this.#machine.interrupts
  }

  async #step(machine: Machine, guest: Guest, random: Random): Promise<void> {
    const what = random.below(16)
    if (what < 11) guest.step()
    else if (what === 11) carelessly(() => machine.temper.act())
    else if (what === 12) carelessly(() => machine.device.act(random))
    else if (what === 13) machine.runDeferred()
    else await turn()
    machine.checkMemory()
  }

  #look(events: readonly string[]): void {
    for (const event of events) this.trace.text(event)
    if (!this.#isPolite) return
    for (const { kind, detail } of this.#machine.violations)
      if (kind !== 'device-failed') throw new Failure(`a driver that keeps the rules is told of ${kind}: ${detail}`)
  }

  // ---- Another device goes on

  /** What is saved is all that a device like this one needs in order to go on in its place. */
  async #restore(): Promise<void> {
    const old = this.#machine
    // Where nothing is out any more, a device that suspends is suspended with the next turn here, and at once there.
    if (old.subject.control.$isSuspending) await turn()
    // Nobody throws meanwhile, as that would come back here.
    old.temper.isHolding = true
    const state: unknown = JSON.parse(JSON.stringify(old.subject.save()))
    old.check()
    const other = new Machine(this.#setting, this.#random.word(), old.memory)
    other.temper.isHolding = true
    other.subject.restore(state)
    other.check()
    const now: unknown = JSON.parse(JSON.stringify(other.subject.save()))
    // Of a device that needs a reset no queue goes on, and it may need one now for what lies in a ring. What is no request is used at once, and tells of it.
    const isAsBefore = (other.subject.control.status & DEVICE_NEEDS_RESET) === 0 && usedOf(state) === usedOf(now)
    if (isAsBefore) requireContinued(state, now)
    other.temper.isHolding = false
    other.violations.push(...old.violations)
    other.requests += old.requests
    other.interrupts += old.interrupts
    this.#machine = other
    this.#guest.moveTo(other)
    this.counts.restores++
  }

  #finish({ accesses, starts }: Guest): void {
    this.counts.accesses += accesses
    this.counts.starts += starts
  }

  // ---- A reset leaves nothing

  /** The device is reset, and from then on cannot be told from one that is new. */
  async #compareWithFresh(): Promise<void> {
    const old = this.#machine
    old.onInterrupt = () => {}
    old.temper.isGood = true
    const isPowerOn = old.subject.powerOn !== undefined && this.#random.oneIn(2)
    if (isPowerOn) old.subject.powerOn?.()
    else old.subject.status = 0
    await old.settle()
    old.checkMemory()
    require(old.subject.control.status === 0, `the status is ${old.subject.control.status} after a reset`)
    for (const [offset, byte] of this.#setting.kind.afterReset ?? [])
      require(old.device.config.bytes[offset] ===
        byte, `byte ${offset} of the configuration space is ${old.device.config.bytes[offset]} after a reset`)
    const seed = this.#random.word()
    const fresh = new Machine(this.#setting, seed)
    fresh.temper.isGood = true
    // A reset leaves to the device what its configuration space holds, and the generation never goes back.
    restoreConfig(fresh.device.config, saveConfig(old.device.config), old.device.config.generation)
    // So it does to those with whom it shares memory.
    old.device.sharedMemory.forEach(({ bytes }, i) => {
      if (bytes !== undefined) fresh.device.sharedMemory[i]?.bytes?.set(bytes)
    })
    fresh.subject.takeOver?.(old.subject, isPowerOn)
    for (const { guestAddress, size } of old.memory.regions) fresh.memory.poke(guestAddress, old.memory.peek(guestAddress, size))
    this.#compareRegisters(old, fresh)
    await this.#compareBehaviour(old, fresh, seed)
  }

  #compareRegisters(old: Machine, fresh: Machine): void {
    requireSame('the saved state', JSON.stringify(old.subject.save()), JSON.stringify(fresh.subject.save()))
    const seen = [old, fresh].map(({ subject, device }) => {
      const list: string[] = []
      for (const { name, parts, read } of subject.windows)
        for (const [begin, end] of parts)
          for (const width of [4, 2, 1]) for (let at = begin; at < end; at += width) list.push(`${name} ${at} ${width}: ${read(at, width)}`)
      subject.probe((value) => list.push(String(value)))
      list.push(...device.queueSizes.map((_, index) => `announced ${subject.control.announcedAvailable(index)}`))
      return list
    })
    const at = seen[0]!.findIndex((value, i) => value !== seen[1]![i])
    if (at >= 0) throw new Failure(`after a reset there is ${seen[0]![at]}, and ${seen[1]![at]} in a new device`)
  }

  async #compareBehaviour(old: Machine, fresh: Machine, seed: number): Promise<void> {
    const isGood = this.#setting.isGood
    const sides = [old, fresh].map((machine) => {
      machine.temper.restart(seed)
      machine.temper.isGood = isGood
      machine.memory.restart()
      machine.takeEvents()
      const random = new Numbers(seed)
      return { machine, random, guest: this.#newGuest(machine, random) }
    })
    const steps = this.#random.between(4, 20)
    for (let step = -1; step < steps; step++) {
      const events: string[] = []
      for (const { machine, random, guest } of sides) {
        if (step < 0) guest.bringUp()
        else await this.#step(machine, guest, random)
        // What is settled is seen with the step that it belongs to.
        await turn()
        events.push(machine.takeEvents().join('\n'))
      }
      requireSame('what happens', events[0]!, events[1]!)
    }
    for (const { guest } of sides) this.#finish(guest)
  }
}

/** How far the used rings are. */
function usedOf(state: unknown): string {
  const { queues } = (state as { control: ControlState }).control
  return queues.map((registers) => registers?.queue?.used).join()
}

/**
 * A device that went on from a saved state has it still. What was available it may have taken meanwhile, but nothing that was out may be missing.
 */
function requireContinued(saved: unknown, now: unknown, path = 'the state'): void {
  if (typeof saved !== 'object' || saved === null || typeof now !== 'object' || now === null) {
    require(saved === now, `${path} was ${JSON.stringify(saved)}, and ${JSON.stringify(now)} once it was restored`)
    return
  }
  for (const name of new Set([...Object.keys(saved), ...Object.keys(now)])) {
    const [before, after] = [saved, now].map((state) => (state as Record<string, unknown>)[name])
    if (name === 'available') continue
    if (name === 'inFlight') {
      const heads = [before, after].map((list) =>
        (list as (number | { head: number })[]).map((each) => (typeof each === 'number' ? each : each.head)),
      )
      require(heads[0]!.every((head) => heads[1]!.includes(head)), `${path}.${name} was ${heads[0]}, and ${heads[1]} once it was restored`)
    } else requireContinued(before, after, `${path}.${name}`)
  }
}

function requireSame(what: string, old: string, fresh: string): void {
  if (old === fresh) return
  let at = 0
  while (old[at] === fresh[at]) at++
  const from = Math.max(0, at - 80)
  throw new Failure(`after a reset ${what} is not that of a new device:\n…${old.slice(from, at + 80)}…\n…${fresh.slice(from, at + 80)}…`)
}
