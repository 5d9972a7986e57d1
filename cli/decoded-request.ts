/** Which request a decoded frame begins. */
import type { Request } from '../generator/model.ts'
import type { DecodedView } from './decoded.ts'
import { meaningOf } from './decoded-field.ts'

/** `message.request`; undefined where the frame does not say, or is none. */
export function requestOf(view: DecodedView): string | undefined {
  const { model, found, decoded } = view
  const message = model.chapters.find(({ name }) => name === found.chapter)?.messages.find(({ frame }) => frame === found.name)
  if (message === undefined || message.by.length === 0) return undefined
  const constants = message.by.map((path) => {
    const field = decoded.fields.find((candidate) => candidate.path === path.join('.'))
    return field && meaningOf(view, field).names?.constant
  })
  const isMeant = ({ is }: Request): boolean => is.some((values) => values.every(({ name }, index) => constants[index]?.split(' or ').includes(name)))
  const requests = message.requests.filter(isMeant)
  return requests[0] && requests.length === 1 ? `${message.name}.${requests[0].name}` : undefined
}
