/** Layouts that differ from the text where the program says so (`let: {name: {default: 0}}`): in the model, the codec, the facts and the generated code. */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { describe, expect, test } from 'vitest'
import { VirtioScsiReqCmdHeader } from '../generated/parts/scsi.ts'
import { VirtioSndCtlInfo } from '../generated/wire/sound.ts'
import { factsOf } from '../generator/index.ts'
import { described } from './support/described.ts'
import { loadText } from './support/description.ts'

const text = `
features: {F: 0}
let:
  padded: {default: 0, doc: With padding.}
  short: {default: 1}
structs:
  s:
    - a: u8
    - pad[3]: {type: reserved u8, when: padded, source: linux-6.12}
    - b: {type: le32, when: F and not padded}
    - c: {type: u8, when: short}
    - d: le16
`

describe('a layout that the program may choose', () => {
  const model = loadText(`kind: device\nname: t\nid: 1000\ntitle: T\n${text}`)
  const { both } = described(text)
  const all = { features: new Set(['F']) }

  test('is that of the text where it says nothing', () => {
    both('s', '01 04000000 05 0600', { a: 1, b: 4, c: 5, d: 6 }, all)
    both('s', '01 05 0600', { a: 1, c: 5, d: 6 }, {})
    both('s', '01 05 0600', { a: 1, c: 5, d: 6 }, { caller: {} })
  })

  test('is the other one where it does', () => {
    both('s', '01 000000 05 0600', { a: 1, c: 5, d: 6 }, { ...all, caller: { padded: 1 } })
    both('s', '01 04000000 0600', { a: 1, b: 4, d: 6 }, { ...all, caller: { short: 0 } })
  })

  test('does not count for sizes, offsets and facts', () => {
    const [struct] = model.chapters[0]?.structs ?? []
    expect(struct?.size).toBe(8)
    expect(struct?.members.map(({ offset }) => offset)).toEqual([0, 1, 1, 5, 6])
    expect(model.chapters[0]?.lets).toMatchObject([
      { name: 'padded', default: 0, doc: 'With padding.' },
      { name: 'short', default: 1 },
    ])
    const fields = factsOf(model).structs[0]?.fields
    expect(fields?.map(({ name, when }) => (when ? `${name} when ${when}` : name))).toEqual(['a', 'b when F', 'c', 'd'])
  })
})

describe('in generated code', () => {
  test('nothing need be said', () => {
    const value = { type: 1, value: { arm: 'integer' as const, integer: { min: 1, max: 2, step: 3 } } }
    expect(VirtioSndCtlInfo.encode(value).length).toBe(92)
    const linux = { caller: { linux_ctl_info: 1 } }
    const bytes = VirtioSndCtlInfo.encode(value, linux)
    expect([bytes.length, bytes[68], bytes[72]]).toEqual([96, 0, 1])
    expect(VirtioSndCtlInfo.decode(bytes, linux).value).toEqual(value.value)
    expect(VirtioSndCtlInfo.layout().$size).toBe(92)
    expect(VirtioSndCtlInfo.layout({ caller: {} }).$size).toBe(92)
  })

  test('a layout keeps the configuration it was computed with', () => {
    const config = { cdb_size: 4 }
    const layout = VirtioScsiReqCmdHeader.layout({ features: FeatureSet.of(3), config })
    config.cdb_size = 8
    const header = new VirtioScsiReqCmdHeader(layout).at(new DataView(new ArrayBuffer(40)))
    expect([header.cdb.length, layout.pi_bytesout, layout.$minimum]).toEqual([4, 23, 31])
  })
})
