/** The programs of docs/devices.md do what they say. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { MmioDevice } from 'virtgen/mmio'
import { createDriverQueue, DriverMemory, placeQueue, queueLayout, type VirtioDevice } from 'virtgen/runtime'
import { TestMemory } from 'virtgen/testing'
import { ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, VIRTIO_F_VERSION_1 } from 'virtgen/wire/content'
import { beforeAll, describe, expect, it, vi } from 'vitest'

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
const printed: unknown[] = []
const modules: Record<string, unknown>[] = []

beforeAll(async () => {
  const log = vi.spyOn(console, 'log').mockImplementation((...values) => void printed.push(...values))
  mkdirSync('test/generated', { recursive: true })
  const blocks = readFileSync('docs/devices.md', 'utf8').matchAll(/<!-- run -->\n```ts\n([\s\S]*?)```/g)
  for (const [index, [, program]] of [...blocks].entries()) {
    const file = `test/generated/devices-${index}.ts`
    writeFileSync(file, program as string)
    modules.push(await import(/* @vite-ignore */ `../${file}`))
  }
  log.mockRestore()
})

describe('the asynchronous face as the guide shows it', () => {
  it('echoes what was sent, with one interrupt for both', () => {
    expect(printed.slice(0, 2)).toEqual([
      [
        [1, 2, 3],
        [4, 5],
      ],
      1,
    ])
  })

  it('has streams behind registers as well, also after a reset', async () => {
    const { Echo } = modules[1] as { Echo: new () => VirtioDevice }
    const memory = new TestMemory()
    const { control } = new MmioDevice(new Echo(), { memory, interrupt: () => {} })
    const own = new DriverMemory(memory, 0x1_0000, 0x1_0000)
    for (let life = 0; life < 2; life++) {
      for (const status of [ACKNOWLEDGE, ACKNOWLEDGE | DRIVER]) control.writeStatus(status)
      FeatureSet.of(VIRTIO_F_VERSION_1).bits.forEach((bit) => void control.setDriverFeatures(bit >> 5, 1 << (bit & 31)))
      control.writeStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK)
      const layout = queueLayout({ size: 16 })
      const setup = placeQueue(layout, 0, own.allocate(layout.size, layout.alignment).address)
      control.setQueueSize(0, setup.size)
      for (const area of ['descriptorArea', 'driverArea', 'deviceArea'] as const) control.setQueueAddress(0, area, 0, setup[area])
      const queue = createDriverQueue<number>(memory, setup, { notify: () => control.notifyAvailable(0), fail: expect.fail })
      control.setQueueReady(0, true)
      control.writeStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK)
      const [question, answer] = [own.allocate(4), own.allocate(16)]
      question.bytes.set([1, 2, 3, 4])
      for (const token of [1, 2]) {
        queue.add([question], [answer], token)
        queue.publish()
        await settle()
        expect([queue.completed(), queue.written, [...answer.bytes.subarray(0, 4)]]).toEqual([token, 4, [1, 2, 3, 4]])
      }
      control.reset()
      await settle()
    }
  })
})

it('a queue by itself as the guide shows it goes on from where it was saved', () => {
  expect(printed.slice(2)).toEqual(['first', 4, 'second', 4, 'third', 4])
})
