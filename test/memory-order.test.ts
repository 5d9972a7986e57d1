/**
 * The order of memory that both ring formats rely on, and nothing stronger: driver and device over a memory in which every load may see any value that ECMA-262
 * allows, with the other side at work between any two accesses. Two threads show little of that: x86 keeps nearly all loads and stores in order.
 *
 * `VIRTGEN_SEEDS=5000` looks further than the default.
 */
import { readFileSync } from 'node:fs'
import { split_ring_entry_size, VirtqAvail, VirtqUsed } from 'virtgen/wire/split-ring'
import { describe, expect, it } from 'vitest'
import type { RingFeatures } from '../runtime/queue.ts'
import type { Access } from './support/weak/memory.ts'
import { areas, driverSide, runTwoSides, sizeOf } from './support/weak/two-sides.ts'

const page = readFileSync(new URL('../docs/memory-order.md', import.meta.url), 'utf8')
const seeds = Number(process.env.VIRTGEN_SEEDS ?? 40)

const flags = [false, true]
const combinations = flags.flatMap((packed) =>
  flags.flatMap((eventIndex) => flags.flatMap((indirect) => flags.map((inOrder) => ({ packed, eventIndex, indirect, inOrder })))),
)

function nameOf(features: RingFeatures): string {
  const on = Object.entries({ 'event index': features.eventIndex, indirect: features.indirect, 'in order': features.inOrder }).filter(([, is]) => is)
  return [features.packed ? 'packed' : 'split', ...on.map(([name]) => name)].join(', ')
}

/** What an access of Atomics is, in the words of docs/memory-order.md. */
function describeAtomic({ side, kind, at }: Access, features: RingFeatures): string {
  const word = features.packed ? packedWord(at) : splitWord(at, sizeOf(features))
  return `the ${side === driverSide ? 'driver' : 'device'} ${kind}s ${word}`
}

function splitWord(at: number, size: number): string {
  const words: Record<number, string> = {
    [areas.driverArea + VirtqAvail.offsetOf.flags]: 'avail.flags',
    [areas.driverArea + VirtqAvail.offsetOf.idx]: 'avail.idx',
    [areas.driverArea + VirtqAvail.offsetOf.ring + split_ring_entry_size.available_ring * size]: 'used_event',
    [areas.deviceArea + VirtqUsed.offsetOf.flags]: 'used.flags',
    [areas.deviceArea + VirtqUsed.offsetOf.idx]: 'used.idx',
    [areas.deviceArea + VirtqUsed.offsetOf.ring + split_ring_entry_size.used_ring * size]: 'avail_event',
  }
  return words[at] ?? `0x${at.toString(16)}`
}

function packedWord(at: number): string {
  if (at >= areas.deviceArea) return 'device event suppression'
  return at >= areas.driverArea ? 'driver event suppression' : 'flags'
}

/** The rows of a table of docs/memory-order.md: which side stores and loads which word. */
function documented(features: RingFeatures): string[] {
  const [, split, packed] = page.split(/^## (?:Split|Packed) virtqueues$/m)
  const rows = (features.packed ? packed : split)!.matchAll(
    /^\| `?([\w. ]+?)`? \| (driver|device) \| (driver|device) \| (always|event index|no event index) \|/gm,
  )
  const found = [...rows].filter(([, , , , when]) => when === 'always' || (when === 'event index') === features.eventIndex)
  return found.flatMap(([, word, writer, reader]) => [`the ${writer} stores ${word}`, `the ${reader} loads ${word}`]).sort()
}

describe.each(combinations.map((features) => [nameOf(features), features] as const))('%s', (_, features) => {
  const seen = new Set<string>()

  it('passes every chain and loses no notification, whatever value each load sees', () => {
    let sleeps = 0
    for (let seed = 0; seed < seeds; seed++) {
      const outcome = runTwoSides({ features, seed })
      expect(outcome.failure, `seed ${seed}`).toBeUndefined()
      expect(outcome.races, `seed ${seed}: accesses that nothing orders`).toEqual([])
      sleeps += outcome.sleeps
      for (const access of outcome.atomics) seen.add(describeAtomic(access, features))
    }
    expect(sleeps, 'the sides sleep and are woken').toBeGreaterThan(seeds)
    expect([...seen].sort(), 'the Atomics are those of docs/memory-order.md').toEqual(documented(features))
  })

  it('needs every one of its Atomics: where one is a plain access, it fails', () => {
    for (const name of seen) {
      const isDemoted = (access: Access) => describeAtomic(access, features) === name
      const failed = Array.from({ length: 300 }, (_, seed) => seed).some((seed) => runTwoSides({ features, seed, isDemoted }).failure !== undefined)
      expect(failed, `${name}, but plainly`).toBe(true)
    }
  })
})
