/** `virtgen drift`: the description held against the specification's text. */
import { resolve } from 'node:path'
import type { DriftReport } from '../generator/drift/report.ts'
import { describeChapters } from './chapters.ts'
import { type Call, type Command, Failure, jsonOption, specOption } from './command.ts'
import { driftLines } from './drift-text.ts'

export const drift: Command = {
  name: 'drift',
  arguments: '[...chapter]',
  summary: "compares the description with the specification's text",
  description: [
    'Names, numbers, layouts, queues and registers are read from the LaTeX of a revision, independently of the YAML, and compared: what is ' +
      'missing (+), changed (~) or extra (-) in the YAML, with file and line on both sides and YAML to paste. What an erratum explains is set apart.',
    'Exits with 0 if nothing has drifted, with 1 otherwise.',
  ],
  options: [{ name: 'tex', value: 'DIR', summary: 'folder of the LaTeX: a checkout of the specification' }, jsonOption, specOption],
  examples: [
    { line: 'virtgen drift --tex ../virtio-spec', meaning: 'what has changed in the specification?' },
    { line: 'virtgen drift net --tex ../virtio-spec', meaning: 'only the chapter of the network device' },
  ],
  async run(call) {
    const { model, chosen } = await describeChapters(call)
    const [{ factsOf }, { driftOf }] = await Promise.all([import('../generator/facts.ts'), import('../generator/drift/report.ts')])
    const report = driftOf(factsOf(model), await otherSide(call), chosen)
    if (call.options.has('json')) call.printJson(report)
    else for (const line of driftLines(report, call.paint)) call.print(line)
    return hasDrifted(report) ? 1 : 0
  },
}

function hasDrifted({ differences }: DriftReport): boolean {
  return differences.length > 0
}

async function otherSide(call: Call) {
  const folder = call.options.text('tex')
  if (folder === undefined) throw new Failure('what is the description to be compared with?', '--tex DIR names the folder of the LaTeX')
  const tex = await readTex(call, folder)
  return { name: folder, facts: tex.facts, tex }
}

/** @throws Failure where there is no LaTeX of the specification. */
export async function readTex(call: Call, folder: string) {
  const { factsOfTex } = await import('../generator/tex/index.ts')
  const tex = factsOfTex(resolve(call.host.folder, folder))
  if (tex.files === 0) throw new Failure(`there is no LaTeX of the specification in ${folder}`, 'the folder that has content.tex and device-types/')
  return tex
}
