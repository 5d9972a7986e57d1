/** A chapter of the model as text for people. */
import type { Paint } from '../generator/diagnostic.ts'
import type { Chapter, Condition, Expression, Group, Message, Part, Queue, Request, SharedMemory, Status, Struct } from '../generator/model.ts'
import { type LayoutRow, layoutRows, numberText } from './layout-rows.ts'
import { columns } from './table.ts'

export function chapterOverview(chapter: Chapter, paint: Paint): string {
  const id = chapter.id === undefined ? '' : `, id ${chapter.id}`
  const heading = `${paint.bold(chapter.name)}: ${chapter.title} (${chapter.kind}${id})`
  const facts = [
    chapter.file,
    chapter.section,
    chapter.uses.length > 0 ? `uses ${chapter.uses.join(', ')}` : undefined,
    chapter.source === 'oasis-1.4' ? undefined : chapter.source,
  ]
  const section = (title: string, lines: string[]): string[] =>
    lines.length === 0 ? [] : ['', paint.bold(title), ...lines.map((line) => (line === '' ? '' : `  ${line}`))]
  return [
    heading,
    paint.dim(facts.filter((fact) => fact !== undefined).join('; ')),
    ...(chapter.doc === undefined ? [] : [chapter.doc]),
    ...section('Names', columns(chapter.lets.map(({ name, value }) => [name, value?.text ?? 'known to the program']))),
    ...section('Features', featureLines(chapter, paint)),
    ...section(
      'Rules',
      chapter.rules.map(({ text }) => text),
    ),
    ...section('Constants', spaced(chapter.groups.map((group) => groupLines(group, paint)))),
    ...section('Registers', spaced(chapter.registers.map((block) => structLines(block, chapter, paint)))),
    ...section('Structs', spaced(chapter.structs.map((struct) => structLines(struct, chapter, paint)))),
    ...section('Queues', columns(chapter.queues.map((queue) => queueCells(queue, paint)))),
    ...section('Messages', spaced(chapter.messages.map((message) => messageLines(message, paint)))),
    ...section('Shared memory', columns(chapter.sharedMemory.map(sharedMemoryCells))),
    ...section(
      'Errata',
      chapter.errata.flatMap(({ at, text, truth }) => [paint.cyan(at), `  the text: ${text}`, `  the truth: ${truth}`]),
    ),
  ].join('\n')
}

function spaced(blocks: readonly string[][]): string[] {
  return blocks.flatMap((block, index) => (index === 0 ? block : ['', ...block]))
}

function only(when: Condition | undefined): string {
  return when === undefined ? '' : `only with ${when.text}`
}

function remark(...parts: (string | undefined)[]): string {
  return parts.filter((part) => part !== undefined && part !== '').join('; ')
}

function featureLines({ features }: Chapter, paint: Paint): string[] {
  return columns(
    features.map(({ bit, name, requires, offeredWith, suggests, assumed, legacy, doc }) => [
      String(bit).padStart(3),
      paint.cyan(name),
      remark(
        legacy ? 'legacy' : '',
        requires && `requires ${requires.text}`,
        offeredWith && `offered with ${offeredWith.text}`,
        suggests && `should come with ${suggests.text}`,
        assumed && `counts as negotiated with ${assumed.text}`,
        doc,
      ),
    ]),
  )
}

function groupLines(group: Group, paint: Paint): string[] {
  const extended = group.extends === undefined ? '' : `extends ${group.extends.group} of ${group.extends.chapter}`
  const heading = [paint.cyan(group.name), remark(extended, group.doc)].filter((text) => text !== '').join(': ')
  const constants = group.constants.map(({ name, value, when, holds, doc }) => [
    numberText(value),
    name,
    remark(only(when), holds && `struct ${holds.name}`, doc),
  ])
  const ranges = group.ranges.map(({ from, to, owner }) => [`${numberText(from)} .. ${numberText(to)}`, owner, ''])
  return [heading, ...columns([...constants, ...ranges]).map((line) => `  ${line}`)]
}

const roles: Record<Struct['role'], string> = {
  struct: '',
  config: 'configuration space',
  registers: 'registers',
  message: 'frame of a message',
  foreign: 'declared elsewhere',
}

