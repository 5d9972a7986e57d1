/** `virtgen drift`: the description held against the specification's text. */
import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { YamlText } from '../generator/drift/locate.ts'
import type { DriftReport, Other } from '../generator/drift/report.ts'
import type { Model } from '../generator/model.ts'
import { type Call, type Command, Failure, jsonOption, specOption, UsageError } from './command.ts'
import { driftLines, headerDriftLines } from './drift-text.ts'
import { packageRoot } from './package-root.ts'

export const drift: Command = {
  name: 'drift',
  arguments: '[...chapter]',
  summary: "compares the description with the specification's text",
  description: [
    'Names, numbers, layouts, queues and registers are read from the LaTeX of a revision, independently of the YAML, and compared: what is ' +
      'missing (+), changed (~) or extra (-) in the YAML, with file and line on both sides and YAML to paste. What an erratum explains is set apart. ' +
      'Without --tex it is compared with the names and numbers of a published revision that virtgen carries.',
    'Exits with 0 if nothing has drifted, with 1 otherwise. What could not be read is listed and is no drift.',
  ],
  options: [
    { name: 'tex', value: 'DIR', summary: 'folder of the LaTeX: a checkout of the specification' },
    { name: 'headers', value: 'DIR', summary: "include folder with linux/, or system for the system's: compares with Linux's headers" },
    { name: 'against', value: 'VERSION', summary: 'a revision whose facts come with virtgen, by default 1.4' },
    jsonOption,
    specOption,
  ],
  examples: [
    { line: 'virtgen drift --tex ../virtio-spec', meaning: 'what has changed in the specification?' },
    { line: 'virtgen drift net --tex ../virtio-spec', meaning: 'only the chapter of the network device' },
    { line: 'virtgen drift --against 1.3', meaning: 'what is new since 1.3?' },
  ],
  async run(call) {
    const { describe } = await import('./description.ts')
    const { model } = describe(call)
    const folder = call.options.text('headers')
    const headers = folder === undefined ? undefined : await headersReport(call, model, folder)
    const isAboutText = folder === undefined || call.options.has('tex') || call.options.has('against')
    const text = isAboutText ? await textReport(call, model) : undefined
    if (call.options.has('json')) call.printJson(text && headers ? { text, headers } : (text ?? headers))
    else {
      const chosen = new Set(call.arguments)
      for (const line of text ? driftLines(text, chosen, call.paint) : []) call.print(line)
      for (const line of headers ? headerDriftLines(headers, call.paint) : []) call.print(line)
    }
    return [text, headers].some((report) => (report?.differences.length ?? 0) > 0) ? 1 : 0
  },
}

async function textReport(call: Call, model: Model): Promise<DriftReport> {
  const [{ factsOf }, { driftOf, scopesOf }] = await Promise.all([import('../generator/facts.ts'), import('../generator/drift/report.ts')])
  const other = await otherSide(call)
  const known = new Set([...model.chapters.map(({ name }) => name), ...scopesOf(other.facts)])
  for (const word of call.arguments) if (!known.has(word)) throw new UsageError(`neither side has a chapter "${word}"`)
  return driftOf(factsOf(model), other, { chosen: chosenBy(call), textOf: (scope) => yamlOf(model, scope) })
}

function chosenBy(call: Call): ReadonlySet<string> | undefined {
  return call.arguments.length > 0 ? new Set(call.arguments) : undefined
}

/** The text of a chapter of virtgen's own; those of `--spec` are not looked into. */
function yamlOf(model: Model, scope: string): YamlText | undefined {
  const chapter = model.chapters.find(({ name, builtin }) => name === scope && builtin)
  return chapter && { file: `spec/${chapter.file}`, text: readFileSync(join(packageRoot, 'spec', chapter.file), 'utf8') }
}

async function otherSide(call: Call): Promise<Other> {
  const [folder, version] = [call.options.text('tex'), call.options.text('against')]
  if (folder !== undefined && version !== undefined) throw new UsageError('--tex and --against exclude each other')
  if (folder !== undefined) {
    const tex = await readTex(call, folder)
    return { name: folder, facts: tex.facts, tex }
  }
  const { readStored, storedVersions } = await import('../generator/drift/stored.ts')
  const stored = join(packageRoot, 'facts')
  const versions = storedVersions(stored)
  const wanted = version ?? '1.4'
  if (!versions.includes(wanted)) throw new UsageError(`there are no facts of "${wanted}"`, `there are those of ${versions.join(', ')}`)
  return { name: `VIRTIO ${wanted}`, facts: readStored(stored, wanted) }
}

/** @throws Failure where there is no LaTeX of the specification. */
export async function readTex(call: Call, folder: string) {
  const { factsOfTex } = await import('../generator/tex/index.ts')
  const tex = factsOfTex(resolve(call.host.folder, folder))
  if (tex.files === 0) throw new Failure(`there is no LaTeX of the specification in ${folder}`, 'the folder that has content.tex and device-types/')
  return tex
}

async function headersReport(call: Call, model: Model, folder: string) {
  const { driftOfHeaders } = await import('../generator/drift/headers.ts')
  const facts = await readHeaders(call, folder)
  const known = new Set([...model.chapters.map(({ name }) => name), ...facts.headers])
  for (const word of call.arguments) if (!known.has(word)) throw new UsageError(`there is no chapter "${word}"`)
  return driftOfHeaders(model, facts, chosenBy(call))
}

/** @throws Failure where the compiler or the headers are missing. */
export async function readHeaders(call: Call, folder: string) {
  const [{ factsOfHeaders }, { CannotCompare }] = await Promise.all([
    import('../generator/headers/index.ts'),
    import('../generator/linux/compiler.ts'),
  ])
  try {
    return await factsOfHeaders({
      headers: folder === 'system' ? undefined : resolve(call.host.folder, folder),
      cc: call.host.environment.CC || undefined,
      onProgress: (step) => call.progress(`${step} …`),
    })
  } catch (error) {
    if (error instanceof CannotCompare) throw new Failure(error.message)
    throw error
  } finally {
    call.progress('')
  }
}
