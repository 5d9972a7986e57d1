/** That the vectors of the description show enough: bytes typed by hand for every family of requests and every conditional layout, with what they follow from. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { evaluate, nodes } from '../generator/evaluate.ts'
import { requestStruct } from '../generator/index.ts'
import type { Chapter, Condition, Member, Struct, Vector } from '../generator/model.ts'
import { loadEverything } from './support/description.ts'

const model = loadEverything()
const chapters = model.chapters.filter(({ builtin }) => builtin)
const vectors = chapters.flatMap((chapter) => chapter.vectors.map((vector) => ({ chapter, vector })))

const text = process.env.VIRTIO_SPEC_TEXT ?? '../shared/virtio-spec/1.4'
const hasText = existsSync(join(text, 'content.tex'))

function linesOf(file: string): number | undefined {
  const path = join(text, file)
  return existsSync(path) ? readFileSync(path, 'utf8').split('\n').length : undefined
}

function isOverFeatures(condition: Condition): boolean {
  const leaves = [...nodes(condition.tree)].filter(({ op }) => !['and', 'or', 'not'].includes(op))
  return leaves.length > 0 && leaves.every(({ op }) => op === 'feature')
}

/** The conditions over features alone that decide whether members are there, each once. */
function conditionsOf(members: readonly Member[], part: string | undefined): Map<string, Condition> {
  const found = new Map<string, Condition>()
  const visit = (list: readonly Member[]): void => {
    for (const member of list) {
      if (part !== undefined && member.part !== undefined && member.part !== part) continue
      if (member.when && isOverFeatures(member.when)) found.set(member.when.text, member.when)
      if (member.type.kind === 'group') visit(member.type.members)
      if (member.type.kind === 'union') visit(member.type.arms)
    }
  }
  visit(members)
  return found
}

function holdsIn(condition: Condition, { context }: Vector): boolean {
  const value = evaluate(condition.tree, { feature: (name) => context.features?.includes(name) ?? false })
  return value !== undefined && value !== 0n
}

/** Vectors of a struct: of itself, or of something that holds it. */
function vectorsOf(chapter: Chapter, struct: Struct): Vector[] {
  const holders = new Set([struct.name])
  const structs = [
    ...chapter.structs,
    ...chapter.messages.flatMap((message) => message.requests.map((request) => requestStruct(model, message, request))),
  ]
  for (let size = 0; size !== holders.size; ) {
    size = holders.size
    for (const each of structs) if (mentions(each.members, holders)) holders.add(each.name)
  }
  // The vectors of its requests show the frame of a message.
  const isOf = (name: string): boolean => holders.has(name) || (struct.role === 'message' && name.startsWith(`${struct.name}.`))
  return vectors.filter(({ vector }) => isOf(vector.of.name)).map(({ vector }) => vector)
}

function mentions(members: readonly Member[], names: ReadonlySet<string>): boolean {
  return members.some(({ type }) => {
    if (type.kind === 'struct') return names.has(type.name)
    if (type.kind === 'group') return (type.struct !== undefined && names.has(type.struct.name)) || mentions(type.members, names)
    return type.kind === 'union' && mentions(type.arms, names)
  })
}

describe('vectors', () => {
  it('cite what their bytes follow from', () => {
    const silent = vectors.filter(({ vector }) => vector.cites === undefined).map(({ chapter, vector }) => `${chapter.name}: ${vector.of.name}`)
    expect(silent).toEqual([])
  })

  it.skipIf(!hasText)('cite lines that the text has', () => {
    const wrong = vectors.flatMap(({ chapter, vector }) =>
      [...(vector.cites ?? '').matchAll(/([\w/-]+\.(?:tex|c)):(\d+)/g)]
        .filter(([, file]) => file?.endsWith('.tex'))
        .filter(([, file, line]) => !((linesOf(file as string) ?? 0) >= Number(line)))
        .map(([cited]) => `${chapter.name} ${vector.of.name}: ${cited}`),
    )
    expect(wrong).toEqual([])
  })

  it('are there for every family of requests and events', () => {
    const missing = chapters
      .filter(({ kind }) => kind === 'device')
      .flatMap(({ messages }) => messages)
      .filter((message) => !vectors.some(({ vector }) => vector.of.chapter === message.chapter && vector.of.name.split('.')[0] === message.name))
    expect(missing.map(({ chapter, name }) => `${chapter}: ${name}`)).toEqual([])
  })

  it('are there for every configuration space', () => {
    const missing = chapters.filter(({ config, vectors: own }) => config !== undefined && !own.some(({ of }) => of.name === config))
    expect(missing.map(({ name }) => name)).toEqual([])
  })

  it('show every layout that features decide, with the feature and without', () => {
    const missing = chapters.flatMap((chapter) => {
      const requests = chapter.messages.flatMap((message) => message.requests.map((request) => requestStruct(model, message, request)))
      const subjects = [...chapter.structs.filter(({ role }) => role === 'struct' || role === 'message'), ...requests]
      return subjects.flatMap((struct) =>
        [...conditionsOf(struct.members, undefined).values()].flatMap((condition) => {
          const own = vectorsOf(chapter, struct)
          const seen = new Set(own.map((vector) => holdsIn(condition, vector)))
          return [true, false]
            .filter((wanted) => !seen.has(wanted))
            .map((wanted) => `${chapter.name}: ${struct.name} ${wanted ? 'with' : 'without'} ${condition.text}`)
        }),
      )
    })
    expect(missing).toEqual([])
  })
})
