/** What must be left out of a file whose shape is wrong in places, so that all the rest is still checked. */
import { type FileAst, isLongGroup } from './ast.ts'
import { valueAt } from './own.ts'
import type { Path } from './source.ts'

export interface Lost {
  /** Items that were left out. */
  paths: readonly Path[]
  /** Every name in them: that one of these is not found elsewhere is no mistake of its own. */
  names: ReadonlySet<string>
}

export const nothingLost: Lost = { paths: [], names: new Set() }

/** Without these there is no chapter. */
const neededKeys = new Set(['kind', 'name'])
/** Lists whose items are things with a name. */
const itemLists = new Set([
  'fields',
  'readable',
  'writable',
  'struct',
  'union',
  'bits',
  'requests',
  'events',
  'queues',
  'errata',
  'vectors',
  'rules',
  'uses',
])
/** Sections that are mappings of things with a name. */
const namedSections = new Set(['let', 'devices', 'features', 'constants', 'structs', 'config', 'registers', 'messages', 'shared_memory'])

/**
 * The file without the items that hold one of the places; undefined when it cannot be used at all.
 * A list keeps its positions: what is left out is a hole.
 */
export function withoutLost(value: unknown, places: readonly Path[]): { ast: FileAst; lost: Lost } | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  const paths = places.map((place) => itemAround(value, place))
  if (paths.some((path) => path.length === 0 || (path.length === 1 && neededKeys.has(path[0] as string)))) return undefined
  const ast = structuredClone(value)
  const names = new Set<string>()
  for (const path of paths) {
    const holder = valueAt(ast, path.slice(0, -1)) as Record<string | number, unknown> | undefined
    const step = path.at(-1) as string | number
    if (typeof holder !== 'object' || holder === null) continue
    addNames(step, names)
    addNames(holder[step], names)
    delete holder[step]
  }
  return { ast: ast as FileAst, lost: { paths, names } }
}

/** The smallest thing with a name that a place is in. */
function itemAround(value: unknown, place: Path): Path {
  for (let length = place.length; length > 0; length--) {
    if (typeof place[length - 1] === 'number' && isItemList(place.slice(0, length - 1))) return place.slice(0, length)
  }
  const [section] = place as [string]
  if (!namedSections.has(section)) return place.slice(0, 1)
  if (section !== 'constants') return place.slice(0, 2)
  return isLongGroup(valueAt(value, place.slice(0, 2))) ? place.slice(0, place[2] === 'values' ? 4 : 2) : place.slice(0, 3)
}

function isItemList(path: Path): boolean {
  const isShortStruct = path.length === 2 && ['structs', 'config', 'registers'].includes(path[0] as string)
  return isShortStruct || itemLists.has(path.at(-1) as string)
}

/** Keys and texts of whatever was left out, without brackets. */
function addNames(value: unknown, names: Set<string>): void {
  if (typeof value === 'string') names.add(value.split('[')[0] as string)
  else if (typeof value === 'object' && value !== null) {
    for (const [key, item] of Object.entries(value)) {
      addNames(key, names)
      addNames(item, names)
    }
  }
}
