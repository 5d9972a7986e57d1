/** The texts of `--help`. */
import type { Paint } from '../generator/diagnostic.ts'
import { globalOptions } from './arguments.ts'
import type { Command, Option } from './command.ts'
import { columns } from './table.ts'

export function overview(commands: readonly Command[], version: string, paint: Paint): string {
  return [
    `${paint.bold('virtgen')} ${version}: the VIRTIO specification as data, and the TypeScript that follows from it`,
    '',
    paint.bold('Usage'),
    '  virtgen <command> [options]',
    '',
    paint.bold('Commands'),
    ...indent(columns(commands.map(({ name, summary }) => [paint.cyan(name), summary]))),
    '',
    paint.bold('Options'),
    ...optionLines(globalOptions, paint),
    '',
    paint.bold('Examples'),
    ...exampleLines(
      commands.flatMap(({ examples }) => examples.slice(0, 1)),
      paint,
    ),
    '',
    'virtgen help <command> explains a command.',
    'Exit codes: 0 success, 1 problems found, 2 wrong usage.',
  ].join('\n')
}

export function commandHelp(command: Command, paint: Paint): string {
  const required = command.options.length > 0 ? ' [options]' : ''
  return [
    `${paint.bold(`virtgen ${command.name}`)}: ${command.summary}`,
    '',
    paint.bold('Usage'),
    `  virtgen ${command.name}${command.arguments === '' ? '' : ` ${command.arguments}`}${required}`,
    ...command.description.flatMap((paragraph) => ['', ...wrap(paragraph)]),
    ...groupsOf(command.options).flatMap((group) => [
      '',
      paint.bold(`Options of ${group}`),
      ...optionLines(
        command.options.filter((option) => option.group === group),
        paint,
      ),
    ]),
    '',
    paint.bold('Options'),
    ...optionLines([...command.options.filter(({ group }) => group === undefined), ...globalOptions.filter(({ name }) => name !== 'version')], paint),
    '',
    paint.bold('Examples'),
    ...exampleLines(command.examples, paint),
  ].join('\n')
}

function groupsOf(options: readonly Option[]): string[] {
  return [...new Set(options.flatMap(({ group }) => group ?? []))]
}

function optionLines(options: readonly Option[], paint: Paint): string[] {
  const rows = options.map(({ name, value, repeatable, summary }) => [
    paint.cyan(`--${name}${value === undefined ? '' : ` ${value}`}`),
    repeatable ? `${summary}; may be repeated` : summary,
  ])
  return indent(columns(rows))
}

function exampleLines(examples: Command['examples'], paint: Paint): string[] {
  return examples.flatMap(({ line, meaning }) => [`  ${paint.dim(`# ${meaning}`)}`, `  ${line}`])
}

function indent(lines: readonly string[]): string[] {
  return lines.map((line) => `  ${line}`)
}

const width = 88

function wrap(text: string): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line)
      line = word
    } else line = line === '' ? word : `${line} ${word}`
  }
  return [...lines, line]
}
