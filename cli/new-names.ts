/** What the requests and events of a new description are called in the generated code: the generator says, and whether it can take the names at all. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { DeviceChapter } from '../generator/emit/device/device-chapter.ts'
import { Needs } from '../generator/emit/wire/needs.ts'
import { checkShapes } from '../generator/load.ts'
import type { Chapter, Model } from '../generator/model.ts'
import { resolve } from '../generator/resolve/index.ts'
import { SourceFile } from '../generator/source.ts'
import type { OutputFile } from '../generator/write.ts'
import { UsageError } from './command.ts'
import { packageRoot } from './package-root.ts'

export interface RequestNames {
  /** Method of the device. */
  method: string
  /** Method of the driver. */
  driverMethod: string
  /** Its type: `LampMeasureRequest`. */
  type: string
}

/**
 * Names by those in the description, `requests:echo` or `events:alarm`.
 *
 * @throws UsageError for a name that the language, TypeScript or the generated code needs for itself
 */
export function generatedNames(description: OutputFile): Map<string, RequestNames> {
  const { model, chapter } = read(description)
  const names = new Map<string, RequestNames>()
  const device = new DeviceChapter(model, new Needs(model), chapter)
  for (const named of device.requests) {
    const { message, request, method, driverMethod } = named
    names.set(`${message.kind}:${request.name}`, { method, driverMethod, type: device.typeName(named) })
  }
  return names
}

function read({ path, text }: OutputFile): { model: Model; chapter: Chapter } {
  const common = 'common/content.yaml'
  const builtin = new SourceFile(common, common, readFileSync(join(packageRoot, 'spec', common), 'utf8'), true)
  const source = new SourceFile(path, path, text, false)
  const { model, problems } = resolve(checkShapes([builtin, source]))
  const [problem] = problems
  if (problem) throw new UsageError(problem.message, problem.hint ?? 'choose another name')
  return { model, chapter: model.chapters.find(({ builtin }) => !builtin) as Chapter }
}
