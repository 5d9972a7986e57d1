// The steps of a chain's life, each timed apart on batches of 256: what tinybench measures. Each function does one batch and says how many ms its part took.
import { now } from './clock.mjs'
import { deviceQueue, memoryOf, serve } from './device-rows.mjs'
import { collect, driverQueue, offer, piecesOf } from './driver-rows.mjs'
import { batch, driverByHand, layOut, PackedDevice, pieceLength, queueSize, SplitDevice } from './guest.mjs'

const target = new Uint8Array(65536)

/** The times of the three parts of `partsOf`, in ms. */
const times = new Float64Array(3)

/** Takes a batch, does something to each chain, completes it. */
function partsOf(queue, chains, work) {
  queue.cork()
  const started = now()
  for (let i = 0; i < batch; i++) chains[i] = queue.next()
  const taken = now()
  for (let i = 0; i < batch; i++) work(chains[i])
  const worked = now()
  for (let i = 0; i < batch; i++) chains[i].complete(0)
  queue.uncork()
  times[0] = taken - started
  times[1] = worked - taken
  times[2] = now() - worked
}

/** Looks at each piece of memory in place. */
function walk(chain) {
  const { readable } = chain
  const count = readable.segments
  let length = 0
  for (let i = 0; i < count; i++) length += readable.bytes(i).length
  return length
}

function copy(chain) {
  return chain.readable.copyTo(target)
}

function nothing() {}

/** Device side; the buffers have `payload` bytes. */
export function deviceSteps(guest, shape) {
  const step = (row, work, part) => {
    const setup = layOut(guest, row.format, queueSize(row))
    const driver = driverByHand(row.format, guest, setup, row)
    const queue = deviceQueue(memoryOf(guest, row), setup, row)
    const chains = new Array(batch).fill(undefined)
    return () => {
      driver.offer()
      partsOf(queue, chains, work)
      return times[part]
    }
  }
  const of = (payload, more = {}) => ({ ...shape, payload, ...more })
  const whole = (row) => {
    const setup = layOut(guest, row.format, queueSize(row))
    const driver = driverByHand(row.format, guest, setup, row)
    const queue = deviceQueue(memoryOf(guest, row), setup, row)
    return () => {
      driver.offer()
      const started = now()
      serve(queue, row.payload, false, 'batch')
      return now() - started
    }
  }
  return {
    pop: step(of(64), nothing, 0),
    'walk in place': step(of(64), walk, 1),
    'copy 64 B': step(of(64), copy, 1),
    'copy 4 KiB': step(of(4096), copy, 1),
    complete: step(of(64), nothing, 2),
    'all, 64 B': whole(of(64)),
    'all, 4 KiB': whole(of(4096)),
    'all, 64 B, event index': whole(of(64, { eventIndex: true })),
  }
}

/** Driver side. */
export function driverSteps(guest, shape) {
  const step = (row, part) => {
    const setup = layOut(guest, row.format, queueSize(row))
    const queue = driverQueue(memoryOf(guest, row), setup, row)
    const device = row.format === 'packed' ? new PackedDevice(guest, setup, row.n) : new SplitDevice(guest, setup)
    const addresses = piecesOf(row)
    return () => {
      const started = now()
      offer(queue, addresses, row.n, pieceLength(row), false)
      const offered = now()
      device.use()
      const used = now()
      collect(queue)
      return part === 'add' ? offered - started : now() - used
    }
  }
  const row = { ...shape, payload: 64 }
  return {
    'add and publish': step(row, 'add'),
    completed: step(row, 'completed'),
    'add and publish, event index': step({ ...row, eventIndex: true }, 'add'),
    'completed, event index': step({ ...row, eventIndex: true }, 'completed'),
  }
}

/** Both sides of the library. */
export function roundTripSteps(guest, shape) {
  const step = (row) => {
    const setup = layOut(guest, row.format, queueSize(row))
    const memory = memoryOf(guest, row)
    const driver = driverQueue(memory, setup, row)
    const device = deviceQueue(memory, setup, row)
    const addresses = piecesOf(row)
    return () => {
      const started = now()
      offer(driver, addresses, row.n, pieceLength(row), false)
      serve(device, row.payload, false, 'batch')
      collect(driver)
      return now() - started
    }
  }
  return {
    '64 B': step({ ...shape, payload: 64 }),
    '4 KiB': step({ ...shape, payload: 4096 }),
    '64 B, event index': step({ ...shape, payload: 64, eventIndex: true }),
  }
}
