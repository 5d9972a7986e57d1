/** What the other side of a vhost-user connection did wrong. */

/**
 * - `header`: the version is another one, or a reply stands where a request should, or the other way round
 * - `unknown-request`: nothing has that number
 * - `not-negotiated`: the protocol feature of the request is not in use
 * - `size`: too few or too many bytes for what they are to say
 * - `descriptors`: too few or too many file descriptors, or of a wrong kind
 * - `unexpected`: a message that cannot come now
 * - `memory`: regions that overlap, that are too many, or that cannot be mapped
 * - `ring`: a queue that there is not, or of a wrong size, at a wrong address or at a wrong position
 * - `value`: a value that is not allowed
 * - `refused`: the other side says that a request failed
 * - `late`: no answer in time
 * - `closed`: the connection ended in the middle of something
 */
export type ProtocolErrorKind =
  | 'header'
  | 'unknown-request'
  | 'not-negotiated'
  | 'size'
  | 'descriptors'
  | 'unexpected'
  | 'memory'
  | 'ring'
  | 'value'
  | 'refused'
  | 'late'
  | 'closed'

/** A breach of the protocol by the other side: a value that is handed on. It ends that connection, and no other. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError'
  readonly kind: ProtocolErrorKind
  /** The constant of the request that was wrong, as far as it is known. */
  readonly request: string | undefined

  constructor(kind: ProtocolErrorKind, detail: string, request?: string, options?: ErrorOptions) {
    super(request === undefined ? detail : `${request}: ${detail}`, options)
    this.kind = kind
    this.request = request
  }
}
