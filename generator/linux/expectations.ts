/** What the description says of Linux's headers: names they have, with their numbers, and names they do not have. */
import type { Chapter, Linux, Model, Struct } from '../model.ts'
import { type Check, type Expectation, isExpected, item, type NotExpected } from './check.ts'
import type { LinuxItem } from './report.ts'
import { type HeaderStruct, headerStructs } from './structs.ts'

export interface Expectations {
  headers: string[]
  /** Features, constants, device ids and registers. */
  numbers: Expectation[]
  structs: HeaderStruct[]
  none: NotExpected[]
}

export function expectationsOf(model: Model): Expectations {
  const expectations: Expectations = {
    headers: [...new Set(model.chapters.flatMap(({ headers }) => headers))],
    numbers: [],
    structs: headerStructs(model),
    none: [],
  }
  addDevices(model, expectations)
  for (const chapter of model.chapters) {
    for (const feature of chapter.features)
      add(
        expectations,
        item(chapter, 'feature', feature.name, feature),
        feature.linux,
        isExpected(chapter, feature.name, feature.linux),
        feature.bit,
        feature.name,
      )
    addConstants(chapter, expectations)
    for (const block of chapter.registers) if (!isExpected(chapter, block.name, block.linux)) addRegisters(chapter, block, expectations)
    addTextOnlyStructs(chapter, expectations)
  }
  for (const { none } of expectations.structs) expectations.none.push(...none)
  return expectations
}

function add(
  expectations: Expectations,
  about: LinuxItem,
  linux: Linux,
  expected: boolean,
  ours: number | bigint | undefined,
  candidate: string | undefined,
): void {
  if (!expected || linux.name === null) {
    expectations.none.push({ item: { ...about, linux: candidate ?? about.name }, ...(candidate === undefined ? {} : { probe: candidate }) })
    return
  }
  const checks: Check[] =
    ours === undefined ? [] : [{ expression: linux.name, property: 'value', ours: BigInt(ours), expected: BigInt(linux.value ?? ours) }]
  expectations.numbers.push({ item: about, probe: linux.name, checks })
}

function addDevices(model: Model, expectations: Expectations): void {
  const table = model.chapters.find(({ name }) => name === 'content') ?? model.chapters[0]
  if (table === undefined) return
  for (const device of model.devices) {
    const candidate = `VIRTIO_ID_${device.name.toUpperCase().replaceAll('-', '_')}`
    add(expectations, item(table, 'id', device.name, device), device.linux, device.linux.name !== null, device.id, candidate)
  }
}

function addConstants(chapter: Chapter, expectations: Expectations): void {
  for (const group of chapter.groups) {
    for (const constant of group.constants) {
      // `none` on the group holds for the constants that say nothing themselves.
      const expected = isExpected(chapter, constant.name, constant.linux) && !(group.linux.name === null && constant.linux.name === constant.name)
      add(
        expectations,
        item(chapter, 'constant', constant.name, constant),
        constant.linux,
        expected,
        // An end marker is another one in other versions of the headers.
        constant.marker ? undefined : constant.value,
        isOfTheText(constant.name) ? constant.name : undefined,
      )
    }
  }
}

/** What the text leaves nameless has a lower-case name of ours, which says nothing in a header. */
function isOfTheText(name: string): boolean {
  return /^[A-Z]/.test(name)
}

/** Registers of a block that is no struct in the headers are constants there: their offsets. */
function addRegisters(chapter: Chapter, block: Struct, expectations: Expectations): void {
  const members = block.members.flatMap((member) => (member.type.kind === 'group' && member.name === '' ? member.type.members : [member]))
  for (const member of members) {
    const about = item(chapter, 'register', `${block.name}.${member.name}`, member)
    const candidate = `${block.name}_${member.name.replaceAll(/([a-z0-9])([A-Z])/g, '$1_$2')}`.toUpperCase()
    const offset = member.linux.value ?? member.offset
    // The block is marked `none`: a register that says nothing itself has no name in the headers.
    const expected = member.linux.name !== null && member.linux.name !== member.name && offset !== null
    add(expectations, about, member.linux, expected, member.offset ?? member.linux.value ?? 0, candidate)
  }
}

function addTextOnlyStructs(chapter: Chapter, expectations: Expectations): void {
  for (const struct of chapter.structs) {
    if (struct.within || struct.role === 'message' || struct.linux.parts || isExpected(chapter, struct.name, struct.linux)) continue
    const about = item(chapter, 'struct', struct.name, struct)
    expectations.none.push({ item: { ...about, linux: `struct ${struct.name}` }, probe: `sizeof(struct ${struct.name})` })
  }
}
