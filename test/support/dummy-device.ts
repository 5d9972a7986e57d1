/** A device that does what a test says and writes down what is asked of it. */

import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { VIRTIO_BLK_F_CONFIG_WCE, VIRTIO_BLK_F_MQ } from 'virtgen/wire/blk'
import { type ConfigField, ConfigSpace } from '../../runtime/config-space.ts'
import { type DeviceHost, type Plain, VirtioDevice } from '../../runtime/device.ts'

/** Bytes 0–3 read-only, 4–7 writable, 8 write-only, 9 writable only with a feature, 10–15 without a field. */
export const dummyFields: readonly ConfigField[] = [
  { name: 'fixed', offset: 0, width: 4, access: 'r' },
  { name: 'free', offset: 4, width: 4, access: 'rw' },
  { name: 'secret', offset: 8, width: 1, access: 'w' },
  { name: 'conditional', offset: 9, width: 1, access: 'rw', writable: (features) => features.has(VIRTIO_BLK_F_CONFIG_WCE) },
]

export class DummyDevice extends VirtioDevice {
  readonly id: number = 42
  override offered = FeatureSet.of(VIRTIO_BLK_F_CONFIG_WCE, VIRTIO_BLK_F_MQ, 70)
  readonly queueSizes: readonly number[]
  readonly config = new ConfigSpace(
    Uint8Array.from({ length: 16 }, (_, index) => index + 1),
    dummyFields,
  )
  readonly log: string[] = []
  host: DeviceHost | undefined
  memo: Plain = null
  onAccepts: (features: FeatureSet) => boolean = () => true
  onActivate: (host: DeviceHost) => void = () => {}
  onQueue: (index: number, host: DeviceHost) => void = () => {}
  onQueueReset: (index: number) => void | Promise<void> = () => {}
  onConfig: (field: string) => void = () => {}
  onReset: () => void | Promise<void> = () => {}

  constructor(queueSizes: readonly number[] = [8, 0, 4]) {
    super()
    this.queueSizes = queueSizes
  }

  override accepts(features: FeatureSet): boolean {
    return this.onAccepts(features)
  }
  override activate(host: DeviceHost): void {
    this.log.push('activate')
    this.host = host
    this.onActivate(host)
  }
  override queueNotified(index: number): void {
    this.log.push(`queue ${index}`)
    if (this.host) this.onQueue(index, this.host)
  }
  override queueReset(index: number): void | Promise<void> {
    this.log.push(`queue ${index} reset`)
    return this.onQueueReset(index)
  }
  override configWritten(field: string): void {
    this.log.push(`config ${field}`)
    this.onConfig(field)
  }
  override reset(): void | Promise<void> {
    this.log.push('reset')
    this.host = undefined
    return this.onReset()
  }
  override saveState(): Plain {
    return this.memo
  }
  override restoreState(state: Plain): void {
    this.memo = state
  }
}

/** Gives back every available buffer of a queue with its writable part filled with a byte. */
export function useAll(index: number, host: DeviceHost, value = 0xaa): void {
  const queue = host.queue(index)
  for (let chain = queue?.next(); chain; chain = queue?.next()) {
    chain.writable.fill(value)
    chain.complete()
  }
}