function structLines(struct: Struct, chapter: Chapter, paint: Paint): string[] {
  const size = struct.size === null ? (struct.length ? `${struct.length.text} bytes` : 'variable size') : `${struct.size} bytes`
  const role = struct.role === 'struct' && struct.within ? `member ${struct.within.member} of ${struct.within.struct}` : roles[struct.role]
  const given = struct.given.length === 0 ? '' : `given ${struct.given.map(({ name, struct: of }) => (of ? `${name}: ${of.name}` : name)).join(', ')}`
  const head = struct.head && `head of ${struct.head.size.text} bytes, by ${struct.head.by.join('.')}`
  const heading = `${paint.cyan(struct.name)}: ${remark(size, role, struct.legacyInterface ? 'legacy interface' : '', head, given, struct.doc)}`
  const parts: (Part | undefined)[] = struct.twoPart ? ['readable', 'writable'] : [undefined]
  const lines = parts.flatMap((part) => {
    const members = struct.members.filter((member) => member.part === part)
    const rows = columns(layoutRows(members, chapter.name).map((row) => rowCells(row, paint)))
    return part === undefined ? rows : members.length === 0 ? [] : [paint.dim(`device-${part}`), ...rows]
  })
  return [heading, ...lines.map((line) => `  ${line}`)]
}

function rowCells({ offset, size, type, name, remarks }: LayoutRow, paint: Paint): string[] {
  return [paint.dim(offset), size.padStart(4), type, name, remark(...remarks)]
}

function queueCells({ index, each, name, carries, when, doc }: Queue, paint: Paint): string[] {
  const repeated = each === undefined ? '' : `for i = ${each[0].text} .. ${each[1].text}`
  return [index.text, paint.cyan(name), remark(repeated, carries && `carries ${carries.name}`, only(when), doc)]
}

function messageLines(message: Message, paint: Paint): string[] {
  const by = message.by.length === 0 ? '' : `by ${message.by.map((path) => path.join('.')).join(' and ')}`
  const frame = message.frame === undefined ? '' : `frame ${message.frame}`
  const head = message.head && `head ${message.head.name}`
  const heading = `${paint.cyan(message.name)}: ${remark(message.kind, by, head, frame, message.status && statusText(message.status), message.doc)}`
  return [heading, ...message.requests.flatMap((request) => requestLines(request, message, paint)).map((line) => `  ${line}`)]
}

function statusText({ field, ok, failed, unknown, error }: Partial<Status>): string {
  const values = [
    ok && `ok ${ok.map(({ name }) => name).join(' or ')}`,
    failed && `failed ${failed.name}`,
    unknown && `unknown ${unknown === 'none' ? 'none' : unknown.name}`,
    error && `error ${error.name}`,
  ]
  return `status ${[field?.join('.'), ...values].filter((text) => text !== undefined).join(', ')}`
}

function requestLines(request: Request, message: Message, paint: Paint): string[] {
  const is = request.is.map((values) => values.map(({ name }) => name).join(' ')).join(' or ')
  const count = (label: string, expression: Expression | undefined): string => (expression === undefined ? '' : `${label} ${expression.text}`)
  const heading = [paint.bold(request.name), is].filter((text) => text !== '').join(' = ')
  const status = request.status && statusText(request.status)
  const remarks = remark(
    only(request.when),
    request.struct && `struct ${request.struct}`,
    count('spans', request.spans),
    count('descriptors', request.fds),
    count('descriptors in the reply', request.replyFds),
    status,
    request.doc,
  )
  const rows = (['readable', 'writable'] as const).flatMap((part) =>
    layoutRows(
      request.members.filter((member) => member.part === part),
      message.chapter,
    ).map(({ size, type, name, remarks: notes }) => [paint.dim(part), size.padStart(4), type, name, remark(...notes)]),
  )
  return [remarks === '' ? heading : `${heading}: ${remarks}`, ...columns(rows).map((line) => `  ${line}`)]
}

function sharedMemoryCells({ id, to, name, when, doc }: SharedMemory): string[] {
  return [to === undefined ? String(id) : `${id} .. ${to}`, name, remark(only(when), doc)]
}
