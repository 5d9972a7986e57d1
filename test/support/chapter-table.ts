/** The README's tables of chapters, from the description. */
import type { Chapter, Message, Model } from '../../generator/index.ts'

const table = /<!-- chapters: (devices|others) -->\n\n[\s\S]*?\n\n/g

const headings: readonly (readonly [Chapter['kind'], string])[] = [
  ['common', 'Common part'],
  ['ring', 'Rings'],
  ['transport', 'Transports'],
  ['protocol', 'Protocols of back ends'],
  ['external', 'What payloads hold'],
]

/** The README with its tables of chapters as the description has them now. */
export function withChapterTables(readme: string, model: Model): string {
  return readme.replaceAll(table, (_, which: string) => {
    const chapters = model.chapters.filter(({ builtin }) => builtin)
    const rows = which === 'devices' ? deviceRows(chapters) : otherRows(chapters)
    return `<!-- chapters: ${which} -->\n\n${rows.map((cells) => `| ${cells.join(' | ')} |`).join('\n')}\n\n`
  })
}

function deviceRows(chapters: readonly Chapter[]): string[][] {
  const devices = chapters.filter(({ kind }) => kind === 'device').sort((a, b) => (a.id ?? 0) - (b.id ?? 0))
  const rows = devices.map((chapter) => [
    String(chapter.id),
    link(chapter),
    chapter.title + (chapter.source.startsWith('linux') ? ' (Linux)' : ''),
    String(chapter.features.length),
    String(countOf(chapter, 'requests')),
    String(countOf(chapter, 'events')),
  ])
  return [['id', 'chapter', 'device', 'features', 'requests', 'events'], ['--:', '---', '---', '--:', '--:', '--:'], ...rows]
}

function otherRows(chapters: readonly Chapter[]): string[][] {
  const rows = headings.map(([kind, heading]) => {
    const own = chapters.filter((chapter) => chapter.kind === kind).sort((a, b) => (a.name < b.name ? -1 : 1))
    return [heading, own.map((chapter) => `${link(chapter)} (${chapter.title})`).join(' · ')]
  })
  return [['part', 'chapters'], ['---', '---'], ...rows]
}

function link({ name, file }: Chapter): string {
  return `[\`${name}\`](spec/${file})`
}

/** Requests or events of all messages. */
function countOf({ messages }: Chapter, kind: Message['kind']): number {
  return messages.filter((message) => message.kind === kind).reduce((sum, { requests }) => sum + requests.length, 0)
}
