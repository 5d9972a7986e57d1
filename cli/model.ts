/** `virtgen model`: the description, resolved. */
import { describeChapters } from './chapters.ts'
import { type Command, jsonOption, specOption } from './command.ts'
import { chapterOverview } from './overview.ts'

export const model: Command = {
  name: 'model',
  arguments: '[...chapter]',
  summary: 'shows chapters: features, layouts with offsets, constants, queues, messages',
  description: [
    'Without a chapter it shows all of them. --json prints the whole model, which is what the generator reads; integers above 2^53 ' +
      'are decimal strings.',
  ],
  options: [jsonOption, specOption],
  examples: [
    { line: 'virtgen model blk', meaning: 'the block device at a glance' },
    { line: "virtgen model --json | jq '.chapters[].name'", meaning: 'everything, for a program' },
  ],
  async run(call) {
    const { model, chosen } = await describeChapters(call)
    const chapters = chosen === undefined ? model.chapters : model.chapters.filter(({ name }) => chosen.has(name))
    if (call.options.has('json')) call.printJson({ ...model, chapters })
    else call.print(chapters.map((chapter) => chapterOverview(chapter, call.paint)).join('\n\n'))
    return 0
  },
}
