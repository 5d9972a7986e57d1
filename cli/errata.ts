/** `virtgen errata`: where the text of the specification is wrong, or Linux differs, and what is followed. */
import { type Erratum, errataOf } from '../generator/errata.ts'
import { oneLine } from '../generator/one-line.ts'
import { describeChapters } from './chapters.ts'
import { type Call, type Command, jsonOption, specOption } from './command.ts'
import { counted } from './table.ts'

export const errata: Command = {
  name: 'errata',
  arguments: '[...chapter]',
  summary: 'lists where the text contradicts itself or Linux, what is followed, and why',
  description: [
    'Each entry names what it is about and the section, quotes the text (or says what Linux has), and gives what the description follows ' +
      'with the reason. Names that Linux only spells otherwise are no errata; virtgen facts --json has them.',
  ],
  options: [jsonOption, specOption],
  examples: [
    { line: 'virtgen errata net', meaning: 'what to mind about network devices' },
    { line: 'virtgen errata --json', meaning: 'all of them, for a program' },
  ],
  async run(call) {
    const { model, chosen } = await describeChapters(call)
    const found = errataOf(model, chosen)
    if (call.options.has('json')) call.printJson(found)
    else printAll(call, found)
    return 0
  },
}

function printAll(call: Call, found: readonly Erratum[]): void {
  const scopes = new Set(found.map(({ scope }) => scope))
  for (const scope of scopes) {
    call.print(call.paint.bold(scope))
    for (const erratum of found) if (erratum.scope === scope) printOne(call, erratum)
    call.print()
  }
  const ofText = found.filter(({ kind }) => kind === 'text').length
  call.print(`${ofText} errata of the text, ${counted(found.length - ofText, 'difference')} from Linux`)
}

function printOne({ paint, print }: Call, { name, section, kind, quote, truth, why }: Erratum): void {
  print(`  ${paint.cyan(name)}${section === '' ? '' : ` · ${section}`}`)
  print(`    ${kind === 'text' ? 'says' : 'has '}  ${kind === 'text' ? `"${oneLine(quote)}"` : oneLine(quote)}`)
  print(`    true  ${oneLine(truth)}`)
  if (why !== '') print(`    why   ${oneLine(why)}`)
}
