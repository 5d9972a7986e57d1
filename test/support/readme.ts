/** The README's excerpts: `<!-- file [item] -->` before a code block says what stands in it. */
import { readFileSync } from 'node:fs'

const block = /<!-- (\S+?)(?: (\w+))? -->\n```(\w+)\n([\s\S]*?)```/g

/** The README with every excerpt as it is in its file now. */
export function refreshed(readme: string): string {
  return readme.replaceAll(block, (_, file: string, item: string | undefined, language: string) => {
    const excerpt = excerptOf(readFileSync(file, 'utf8'), item)
    return `<!-- ${file}${item ? ` ${item}` : ''} -->\n\`\`\`${language}\n${excerpt}\n\`\`\``
  })
}

/** The code blocks of a language that are no excerpts: programs of their own. */
export function programs(readme: string, language: string): string[] {
  const own = readme.replaceAll(block, '')
  return [...own.matchAll(new RegExp(`\`\`\`${language}\\n([\\s\\S]*?)\`\`\``, 'g'))].map((match) => match[1] as string)
}

/** A YAML mapping or an exported class by name, or the whole file. */
function excerptOf(text: string, item: string | undefined): string {
  if (item === undefined) return text.trim()
  const lines = text.split('\n')
  const start = lines.findIndex((line) => line.trim() === `${item}:` || line.startsWith(`export class ${item} `))
  if (start < 0) throw new Error(`the README shows ${item}, which is not in its file`)
  const indent = (line: string): number => line.length - line.trimStart().length
  const first = lines[start] as string
  const isClass = first.startsWith('export')
  const end = lines.findIndex((line, index) => index > start && (isClass ? line === '}' : line.trim() !== '' && indent(line) <= indent(first)))
  let from = start
  while (isClass && /^(\/\*\*| \*)/.test(lines[from - 1] ?? '')) from--
  return lines
    .slice(from, isClass ? end + 1 : end)
    .map((line) => line.slice(indent(first)))
    .join('\n')
    .trimEnd()
}
