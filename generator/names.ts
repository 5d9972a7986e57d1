/** How names of the specification become names in TypeScript. The checks for collisions and the emitters share these rules. */

/** `virtio_blk_config` → `VirtioBlkConfig`. */
export function className(name: string): string {
  return name
    .split(/[_-]+/)
    .filter((word) => word !== '')
    .map((word) => (word[0] as string).toUpperCase() + (word === word.toUpperCase() ? word.slice(1).toLowerCase() : word.slice(1)))
    .join('')
}

/** `command-specific-data` → `command_specific_data`. Everything else keeps the specification's spelling. */
export function identifier(name: string): string {
  return name.replaceAll('-', '_')
}

/** Words that cannot name a `const`, a class or a type. */
export const reservedWords: ReadonlySet<string> = new Set(
  (
    'abstract any arguments as async await bigint boolean break case catch class const constructor continue debugger declare default delete do else enum eval export ' +
    'extends false finally for from function get if implements import in infer instanceof interface is keyof let module namespace never new null number object of package ' +
    'private protected public readonly require return set static string super switch symbol this throw true try type typeof undefined unique unknown var void while with yield'
  ).split(' '),
)

/** Globals that the generated code uses; a struct of that name would hide them. */
export const usedGlobals: ReadonlySet<string> = new Set([
  'Array',
  'DataView',
  'Uint8Array',
  'Number',
  'BigInt',
  'Math',
  'Object',
  'RangeError',
  'TypeError',
])

/** Names of the contract that skeletons and driver clients import, and that a device could give its own types. See test/skeleton-emit.test.ts. */
export const contractTypes: ReadonlySet<string> = new Set([
  'EventDevice',
  'RequestDevice',
  'RequestDeviceOptions',
  'DeviceRequest',
  'DeviceDriver',
  'DeviceDriverOptions',
])

/** What the tables of a device chapter are called; its messages are exported beside them. */
export const tableNames: ReadonlySet<string> = new Set(['requests', 'events', 'configFields', 'queues', 'device', 'Context'])

/** What every generated module exports besides the names of its chapter. */
export const moduleNames: ReadonlySet<string> = new Set(['features', 'checkFeatures'])

/** True for a constant that is exported by its own name, besides in its group: names of ours are not. */
export function isExportedAlone(constant: string): boolean {
  return /^[A-Z][A-Za-z0-9_]*$/.test(constant)
}

/** Words of expressions; what has such a name cannot be named in one. */
export const expressionWords: ReadonlySet<string> = new Set(['if', 'else', 'and', 'or', 'not', 'has', 'sizeof'])

/** What an expression means by these is fixed: the configuration space, the queue, the readable part, the number of a repeated queue. */
export const fixedNames: ReadonlySet<string> = new Set(['config', 'queue', 'readable', 'i'])

/** Names that an accessor class keeps for itself; its own other names begin with `$`. */
export const reservedMembers: ReadonlySet<string> = new Set(['constructor', 'at', '__proto__', 'prototype', 'toString', 'valueOf', 'hasOwnProperty'])
