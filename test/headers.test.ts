/** The inventory of Linux's headers: what they declare is described, or left out for a reason. */
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { driftOfHeaders } from '../generator/drift/headers.ts'
import { factsOfHeaders, type HeaderFacts } from '../generator/headers/index.ts'
import { loadFolders, resolve } from '../generator/index.ts'

const given = process.env.VIRTGEN_LINUX_HEADERS
const installed = given ?? '/usr/include'
const present = existsSync(join(installed, 'linux/virtio_blk.h'))
if (!present) console.log(`There are no headers of Linux in ${installed}: their inventory is skipped.`)
if (given === undefined) console.log('VIRTGEN_LINUX_HEADERS does not name the headers of Linux 6.12: whether all of them are described is skipped.')

const { model } = resolve(loadFolders([{ folder: 'spec', builtin: true }]))

describe.skipIf(given === undefined || !present)('the headers of Linux 6.12', () => {
  let facts: HeaderFacts
  beforeAll(async () => {
    facts = await factsOfHeaders({ headers: given })
  }, 120_000)

  it('are read to the last constant, struct and field', () => {
    const { constants, structs } = facts.facts
    const fields = structs.reduce((sum, struct) => sum + struct.fields.length, 0)
    // Counted before by other means, in release 6.12.
    expect([facts.headers.length, constants.length, structs.length, fields]).toEqual([30, 1001, 231, 930])
  })

  it('are described, or left out for a reason', () => {
    const { differences, unread, unused, leftOut, compared } = driftOfHeaders(model, facts)
    expect(differences.map(({ kind, item, name }) => `${kind} ${item} ${name}`)).toEqual([])
    expect(unread.map(({ text }) => text)).toEqual([])
    expect(unused).toEqual([])
    console.log(
      `Linux: ${compared.constants} constants, ${compared.structs} structs, ${compared.fields} fields compared; ${leftOut.length} names left out`,
    )
  })
})

describe.skipIf(!present)('a header', () => {
  let folder: string
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'virtgen-headers-'))
    mkdirSync(join(folder, 'linux'))
    copyFileSync(join(installed, 'linux/virtio_config.h'), join(folder, 'linux/virtio_config.h'))
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  /** What is said of virtio_console.h after one text in it is put for another. */
  async function said(from: string, to: string): Promise<string[]> {
    const text = readFileSync(join(installed, 'linux/virtio_console.h'), 'utf8')
    expect(text).toContain(from)
    writeFileSync(join(folder, 'linux/virtio_console.h'), text.replace(from, to))
    const { differences } = driftOfHeaders(model, await factsOfHeaders({ headers: folder }), new Set(['console']))
    return differences.map(
      ({ kind, item, name, yaml, there, theirs }) => `${kind} ${item} ${name}: ${yaml ?? '-'} / ${there ?? '-'}${theirs ? ` (${theirs.file})` : ''}`,
    )
  }

  it('as it is gives nothing to say', async () => expect(await said('VIRTIO_CONSOLE_F_SIZE', 'VIRTIO_CONSOLE_F_SIZE')).toEqual([]))

  it('with a new constant is told of', async () => {
    expect(await said('#define VIRTIO_CONSOLE_F_SIZE', '#define VIRTIO_CONSOLE_F_COLOR 9\n#define VIRTIO_CONSOLE_F_SIZE')).toEqual([
      'missing constant VIRTIO_CONSOLE_F_COLOR: - / = 9 (linux/virtio_console.h)',
    ])
  })

  it('with another number is told of', async () => {
    expect(await said('#define VIRTIO_CONSOLE_RESIZE\t\t5', '#define VIRTIO_CONSOLE_RESIZE 15')).toEqual([
      'changed constant VIRTIO_CONSOLE_RESIZE: 5 / 15 (linux/virtio_console.h)',
    ])
  })

  it('with a new field, also in a union or of some bits, is told of', async () => {
    expect(await said('__virtio32 id;', '__virtio32 id; union { __u8 extra; __u16 more; }; unsigned int flag : 3;')).toEqual([
      'missing field virtio_console_control.extra: - / __u8 at 4 (linux/virtio_console.h)',
      'missing field virtio_console_control.more: - / __u16 at 4 (linux/virtio_console.h)',
      'missing field virtio_console_control.flag: - / unsigned int at 6 (linux/virtio_console.h)',
    ])
  })

  it('with a new struct is told of, with YAML to paste', async () => {
    const text = readFileSync(join(installed, 'linux/virtio_console.h'), 'utf8')
    writeFileSync(join(folder, 'linux/virtio_console.h'), `${text}\nstruct virtio_console_color { __le16 hue; __u8 name[4]; };\n`)
    const { differences } = driftOfHeaders(model, await factsOfHeaders({ headers: folder }), new Set(['console']))
    expect(differences.map(({ snippet }) => snippet)).toEqual(['virtio_console_color:\n  - hue: le16\n  - name[4]: u8'])
  })

  it('that does not compile is told of as such', async () => {
    writeFileSync(join(folder, 'linux/virtio_console.h'), 'struct {{{\n')
    const { unread, facts } = await factsOfHeaders({ headers: folder })
    expect(unread).toEqual([{ file: 'linux/virtio_console.h', line: 1, text: '#include <linux/virtio_console.h>', why: 'it does not compile alone' }])
    expect(facts.constants.some(({ scope }) => scope === 'linux/virtio_config.h')).toBe(true)
  })
})
