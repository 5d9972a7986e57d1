/** Rooms lie on floors; a room imports only from floors below. What the published floors import must run anywhere: no package, nothing of Node. */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'

const root = fileURLToPath(new URL('..', import.meta.url))

const floors: Readonly<Record<string, number>> = {
  wire: 1,
  'generated/wire': 2,
  'generated/parts': 3,
  'generated/protocol': 4,
  'generated/device': 4,
  runtime: 3,
  'generated/messages': 4,
  'generated/skeleton': 4,
  'generated/driver': 4,
  devices: 5,
  hosts: 6,
  cli: 7,
  // Beside the house: it makes generated/ and must work without it.
  generator: 0,
}

/** The rooms of the package's own entries. */
const entries: readonly [RegExp, string][] = [
  [/^virtgen\/codegen\/v1\/wire$/, 'wire'],
  [/^virtgen\/codegen\/v1\/device$/, 'runtime'],
  [/^virtgen\/(?:runtime|testing|mmio|pci)$/, 'runtime'],
  [/^virtgen\/devices\/[\w-]+$/, 'devices'],
  [/^virtgen\/(?:node|linux|v86)$/, 'hosts'],
  [/^virtgen\/(wire|parts|protocol|messages|device|skeleton|driver)\//, 'generated/$1'],
]

interface Import {
  file: string
  specifier: string
  /** The file, for a relative one. */
  target: string | undefined
  typeOnly: boolean
}

function filesOf(room: string): string[] {
  try {
    return readdirSync(join(root, room), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
      .map((entry) => relative(root, join(entry.parentPath, entry.name)))
  } catch {
    return []
  }
}

function importsOf(file: string): Import[] {
  const text = readFileSync(join(root, file), 'utf8').replaceAll(/\/\*[\s\S]*?\*\//g, '')
  const statements = text.matchAll(/^\s*(?:import|export)\b([^'"]*?)\bfrom\s*['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]\s*\)/gm)
  return [...statements].map(([, names = '', fixed, lazy]) => {
    const specifier = fixed ?? (lazy as string)
    const target = specifier.startsWith('.') ? relative(root, resolve(root, dirname(file), specifier)) : undefined
    return { file, specifier, target, typeOnly: /^\s*type\b/.test(names) }
  })
}

function roomOf(path: string): string | undefined {
  return Object.keys(floors).find((room) => path.startsWith(`${room}/`))
}

function roomOfImport({ specifier, target }: Import): string | undefined {
  if (target !== undefined) return roomOf(target)
  const entry = entries.find(([pattern]) => pattern.test(specifier))
  return entry && specifier.replace(new RegExp(`${entry[0].source}.*`), entry[1])
}

const rooms = Object.keys(floors)
const imports = rooms.flatMap((room) => filesOf(room).flatMap(importsOf))
const describeImport = ({ file, specifier }: Import): string => `${file} imports ${specifier}`

describe('floors', () => {
  test('every room has files, and their imports are found', () => {
    for (const room of rooms) expect(filesOf(room).length, room).toBeGreaterThan(0)
    expect(imports.length).toBeGreaterThan(100)
  })

  test('a room imports only from floors below, and from itself', () => {
    const upward = imports.filter((each) => {
      const from = roomOf(each.file) as string
      const to = roomOfImport(each)
      if (to === undefined || to === from) return false
      // The tables of messages: whole for driver clients, bare for skeletons.
      if (to === 'generated/messages' || to === 'generated/device') return (floors[from] as number) < 4
      return (floors[to] as number) >= (floors[from] as number)
    })
    expect(upward.map(describeImport)).toEqual([])
  })

  test('the generator imports nothing of the house', () => {
    const own = imports.filter(
      (each) => each.file.startsWith('generator/') && roomOfImport(each) !== 'generator' && (each.target || each.specifier.startsWith('virtgen')),
    )
    expect(own.map(describeImport)).toEqual([])
  })

  test('the published floors import no package and nothing of Node', () => {
    const foreign = imports.filter((each) => {
      const floor = floors[roomOf(each.file) as string] as number
      return floor >= 1 && floor <= 5 && each.target === undefined && !each.specifier.startsWith('virtgen/')
    })
    expect(foreign.map(describeImport)).toEqual([])
  })

  test('generated code imports the contract and other generated code, nothing else', () => {
    const others = imports.filter(
      (each) =>
        each.file.startsWith('generated/') && !/^virtgen\/(codegen\/v1|wire|parts|protocol|messages|device|skeleton|driver)\//.test(each.specifier),
    )
    expect(others.map(describeImport)).toEqual([])
  })

  test('the modules of one device import those of no other', () => {
    const chapterOf = (path: string): string => /([\w-]+?)(?:\.ts)?$/.exec(path)?.[1] ?? ''
    const devices = new Set(filesOf('generated/skeleton').map(chapterOf))
    expect(devices.size).toBeGreaterThan(20)
    const others = imports.filter(({ file, specifier }) => {
      const own = file.startsWith('generated/') ? chapterOf(file) : ''
      const other = /^virtgen\/(?:wire|parts|protocol|messages|skeleton|driver)\//.test(specifier) ? chapterOf(specifier) : ''
      return devices.has(own) && devices.has(other) && own !== other
    })
    expect(others.map(describeImport)).toEqual([])
  })

  test('no file imports itself in a circle, types aside', () => {
    const edges = new Map<string, string[]>()
    for (const { file, target, typeOnly } of imports) if (target !== undefined && !typeOnly) edges.set(file, [...(edges.get(file) ?? []), target])
    const circles: string[] = []
    const done = new Set<string>()
    const walk = (file: string, path: readonly string[]): void => {
      if (path.includes(file)) circles.push([...path.slice(path.indexOf(file)), file].join(' -> '))
      else if (!done.has(file)) {
        for (const next of edges.get(file) ?? []) walk(next, [...path, file])
        done.add(file)
      }
    }
    for (const file of edges.keys()) walk(file, [])
    expect(circles).toEqual([])
  })
})
