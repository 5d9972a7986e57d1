/** A back-end and its front-end, for a test. */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { closeFd, countDescriptors, mappings, Poller, type ProtocolError, VhostUserServer, type VhostUserServerOptions } from 'virtgen/linux'
import type { GuestMemory, Violation } from 'virtgen/runtime'
import { VIRTIO_F_VERSION_1 } from 'virtgen/wire/content'
import { afterEach, beforeEach, expect } from 'vitest'
import { HeldDevice } from './vhost-user-device.ts'
import { FrontEnd, FrontRing, type Piece, settle } from './vhost-user-front.ts'

export const memorySize = 0x10_0000
export const ringAt = 0x1000
export const dataAt = 0x8_0000
export const bufferSize = 64

const ends: (() => unknown)[] = []

/** Ends what the test has begun; nothing of it may be left. */
export async function endSessions(): Promise<void> {
  for (const end of ends.splice(0).reverse()) await end()
}

export function atEnd(end: () => unknown): void {
  ends.push(end)
}

const held = (): { mappings: number; descriptors: number } => ({ mappings: mappings.count, descriptors: countDescriptors() })

/** After each test of this group no mapping and no descriptor is there that was not there before it. */
export function keepNothing(): void {
  let before: unknown
  beforeEach(() => {
    // What there is once per thread is made.
    Poller.shared.poll()
    before = held()
  })
  afterEach(async () => {
    await endSessions()
    await settle()
    expect(held()).toEqual(before)
  })
}

export interface Served {
  readonly server: VhostUserServer
  readonly device: HeldDevice
  readonly front: FrontEnd
  readonly errors: ProtocolError[]
  readonly failures: unknown[]
  readonly violations: Violation[]
}

export function serve(options: Partial<VhostUserServerOptions> = {}, device = new HeldDevice()): Served {
  const errors: ProtocolError[] = []
  const failures: unknown[] = []
  const violations: Violation[] = []
  const server = new VhostUserServer({
    device: () => device,
    onError: (error) => failures.push(error),
    onProtocolError: (error) => errors.push(error),
    onViolation: (violation) => violations.push(violation),
    ...options,
  })
  const front = new FrontEnd((fd) => server.adopt(fd))
  atEnd(async () => {
    device.holds = false
    device.finish()
    const closing = server.close()
    front.close()
    await settle()
    device.finish()
    await closing
  })
  return { server, device, front, errors, failures, violations }
}

export interface Started extends Served {
  readonly piece: Piece
  readonly memory: GuestMemory
  readonly ring: FrontRing<number>
}

/** Negotiates, tells of the memory and makes ring 0, which is not started. */
export async function prepared(
  options: Partial<VhostUserServerOptions> = {},
  { device, features = FeatureSet.of(VIRTIO_F_VERSION_1), protocolFeatures }: Preparation = {},
): Promise<Started> {
  const served = serve(options, device)
  const { front } = served
  await front.negotiate(protocolFeatures, features)
  const piece = front.piece(0, memorySize)
  expect(await front.done('set_mem_table', ...front.table([piece]))).toBe(true)
  const memory = front.memoryOf([piece])
  return { ...served, piece, memory, ring: new FrontRing<number>(front, memory, 0, 64, ringAt) }
}

interface Preparation {
  readonly device?: HeldDevice
  readonly features?: FeatureSet
  readonly protocolFeatures?: readonly number[]
}

/** The same with the ring at work. */
export async function started(options: Partial<VhostUserServerOptions> = {}, preparation: Preparation = {}): Promise<Started> {
  const all = await prepared(options, preparation)
  all.ring.start(all.piece)
  await synchronized(all.front)
  return all
}

/** All messages before this have been handled. */
export async function synchronized(front: FrontEnd): Promise<void> {
  await front.ask('get_features')
}

/** Makes a buffer available, which the device is to fill. */
export function add(ring: FrontRing<number>, token: number): void {
  expect(ring.queue.add([], [{ address: dataAt + token * bufferSize, length: bufferSize }], token)).toBe(true)
  ring.queue.publish()
}

/** A descriptor that is closed behind the test. */
export function ours(front: FrontEnd, fd: number): number {
  return front.keep(fd)
}

export { closeFd }
