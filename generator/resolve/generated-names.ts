/**
 * Names that the generated code makes of those of messages: classes of parts, methods, types of requests. Checked by the emitters' own rules once nothing else is
 * wrong, as they need the whole layouts.
 */
import { nameRequests, requestType } from '../emit/device/names.ts'
import { type MessageShape, messageShape, type RequestShape } from '../emit/parts.ts'
import { Needs } from '../emit/wire/needs.ts'
import type { Chapter, Message, Model, Part } from '../model.ts'
import { className, contractTypes, identifier, moduleNames, reservedWords, tableNames } from '../names.ts'
import type { Path } from '../source.ts'
import type { ChapterScope } from './workspace.ts'

/** Says that two things become one name; `undefined` where the generated code needs the name for itself. */
type Report = (path: Path, name: string, owner: string, other: string | undefined) => void

export function checkGeneratedNames(model: Model, scopeOf: (name: string) => ChapterScope): void {
  const needs = new Needs(model)
  for (const chapter of model.chapters) {
    const shapes = chapter.messages.map((message) => messageShape(model, needs, message))
    const report: Report = (path, name, owner, other) => {
      const message =
        other === undefined ? `${owner} becomes ${name}, which the generated code has already` : `${other} and ${owner} both become ${name}`
      scopeOf(chapter.name).report('generated-name', path, message, 'choose another name', path.length > 1 ? 'key' : undefined)
    }
    const parts = checkParts(chapter, shapes, report)
    if (chapter.kind === 'device') checkDevice(chapter, shapes, parts, report)
  }
}

/** Names that are taken, with who has them. */
type Owners = Map<string, string | undefined>

function claim(owners: Owners, name: string, owner: string, path: Path, report: Report): void {
  if (owners.has(name)) report(path, name, owner, owners.get(name))
  else owners.set(name, owner)
}

/** The classes of parts; gives their names. */
function checkParts(chapter: Chapter, shapes: readonly MessageShape[], report: Report): string[] {
  const owners: Owners = new Map()
  for (const { name, twoPart, role } of chapter.structs)
    if (role !== 'foreign') for (const suffix of twoPart ? ['Readable', 'Writable'] : ['']) owners.set(className(name) + suffix, `"${name}"`)
  for (const { name } of chapter.groups) owners.set(identifier(name), `"${name}"`)
  for (const { message, frame, requests, classes } of shapes) {
    for (const each of classes) {
      const own = requests.find((request) => each === request.readable.class || each === request.writable.class)
      const isFrame = each === frame.readable.class || each === frame.writable.class
      const path = own && !isFrame ? pathOf(own) : ['messages', message.name]
      claim(owners, each.name, partOwner(each.part, own && !isFrame ? `${message.name}.${own.request.name}` : message.name), path, report)
    }
  }
  return shapes.flatMap(({ classes }) => classes.map(({ name }) => name))
}

function partOwner(part: Part, name: string): string {
  return `the ${part} part of "${name}"`
}

/** Methods of the skeleton and of the driver client, the types of both modules, and the tables. */
function checkDevice(chapter: Chapter, shapes: readonly MessageShape[], parts: readonly string[], report: Report): void {
  const prefix = className(chapter.name)
  const imported = [
    ...contractTypes,
    ...parts,
    ...parts.map((name) => `${name}Value`),
    ...(chapter.config === undefined ? [] : [className(chapter.config)]),
  ]
  const taken = (): Owners => new Map(imported.map((name) => [name, undefined]))
  const types: Record<Message['kind'], Owners> = { requests: taken(), events: taken() }
  claim(types.requests, `${prefix}Device`, `the device "${chapter.name}"`, ['name'], report)
  types.requests.set(`${prefix}DeviceOptions`, undefined)
  claim(types.events, `${prefix}Driver`, `the device "${chapter.name}"`, ['name'], report)
  const methods: Record<'skeleton' | 'driver', Owners> = { skeleton: new Map(), driver: new Map() }
  for (const request of nameRequests(chapter, shapes)) {
    const { message, method, driverMethod, typeName } = request
    const path = pathOf(request)
    const owner = `the ${message.kind === 'events' ? 'event' : 'request'} "${message.name}.${request.request.name}"`
    const found: string[] = []
    // One mistake shows in several places.
    const once: Report = (at, name, ...rest) => {
      if (found.length === 0) report(at, name, ...rest)
      found.push(name)
    }
    claim(methods.skeleton, `${method}()`, owner, path, once)
    claim(methods.driver, `${driverMethod}()`, owner, path, once)
    claim(types[message.kind], requestType(prefix, typeName, message.kind), owner, path, once)
  }
  const tables: Owners = new Map([...tableNames, ...moduleNames, ...reservedWords].map((name) => [name, undefined]))
  for (const { name } of chapter.messages) claim(tables, identifier(name), `the message "${name}"`, ['messages', name], report)
}

function pathOf({ message, request }: RequestShape): Path {
  return ['messages', message.name, message.kind, message.requests.indexOf(request), request.name]
}
