/** Structs, unions and enums of compiled C, from the debug information that `readelf --debug-dump` prints. */

export interface CStruct {
  name: string
  /** In bytes; undefined for one that is only declared. */
  size: number | undefined
  /** Path of the file. */
  file: string
  line: number
  fields: CField[]
}

export interface CField {
  /** Dotted for members of nested structs without a name of their own; those of anonymous ones stand at the parent's level. */
  name: string
  type: string
  offset: number
  size: number | undefined
  /** Elements per dimension; 0 for a flexible array. */
  count: number[]
  /** First bit and width of a bit-field. */
  bit?: number
  bits?: number
  line: number
}

export interface CEnumerator {
  name: string
  value: number
  /** Name of the enum; empty for one without. */
  group: string
  file: string
  line: number
}

interface Entry {
  tag: string
  depth: number
  attributes: Map<string, string>
  children: Entry[]
}

/** Reads the sections `info` and `rawline`. What is not as expected is passed over: an unknown tag is no struct. */
export function parseDwarf(text: string): { structs: CStruct[]; enumerators: CEnumerator[] } {
  const entries = entriesOf(text)
  const files = filesOf(text)
  const place = (entry: Entry): { file: string; line: number } => ({
    file: files.get(numberOf(entry, 'decl_file') ?? -1) ?? '',
    line: numberOf(entry, 'decl_line') ?? 0,
  })
  const structs: CStruct[] = []
  const enumerators: CEnumerator[] = []
  for (const entry of entries.values()) {
    const name = nameOf(entry)
    if (entry.tag === 'structure_type' && name !== undefined && entry.depth === 1)
      structs.push({ name, size: numberOf(entry, 'byte_size'), ...place(entry), fields: fieldsOf(entry, entries, '', 0) })
    if (entry.tag !== 'enumeration_type') continue
    for (const child of entry.children) {
      const value = numberOf(child, 'const_value')
      if (child.tag === 'enumerator' && value !== undefined)
        enumerators.push({ name: nameOf(child) ?? '', value, group: name ?? '', ...place(entry) })
    }
  }
  return { structs, enumerators }
}

function entriesOf(text: string): Map<string, Entry> {
  const entries = new Map<string, Entry>()
  const open: Entry[] = []
  let current: Entry | undefined
  for (const line of text.split('\n')) {
    const start = /^ <(\w+)><(\w+)>: Abbrev Number: \d+ \(DW_TAG_(\w+)\)/.exec(line)
    if (start) {
      const depth = Number.parseInt(start[1] as string, 16)
      current = { tag: start[3] as string, depth, attributes: new Map(), children: [] }
      entries.set(start[2] as string, current)
      open.length = Math.min(open.length, depth)
      open.at(-1)?.children.push(current)
      open[depth] = current
      continue
    }
    const attribute = /^\s+<\w+>\s+DW_AT_(\w+)\s*: \((\w+)\)\s*(.*)$/.exec(line)
    if (attribute && current) current.attributes.set(attribute[1] as string, attribute[3] as string)
  }
  return entries
}

/** The table of files: number → path. */
function filesOf(text: string): Map<number, string> {
  const folders = new Map<number, string>()
  const files = new Map<number, string>()
  let table: 'folders' | 'files' | undefined
  for (const line of text.split('\n')) {
    if (line.includes('The Directory Table')) table = 'folders'
    else if (line.includes('The File Name Table')) table = 'files'
    const folder = /^ {2}(\d+)\t\(line_strp\)\t\(offset: \w+\): (.*)$/.exec(line)
    const file = /^ {2}(\d+)\t\(udata\)\t(\d+)\t\(line_strp\)\t\(offset: \w+\): (.*)$/.exec(line)
    if (table === 'folders' && folder) folders.set(Number(folder[1]), folder[2] as string)
    if (table === 'files' && file) files.set(Number(file[1]), `${folders.get(Number(file[2])) ?? ''}/${file[3]}`)
  }
  return files
}

function fieldsOf(struct: Entry, entries: ReadonlyMap<string, Entry>, prefix: string, start: number): CField[] {
  return struct.children.flatMap((member) => {
    if (member.tag !== 'member') return []
    const offset = start + (numberOf(member, 'data_member_location') ?? 0)
    const { base, count, type } = typeOf(member, entries)
    const name = nameOf(member)
    const isNested = base !== undefined && /^(structure|union)_type$/.test(base.tag) && nameOf(base) === undefined
    if (isNested && name === undefined) return fieldsOf(base, entries, prefix, offset)
    const bits = numberOf(member, 'bit_size')
    const bitOffset = numberOf(member, 'data_bit_offset') ?? 0
    const field: CField = {
      name: `${prefix}${name ?? ''}`,
      type: isNested ? base.tag.replace('structure_type', 'struct').replace('_type', '') : type,
      offset: bits === undefined ? offset : start + Math.floor(bitOffset / 8),
      size: sizeOf(base, count),
      count,
      line: numberOf(member, 'decl_line') ?? 0,
      ...(bits === undefined ? {} : { bit: bitOffset % 8, bits }),
    }
    return [field, ...(isNested ? fieldsOf(base, entries, `${field.name}.`, offset) : [])]
  })
}

/** What a member is made of: arrays and typedefs taken off; the type is called as in the source. */
function typeOf(member: Entry, entries: ReadonlyMap<string, Entry>): { base: Entry | undefined; count: number[]; type: string } {
  const count: number[] = []
  let type: string | undefined
  let at = target(member, entries)
  while (at !== undefined) {
    if (at.tag === 'array_type') {
      for (const child of at.children) if (child.tag === 'subrange_type') count.push(lengthOf(child))
    } else if (at.tag === 'typedef') type ??= nameOf(at)
    else if (!/^(const|volatile|atomic)_type$/.test(at.tag)) break
    at = target(at, entries)
  }
  return { base: at, count, type: type ?? (at && nameOf(at)) ?? 'void' }
}

function lengthOf(range: Entry): number {
  const count = numberOf(range, 'count')
  const last = numberOf(range, 'upper_bound')
  return count ?? (last === undefined || last >= 0xffff_ffff ? 0 : last + 1)
}

function target(entry: Entry, entries: ReadonlyMap<string, Entry>): Entry | undefined {
  const reference = /^<0x(\w+)>/.exec(entry.attributes.get('type') ?? '')
  return reference ? entries.get(reference[1] as string) : undefined
}

function sizeOf(base: Entry | undefined, count: readonly number[]): number | undefined {
  const size = base && numberOf(base, 'byte_size')
  return size === undefined ? undefined : count.reduce((product, each) => product * each, size)
}

function nameOf(entry: Entry): string | undefined {
  return entry.attributes
    .get('name')
    ?.replace(/^\(offset: \w+\): /, '')
    .trim()
}

function numberOf(entry: Entry, attribute: string): number | undefined {
  const text = entry.attributes.get(attribute)
  const value = text === undefined ? Number.NaN : Number(text.split('\t')[0])
  return Number.isNaN(value) ? undefined : value
}
