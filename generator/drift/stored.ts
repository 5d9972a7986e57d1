/** Facts of published revisions, kept in `facts/`: names and numbers, so that a comparison needs no checkout of the text. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Facts } from '../facts.ts'

/** As text: one fact per line, without files and lines. */
export function storedText(facts: Facts): string {
  const { source, version, devices, features, constants, structs, registers, queues } = facts
  const list = (title: string, items: readonly object[]): string =>
    `  ${JSON.stringify(title)}: [\n${items.map((item) => `    ${JSON.stringify(item, withoutPlace)}`).join(',\n')}\n  ]`
  const lists = Object.entries({ devices, features, constants, structs, registers, queues }).map(([title, items]) => list(title, items))
  return `{\n  "source": ${JSON.stringify(source)},\n  "version": ${JSON.stringify(version)},\n${lists.join(',\n')}\n}\n`
}

function withoutPlace(key: string, value: unknown): unknown {
  return key === 'file' || key === 'line' ? undefined : value
}

/** Revisions of which facts are kept. */
export function storedVersions(folder: string): string[] {
  if (!existsSync(folder)) return []
  return readdirSync(folder)
    .flatMap((name) => /^virtio-(\d+\.\d+)\.json$/.exec(name)?.[1] ?? [])
    .sort()
}

export function readStored(folder: string, version: string): Facts {
  const stored = JSON.parse(readFileSync(join(folder, `virtio-${version}.json`), 'utf8')) as Facts
  return { ...stored, requests: [], errata: [] }
}
