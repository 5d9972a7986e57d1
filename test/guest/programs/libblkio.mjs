/**
 * A driver that is not ours: libblkio's, for vhost-user-blk. It fills a disk with random blocks in random order, several at a time on every queue, reads them back, and
 * compares; then it discards the first block. A process of its own, as the library waits without Node's event loop.
 *
 *     node libblkio.mjs LIBRARY SOCKET QUEUES
 *
 * Prints one line of JSON: { capacity, queues, digest } with the SHA-256 of the disk behind the block that was discarded.
 */
import { createHash, randomFillSync } from 'node:crypto'
import { constants } from 'node:os'
import koffi from 'koffi'

const [library, path, queueCount] = process.argv.slice(2)
const block = 64 * 1024
const depth = 16
const regionSize = depth * block
const notSupported = -constants.errno.EOPNOTSUPP

const { load, struct } = koffi
struct('Region', { addr: 'void *', len: 'size_t', iova: 'uint64_t', fd_offset: 'int64_t', fd: 'int', flags: 'uint32_t' })
struct('Completion', { user_data: 'uintptr_t', error_msg: 'const char *', ret: 'int', reserved: koffi.array('uint8_t', 12) })
const lib = load(library)
const call = (declaration) => lib.func(declaration)
const message = call('const char *blkio_get_error_msg()')
const create = call('int blkio_create(const char *driver, _Out_ void **b)')
const setText = call('int blkio_set_str(void *b, const char *name, const char *value)')
const setNumber = call('int blkio_set_int(void *b, const char *name, int value)')
const getSize = call('int blkio_get_uint64(void *b, const char *name, _Out_ uint64_t *value)')
const connect = call('int blkio_connect(void *b)')
const start = call('int blkio_start(void *b)')
const allocate = call('int blkio_alloc_mem_region(void *b, _Out_ Region *region, size_t length)')
const map = call('int blkio_map_mem_region(void *b, const Region *region)')
const queueOf = call('void *blkio_get_queue(void *b, int index)')
const read = call('void blkioq_read(void *q, uint64_t start, void *buffer, size_t length, uintptr_t user_data, uint32_t flags)')
const write = call('void blkioq_write(void *q, uint64_t start, void *buffer, size_t length, uintptr_t user_data, uint32_t flags)')
const discard = call('void blkioq_discard(void *q, uint64_t start, uint64_t length, uintptr_t user_data, uint32_t flags)')
const flush = call('void blkioq_flush(void *q, uintptr_t user_data, uint32_t flags)')
const doIo = call('int blkioq_do_io(void *q, _Out_ Completion *completions, int least, int most, void *timeout)')
const destroy = call('void blkio_destroy(_Inout_ void **b)')

function check(result, what) {
  if (result < 0) throw new Error(`${what}: ${message()} (${result})`)
}
function value(getter, ...values) {
  const box = [null]
  check(getter(...values, box), values[1] ?? getter.name)
  return box[0]
}
const blkio = value(create, 'virtio-blk-vhost-user')
check(setText(blkio, 'path', path), 'path')
check(connect(blkio), 'connect')
check(setNumber(blkio, 'num-queues', Number(queueCount)), 'num-queues')
check(start(blkio), 'start')
const capacity = Number(value(getSize, blkio, 'capacity'))

/** A queue, with memory for as many requests as are under way at once. */
class Queue {
  constructor(index) {
    this.queue = queueOf(blkio, index)
    const region = {}
    check(allocate(blkio, region, regionSize), 'memory')
    check(map(blkio, region), 'map')
    this.memory = new Uint8Array(koffi.view(region.addr, regionSize))
    this.address = koffi.address(region.addr)
  }

  /** Waits until all requests that were given are done. */
  finish(count, mayRefuse = false) {
    while (count > 0) {
      const completion = {}
      const done = doIo(this.queue, completion, 1, 1, null)
      check(done, 'do_io')
      if (!mayRefuse || completion.ret !== notSupported) check(completion.ret, completion.error_msg ?? 'request')
      count -= done
    }
  }

  /** Moves blocks, each with the piece of memory that stands for it. */
  move(operation, blocks) {
    for (const [i, number] of blocks.entries()) operation(this.queue, number * block, this.address + BigInt(i * block), block, 0, 0)
    this.finish(blocks.length)
  }

  piece(i) {
    return this.memory.subarray(i * block, (i + 1) * block)
  }
}

const queues = Array.from({ length: Number(queueCount) }, (_, i) => new Queue(i))
const disk = randomFillSync(Buffer.alloc(capacity))
const at = (number) => disk.subarray(number * block, (number + 1) * block)
const shuffled = Array.from({ length: capacity / block }, (_, i) => i)
  .map((number) => ({ number, key: Math.random() }))
  .sort((a, b) => a.key - b.key)
  .map(({ number }) => number)
const batches = Array.from({ length: Math.ceil(shuffled.length / depth) }, (_, i) => shuffled.slice(i * depth, (i + 1) * depth))

for (const [turn, blocks] of batches.entries()) {
  const queue = queues[turn % queues.length]
  for (const [i, number] of blocks.entries()) queue.piece(i).set(at(number))
  queue.move(write, blocks)
}
for (const { queue } of queues) flush(queue, 0, 0)
for (const queue of queues) queue.finish(1)
// Each queue reads what another one wrote.
for (const [turn, blocks] of batches.entries()) {
  const queue = queues[(turn + 1) % queues.length]
  queue.memory.fill(0)
  queue.move(read, blocks)
  for (const [i, number] of blocks.entries()) if (!at(number).equals(queue.piece(i))) throw new Error(`block ${number} reads as something else`)
}
discard(queues[0].queue, 0, block, 0, 0)
// A disk in memory has no room to give back, and does not offer it.
queues[0].finish(1, true)
console.log(JSON.stringify({ capacity, queues: queues.length, digest: createHash('sha256').update(disk.subarray(block)).digest('hex') }))
destroy([blkio])
