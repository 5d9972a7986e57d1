/** Why a server cannot begin. */

export class ServeError extends Error {
  override readonly name = 'ServeError'
  /** What to do about it. */
  readonly hint: string | undefined

  constructor(message: string, hint?: string) {
    super(message)
    this.hint = hint
  }
}
