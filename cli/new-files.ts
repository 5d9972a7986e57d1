/** The files of a new device type. */
import { existsSync } from 'node:fs'
import { dirname, join, relative, sep } from 'node:path'
import { stringify } from 'yaml'
import { render } from '../generator/linux/template.ts'
import { className } from '../generator/names.ts'
import type { OutputFile } from '../generator/write.ts'
import type { NewDevice } from './new-device.ts'
import { generatedNames, type RequestNames } from './new-names.ts'
import { quoted } from './new-shell.ts'

/** Where the files go. */
export interface Place {
  /** The folder of `--out`. */
  folder: string
  /** How it is called from the working folder; `.` for that itself. */
  shown: string
}

/** The command that makes TypeScript of the description. */
export function generateCommand({ shown }: Place): string {
  const at = (name: string): string => quoted(shown === '.' ? name : `${shown}/${name}`)
  return `npx virtgen generate --spec ${at('spec')} --out ${at('generated')}`
}

/**
 * Paths below the folder, and texts.
 *
 * @throws UsageError for a name that the language, TypeScript or the generated code needs for itself
 */
export function filesOf(device: NewDevice, place: Place): OutputFile[] {
  const { name } = device
  const data = descriptionData(device, place)
  const description = { path: `spec/device/${name}.yaml`, text: render('new-device/spec.yaml.hbs', data) }
  const names = generatedNames(description)
  const called = (kind: string) => (item: Item) => ({ ...item, ...(names.get(`${kind}:${item.name}`) as RequestNames) })
  const code = { ...data, requests: data.requests.map(called('requests')), events: data.events.map(called('events')) }
  const types = code.requests.map(({ type }) => `type ${type}`).sort()
  const skeleton = [`${data.class}Device`, ...(data.hasConstructor ? [`type ${data.class}DeviceOptions`] : []), ...types]
  const imports = importLine(skeleton, `./generated/skeleton/${name}.js`)
  return [
    description,
    { path: `${name}.ts`, text: tidyClass(render('new-device/device.ts.hbs', { ...code, imports })) },
    { path: `${name}.test.ts`, text: render('new-device/test.ts.hbs', { ...code, firstRequest: code.requests.slice(0, 1) }) },
  ]
}

/** A request or an event, and the constant that selects it. */
interface Item {
  name: string
  constant: string
}

function descriptionData(device: NewDevice, place: Place) {
  const { name, hasConfig } = device
  const upper = name.replaceAll('-', '_').toUpperCase()
  const prefix = `virtio_${name.replaceAll('-', '_')}`
  const item =
    (kind: string) =>
    (word: string): Item => ({ name: word, constant: `VIRTIO_${upper}_${kind}_${word.toUpperCase()}` })
  const installed = installedAt(place.folder)
  const requests = device.requests.map(item('T'))
  const events = device.events.map(item('E'))
  const features = featuresOf(device, upper)
  return {
    name,
    id: device.id,
    hasConfig,
    upper,
    prefix,
    class: className(name),
    configClass: className(`${prefix}_config`),
    title: stringify(device.title, { lineWidth: 0 }).trim(),
    schema: `${installed}/spec/schema.json`,
    language: `${installed}/docs/language.md`,
    generate: generateCommand(place),
    requests,
    events,
    features: features.map(({ name, doc }, bit) => `${name}: {bit: ${bit}, doc: ${doc}}`),
    featureNames: features.map((feature) => feature.name).join(', '),
    hasConstructor: hasConfig || features.length > 0,
    constants: groupsOf(prefix, upper, requests, events),
    queues: queuesOf(device, prefix, upper),
    bytes: hasConfig ? '{type: bytes, count: 0 .. config.max_data}' : 'bytes',
  }
}

interface Feature {
  name: string
  doc: string
}

/** Their bits are their places. */
function featuresOf({ events, hasConfig }: NewDevice, upper: string): Feature[] {
  const features: Feature[] = []
  if (events.length > 0) features.push({ name: `VIRTIO_${upper}_F_EVENTS`, doc: 'The device has an event queue.' })
  if (hasConfig) features.push({ name: `VIRTIO_${upper}_F_MODE`, doc: 'The configuration space has the field mode.' })
  return features
}

function groupsOf(prefix: string, upper: string, requests: readonly Item[], events: readonly Item[]): object[] {
  const numbered = (names: readonly string[]): object[] => names.map((name, value) => ({ name, value }))
  const groups: object[] = []
  if (requests.length > 0) {
    const results = ['OK', 'ERROR', 'UNSUPP'].map((word) => `VIRTIO_${upper}_S_${word}`)
    groups.push({ group: `${prefix}_type`, doc: 'Which request it is.', values: numbered(requests.map(({ constant }) => constant)) })
    groups.push({ group: `${prefix}_status`, doc: 'How a request ended.', values: numbered(results) })
  }
  if (events.length > 0)
    groups.push({ group: `${prefix}_event_type`, doc: 'Which event it is.', values: numbered(events.map(({ constant }) => constant)) })
  return groups
}

function queuesOf({ requests, events }: NewDevice, prefix: string, upper: string): string[] {
  const queues: string[] = []
  if (requests.length > 0) queues.push(`requestq: {index: 0, carries: ${prefix}_req}`)
  if (events.length > 0) queues.push(`eventq: {index: ${queues.length}, carries: ${prefix}_event, when: VIRTIO_${upper}_F_EVENTS}`)
  return queues
}

/** The installed package as the description finds it: in the folder itself, or above it in a workspace. */
function installedAt(folder: string): string {
  const from = join(folder, 'spec', 'device')
  let root = folder
  while (!existsSync(join(root, 'node_modules', 'virtgen')) && dirname(root) !== root) root = dirname(root)
  if (dirname(root) === root) root = folder
  return relative(from, join(root, 'node_modules', 'virtgen'))
    .split(sep)
    .join('/')
}

/** On one line where it is not too long for one. */
function importLine(names: readonly string[], module: string): string {
  const line = `import { ${names.join(', ')} } from '${module}'`
  return line.length <= 120 ? line : `import {\n${names.map((name) => `  ${name},\n`).join('')}} from '${module}'`
}

/** What comes first in a class, or nothing, has no blank line above it. */
function tidyClass(text: string): string {
  return text.replace('Device {\n\n', 'Device {\n').replace('Device {\n}', 'Device {}')
}
