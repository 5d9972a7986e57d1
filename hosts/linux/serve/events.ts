/** What a server tells of its life: plain data, for programs as it is and for people as a line. */
import { sizeText } from './size-text.ts'

export type ServeEvent =
  | { readonly event: 'serving'; readonly socket: string; readonly device: string; readonly title: string; readonly connects: boolean }
  | { readonly event: 'warning'; readonly message: string }
  | { readonly event: 'connected'; readonly socket: string; readonly connections: number }
  | { readonly event: 'disconnected'; readonly socket: string; readonly connections: number; readonly reason?: string }
  /** In client mode: nobody listens. Said once, and again after a connection. */
  | { readonly event: 'waiting'; readonly socket: string; readonly message: string }
  | { readonly event: 'violation'; readonly socket: string; readonly kind: string; readonly queue: number; readonly detail: string }
  | { readonly event: 'protocol-error'; readonly socket: string; readonly kind: string; readonly message: string }
  | { readonly event: 'error'; readonly socket: string; readonly message: string }
  | { readonly event: 'resized'; readonly socket: string; readonly bytes: number }
  | { readonly event: 'metrics-served'; readonly url: string }
  | { readonly event: 'metrics'; readonly metrics: unknown }
  | { readonly event: 'stopping'; readonly reason: string }
  | { readonly event: 'stopped' }
  | { readonly event: 'suppressed'; readonly what: string; readonly count: number }

/** A line for people; `metrics` has lines of its own. */
export function eventText(event: ServeEvent): string {
  switch (event.event) {
    case 'serving':
      return `${event.connects ? 'connecting to' : 'listening at'} ${event.socket}: ${event.title}`
    case 'warning':
      return `warning: ${event.message}`
    case 'connected':
      return `${event.socket}: connected`
    case 'disconnected':
      return `${event.socket}: disconnected${event.reason === undefined ? '' : `: ${event.reason}`}`
    case 'waiting':
      return `${event.socket}: ${event.message}; waiting`
    case 'violation':
      return `${event.socket}: the driver broke the rules at queue ${event.queue} (${event.kind}): ${event.detail}`
    case 'protocol-error':
      return `${event.socket}: the front-end broke the protocol (${event.kind}): ${event.message}`
    case 'error':
      return `${event.socket}: ${event.message}`
    case 'resized':
      return `${event.socket}: the disk has ${sizeText(event.bytes)} now`
    case 'metrics-served':
      return `metrics at ${event.url}`
    case 'metrics':
      return 'metrics'
    case 'stopping':
      return `${event.reason}: finishing what was begun`
    case 'stopped':
      return 'stopped'
    case 'suppressed':
      return `${event.count} more of: ${event.what}`
  }
}
