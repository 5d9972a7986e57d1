/** A port of a console, joined with streams of Node. */
import type { Readable, Writable } from 'node:stream'
import type { ConsolePort } from 'virtgen/devices/console'

export interface PortStreams {
  /** What the guest is to read. It is put into flowing mode, and paused while the guest has no room. */
  readonly input?: Readable
  /** Where the guest's output goes. Of a terminal (`columns`, `rows`) the port takes the size. */
  readonly output?: Writable & { readonly columns?: number; readonly rows?: number }
}

/**
 * Joins them until the returned function is called; then the streams are as before, and not closed. An input that ends leaves the output joined.
 *
 * @throws TypeError without a port
 * @throws Error for a port that is joined already, or has an `onOutput` of its own
 */
export function joinPort(port: ConsolePort | undefined, { input, output }: PortStreams): () => void {
  if (port === undefined) throw new TypeError('there is no such port: console.port(index) gives those that there are')
  const onData = (bytes: Uint8Array | string): void => {
    if (!port.write(typeof bytes === 'string' ? Buffer.from(bytes) : bytes)) input?.pause()
  }
  const onResize = (): void => {
    const { columns = 0, rows = 0 } = output ?? {}
    port.resize({ columns, rows })
  }
  const leave = port.$join({
    onOutput: output && ((bytes) => written(output, bytes)),
    onDrain: () => input?.resume(),
  })
  input?.on('data', onData)
  if (output?.columns !== undefined) {
    onResize()
    output.on('resize', onResize)
  }
  return () => {
    leave()
    input?.off('data', onData)
    input?.pause()
    output?.off('resize', onResize)
  }
}

/** Resolves when there is room again; nothing where there is at once. A stream that ends while we wait has room for everything. */
function written(output: Writable, bytes: Uint8Array): void | Promise<void> {
  if (output.destroyed || output.writableEnded || output.write(bytes)) return undefined
  return new Promise((resolve) => {
    const done = (): void => {
      output.off('drain', done)
      output.off('close', done)
      resolve()
    }
    output.on('drain', done)
    output.on('close', done)
  })
}
