/** A front-end that does everything right, to see whether the back-end still does. */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { type Context, vhost_user } from 'virtgen/protocol/vhost-user'
import { VIRTIO_F_VERSION_1 } from 'virtgen/wire/content'
import { VHOST_USER_F_PROTOCOL_FEATURES } from 'virtgen/wire/vhost-user'
import { closeFd, createEventfd, createMemfd, mapShared, Poller, signalEventfd, socketPair, UnixSocket } from '../../hosts/linux/system/index.ts'
import type { VhostUserServer } from '../../hosts/linux/vhost-user/back-end/index.ts'
import { encodeRequest } from '../../hosts/linux/vhost-user/messages.ts'
import { createDriverQueue } from '../../runtime/driver-queue.ts'
import { GuestMemory } from '../../runtime/memory.ts'
import { placeQueue, queueLayout } from '../../runtime/queue-layout.ts'
import { require } from '../failure.ts'

const size = 0x1_0000
const entries = 16
const features = FeatureSet.of(VIRTIO_F_VERSION_1, VHOST_USER_F_PROTOCOL_FEATURES)
const context: Context = { features, caller: { protocol_features: 0, postcopy: 0 } }
const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 1))

/** Connects, has some buffers used, and leaves. @throws Failure where that does not work */
export async function checkService(server: VhostUserServer): Promise<void> {
  const [ours, theirs] = socketPair()
  const socket = new UnixSocket(Poller.shared, ours)
  const [memoryFd, kick, call] = [createMemfd('good', size, { seal: true }), createEventfd(), createEventfd()] as const
  const mapping = mapShared(memoryFd, { size })
  try {
    const connection = server.adopt(theirs)
    require(connection !== undefined, 'a good front-end is not let in')
    const memory = new GuestMemory([{ guestAddress: 0, size, source: mapping.windows[0]! }])
    const setup = placeQueue(queueLayout({ size: entries, packed: false }), 0, 0x1000)
    const queue = createDriverQueue<number>(memory, setup, { packed: false, notify: () => signalEventfd(kick), fail: () => {} })
    const region = { guest_address: 0, size, user_address: 0, mmap_offset: 0 }
    const u64 = { index: 0, invalid_fd: 0 }
    const addr = { index: 0, flags: 0, descriptor: setup.descriptorArea, available: setup.driverArea, used: setup.deviceArea, log: 0 }
    const say = (bytes: Uint8Array, ...fds: number[]): void => socket.send(bytes, fds)
    say(encodeRequest(vhost_user.set_owner, {}, context))
    say(encodeRequest(vhost_user.set_features, { features: BigInt(features.toString()) }, context))
    say(encodeRequest(vhost_user.set_mem_table, { memory: { num_regions: 1, regions: [region] } }, context), memoryFd)
    say(encodeRequest(vhost_user.set_vring_num, { state: { index: 0, num: entries } }, context))
    say(encodeRequest(vhost_user.set_vring_addr, { addr }, context))
    say(encodeRequest(vhost_user.set_vring_kick, { ring: { u64 } }, context), kick)
    say(encodeRequest(vhost_user.set_vring_call, { ring: { u64 } }, context), call)
    say(encodeRequest(vhost_user.set_vring_enable, { state: { index: 0, num: 1 } }, context))
    for (let token = 0; token < 10; token++) queue.add([], [{ address: 0x8000 + token * 64, length: 64 }], token)
    queue.publish()
    signalEventfd(kick)
    let used = 0
    for (let turns = 0; used < 10 && turns < 2000; turns++) {
      if (queue.completed() === undefined) await turn()
      else used++
    }
    require(used === 10, `of 10 buffers of a good front-end ${used} are used`)
    socket.close()
    await connection.ended
  } finally {
    socket.close()
    mapping.unmap()
    for (const fd of [memoryFd, kick, call]) closeFd(fd)
  }
}
