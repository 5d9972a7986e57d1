/// <reference lib="esnext.disposable" preserve="true" />
/** What `using` calls at the end of its block, also where the runtime does not know `Symbol.dispose` yet. */

/** `Symbol.dispose`, or a symbol in its place that transpiled code can agree on. */
export const dispose: typeof Symbol.dispose = Symbol.dispose ?? Symbol.for('Symbol.dispose')
