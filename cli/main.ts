/** The `virtgen` command. */
import { formatDiagnostic, type Paint } from '../generator/diagnostic.ts'
import { type Parsed, parseArguments } from './arguments.ts'
import { type Call, type Command, DescriptionError, Failure, UsageError } from './command.ts'
import { decode } from './decode.ts'
import { diff } from './diff.ts'
import { drift } from './drift.ts'
import { errata } from './errata.ts'
import { facts } from './facts.ts'
import { features } from './features.ts'
import { generate } from './generate.ts'
import { commandHelp, overview } from './help.ts'
import { type Host, processHost } from './host.ts'
import { toJson } from './json.ts'
import { model } from './model.ts'
import { newDevice } from './new.ts'
import { packageVersion } from './package-root.ts'
import { paintFor } from './paint.ts'
import { serve } from './serve.ts'
import { counted } from './table.ts'
import { verify } from './verify.ts'

const commands: readonly Command[] = [generate, newDevice, verify, drift, diff, model, facts, errata, features, decode, serve]

const help: Command = {
  name: 'help',
  arguments: '[command]',
  summary: 'explains a command',
  description: [],
  options: [],
  examples: [{ line: 'virtgen help generate', meaning: 'what generate does, and its options' }],
  run: () => 0,
}

/**
 * Runs the command line.
 *
 * @param words - what stands after `virtgen`
 * @returns the exit code: 0 success, 1 problems found, 2 wrong usage
 */
export async function main(words: readonly string[], host: Host = processHost()): Promise<number> {
  const errorPaint = paintFor(host.stderr, host.environment, words.includes('--no-color'))
  const complain = (line: string): void => host.stderr.write(`${line}\n`)
  let parsed: Parsed | undefined
  try {
    parsed = parseArguments(words, [...commands, help])
    return await run(parsed, host)
  } catch (error) {
    if (error instanceof DescriptionError) return reportProblems(error, host, errorPaint, parsed?.options.has('json') === true)
    if (isRefusal(error)) {
      complain(`${errorPaint.red('virtgen:')} ${error.message}`)
      return 1
    }
    if (!(error instanceof UsageError || error instanceof Failure)) throw error
    complain(`${errorPaint.red('virtgen:')} ${error.message}`)
    if (error.hint !== undefined) complain(`  ${errorPaint.cyan('hint')}: ${error.hint}`)
    return error instanceof UsageError ? 2 : 1
  }
}

async function run({ command, arguments: words, options }: Parsed, host: Host): Promise<number> {
  const paint = paintFor(host.stdout, host.environment, options.has('no-color'))
  const print = (line = ''): void => host.stdout.write(`${line}\n`)
  if (options.has('version')) print(packageVersion())
  else if (command === undefined || (command === help && words[0] === undefined)) print(overview(commands, packageVersion(), paint))
  else if (options.has('help')) print(commandHelp(command, paint))
  else if (command === help) print(commandHelp(parseArguments([words[0] as string, '--help'], commands).command as Command, paint))
  else return runCommand(command, { host, paint, arguments: words, options, print, ...writers(host) })
  return 0
}

async function runCommand(command: Command, call: Call): Promise<number> {
  try {
    return await command.run(call)
  } finally {
    call.progress('')
  }
}

function writers(host: Host): Pick<Call, 'printJson' | 'complain' | 'progress'> {
  let shown = false
  const progress = (text: string): void => {
    if (!host.stderr.isTTY || (text === '' && !shown)) return
    host.stderr.write(`\r\x1b[K${text}`)
    shown = text !== ''
  }
  return {
    progress,
    printJson: (value) => host.stdout.write(`${toJson(value)}\n`),
    complain: (line) => {
      progress('')
      host.stderr.write(`${line}\n`)
    },
  }
}

function reportProblems({ problems }: DescriptionError, host: Host, paint: Paint, json: boolean): number {
  if (json) host.stdout.write(`${toJson(problems)}\n`)
  else {
    for (const problem of problems) host.stderr.write(`${formatDiagnostic(problem, paint)}\n\n`)
    host.stderr.write(`${paint.red(counted(problems.length, 'problem'))}\n`)
  }
  return 1
}

/** What the system does not let us read or write; the message names the call and the path. */
function isRefusal(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && typeof (error as NodeJS.ErrnoException).syscall === 'string'
}
