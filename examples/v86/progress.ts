/** A line that tells how long something takes. */

const period = 250

/**
 * Says what is being done. On a terminal, for how long.
 *
 * @returns ends it, once, and says how long it took
 */
export function progress(text: string): () => void {
  const started = performance.now()
  const { stderr } = process
  const show = (end: string): boolean =>
    stderr.write(`${stderr.isTTY ? '\r' : ''}${text}: ${((performance.now() - started) / 1000).toFixed(1)} s${end}`)
  const timer = stderr.isTTY ? setInterval(() => show(''), period) : undefined
  let ended = false
  return () => {
    if (ended) return
    ended = true
    clearInterval(timer)
    show('\n')
  }
}
