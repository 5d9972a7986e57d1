/** Answers of a name server: RFC 1035. One question at a time, addresses of IPv4 only. */
import { get16, put16, put32 } from '../checksum.ts'
import { ipOf } from './ip.ts'

export const dnsPort = 53

const headerBytes = 12
const count = { questions: 4, answers: 6 } as const
const isResponse = 0x8000
const opcode = 0x7800
const truncated = 0x0200
const recursionDesired = 0x0100
const recursionAvailable = 0x0080
const code = { ok: 0, format: 1, failed: 2, unknownName: 3, notImplemented: 4 } as const
const type = { address: 1, any: 255 } as const
const internet = 1
const longestName = 255
/** Most of a label; a pointer is above. */
const longestLabel = 63
const timeToLive = 60
/** Most of a message over UDP, RFC 1035, 4.2.1. */
const longestMessage = 512
/** A pointer to the question's name. */
const questionName = 0xc000 | headerBytes

/** Addresses of a name, in lower case and without a dot at its end; undefined: there is no such name. */
export type Lookup = (name: string) => string | readonly string[] | undefined | Promise<string | readonly string[] | undefined>

interface Question {
  readonly name: string
  readonly type: number
  readonly class: number
  /** Where it ends in the message. */
  readonly end: number
}

/** The answer to a query; undefined for what is none. */
export function answerDns(query: Uint8Array, lookup: Lookup): Uint8Array | undefined | Promise<Uint8Array> {
  if (query.length < headerBytes || (get16(query, 2) & isResponse) !== 0) return undefined
  if ((get16(query, 2) & opcode) !== 0) return answer(query, headerBytes, code.notImplemented)
  const question = get16(query, count.questions) === 1 ? questionOf(query) : undefined
  if (question === undefined) return answer(query, headerBytes, code.format)
  try {
    const found = lookup(question.name)
    if (!(found instanceof Promise)) return answerFor(query, question, found)
    return found.then(
      (addresses) => answerFor(query, question, addresses),
      () => answer(query, question.end, code.failed),
    )
  } catch {
    return answer(query, question.end, code.failed)
  }
}

function answerFor(query: Uint8Array, question: Question, found: string | readonly string[] | undefined): Uint8Array {
  if (found === undefined) return answer(query, question.end, code.unknownName)
  const isAsked = question.class === internet && (question.type === type.address || question.type === type.any)
  try {
    const addresses = isAsked ? [found].flat().map((address) => ipOf(address as string)) : []
    return answer(query, question.end, code.ok, addresses)
  } catch {
    return answer(query, question.end, code.failed)
  }
}

function questionOf(query: Uint8Array): Question | undefined {
  const labels: string[] = []
  let at = headerBytes
  for (;;) {
    const length = query[at]
    if (length === undefined || length > longestLabel || at - headerBytes > longestName) return undefined
    at++
    if (length === 0) break
    if (at + length > query.length) return undefined
    labels.push(String.fromCharCode(...query.subarray(at, at + length)))
    at += length
  }
  if (at + 4 > query.length) return undefined
  return { name: labels.join('.').toLowerCase(), type: get16(query, at), class: get16(query, at + 2), end: at + 4 }
}

/** @param end - up to where the query is repeated */
function answer(query: Uint8Array, end: number, status: number, found: readonly number[] = []): Uint8Array {
  const recordBytes = 16
  const addresses = found.slice(0, Math.floor((longestMessage - end) / recordBytes))
  const bytes = new Uint8Array(end + addresses.length * recordBytes)
  bytes.set(query.subarray(0, headerBytes))
  bytes.fill(0, count.questions)
  bytes.set(query.subarray(headerBytes, end), headerBytes)
  put16(
    bytes,
    2,
    isResponse | (get16(query, 2) & (opcode | recursionDesired)) | recursionAvailable | (addresses.length < found.length ? truncated : 0) | status,
  )
  put16(bytes, count.questions, end > headerBytes ? 1 : 0)
  put16(bytes, count.answers, addresses.length)
  for (const [i, address] of addresses.entries()) {
    const record = bytes.subarray(end + i * recordBytes)
    put16(record, 0, questionName)
    put16(record, 2, type.address)
    put16(record, 4, internet)
    put32(record, 6, timeToLive)
    put16(record, 10, 4)
    put32(record, 12, address)
  }
  return bytes
}
