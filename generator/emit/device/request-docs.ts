/** What is to be said of requests, events and their payloads. */
import type { Member, Model } from '../../model.ts'
import { identifier } from '../../names.ts'
import { units } from '../../units.ts'
import { commentLines, docs } from '../code.ts'
import { citation } from '../wire/constants.ts'
import { conditionWords, countWords } from '../wording.ts'
import type { NamedRequest } from './names.ts'

/** The comment of a method or type that stands for a request; `tags` follow at its end. */
export function requestComment(
  model: Model,
  { request }: NamedRequest,
  notes: readonly (string | undefined)[] = [],
  tags: readonly string[] = [],
): string[] {
  return commentLines(docs(request.doc, request.when && `Only ${conditionWords(request.when)}.`, ...notes, citation(model, request), ...tags))
}

/** `The payload \`data\`. A multiple of sector_bytes bytes.` */
export function payloadText(payload: Member | undefined): string | undefined {
  if (payload === undefined) return undefined
  const { multiple, count, dims, doc, unit } = payload
  const inner = dims.slice(1).reduce((product, dim) => product * (dim.count ?? 1), 1)
  const facts = [
    payload.name === '' ? 'The payload.' : `The payload \`${identifier(payload.name)}\`.`,
    doc,
    unit && `In ${units.get(unit) ?? unit}.`,
    multiple && `A multiple of ${multiple.text} bytes.`,
    inner > 1 && `In pieces of ${inner} bytes.`,
    count && countWords(count, inner > 1 ? 'pieces' : 'bytes'),
  ]
  return facts.filter(Boolean).join(' ')
}
