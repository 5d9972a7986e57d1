import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { editorSchema } from '../cli/editor-schema.ts'
import { emitAll, generatedMark } from '../generator/emit/index.ts'
import { loadFolders, resolve } from '../generator/index.ts'

const model = () => resolve(loadFolders([{ folder: 'spec', builtin: true }])).model

describe('the emitters', () => {
  const files = emitAll(model())

  it('give what is checked in, byte for byte', () => {
    for (const { path, text } of files) {
      expect(existsSync(`generated/${path}`), path).toBe(true)
      expect(readFileSync(`generated/${path}`, 'utf8') === text, `generated/${path} is out of date: run \`virtgen generate\``).toBe(true)
    }
  })

  it('go with an editor schema that is checked in as it is generated', () => {
    expect(readFileSync('spec/schema.json', 'utf8') === editorSchema(), 'spec/schema.json is out of date: run `virtgen generate`').toBe(true)
  })

  it('give the same every time', () => {
    expect(emitAll(model())).toEqual(files)
  })

  it('mark each file as generated, with its source and the command to renew it', () => {
    for (const { path, text } of files) {
      expect(text.startsWith(generatedMark), path).toBe(true)
      expect(text.slice(0, 400)).toMatch(/from spec\/\S+\.yaml[\s\S]*virtgen generate/)
    }
  })

  it('write no semicolons behind statements, and keep those of comments', () => {
    const { text = '' } = files.find(({ path }) => path === 'skeleton/balloon.ts') ?? {}
    expect(text).not.toMatch(/^[^*]*;$/m)
    expect(text.replaceAll(/\n\s*\* /g, ' ')).toContain('completes it when it wants new ones; the driver then sends them.')
  })

  it('write code without traces of the machine: no trailing space, no tab, no carriage return, one newline at the end', () => {
    for (const { path, text } of files) expect(/[ \t]\n|\t|\r|\n\n$|[^\n]$/.exec(text)?.index, path).toBeUndefined()
  })
})
