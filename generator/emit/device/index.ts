/** The emitter of devices: tables of messages, skeletons and driver clients, one module of each per device chapter. */
import type { Chapter, Model } from '../../model.ts'
import { printFile } from '../code.ts'
import type { EmittedFile } from '../index.ts'
import { Imports } from '../wire/imports.ts'
import { header } from '../wire/index.ts'
import { Needs } from '../wire/needs.ts'
import { bareModule } from './bare.ts'
import { DeviceChapter } from './device-chapter.ts'
import { DriverEmitter } from './driver.ts'
import { MessagesEmitter } from './messages.ts'
import { checkDeclared } from './names.ts'
import { SkeletonEmitter } from './skeleton.ts'

const emitters = { messages: MessagesEmitter, skeleton: SkeletonEmitter, driver: DriverEmitter } as const

export function emitDevices(model: Model, chapters: readonly Chapter[]): EmittedFile[] {
  const needs = new Needs(model)
  const devices = chapters.filter(({ kind }) => kind === 'device').map((chapter) => new DeviceChapter(model, needs, chapter))
  return [
    ...devices.map(bareModule),
    ...(['messages', 'skeleton', 'driver'] as const).flatMap((folder) => devices.map((device) => emit(device, folder))),
  ]
}

function emit(device: DeviceChapter, folder: keyof typeof emitters): EmittedFile {
  const { model, chapter } = device
  const imports = new Imports(model, chapter.name, folder)
  const emitter = new emitters[folder](device, imports)
  const body = emitter.statements()
  const path = `${folder}/${chapter.name}.ts`
  checkDeclared(path, imports.names, emitter.declared)
  return { path, text: printFile(path, header(model, chapter), [...imports.statements(), ...body]) }
}
