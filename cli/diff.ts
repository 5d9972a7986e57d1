/** `virtgen diff`: what changed between two descriptions for those who use the bindings. */
import type { Change, Effect } from '../generator/changes/index.ts'
import { type Call, type Command, jsonOption, UsageError } from './command.ts'
import { counted } from './table.ts'

const failOn = ['breaking', 'additive', 'any'] as const

export const diff: Command = {
  name: 'diff',
  arguments: '<old> [new]',
  summary: 'says what changed between two descriptions: breaking, additive, documentation',
  description: [
    'Each side is a folder of YAML files, a file that virtgen facts --json wrote, or a git revision of the repository of the working ' +
      "folder. Without a second one, the first is compared with virtgen's own description. Facts hold no documentation: changes of words " +
      'are told only where both sides are descriptions.',
    'Breaking: code that uses the bindings may no longer compile or work. Additive: there is more than before. Names that changed while ' +
      'the thing stayed where it was are told as renamed.',
  ],
  options: [
    { name: 'path', value: 'DIR', summary: 'where the YAML files stand in a git revision: spec if not given' },
    { name: 'markdown', summary: 'prints Markdown, for a pull request' },
    { name: 'fail-on', value: 'EFFECT', summary: 'exits with 1 if there are changes: breaking, additive (or worse), any' },
    jsonOption,
  ],
  examples: [
    { line: 'virtgen diff HEAD~1 HEAD', meaning: 'what the last commit means for users' },
    { line: 'virtgen diff main spec --markdown', meaning: 'for the pull request of a branch' },
    { line: 'virtgen diff facts-before.json --fail-on breaking', meaning: 'in CI: against facts that were kept' },
  ],
  async run(call) {
    const limit = call.options.text('fail-on')
    if (limit !== undefined && !(failOn as readonly string[]).includes(limit))
      throw new UsageError(`--fail-on takes ${failOn.join(', ')}, not "${limit}"`)
    if (call.options.has('json') && call.options.has('markdown')) throw new UsageError('--json and --markdown exclude each other')
    const [{ readSide }, { changesBetween }] = await Promise.all([import('./diff-side.ts'), import('../generator/changes/index.ts')])
    const [old, now] = call.arguments
    const changes = changesBetween(readSide(call, old as string), readSide(call, now))
    await report(call, changes)
    return fails(changes, limit) ? 1 : 0
  },
}

async function report(call: Call, changes: readonly Change[]): Promise<void> {
  if (call.options.has('json')) {
    call.printJson(changes)
    return
  }
  const { count, formatChanges, formatMarkdown } = await import('../generator/changes/format.ts')
  if (call.options.has('markdown')) {
    call.print(formatMarkdown(changes))
    return
  }
  call.print(formatChanges(changes, call.paint))
  const total = (effect: Effect): number => count(changes, effect)
  if (changes.length > 0)
    call.print(
      `\n${counted(changes.length, 'change')}: ${total('breaking')} breaking, ${total('additive')} additive, ${total('documentation')} of documentation`,
    )
}

function fails(changes: readonly Change[], limit: string | undefined): boolean {
  const grave: Record<string, readonly Effect[]> = {
    breaking: ['breaking'],
    additive: ['breaking', 'additive'],
    any: ['breaking', 'additive', 'documentation'],
  }
  return changes.some(({ effect }) => grave[limit ?? '']?.includes(effect))
}
