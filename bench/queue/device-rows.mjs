// Device side of a queue on the workload: take a chain (its descriptors are checked and translated), copy its bytes, complete it.
import { batch, driverByHand, layOut, memoryBytes, queueSize } from './guest.mjs'
import { createDeviceQueue, GuestMemory } from './library.mjs'

/** Where payloads go to, and come from. */
const target = new Uint8Array(65536)
let notified = 0
let told = 0

/** The memory of a row: one region, or two, with or without a hook that is told of each write. */
export function memoryOf(guest, { twoRegions, hook }) {
  const half = memoryBytes / 2
  const regions = twoRegions
    ? [0, half].map((guestAddress) => ({ guestAddress, size: half, source: guest.u8.subarray(guestAddress, guestAddress + half) }))
    : [{ guestAddress: 0, size: memoryBytes, source: guest.u8 }]
  return hook ? new GuestMemory(regions, { onWrite: (_address, length) => (told = (told + length) & 0xffff) }) : new GuestMemory(regions)
}

export function deviceQueue(memory, setup, { format, eventIndex = false, inOrder = false }) {
  return createDeviceQueue(memory, setup, {
    packed: format === 'packed',
    eventIndex,
    inOrder,
    indirect: true,
    notify: () => notified++,
    fail: (violation) => {
      throw new Error(`${violation.kind}: ${violation.detail}`)
    },
  })
}

/** The device. One function serves the queues of all rows, as the loop of `RequestDevice` serves those of all devices. */
export function serve(queue, payload, writable, publish) {
  let chains = 0
  let copied = 0
  if (publish !== 'notified') queue.cork(publish === 'each')
  for (let chain = queue.next(); chain !== undefined; chain = queue.next()) {
    chains++
    if (payload === 0) chain.complete(0)
    else if (writable) {
      copied += chain.writable.copyFrom(target, 0, payload)
      chain.complete(payload)
    } else {
      copied += chain.readable.copyTo(target)
      chain.complete(0)
    }
  }
  if (publish !== 'notified') queue.uncork()
  if (chains !== batch || copied !== payload * batch) throw new Error(`${chains} chains were served and ${copied} bytes copied`)
}

/**
 * Makes a row: its queue, and a function that measures it.
 *
 * @returns {{sample: (rounds: number) => number, round: () => void}} `sample`: ns per chain
 */
export function deviceRow(guest, row) {
  const { format, payload, publish, writable = false } = row
  const setup = layOut(guest, format, queueSize(row))
  const driver = driverByHand(format, guest, setup, row)
  const queue = deviceQueue(memoryOf(guest, row), setup, row)
  const round = () => {
    driver.offer()
    serve(queue, payload, writable, publish)
  }
  const apart = (rounds) => {
    let time = 0
    for (let i = 0; i < rounds; i++) {
      driver.offer()
      const started = performance.now()
      serve(queue, payload, writable, publish)
      time += performance.now() - started
    }
    return time
  }
  const together = (rounds) => {
    const started = performance.now()
    for (let i = 0; i < rounds; i++) round()
    return performance.now() - started
  }
  const measure = format === 'packed' ? apart : together
  return { sample: (rounds) => (measure(rounds) * 1e6) / (rounds * batch), round }
}
