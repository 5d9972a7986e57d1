/**
 * What `virtgen serve` is asked for: plain data, as it also goes to a worker thread. The command has checked it. This file imports nothing: it is compiled with the command as
 * well.
 */

export interface ServeSettings {
  readonly device: DeviceSettings
  /** Paths of the sockets, each with a device of its own. */
  readonly sockets: readonly string[]
  /** The front-end listens, and the server connects. */
  readonly connect: boolean
  /** Microseconds for which rings are looked at before the thread waits; absent: a few, and only behind heaps of work. */
  readonly spin?: number
  /** The device lives in a thread of its own. */
  readonly worker: boolean
  /** Port of the metrics on the loopback address; 0: any that is free. */
  readonly metrics?: number
  /** Logs are lines of JSON. */
  readonly json: boolean
}

export type DeviceSettings = BlkSettings | NetSettings | RngSettings

export interface BlkSettings {
  readonly type: 'blk'
  readonly storage: StorageSettings
  readonly readOnly: boolean
  readonly queues: number
  readonly serial?: string
  /** Bytes. */
  readonly blockSize?: number
  /** Offered where the storage has it. */
  readonly discard: boolean
}

/** Sizes are bytes. */
export type StorageSettings =
  | { readonly kind: 'file'; readonly path: string; readonly size?: number; readonly asynchronous: boolean }
  | { readonly kind: 'overlay'; readonly path: string; readonly size?: number; readonly asynchronous: boolean }
  | { readonly kind: 'ram'; readonly size: number }
  | { readonly kind: 'null'; readonly size: number }

export interface NetSettings {
  readonly type: 'net'
  readonly network: NetworkSettings
  /** Pairs of queues. */
  readonly pairs: number
  readonly mac?: string
  readonly mtu?: number
}

export type NetworkSettings =
  | { readonly kind: 'sink' }
  | { readonly kind: 'echo' }
  | { readonly kind: 'gateway' }
  | { readonly kind: 'link' }
  | { readonly kind: 'tap'; readonly name: string }
  /** A stream socket: somebody listens there, or is waited for. */
  | { readonly kind: 'passt'; readonly path: string }
  | { readonly kind: 'stream'; readonly path: string }

export interface RngSettings {
  readonly type: 'rng'
  /** Bytes per second, at most. */
  readonly rate?: number
}

/** Where a server tells what it does. */
export interface ServeWorld {
  /** A line of the log. */
  print(line: string): void
  /** What goes on at the moment, on a terminal; replaces what it was before. Empty: nothing. */
  progress(text: string): void
  /** There is such a terminal. */
  readonly interactive: boolean
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly version: string
}

/**
 * Serves until a signal ends it.
 *
 * @returns the exit code: 0 after a signal, once everything that was begun is done; 1 where that was cut short
 * @throws ServeError, or an error of the system, where it cannot begin
 */
export type Serve = (settings: ServeSettings, world: ServeWorld) => Promise<number>
