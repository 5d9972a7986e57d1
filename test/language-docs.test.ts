/** docs/language.md is the whole language: every key and unit that a description may have stands in it. */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { fileSchema, jsonSchema } from '../generator/schema.ts'
import { units } from '../generator/units.ts'

const page = readFileSync('docs/language.md', 'utf8')
/** The words of all that is set as code: in backticks, or in a block. */
const words = new Set([...page.matchAll(/```[\s\S]*?```|`([^`]+)`/g)].flatMap(([code]) => code.match(/[\w/]+/g) ?? []))

/** The keys of every mapping in a JSON Schema, at any depth. */
function keysOf(schema: unknown): string[] {
  if (typeof schema !== 'object' || schema === null) return []
  const { properties = {} } = schema as { properties?: Record<string, unknown> }
  return [
    ...Object.keys(properties),
    ...Object.entries(schema).flatMap(([key, value]) => (key === 'properties' ? Object.values(value).flatMap(keysOf) : keysOf(value))),
  ]
}

describe('docs/language.md', () => {
  it('mentions every key of the language', () => {
    const keys = new Set(keysOf(jsonSchema()))
    expect(keys.size).toBeGreaterThan(90)
    expect([...keys].filter((key) => !words.has(key))).toEqual([])
  })

  it('has a row for every section of a file', () => {
    const rows = new Set([...page.matchAll(/^\| ([^|]+) \|/gm)].flatMap(([, cell = '']) => [...cell.matchAll(/`([^`]+)`/g)].map(([, key]) => key)))
    expect(Object.keys(fileSchema.shape).filter((key) => key !== 'doc' && !rows.has(key))).toEqual([])
  })

  it('lists every unit with its meaning', () => {
    const text = page.slice(page.indexOf('**Units**')).replaceAll('\n', ' ')
    const listed = [...text.matchAll(/`([\w/]+)` \(([^)]+)\)/g)].map(([, unit, meaning]) => [unit, meaning])
    expect(listed).toEqual(expect.arrayContaining([...units]))
  })
})
