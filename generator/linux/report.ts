/** What the comparison with Linux's headers found. */

/** Which of a thing's properties was held against the header. */
export type LinuxProperty = 'name' | 'value' | 'size' | 'offset' | 'encoded' | 'decoded'

/** One thing of the description and what the headers have of it. */
export interface LinuxItem {
  kind: 'feature' | 'constant' | 'id' | 'register' | 'struct' | 'field'
  chapter: string
  /** The YAML file, below its spec folder. */
  file: string
  /** Our name, `VIRTIO_BLK_F_RO` or `virtio_blk_config.writeback`. */
  name: string
  /** The header's name, `struct virtio_blk_config.wce`; the name looked for where the headers should not have it. */
  linux: string
  section?: string
  property?: LinuxProperty
  ours?: string
  theirs?: string
  /** Why the two differ, in the words of the description; or what a mismatch means. */
  why?: string
}

export interface LinuxReport {
  headers: {
    /** The include folder the headers come from. */
    path: string
    /** Of the kernel, `6.12.95`. */
    version?: string
  }
  /** How many of each were held against the headers. */
  compared: {
    constants: number
    features: number
    ids: number
    registers: number
    structs: number
    fields: number
    /** Random values that a struct was filled with or read from. */
    rounds: number
  }
  /** Expected, but older than 6.12 these headers lack it. */
  absent: LinuxItem[]
  /** In the text only (`linux: none`). */
  textOnly: LinuxItem[]
  /** Marked `linux: none`, but these headers have it. */
  appeared: LinuxItem[]
  /** Declared differences that are as declared. */
  differs: LinuxItem[]
  /** Differences that nobody declared: the description or the header is wrong. */
  mismatches: LinuxItem[]
  /** Repeats the rounds with the same values. */
  seed: number
  /** Why nothing was compared, and what to install. */
  skipped?: string
}

export function emptyReport(seed: number): LinuxReport {
  return {
    headers: { path: '' },
    compared: { constants: 0, features: 0, ids: 0, registers: 0, structs: 0, fields: 0, rounds: 0 },
    absent: [],
    textOnly: [],
    appeared: [],
    differs: [],
    mismatches: [],
    seed,
  }
}
