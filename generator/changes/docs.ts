/** The documentation of a model's items, to find out what is said differently. */
import type { Member, Model } from '../model.ts'
import { type Docs, docKey, type ItemKind, type Words } from './surface.ts'

export function docsOf(model: Model): Docs {
  const docs = new Map<string, Words>()
  for (const chapter of model.chapters) {
    const scope = chapter.name
    const add = (kind: ItemKind, name: string, { doc, section }: Words): void => {
      docs.set(docKey(kind, scope, name), { ...(section === undefined ? {} : { section }), ...(doc === undefined ? {} : { doc }) })
    }
    const addMembers = (kind: 'field' | 'register', prefix: string, members: readonly Member[]): void => {
      for (const member of members) {
        const name = member.name === '' ? prefix : `${prefix}.${member.name}`
        if (member.name !== '') add(kind, name, member)
        const { type } = member
        if (type.kind === 'group') addMembers(kind, prefix, type.members)
        if (type.kind === 'union') addMembers(kind, name, type.arms)
        if (type.kind === 'bits') for (const field of type.fields) if (field.name !== '') add(kind, `${name}.${field.name}`, field)
      }
    }
    for (const feature of chapter.features) add('feature', feature.name, feature)
    for (const { constants } of chapter.groups) for (const constant of constants) add('constant', constant.name, constant)
    for (const struct of chapter.structs) {
      add('struct', struct.name, struct)
      addMembers('field', struct.name, struct.members)
    }
    for (const block of chapter.registers) addMembers('register', block.name, block.members)
    for (const queue of chapter.queues) add('queue', queue.spec ?? queue.name, queue)
    for (const message of chapter.messages)
      for (const request of message.requests) add(message.kind === 'events' ? 'event' : 'request', `${message.name}.${request.name}`, request)
  }
  return docs
}
