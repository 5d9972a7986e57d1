/** `virtgen facts`: the description as a flat list, to search in and to compare with. */
import { type Facts, type FieldFact, factsOf } from '../generator/facts.ts'
import { oneLine } from '../generator/one-line.ts'
import { describeChapters } from './chapters.ts'
import { type Call, type Command, jsonOption, specOption, UsageError } from './command.ts'
import { readHeaders, readTex } from './drift.ts'
import { columns } from './table.ts'

export const facts: Command = {
  name: 'facts',
  arguments: '[...chapter]',
  summary: 'lists every number of the description, one per line',
  description: [
    'Each line begins with what it is (device, feature, constant, struct, field, register, queue, request, event, erratum), its chapter and its name. ' +
      'Offsets count from the outermost struct; "-" stands for an offset or size that varies.',
  ],
  options: [
    {
      name: 'from',
      value: 'SOURCE',
      summary: "the facts of the specification's LaTeX (tex) or Linux's headers (headers) instead; the first argument is the folder",
    },
    { name: 'compact', summary: 'as JSON without files and lines, one fact per line: the form of facts/' },
    jsonOption,
    specOption,
  ],
  examples: [
    { line: 'virtgen facts blk | grep capacity', meaning: 'where is capacity?' },
    { line: 'virtgen facts --json > facts.json', meaning: 'everything, for a program' },
    { line: 'virtgen facts --from headers /usr/include linux/virtio_net.h', meaning: 'what a header of Linux declares' },
    { line: 'virtgen facts --from tex ../virtio-spec net', meaning: "what the specification's text says of the network device" },
  ],
  async run(call) {
    const all = call.options.has('from') ? await otherFacts(call) : await ownFacts(call)
    if (call.options.has('compact')) call.print((await import('../generator/drift/stored.ts')).storedText(all).trimEnd())
    else if (call.options.has('json')) call.printJson(all)
    else for (const line of columns(rows(all))) call.print(line)
    return 0
  },
}

async function ownFacts(call: Call): Promise<Facts> {
  const { model, chosen } = await describeChapters(call)
  return only(factsOf(model), chosen)
}

/** Facts of another source. What could not be read is told beside them. */
async function otherFacts(call: Call): Promise<Facts> {
  const [folder, ...chapters] = call.arguments
  const source = call.options.text('from')
  if (source !== 'tex' && source !== 'headers') throw new UsageError(`--from takes tex or headers, not "${source}"`)
  if (folder === undefined) throw new UsageError(`--from ${source} needs a folder`, `virtgen facts --from ${source} DIR`)
  const { facts, unread } = await (source === 'tex' ? readTex : readHeaders)(call, folder)
  for (const { file, line, why, text } of unread) call.complain(`${file}:${line}: ${why}: ${text}`)
  return only(facts, chapters.length > 0 ? new Set(chapters) : undefined)
}

function only(all: Facts, scopes: ReadonlySet<string> | undefined): Facts {
  if (scopes === undefined) return all
  const kept = Object.entries(all).map(([key, list]) => [key, Array.isArray(list) ? list.filter(({ scope }) => scopes.has(scope)) : list])
  return Object.fromEntries(kept) as Facts
}

function rows(all: Facts): string[][] {
  return [
    ...all.devices.map(({ scope, id, name }) => ['device', scope, name, `id ${id}`]),
    ...all.features.map(({ scope, name, bit, legacy }) => ['feature', scope, name, `bit ${bit}`, legacy ? 'legacy' : '']),
    ...all.constants.map(({ scope, name, value, group }) => ['constant', scope, name, `= ${value}`, group]),
    ...all.structs.flatMap(({ scope, name, size, fields }) => [
      ['struct', scope, name, `size ${size ?? '-'}`],
      ...fields.map((field) => ['field', scope, `${name}.${field.name}`, ...fieldColumns(field)]),
    ]),
    ...all.registers.map(({ scope, block, name, offset, width, access, legacy }) => [
      'register',
      scope,
      `${block}.${name}`,
      `offset ${offset ?? '-'}`,
      `size ${width ?? '-'}, ${access}${legacy ? ', legacy' : ''}`,
    ]),
    ...all.queues.map(({ scope, name, index, when }) => ['queue', scope, name, `index ${index}`, when === undefined ? '' : `when ${when}`]),
    ...all.requests.map(({ scope, kind, message, name, is, when }) => [
      kind,
      scope,
      `${message}.${name}`,
      is ?? '-',
      when === undefined ? '' : `when ${when}`,
    ]),
    ...all.errata.map(({ kind, scope, name, truth, why }) => ['erratum', scope, name, kind, oneLine(`${truth}: ${why}`)]),
  ]
}

function fieldColumns({ offset, size, type, count, bit, bits, part, when }: FieldFact): string[] {
  const dims =
    count === undefined
      ? ''
      : [count]
          .flat()
          .map((length) => `[${length}]`)
          .join('')
  const place = bit === undefined ? `size ${size ?? '-'}` : `bits ${bit}${bits === 1 ? '' : `–${bit + (bits as number) - 1}`}`
  const rest = [part, when === undefined ? undefined : `when ${when}`].filter((text) => text !== undefined)
  return [`offset ${offset ?? '-'}`, [`${place}, ${type}${dims}`, ...rest].join(', ')]
}
