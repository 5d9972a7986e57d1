/** Requests of a front-end, and who answers them. */
import type { vhost_user } from 'virtgen/protocol/vhost-user'
import { isEventfd } from '../../system/index.ts'
import type { MessageOf } from '../messages.ts'
import { ProtocolError } from '../protocol-error.ts'

export type Message = MessageOf<typeof vhost_user>
export type MessageNamed<N extends Message['name']> = Extract<Message, { name: N }>

/** The members of a reply, and its descriptors, which are closed when it is sent. Undefined: nothing to say but that it is done, where somebody asks. */
export type Answer = { readonly value: object; readonly fds?: readonly number[] } | undefined

/** What some of the requests do, by their names. They throw ProtocolError for what cannot be, and have changed nothing then. */
export type Handlers = { readonly [N in Message['name']]?: (message: MessageNamed<N>) => Answer | Promise<Answer> }

/** Says that a descriptor of the message that is at work is kept; the others are closed behind it. */
export type Keep = (fd: number) => void

/** The eventfd that came, which is kept; anything else could hold this process up. */
export function eventfdOf({ fds }: Message, keep: Keep): number | undefined {
  const fd = fds[0]
  if (fd === undefined) return undefined
  if (!isEventfd(fd)) throw new ProtocolError('descriptors', 'only eventfds notify')
  keep(fd)
  return fd
}
