/** From the words of the command line to a command and its options, by cac. */
import { cac } from 'cac'
import { didYouMean } from '../generator/diagnostic.ts'
import { type Command, type Option, Options, UsageError } from './command.ts'

/** Options of every command. */
export const globalOptions: readonly Option[] = [
  { name: 'help', summary: 'explains the command' },
  { name: 'version', summary: 'prints the version' },
  { name: 'no-color', summary: 'no colours; NO_COLOR and FORCE_COLOR in the environment work too' },
]
const shortNames: Readonly<Record<string, string>> = { help: 'h', version: 'v' }

export interface Parsed {
  /** Absent: none was named. */
  command: Command | undefined
  arguments: string[]
  options: Options
}

/** @throws UsageError for an unknown command or option, a missing value or argument, and what is too much. */
export function parseArguments(words: readonly string[], commands: readonly Command[]): Parsed {
  const cli = cac('virtgen')
  for (const option of globalOptions) cli.option(declaration(option), option.summary)
  for (const command of commands) {
    const declared = cli.command(`${command.name} ${command.arguments}`.trim(), command.summary)
    for (const option of command.options) declared.option(declaration(option), option.summary)
  }
  const parsed = cli.parse(['node', 'virtgen', ...words.map(shield)], { run: false })
  const values = parsed.args.map(unshield)
  const command = commands.find(({ name }) => name === cli.matchedCommandName)
  const known = [...globalOptions, ...(command?.options ?? [])]
  if (command === undefined && values[0] !== undefined) {
    throw new UsageError(
      `there is no command "${values[0]}"`,
      didYouMean(
        values[0],
        commands.map(({ name }) => name),
      ) ?? 'virtgen --help lists the commands',
    )
  }
  refuseUnknown(words, known, command, commands)
  const options = new Options(new Map(known.flatMap((option) => optionEntry(option, parsed.options[camelCase(option.name)]))))
  const rest = [...values, ...(parsed.options['--'] as string[]).map(unshield)]
  if (command && !options.has('help')) checkCount(command, rest)
  return { command, arguments: rest, options }
}

function declaration({ name, value }: Option): string {
  const short = shortNames[name]
  return `${short === undefined ? '' : `-${short}, `}--${name}${value === undefined ? '' : ` <${value}>`}`
}

/**
 * cac turns what looks like a number into one, which costs a 128-bit mask its low bits, takes `true` behind a switch for its value, and loses
 * a word that is only "-". A leading character that none of them has keeps them as they are.
 */
const mark = '\u{f8ff}'
const shield = (word: string): string => {
  const assignment = /^(--[^=]+=)(.*)$/s.exec(word)
  if (assignment) return assignment[1] + mark + assignment[2]
  return word === '-' || word === 'true' || word === 'false' || Number.isFinite(Number(word)) ? mark + word : word
}
const unshield = (word: unknown): string => String(word).replace(mark, '')

function camelCase(name: string): string {
  return name.replace(/^no-/, '').replaceAll(/-([a-z])/g, (_, letter: string) => letter.toUpperCase())
}

function refuseUnknown(words: readonly string[], known: readonly Option[], command: Command | undefined, commands: readonly Command[]): void {
  const end = words.indexOf('--')
  for (const word of end < 0 ? words : words.slice(0, end)) {
    const name = /^--?([^=]+)/.exec(word)?.[1]
    if (name === undefined || known.some((option) => option.name === name || (shortNames[option.name] === name && !word.startsWith('--')))) continue
    const elsewhere = commands.filter(({ options }) => options.some((option) => option.name === name)).map((other) => other.name)
    const near = didYouMean(
      `--${name}`,
      known.map((option) => `--${option.name}`),
    )
    const where = command === undefined ? 'virtgen' : `virtgen ${command.name}`
    const hint = near ?? (elsewhere.length > 0 ? `it belongs to ${elsewhere.join(', ')}` : `${where} --help lists the options`)
    throw new UsageError(`${where} has no option ${word.split('=')[0]}`, hint)
  }
}

function optionEntry(option: Option, value: unknown): [string, string[]][] {
  const values = (Array.isArray(value) ? value : [value]) as unknown[]
  if (option.value === undefined) {
    // A negated switch is true unless it is given.
    const set = option.name.startsWith('no-') ? value === false : values.at(-1) === true
    return set ? [[option.name, []]] : []
  }
  if (value === undefined) return []
  if (values.some((one) => typeof one === 'boolean')) throw new UsageError(`--${option.name} needs a value: --${option.name} ${option.value}`)
  if (values.length > 1 && !option.repeatable) throw new UsageError(`--${option.name} is given ${values.length} times`, 'once is enough')
  return [[option.name, values.map(unshield)]]
}

function checkCount(command: Command, values: readonly string[]): void {
  const places = command.arguments.split(' ').filter((place) => place !== '')
  const required = places.filter((place) => place.startsWith('<'))
  const usage = `usage: virtgen ${command.name} ${command.arguments}; virtgen ${command.name} --help says more`
  const missing = required[values.length]
  if (missing !== undefined) throw new UsageError(`virtgen ${command.name} needs ${missing}`, usage)
  const open = places.some((place) => place.includes('...'))
  if (!open && values.length > places.length)
    throw new UsageError(`virtgen ${command.name} does not know what to do with "${values[places.length]}"`, usage)
}
