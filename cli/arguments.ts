/** From the words of the command line to a command and its options. */
import { parseArgs } from 'node:util'
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
  // What is a switch here may take a value there: the options of the command that is named come last and count.
  const named = words.flatMap((word) => commands.find(({ name }) => name === word) ?? []).slice(0, 1)
  const declared = [...globalOptions, ...[...commands, ...named].flatMap(({ options }) => options)]
  const config = Object.fromEntries(declared.map((option) => [option.name, declaration(option)]))
  // Not strict: what is wrong is said in the words of the command it is wrong for.
  const { tokens } = parseArgs({ args: [...words], options: config, strict: false, allowPositionals: true, tokens: true })
  const values = tokens.flatMap((token) => (token.kind === 'positional' ? [token.value] : []))
  const given = tokens.filter((token) => token.kind === 'option')
  const command = commands.find(({ name }) => name === values[0])
  if (command === undefined && values[0] !== undefined) throw unknownCommand(values[0], commands)
  const known = [...globalOptions, ...(command?.options ?? [])]
  const entries = new Map<string, string[]>()
  for (const { name, rawName, value } of given) {
    const option = known.find((candidate) => candidate.name === name)
    if (option === undefined) throw unknownOption(rawName, name, known, command, commands)
    entries.set(name, valuesOf(option, entries.get(name), value))
  }
  const options = new Options(entries)
  const rest = values.slice(1)
  if (command && !options.has('help')) checkCount(command, rest)
  return { command, arguments: rest, options }
}

function declaration({ name, value }: Option): { type: 'string' | 'boolean'; short?: string } {
  const short = shortNames[name]
  return { type: value === undefined ? 'boolean' : 'string', ...(short === undefined ? {} : { short }) }
}

/** The values of an option, those given before included. */
function valuesOf(option: Option, earlier: readonly string[] | undefined, value: string | undefined): string[] {
  if (option.value === undefined) {
    if (value !== undefined) throw new UsageError(`--${option.name} is a switch and takes no value, not "${value}"`)
    return []
  }
  if (value === undefined) throw new UsageError(`--${option.name} needs a value: --${option.name} ${option.value}`)
  if (earlier && !option.repeatable) throw new UsageError(`--${option.name} is given ${earlier.length + 1} times`, 'once is enough')
  return [...(earlier ?? []), value]
}

function unknownCommand(name: string, commands: readonly Command[]): UsageError {
  const names = commands.map((command) => command.name)
  return new UsageError(`there is no command "${name}"`, didYouMean(name, names) ?? 'virtgen --help lists the commands')
}

function unknownOption(
  rawName: string,
  name: string,
  known: readonly Option[],
  command: Command | undefined,
  commands: readonly Command[],
): UsageError {
  const elsewhere = commands.filter(({ options }) => options.some((option) => option.name === name)).map((other) => other.name)
  const names = known.map((option) => `--${option.name}`)
  const where = command === undefined ? 'virtgen' : `virtgen ${command.name}`
  const hint =
    didYouMean(`--${name}`, names) ?? (elsewhere.length > 0 ? `it belongs to ${elsewhere.join(', ')}` : `${where} --help lists the options`)
  return new UsageError(`${where} has no option ${rawName}`, hint)
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
