/** What is to be said of a member: its meaning, unit, values, condition, access and origin. */
import type { Member, Model, Struct } from '../../model.ts'
import { units } from '../../units.ts'
import { boundWords, capitalized, conditionWords, countWords } from '../wording.ts'

export function memberDoc(model: Model, struct: Struct, member: Member): string[] {
  const fixed = struct.role === 'config' || struct.role === 'registers'
  const most = member.type.kind === 'integer' ? (1n << BigInt(8 * member.type.bytes)) - 1n : 0xffff_ffffn
  const range = member.range && boundWords(member.range, most)
  const facts = [
    member.unit && unitText(member.unit),
    range && `${capitalized(range)}.`,
    member.enum && `One of {@link ${member.enum.name}}${member.mask === undefined ? '' : `, in the bits 0x${member.mask.toString(16)}`}.`,
    member.flags && `Bits of ${member.flags.map(({ name }) => `{@link ${name}}`).join(' and ')}.`,
    member.set && `Bit n stands for the value n of {@link ${member.set.name}}.`,
    member.const !== undefined && `Always ${member.const}.`,
    member.multiple && `A multiple of ${member.multiple.text} bytes.`,
    member.count && countWords(member.count, 'elements'),
    member.when && `${fixed ? 'Valid only' : 'Only'} ${conditionWords(member.when)}.`,
    fixed && member.access && accessText(member),
    member.reset !== undefined && `${member.reset} after reset.`,
    member.was.length > 0 && `Was ${member.was.join(', ')}.`,
    member.legacy === 'native' && member.size !== 1 && member.type.kind === 'integer' && 'Native byte order on the legacy interface.',
  ]
  const own = member.section !== undefined && member.section !== struct.section ? [`VIRTIO ${model.version}, ${member.section}`] : []
  return [member.doc ?? '', facts.filter(Boolean).join(' '), ...own]
}

function accessText(member: Member): string {
  const { mode, when } = member.access as NonNullable<Member['access']>
  const words = { r: 'Read-only.', w: 'Write-only for the driver.', rw: 'The driver may write it.', rc: 'Reading clears it.' }
  return when ? `${words[mode].replace('.', '')} if ${when.text}.` : words[mode]
}

/** `In sectors of 512 bytes.` */
function unitText(unit: string): string {
  if (unit === 'log2') return 'As the logarithm to base 2.'
  return unit === 'address' ? 'An address.' : `In ${units.get(unit) ?? unit}.`
}
