// Driver side of a queue, beside a device written by hand; and both sides of this library together.
import { deviceQueue, memoryOf, serve } from './device-rows.mjs'
import { batch, layOut, PackedDevice, pieceAddress, pieceLength, queueSize, SplitDevice } from './guest.mjs'
import { createDriverQueue, DriverMemory } from './library.mjs'

/** Indirect tables are allocated behind all buffers. */
const tablesAt = 48 << 20
const tablesLength = 1 << 20
/** Less than any table. */
const noRoom = 16

export function driverQueue(memory, setup, row) {
  const { format, eventIndex = false, indirect = false, inOrder = false, tables = true } = row
  return createDriverQueue(memory, setup, {
    packed: format === 'packed',
    eventIndex,
    inOrder,
    indirect,
    ...(indirect && { indirectTables: new DriverMemory(memory, tablesAt, tables ? tablesLength : noRoom) }),
    notify: () => {},
    fail: (violation) => {
      throw new Error(`${violation.kind}: ${violation.detail}`)
    },
  })
}

/** The pieces of the chains of a batch, in columns: the driver's own buffers. */
export function piecesOf(row) {
  const addresses = new Float64Array(batch * row.n)
  for (let i = 0; i < addresses.length; i++) addresses[i] = pieceAddress(row, Math.floor(i / row.n), i % row.n)
  return addresses
}

/** Adds a batch and makes it visible. The tokens are small integers. */
export function offer(queue, addresses, n, length, writable) {
  for (let i = 0; i < batch; i++) {
    for (let j = 0; j < n; j++) if (!queue.append(addresses[i * n + j], length, writable)) throw new Error('the ring has no room for a batch')
    queue.commit(i)
  }
  queue.publish()
}

export function collect(queue) {
  let chains = 0
  for (let token = queue.completed(); token !== undefined; token = queue.completed()) chains++
  if (chains !== batch) throw new Error(`${chains} chains came back`)
}

/** @returns the same as `deviceRow` */
export function driverRow(guest, row) {
  const { format, n, indirect = false, tables = true, writable = false } = row
  const setup = layOut(guest, format, queueSize(row))
  const queue = driverQueue(memoryOf(guest, row), setup, row)
  const device = format === 'packed' ? new PackedDevice(guest, setup, indirect && tables ? 1 : n) : new SplitDevice(guest, setup)
  const addresses = piecesOf(row)
  const length = pieceLength(row)
  const round = () => {
    offer(queue, addresses, n, length, writable)
    device.use()
    collect(queue)
  }
  const sample = (rounds) => {
    let time = 0
    for (let i = 0; i < rounds; i++) {
      const started = performance.now()
      offer(queue, addresses, n, length, writable)
      const offered = performance.now()
      device.use()
      const used = performance.now()
      collect(queue)
      time += performance.now() - used + offered - started
    }
    return (time * 1e6) / (rounds * batch)
  }
  return { sample, round }
}

/** Driver and device, both of this library, in turns. */
export function roundTripRow(guest, row) {
  const { format, n, payload, writable = false, publish } = row
  const setup = layOut(guest, format, queueSize(row))
  const memory = memoryOf(guest, row)
  const driver = driverQueue(memory, setup, row)
  const device = deviceQueue(memory, setup, row)
  const addresses = piecesOf(row)
  const length = pieceLength(row)
  const round = () => {
    offer(driver, addresses, n, length, writable)
    serve(device, payload, writable, publish)
    collect(driver)
  }
  const sample = (rounds) => {
    const started = performance.now()
    for (let i = 0; i < rounds; i++) round()
    return ((performance.now() - started) * 1e6) / (rounds * batch)
  }
  return { sample, round }
}
