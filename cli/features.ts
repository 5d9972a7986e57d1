/** `virtgen features`: what feature bits mean. */
import type { Chapter, Model } from '../generator/model.ts'
import { findChapter } from './chapters.ts'
import { type Call, type Command, jsonOption, specOption } from './command.ts'
import { formatBits, looksDecimal, parseBits } from './feature-bits.ts'
import { type FeatureReport, reportFeatures, type SetFeature } from './feature-report.ts'
import { columns } from './table.ts'

export const features: Command = {
  name: 'features',
  arguments: '<device> <bits>',
  summary: 'explains feature bits of a device',
  description: [
    '<device> is the name of a chapter (blk) or a device id (2). <bits> is hexadecimal with or without 0x, up to 128 bits; binary ' +
      'digits behind 0b; or the text of /sys/bus/virtio/devices/virtioN/features: 32 or more zeroes and ones, bit 0 first. Decimal is ' +
      'not accepted: 10 is read as 0x10.',
    'It lists each bit with its name and reports what the specification has against the set: bits that nobody has, requirements that ' +
      'are not met, rules of the chapter that are broken. That is a report and not an error, unless --strict is given.',
  ],
  options: [{ name: 'strict', summary: 'exits with 1 if there are unknown bits, missing requirements or broken rules' }, jsonOption, specOption],
  examples: [
    { line: 'virtgen features blk 0x130006e54', meaning: 'what does this disk offer?' },
    { line: 'virtgen features net "$(cat /sys/bus/virtio/devices/virtio0/features)"', meaning: 'what did Linux negotiate?' },
  ],
  async run(call) {
    const [word, text] = call.arguments as [string, string]
    const bits = parseBits(text)
    const { chapterNames, describePart } = await import('./description.ts')
    const { model } = describePart(call, { chapters: [word] })
    const device = findDevice(model, word, () => chapterNames(call))
    if (looksDecimal(text)) call.complain(`virtgen: ${text} is read as 0x${text}; decimal is not accepted`)
    const report = reportFeatures(model, device.chapter, bits)
    if (call.options.has('json')) call.printJson(jsonOf(report, device, bits))
    else print(call, report, device, bits)
    const isBroken = report.unknown.length > 0 || report.missing.length > 0 || report.violated.length > 0
    return call.options.has('strict') && isBroken ? 1 : 0
  },
}

interface Device {
  name: string
  title: string
  id: number | undefined
  chapter: Chapter | undefined
}

/** A chapter, or an entry of the table of ids without one: such a device has common features only. */
function findDevice(model: Model, word: string, names: () => Iterable<string>): Device {
  const listed = model.devices.find(({ name, id }) => name === word || String(id) === word)
  const chapter = model.chapters.find(({ name, id }) => name === word || String(id) === word)
  if (chapter === undefined && listed) return { ...listed, chapter }
  const found = chapter ?? findChapter(model, word, () => [...names(), ...model.devices.map(({ name }) => name)])
  return { name: found.name, title: found.title, id: found.id, chapter: found }
}

const reservedOwners = ['common', 'contested', 'future']

/** What an unknown bit is, by the owner of its range. */
function describeUnknown(owner: string, { chapter }: Device): string {
  if (!reservedOwners.includes(owner)) return chapter ? 'not a feature of this device' : 'a matter of the device type'
  return owner === 'future' ? 'reserved for future extensions' : 'reserved for queue and feature negotiation, not assigned'
}

function print(call: Call, report: FeatureReport, device: Device, bits: readonly number[]): void {
  const { paint } = call
  call.print(`${paint.bold(device.name)}: ${device.title}${device.id === undefined ? '' : ` (id ${device.id})`}, ${formatBits(bits)}`)
  call.print(report.modern ? 'VIRTIO_F_VERSION_1 is set: the modern interface' : 'VIRTIO_F_VERSION_1 is not set: the legacy interface')
  if (device.chapter === undefined) call.print(paint.yellow('the description has no chapter for this device: only common features are known'))
  call.print()
  const rows = [
    ...report.features.map((one) => ({ bit: one.feature.bit, cells: featureCells(call, one, report.modern) })),
    ...report.unknown.map(({ bit, owner }) => ({ bit, cells: [paint.red('?'), '', paint.red(describeUnknown(owner, device))] })),
  ].sort((a, b) => a.bit - b.bit)
  for (const line of columns(rows.map(({ bit, cells }) => [String(bit).padStart(3), ...cells]))) call.print(line)
  const remarks = remarksOn(call, report)
  if (remarks.length > 0) call.print()
  for (const line of columns(remarks)) call.print(line)
}

function featureCells({ paint }: Call, { feature, chapter, others }: SetFeature, modern: boolean): string[] {
  const remarks = [
    feature.legacy ? (modern ? paint.yellow('legacy interface only') : paint.dim('legacy')) : '',
    feature.doc ?? '',
    others.length > 0 ? paint.dim(`same bit: ${others.join(', ')}`) : '',
  ]
  return [paint.bold(feature.name), paint.dim(chapter), remarks.filter((text) => text !== '').join('; ')]
}

function remarksOn({ paint }: Call, report: FeatureReport): string[][] {
  return [
    ...report.assumed.map(({ name, condition }) => [paint.cyan('assumed'), `${name} counts although it is not set: ${condition}`]),
    ...report.missing.map(({ name, condition }) => [paint.red('missing'), `${name} requires ${condition}`]),
    ...report.violated.map((condition) => [paint.red('violated'), condition]),
    ...report.unoffered.map(({ name, condition }) => [paint.yellow('warning'), `a device that offers ${name} offers ${condition} too`]),
    ...report.unsuggested.map(({ name, condition }) => [paint.yellow('warning'), `${name} should come with ${condition}`]),
    ...report.undecided.map((condition) => [paint.dim('open'), `${condition} depends on more than feature bits`]),
  ]
}

function jsonOf(report: FeatureReport, { name, title, id }: Device, bits: readonly number[]): object {
  const isReserved = ({ owner }: { owner: string }): boolean => reservedOwners.includes(owner)
  const numbers = (list: FeatureReport['unknown']): number[] => list.map(({ bit }) => bit)
  return {
    device: name,
    title,
    ...(id === undefined ? {} : { id }),
    bits: formatBits(bits),
    interface: report.modern ? 'modern' : 'legacy',
    features: report.features.map(({ feature, chapter, others }) => ({
      bit: feature.bit,
      name: feature.name,
      chapter,
      source: feature.source,
      ...(feature.section === undefined ? {} : { section: feature.section }),
      ...(feature.legacy ? { legacy: true } : {}),
      ...(feature.doc === undefined ? {} : { doc: feature.doc }),
      ...(others.length > 0 ? { others } : {}),
    })),
    reserved: numbers(report.unknown.filter(isReserved)),
    unknown: numbers(report.unknown.filter((one) => !isReserved(one))),
    assumed: report.assumed,
    missing: report.missing,
    unoffered: report.unoffered,
    warnings: report.unsuggested,
    violated: report.violated,
    undecided: report.undecided,
  }
}
