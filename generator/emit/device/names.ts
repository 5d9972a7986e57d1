/** Names of methods and types, the same in tables, skeletons and drivers. */
import type { Chapter, Message } from '../../model.ts'
import { className, identifier, reservedWords } from '../../names.ts'
import type { MessageShape, RequestShape } from '../parts.ts'
import { camelCase } from './text.ts'

/** Members of the base classes: what a request of that name is called must be something else. See test/skeleton-emit.test.ts. */
export const baseMembers: ReadonlySet<string> = new Set([
  // Of every object.
  'constructor',
  'toString',
  'toLocaleString',
  'valueOf',
  'hasOwnProperty',
  'isPrototypeOf',
  'propertyIsEnumerable',
  'then',
  'name',
  'length',
  'prototype',
  // VirtioDevice and RequestDevice.
  'id',
  'offered',
  'queueSizes',
  'config',
  'accepts',
  'activate',
  'activated',
  'queueNotified',
  'queueReset',
  'queueResetting',
  'configWritten',
  'reset',
  'resetting',
  'save',
  'saveState',
  'restore',
  'restoreState',
  'sharedMemory',
  'legacyOffered',
  'dispatch',
  'sendEvent',
  'queueOf',
  'queues',
  'host',
  'eventBuffersAvailable',
  'bufferAvailable',
  // DeviceDriver.
  'deviceId',
  'features',
  'configLength',
  'request',
  'listen',
  'writeConfig',
  'writeField',
  'onConfigChange',
  'failure',
  'resetQueue',
  'close',
])

export interface NamedRequest extends RequestShape {
  /** Unique in the chapter. */
  id: number
  /** Name in the tables: `zoneAppend`. */
  key: string
  /** Method of the skeleton, or with which it sends. */
  method: string
  /** Method of the driver client. */
  driverMethod: string
  /** Part of the names of its types: `ZoneAppend`. */
  typeName: string
}

/** Names the requests and events of a chapter; those of the same name in two messages get that of the message in front. */
export function nameRequests(chapter: Chapter, messages: readonly MessageShape[]): NamedRequest[] {
  const all = messages.flatMap(({ requests }) => requests)
  return all.map((shape, id): NamedRequest => {
    const { kind } = shape.message
    const rivals = all.filter(({ message, request }) => message.kind === kind && camelCase(request.name) === camelCase(shape.request.name))
    const key = rivals.length === 1 ? camelCase(shape.request.name) : camelCase(`${shortName(chapter, shape.message, rivals)}_${shape.request.name}`)
    const typeName = className(key)
    const names = kind === 'events' ? [`send${typeName}`, `on${typeName}`] : [key, key]
    const suffix = kind === 'events' ? 'Event' : 'Request'
    const [method, driverMethod] = names.map((name) => (baseMembers.has(name) ? name + suffix : name)) as [string, string]
    return { ...shape, id, key, method, driverMethod, typeName }
  })
}

/** `BlkReadRequest`; no word twice: the event `input` of the input device is an `InputEvent`, the request `credit_request` of vsock a `VsockCreditRequest`. */
export function requestType(prefix: string, typeName: string, kind: Message['kind']): string {
  const suffix = kind === 'events' ? 'Event' : 'Request'
  const name = new RegExp(`^${prefix}(?![a-z0-9])`).test(typeName) ? typeName : prefix + typeName
  return name.endsWith(suffix) && name !== suffix ? name : name + suffix
}

/** The message's name without what all of the chapter's begin with, where that is enough to tell it from the others. */
function shortName(chapter: Chapter, message: Message, rivals: readonly RequestShape[]): string {
  const short = ({ name }: Message): string =>
    identifier(name)
      .replace(/^virtio_/, '')
      .replace(new RegExp(`^${identifier(chapter.name)}_`), '')
  const own = short(message)
  const isClear = /^[A-Za-z]/.test(own) && rivals.filter((rival) => short(rival.message) === own).length === 1
  return isClear ? own : message.name
}

/** Throws where a module would declare a name twice, or one that TypeScript needs: what `resolve` has not found. */
export function checkDeclared(path: string, imported: readonly string[], declared: readonly string[]): void {
  const seen = new Set(imported)
  for (const name of declared) {
    if (seen.has(name)) throw new Error(`${path}: "${name}" would stand for two things`)
    if (reservedWords.has(name)) throw new Error(`${path}: "${name}" cannot name anything in TypeScript`)
    seen.add(name)
  }
}
