/**
 * Every number that the specification's text gives a name, held against the description. The text is not part of the project: the test runs where its LaTeX lies beside
 * (VIRTIO_SPEC_TEXT, or ../shared/virtio-spec/1.4).
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { factsOf, loadFolders, resolve } from '../generator/index.ts'

const folder = process.env.VIRTIO_SPEC_TEXT ?? '../shared/virtio-spec/1.4'
const present = existsSync(join(folder, 'content.tex'))
if (!present) console.log(`The text of the specification is not in ${folder}: the comparison with it is skipped.`)

const facts = factsOf(resolve(loadFolders([{ folder: 'spec', builtin: true }])).model)
const files: Record<string, string> = { blk: 'device-types/blk/description.tex', console: 'device-types/console/description.tex' }

/** `#define NAME value` and `\item[NAME (value)]`. */
function numbersOf(text: string): [string, number][] {
  const defines = [...text.matchAll(/#define\s+(\w+)\s+\(?(0x[0-9a-fA-F]+|\d+)(?:\s*<<\s*(\d+))?\)?/g)]
  const items = [...text.matchAll(/\\item\s*\[(\w+)\s*\((\d+)\)\]/g)]
  return [...defines, ...items].map(([, name, value, shift]) => [name as string, Number(value) * 2 ** Number(shift ?? 0)])
}

const scopes = present ? ['content', 'split-ring', 'packed-ring', 'blk', 'console'] : []

for (const scope of scopes) {
  describe(`the text of ${scope}`, () => {
    const numbers = numbersOf(readFileSync(join(folder, files[scope] ?? `${scope}.tex`), 'utf8'))

    test('gives names to numbers', () => expect(numbers.length).toBeGreaterThan(3))

    test.each(numbers)('says %s is %i, and so does the description', (name, value) => {
      const features = facts.features.filter((fact) => fact.scope === scope && fact.name === name).map(({ bit }) => bit)
      const constants = facts.constants.filter((fact) => fact.scope === scope && fact.name === name).map((fact) => fact.value)
      expect(new Set([...features, ...constants])).toEqual(new Set([value]))
    })
  })
}

test.skipIf(!present)('the text of the specification lies beside the project', () => {
  expect(numbersOf(readFileSync(join(folder, 'content.tex'), 'utf8'))).toContainEqual(['VIRTIO_F_VERSION_1', 32])
})

test('a body is all the fields that the text has in its place', () => {
  const frame = facts.structs.find(({ name }) => name === 'virtio_crypto_op_data_req')
  const own = frame?.fields.filter(({ name }) => !name.includes('.')).map(({ name, count }) => [name, count])
  expect(own).toEqual([
    ['header', undefined],
    ['op_flf', 'flf_len'],
    ['op_vlf', 'vlf_len'],
    ['inhdr', undefined],
  ])
})
