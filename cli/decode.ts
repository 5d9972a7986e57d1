/** `virtgen decode`: bytes to the fields of a struct. */
import type { CodecContext } from '../generator/codec.ts'
import { findStruct } from '../generator/facts.ts'
import type { Message, Model, Part, Request, Struct } from '../generator/model.ts'
import { readBytes } from './bytes-input.ts'
import { type Call, type Command, Failure, jsonOption, specOption, UsageError } from './command.ts'
import { type DecodedView, decodeBytes } from './decoded.ts'
import { decodedJson } from './decoded-json.ts'
import { decodedText } from './decoded-text.ts'
import { parseFeatures } from './feature-names.ts'
import { type Found, onlyStruct, structsNamed } from './find-struct.ts'
import { counted } from './table.ts'

export const decode: Command = {
  name: 'decode',
  arguments: '<struct> <...hex>',
  summary: 'shows bytes as the fields of a struct',
  description: [
    '<struct> is a struct, a block of registers or a request (virtio_blk_req.get_id), with its chapter where the name is not unique ' +
      '(net/virtio_net_hdr). <hex> is hexadecimal, with spaces, colons or 0x where you like; - is the standard input and @FILE a file: ' +
      'digits, a dump by xxd or hexdump -C, or the bytes themselves.',
    'What the layout depends on besides the bytes has to be said: --features, --config, --queue-size; --given for the structs it ' +
      'needs, --caller for the values that only the program knows.',
    'Bytes behind the struct are reported. Where bytes are missing the fields that are there are shown, and the exit code is 1; a ' +
      'configuration space may be shorter than its struct.',
  ],
  options: [
    { name: 'part', value: 'PART', summary: 'readable or writable, of a struct with two parts' },
    { name: 'features', value: 'BITS', summary: 'the negotiated features: 0x130006e54, or names with commas' },
    { name: 'config', value: 'JSON', summary: 'fields of the configuration space' },
    { name: 'queue-size', value: 'N', summary: 'size of the queue' },
    { name: 'given', value: 'JSON', summary: 'what the struct needs from others' },
    { name: 'caller', value: 'JSON', summary: 'what only the program knows' },
    jsonOption,
    specOption,
  ],
  examples: [
    { line: 'virtgen decode virtio_blk_req --part readable 00000000 00000000 0800000000000000', meaning: 'the header of a request' },
    { line: 'xxd config.bin | virtgen decode virtio_blk_config - --features 0x130006e54', meaning: 'a configuration space' },
  ],
  run,
}

async function run(call: Call): Promise<number> {
  const [word, ...words] = call.arguments as [string, ...string[]]
  const bytes = readBytes(words, call.host)
  const [{ model, found }, { decodeStruct, requestStruct }] = await Promise.all([locate(call, word), import('../generator/codec.ts')])
  const struct = structOf(model, found, requestStruct)
  const part = partOf(call, struct)
  const context = contextOf(call, model, found)
  const decoded = decodeBytes((some) => decodeStruct(model, found, some, context, part), struct, bytes)
  const view: DecodedView = { model, found, struct, part, bytes, decoded, context }
  if (call.options.has('json')) call.printJson(decodedJson(view))
  else for (const line of decodedText(view, call.paint)) call.print(line)
  const missing = decoded.missing.map(({ path }) => path).join(', ')
  if (missing === '' || struct.role === 'config') return 0
  throw new Failure(`${found.name} needs ${counted(decoded.size, 'byte')}, there are ${bytes.length}; missing: ${missing}`)
}

/** The struct, or that of a request. */
function structOf(model: Model, found: Found, requestStruct: (model: Model, message: Message, request: Request) => Struct): Struct {
  const [messageName, requestName] = found.name.split('.')
  const message = model.chapters.find(({ name }) => name === found.chapter)?.messages.find(({ name }) => name === messageName)
  const request = message?.requests.find(({ name }) => name === requestName)
  return message && request ? requestStruct(model, message, request) : (findStruct(model, found) as Struct)
}

function partOf(call: Call, { name, twoPart, members }: Struct): Part | undefined {
  const part = call.options.text('part')
  if (part !== undefined && part !== 'readable' && part !== 'writable') throw new UsageError(`--part is readable or writable, not "${part}"`)
  if (!twoPart && part !== undefined) throw new UsageError(`${name} has no parts`, 'leave out --part')
  if (!twoPart || part !== undefined) return part
  const parts = [...new Set(members.map((member) => member.part))]
  if (parts.length > 1) throw new UsageError(`${name} has two parts`, 'say which one: --part readable or --part writable')
  return parts[0]
}

/** Chapters in which the name does not stand are read only if it is not found in the others: members of structs give names to nested ones. */
async function locate(call: Call, word: string): Promise<{ model: Model; found: Found }> {
  const { describe, describePart } = await import('./description.ts')
  const [chapter, name] = word.includes('/') ? (word.split('/', 2) as [string, string]) : [undefined, word]
  const part = describePart(call, chapter === undefined ? { struct: name.split('.')[0] as string } : { chapters: [chapter] }).model
  const model = structsNamed(part, word).length > 0 ? part : describe(call).model
  return { model, found: onlyStruct(model, word) }
}

function contextOf({ options }: Call, model: Model, { chapter }: Found): CodecContext {
  const features = options.text('features')
  const queueSize = options.count('queue-size')
  const config = options.json('config')
  const given = options.json('given')
  const caller = options.json('caller')
  for (const [name, value] of Object.entries(caller ?? {})) {
    if (typeof value !== 'number') throw new UsageError(`--caller: "${name}" is a number, not ${JSON.stringify(value)}`)
  }
  return {
    ...(features === undefined
      ? {}
      : {
          features: parseFeatures(
            model,
            model.chapters.find(({ name }) => name === chapter),
            features,
          ),
        }),
    ...(queueSize === undefined ? {} : { queueSize }),
    ...(config === undefined ? {} : { config }),
    ...(given === undefined ? {} : { given }),
    ...(caller === undefined ? {} : { caller: caller as Record<string, number> }),
  }
}
