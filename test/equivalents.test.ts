/** docs/equivalents.md names what is exported, and nothing else. */
import { readFileSync } from 'node:fs'
import { Node, Project, type SourceFile, type Type, ts } from 'ts-morph'
import { describe, expect, it } from 'vitest'

/** Where the sources of an entry are. */
const entries: readonly [RegExp, string][] = [
  [/^virtgen\/runtime$/, 'runtime/index.ts'],
  [/^virtgen\/testing$/, 'runtime/testing/index.ts'],
  [/^virtgen\/mmio$/, 'runtime/mmio/index.ts'],
  [/^virtgen\/pci$/, 'runtime/pci/index.ts'],
  [/^virtgen\/codegen\/v1\/wire$/, 'wire/index.ts'],
  [/^virtgen\/(wire|driver|skeleton)\/(.+)$/, 'generated/$1/$2.ts'],
]

interface Row {
  readonly there: string
  readonly items: readonly string[]
  readonly modules: readonly string[]
  readonly remark: string
}

const rows = readFileSync('docs/equivalents.md', 'utf8')
  .split('\n')
  .filter((line) => line.startsWith('|') && !/^\| (?:---|there|\|)/.test(line))
  .map((line): Row => {
    const [, there = '', here = '', from = '', remark = ''] = line.split('|').map((cell) => cell.trim())
    const words = (cell: string): string[] => [...cell.matchAll(/`([^`]+)`/g)].map(([, word]) => word as string)
    return { there, items: words(here), modules: words(from), remark }
  })

// From the sources: what the package ships is made of them.
const project = new Project({
  skipAddingFilesFromTsConfig: true,
  compilerOptions: {
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    allowImportingTsExtensions: true,
    noEmit: true,
    strict: true,
    lib: ['lib.es2023.d.ts'],
    types: [],
    paths: Object.fromEntries([
      ['virtgen/codegen/v1/wire', ['./wire/index.ts']],
      ['virtgen/codegen/v1/device', ['./runtime/codegen.ts']],
      ...['wire', 'parts', 'messages', 'device', 'skeleton', 'driver'].map((room) => [`virtgen/${room}/*`, [`./generated/${room}/*.ts`]]),
    ]),
  },
})

function sourceOf(module: string): SourceFile | undefined {
  const entry = entries.find(([pattern]) => pattern.test(module))
  return entry && project.addSourceFileAtPathIfExists(module.replace(entry[0], entry[1]))
}

/** Whether a module exports an item: `Name`, `Name.member` (of the class or of its instances) or `Name: literal` (of a union). */
function isExported(module: string, item: string): boolean {
  const [, name = '', member, literal] = /^(\w+)(?:\.([\w$]+)|: ([\w-]+))?$/.exec(item) ?? []
  const source = sourceOf(module)
  const symbol = source?.getExportSymbols().find((each) => each.getName() === name)
  if (source === undefined || symbol === undefined) return false
  const declared = (symbol.getAliasedSymbol() ?? symbol).getDeclaredType()
  if (literal !== undefined) return literals(declared).includes(literal)
  if (member === undefined) return true
  const types = [declared, (symbol.getAliasedSymbol() ?? symbol).getTypeAtLocation(source)]
  return types.some((type) => type.getProperty(member) !== undefined)
}

/** Names of what a module exports as values. */
function valuesOf(source: SourceFile): string[] {
  return source
    .getExportSymbols()
    .filter((symbol) => !symbol.getDeclarations().some(isTypeOnly) && (symbol.getAliasedSymbol() ?? symbol).getValueDeclaration() !== undefined)
    .map((symbol) => symbol.getName())
}

function isTypeOnly(declaration: Node): boolean {
  return Node.isExportSpecifier(declaration) && (declaration.isTypeOnly() || declaration.getExportDeclaration().isTypeOnly())
}

function literals(type: Type): unknown[] {
  return (type.isUnion() ? type.getUnionTypes() : [type]).map((each) => each.getLiteralValue())
}

describe('the table of equivalents', () => {
  it('has a reason for every gap, and a module for everything else', () => {
    expect(rows.length).toBeGreaterThan(100)
    const wrong = rows.filter(({ items, modules, remark }) => (items.length === 0 ? remark === '' || modules.length > 0 : modules.length === 0))
    expect(wrong.map(({ there }) => there)).toEqual([])
  })

  it('names only what is exported', () => {
    const missing = rows.flatMap(({ items, modules }) =>
      items.filter((item) => !modules.some((module) => isExported(module, item))).map((item) => `${item} of ${modules.join(', ')}`),
    )
    expect([...new Set(missing)]).toEqual([])
  })

  it('names values that can be imported', async () => {
    const seen = new Set(rows.flatMap(({ modules }) => modules))
    for (const module of seen) {
      const loaded = (await import(/* @vite-ignore */ module)) as object
      const names = rows
        .filter(({ modules }) => modules.includes(module))
        .flatMap(({ items }) => items.map((item) => item.split(/[.:]/)[0] as string))
      const values = valuesOf(sourceOf(module)!).filter((name) => names.includes(name))
      expect(values.length, module).toBeGreaterThan(0)
      for (const name of values) expect(Object.keys(loaded), module).toContain(name)
    }
  })

  it('would notice a name that is not there', () => {
    expect(isExported('virtgen/runtime', 'Chain.complete')).toBe(true)
    expect(isExported('virtgen/runtime', 'GuestRange.of')).toBe(true)
    expect(isExported('virtgen/runtime', 'ViolationKind: descriptor-loop')).toBe(true)
    for (const item of ['Chian', 'Chain.finish', 'ViolationKind: descriptor-lop', 'SegmentSlab'])
      expect(isExported('virtgen/runtime', item)).toBe(false)
  })
})
