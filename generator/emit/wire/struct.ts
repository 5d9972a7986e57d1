/** One class per struct: accessors at a movable offset, `decode` and `encode`. */

import { familyOf } from '../../codec/choice.ts'
import type { Member } from '../../model.ts'
import { identifier } from '../../names.ts'
import { docs, exportConst, exportType, propertyName, quote, Scope, type Statement, StructureKind } from '../code.ts'
import { citation } from './constants.ts'
import { condition, fieldCode, numeric, parenthesise, unparenthesise } from './expression.ts'
import { dependence } from './needs.ts'
import { SizeOf } from './size-of.ts'
import { elementsSlot, type Slot } from './slots.ts'
import { partSuffix } from './subject.ts'

export class StructEmitter extends SizeOf {
  statements(): Statement[] {
    this.imports.runtime('Struct')
    for (const slot of this.slots) this.slot(slot)
    return [...this.places(), this.valueInterface(), ...this.layoutInterface(), ...this.givenInterface(), ...this.elementType(), this.class()]
  }

  protected valueInterface(): Statement {
    return {
      kind: StructureKind.Interface,
      isExported: true,
      name: `${this.name}Value`,
      properties: this.out.value.map(({ name, type, optional, doc }) => ({
        name: propertyName(name),
        type: optional ? `${type} | undefined` : type,
        hasQuestionToken: optional,
        ...doc,
      })),
      ...docs(`A \`${this.struct.name}\` as a plain value.`),
    }
  }

  protected contextType(withGiven: boolean): string | undefined {
    const { features, config, queueSize, caller, options } = this.needs.context(this.struct, this.part)
    const parts: string[] = []
    if (this.hasLayout) {
      if (features) parts.push(`features: ${this.imports.runtimeType('FeatureSet')}`)
      if (config.size > 0) parts.push(`config: ${configType([...config])}`)
      if (queueSize) parts.push('queueSize: number')
      const names = [
        ...[...caller].map((name) => `readonly ${identifier(name)}: number`),
        ...[...options].map((name) => `readonly ${identifier(name)}?: number`),
      ]
      if (names.length > 0) parts.push(`caller${caller.size === 0 ? '?' : ''}: { ${names.join('; ')} }`)
    }
    if (withGiven && this.given.length === 0 && parts.length > 0) return `${this.name}Context`
    if (withGiven && this.given.length > 0) parts.push(`given: ${this.name}Given`)
    return parts.length === 0 ? undefined : `{ ${parts.map((part) => `readonly ${part}`).join('; ')} }`
  }

  /** True where nothing must be said for a layout. */
  protected hasOnlyOptions(): boolean {
    const { features, config, queueSize, caller, options } = this.needs.context(this.struct, this.part)
    return !features && !queueSize && config.size === 0 && caller.size === 0 && options.size > 0
  }

  protected layoutSlots(): Slot[] {
    return this.slots.filter((slot) => slot.start.kind === 'layout')
  }

  protected nestedLayouts(): { id: string; type: string; expression: string }[] {
    const result: { id: string; type: string; expression: string }[] = []
    const visit = (member: Member, id: string): void => {
      if (member.type.kind === 'union')
        for (const arm of member.type.arms) visit(arm, id === '' ? identifier(arm.name) : `${id}_${identifier(arm.name)}`)
      if (member.type.kind === 'group') for (const inner of member.type.members) visit(inner, identifier(inner.name))
      if (member.type.kind !== 'struct') return
      const struct = this.needs.struct(member.type)
      const part = this.needs.partOf(member.type, member.part)
      if (!this.needs.hasContext(struct, part) || struct.role === 'config') return
      const type = this.imports.class(member.type, partSuffix(part))
      result.push({
        id: `$layout_${id}`,
        type: this.imports.class(member.type, `${partSuffix(part)}Layout`, true),
        expression: `${type}.layout(context)`,
      })
    }
    for (const { member, id } of this.slots) visit(member, id)
    return result
  }

  protected layoutInterface(): Statement[] {
    const context = this.contextType(false)
    if (!this.hasLayout || context === undefined) return []
    return [
      exportType(`${this.name}Context`, context, docs(`What the layout of \`${this.struct.name}\` depends on.`)),
      {
        kind: StructureKind.Interface,
        isExported: true,
        name: `${this.name}Layout`,
        properties: [
          { name: '$context', type: `${this.name}Context`, isReadonly: true },
          { name: this.total(), type: 'number', isReadonly: true, ...docs(this.variable ? 'Bytes that are always there.' : 'Length in bytes.') },
          ...(this.firstVariable()
            ? [{ name: '$variable', type: 'number', isReadonly: true, ...docs('Where the first member starts whose length stands in the content.') }]
            : []),
          ...this.layoutSlots().map((slot) => ({ name: slot.key, type: 'number', isReadonly: true })),
          ...this.nestedLayouts().map(({ id, type }) => ({ name: id, type, isReadonly: true })),
        ],
        ...docs(`Where the members of \`${this.struct.name}\` stand after a negotiation; -1: absent.`),
      },
    ]
  }

  protected givenInterface(): Statement[] {
    if (this.given.length === 0) return []
    return [
      {
        kind: StructureKind.Interface,
        isExported: true,
        name: `${this.name}Given`,
        properties: this.given.map(({ name, type }) => ({ name, type, isReadonly: true })),
        ...docs(`What the layout of \`${this.struct.name}\` needs from outside.`),
      },
    ]
  }

  /** The layout after a negotiation, member by member. */
  protected layoutStatements(): string[] {
    const scope = this.scope('context')
    const lines: string[] = this.nestedLayouts().map(({ id, expression }) => `const ${id} = ${expression}`)
    let pending = 0
    lines.push('let size = 0')
    const flush = (): void => {
      if (pending > 0) lines.push(`size += ${pending}`)
      pending = 0
    }
    let open = false
    const counted = this.certainSlots()
    for (const slot of this.slots) {
      const isLayout = slot.start.kind === 'layout'
      if (slot.length === 'open' || slot.length === 'content') {
        if (slot === this.firstVariable()) {
          flush()
          lines.push('const $variable = size')
        }
        if (isLayout && !open) {
          flush()
          const conditions = slot.whens.map((part) => parenthesise(condition(part, scope))).join(' && ')
          lines.push(conditions === '' ? `const ${slot.key} = size` : `const ${slot.key} = ${unparenthesise(conditions)} ? size : -1`)
        }
        open = true
        continue
      }
      if (!counted.has(slot)) continue
      const size = this.memberSize(slot.member, slot.id, scope)
      const when =
        slot.whens.length > 0 && dependence(slot.whens) === 'context'
          ? slot.whens.map((part) => parenthesise(condition(part, scope))).join(' && ')
          : undefined
      if (!isLayout && when === undefined && /^\d+$/.test(size)) {
        pending += Number(size)
        continue
      }
      flush()
      if (isLayout && !open) {
        lines.push(when === undefined ? `const ${slot.key} = size` : `const ${slot.key} = ${unparenthesise(when)} ? size : -1`)
        lines.push(when === undefined ? `size += ${size}` : `if (${slot.key} >= 0) size += ${size}`)
      } else lines.push(when === undefined ? `size += ${size}` : `if (${unparenthesise(when)}) size += ${size}`)
    }
    flush()
    const names = [
      ...(this.firstVariable() ? ['$variable'] : []),
      ...this.layoutSlots().map((slot) => slot.key),
      ...this.nestedLayouts().map(({ id }) => id),
    ]
    const least = this.variable ? this.leastOfVariable() : 0
    return [
      ...compactStart(lines),
      `return { $context: ${this.frozenContext()}, ${this.total()}: size${least === 0 ? '' : ` + ${least}`}${names.map((name) => `, ${name}`).join('')} }`,
    ]
  }

  /** A layout keeps the configuration that it was computed with: places and lengths must agree, whatever is written there meanwhile. */
  protected frozenContext(): string {
    const { config } = this.needs.context(this.struct, this.part)
    return config.size === 0 ? 'context' : `{ ...context, config: ${configCopy([...config])} }`
  }

  /** Under which name the layout has its length. */
  protected total(): string {
    return this.variable ? '$minimum' : '$size'
  }

  /** Bytes that the content claims. */
  protected contentSize(): string {
    const { length, head } = this.struct
    if (head) return numeric(head.size, this.scope())
    if (length) return numeric(length, this.scope())
    if (!this.variable) return this.fixedSize()
    if (this.slots.some((slot) => slot.length === 'open')) return 'this.$length'
    const last = this.slots.at(-1) as Slot
    const end = `${this.from(last)} + ${this.presentSize(last)}`
    return end.startsWith('this.$offset + ') ? end.slice('this.$offset + '.length) : end === 'this.$offset' ? '0' : `${end} - this.$offset`
  }

  protected class(): Statement {
    const minimum = this.minimum()
    const size = this.contentSize()
    const out = this.out
    const fixed = !this.variable && !this.hasLayout
    const get = (name: string, statements: string[], returnType: string, doc = {}) => ({
      name,
      statements: statements.join('\n'),
      returnType,
      ...doc,
    })
    const context = this.contextType(true)
    const constructorParameters = [
      ...(this.hasLayout ? [{ name: '$layout', type: `${this.name}Layout` }] : []),
      ...(this.given.length > 0 ? [{ name: '$given', type: `${this.name}Given` }] : []),
    ]
    return {
      kind: StructureKind.Class,
      isExported: true,
      name: this.name,
      extends: 'Struct',
      ...docs(this.struct.doc, this.structNote(), citation(this.model, this.struct)),
      properties: [
        ...(fixed ? [{ name: 'size', isStatic: true, isReadonly: true, initializer: this.fixedSize(), ...docs('Length in bytes.') }] : []),
        ...this.offsetTable(),
        ...(this.hasLayout ? [{ name: '$layout', type: `${this.name}Layout`, isReadonly: true, ...docs('Where the members stand.') }] : []),
        ...(this.given.length > 0 ? [{ name: '$given', type: `${this.name}Given`, ...docs('What the layout needs from outside.') }] : []),
        ...out.properties,
      ],
      ctors:
        constructorParameters.length === 0
          ? []
          : [
              {
                parameters: constructorParameters,
                statements: ['super()', ...constructorParameters.map(({ name }) => `this.${name} = ${name}`)].join('\n'),
              },
            ],
      getAccessors: [
        get('$minimum', [`return ${minimum}`], 'number'),
        get('$size', [`return ${size}`], 'number'),
        ...out.privates.map(({ name, code }) => get(name, [`return ${code}`], 'number')),
        ...out.accessors.map(({ name, type, get: statements, doc }) => get(name, statements, type, doc)),
        ...this.wholeAccessor(),
        ...this.elementAccessor(),
      ],
      setAccessors: out.accessors
        .filter((accessor) => accessor.set)
        .map(({ name, type, set }) => ({
          name,
          parameters: [{ name: 'value', type: type.replace(' | undefined', '') }],
          statements: (set as string[]).join('\n'),
        })),
      methods: [
        ...this.staticMethods(context),
        ...out.methods.map(({ name, parameters, type, statements, doc }) => ({
          name,
          parameters,
          returnType: type,
          statements: statements.join('\n'),
          ...doc,
        })),
        this.getMethod(),
        this.setMethod(),
      ],
    }
  }

  protected structNote(): string | undefined {
    const notes = [
      this.part && `The device-${this.part} part.`,
      this.struct.legacyInterface && 'On the legacy interface only.',
      this.struct.was.length > 0 && `Was ${this.struct.was.join(', ')}.`,
      this.struct.within && `\`${this.struct.within.member}\` of \`${this.struct.within.struct}\`.`,
    ]
    return notes.filter(Boolean).join(' ') || undefined
  }

  /** Of rings and transports also the bare numbers: code that reads words in place need not load the accessors. */
  protected places(): Statement[] {
    const chapter = this.model.chapters.find(({ name }) => name === this.struct.chapter)
    if (chapter === undefined || (chapter.kind !== 'ring' && chapter.kind !== 'transport')) return []
    const offsets = this.offsets()
    const fixed = !this.variable && !this.hasLayout
    return [
      ...(fixed ? [exportConst(`${this.name}Size`, this.fixedSize(), docs(`Length of \`${this.struct.name}\` in bytes.`))] : []),
      ...(offsets === undefined
        ? []
        : [exportConst(`${this.name}Offsets`, offsets, docs(`Offsets of the members of \`${this.struct.name}\` in bytes.`))]),
    ]
  }

  /** Offsets of members with a fixed place, for code that reads without accessors (rings). */
  protected offsetTable() {
    const initializer = this.offsets()
    if (initializer === undefined) return []
    return [{ name: 'offsetOf', isStatic: true, isReadonly: true, initializer, ...docs('Offsets of members in bytes.') }]
  }

  protected offsets(): string | undefined {
    const entries = this.slots.flatMap((slot) =>
      slot.start.kind === 'fixed' && slot.id !== '' && !(slot.member.reserved && this.slots.filter(({ id }) => id === slot.id).length > 1)
        ? [`${slot.id}: ${slot.start.offset}`]
        : [],
    )
    return entries.length === 0 ? undefined : `{ ${entries.join(', ')} } as const`
  }

  protected staticMethods(context: string | undefined) {
    const name = this.name
    const isOptional = context !== undefined && this.given.length === 0 && this.hasOnlyOptions()
    const contextParameter = context === undefined ? [] : [{ name: 'context', type: context, ...(isOptional ? { initializer: '{}' } : {}) }]
    const cursor = `new ${name}(${[...(this.hasLayout ? [`${name}.layout(context)`] : []), ...(this.given.length > 0 ? ['context.given'] : [])].join(', ')})`
    const viewOf = this.imports.runtime('viewOf')
    const usesContext = cursor.includes('context')
    const sizeOf = this.variable ? this.sizeOfCode() : ''
    const unused = (parameter: string): string => (new RegExp(`\\b${parameter}\\b`).test(sizeOf) ? parameter : `_${parameter}`)
    // Only where the distance between elements is given from outside.
    const asksGiven = /\bgiven\./.test(sizeOf)
    const size = this.variable
      ? `${name}.sizeOf(value${this.sizeOfContext()}${asksGiven ? ', context.given' : ''})`
      : this.hasLayout
        ? 'struct.$minimum'
        : this.fixedSize()
    return [
      ...(this.hasLayout
        ? [
            {
              name: 'layout',
              isStatic: true,
              parameters: [{ name: 'context', type: `${name}Context`, ...(this.hasOnlyOptions() ? { initializer: '{}' } : {}) }],
              returnType: `${name}Layout`,
              statements: this.layoutStatements().join('\n'),
              ...docs('Computes the layout, once per negotiation.'),
            },
          ]
        : []),
      {
        name: 'decode',
        isStatic: true,
        parameters: [{ name: 'bytes', type: 'Uint8Array' }, ...(usesContext ? contextParameter : [])],
        returnType: `${name}Value`,
        statements: [`return ${cursor}.at(${viewOf}(bytes)).$get()`],
        ...docs(
          this.struct.role === 'config'
            ? 'Reads a plain value. A device may have less than the whole configuration space: what is missing reads as zero.'
            : 'Reads a plain value. Throws RangeError when the bytes are too few.',
        ),
      },
      {
        name: 'encode',
        isStatic: true,
        parameters: [{ name: 'value', type: `Partial<${name}Value>` }, ...(usesContext ? contextParameter : [])],
        returnType: 'Uint8Array',
        statements: [
          `const struct = ${cursor}`,
          `const bytes = new Uint8Array(${size})`,
          `struct.at(${viewOf}(bytes)).$set(value)`,
          `return bytes`,
        ].join('\n'),
        ...docs('Writes a plain value. Throws RangeError for what does not fit.'),
      },
      ...(this.variable
        ? [
            {
              name: 'sizeOf',
              isStatic: true,
              parameters: [
                { name: unused('value'), type: `Partial<${name}Value>` },
                ...(this.hasLayout ? [{ name: unused('layout'), type: `${name}Layout` }] : []),
                ...(asksGiven ? [{ name: 'given', type: `${name}Given` }] : []),
              ],
              returnType: 'number',
              statements: `return ${sizeOf}`,
              ...docs('Bytes that a value takes.'),
            },
          ]
        : []),
      ...this.elementMethods(),
    ]
  }

  protected getMethod() {
    const required = this.out.get.filter(({ when }) => when === undefined)
    const optional = this.out.get.filter(({ when }) => when !== undefined)
    const literal =
      required.length === 0
        ? '{}'
        : `{\n${required.map(({ name, code }) => `  ${propertyName(name)}${code === name ? '' : `: ${code}`},`).join('\n')}\n}`
    const statements =
      optional.length === 0
        ? [`return ${literal}`]
        : [
            `const value: ${this.name}Value = ${literal}`,
            ...optional.map(({ name, code, when }) => `if (${when}) value.${name} = ${code}`),
            'return value',
          ]
    return { name: '$get', returnType: `${this.name}Value`, statements: statements.join('\n'), ...docs('Reads all members into a plain value.') }
  }

  protected setMethod() {
    const lines = [...this.out.set, ...this.out.last]
    return {
      name: '$set',
      parameters: [{ name: lines.some((line) => /\bvalue\b/.test(line)) ? 'value' : '_value', type: `Partial<${this.name}Value>` }],
      returnType: 'this',
      statements: [...lines, 'return this'].join('\n'),
      ...docs('Writes the members that are given; the others keep their bytes. Throws RangeError for what does not fit.'),
    }
  }

  protected elements(): { name: string; class: string; valueType: string; is: { name: string; value: number | bigint } }[] {
    const { head } = this.struct
    if (head === undefined) return []
    const field = this.needs.memberAt(this.struct.members, head.by)
    const bit = this.struct.members
      .flatMap((member) => (member.type.kind === 'bits' ? member.type.fields : []))
      .find(({ name }) => name === head.by.at(-1))
    const group = bit?.enum ?? field?.enum
    if (group === undefined) return []
    const groups = familyOf(this.model, group)
    return groups
      .flatMap((candidate) => candidate.constants)
      .flatMap((constant) =>
        constant.holds
          ? [
              {
                name: constant.holds.name,
                class: this.imports.class(constant.holds, ''),
                valueType: this.imports.class(constant.holds, 'Value', true),
                is: { name: constant.name, value: constant.value },
              },
            ]
          : [],
      )
  }

  protected elementType(): Statement[] {
    if (this.struct.head === undefined) return []
    const variants = this.elements().map(({ name, valueType }) => `{ arm: ${quote(name)}; ${name}: ${valueType} }`)
    return [
      exportType(
        `${this.name}Element`,
        [...variants, '{ arm: undefined; bytes: Uint8Array }'].join(' | '),
        docs(`An element of a list that begins with \`${this.struct.name}\`, as a plain value.`),
      ),
    ]
  }

  /** Whether what is left for an open array divides into elements. */
  protected wholeAccessor() {
    const slot = elementsSlot(this.needs, this.slots)
    if (slot === undefined) return []
    const { member, id } = slot
    const inner = member.dims.slice(1).map((dim, position) => this.dim(member, position + 1, dim.length, this.scope()))
    const whole = `${this.size(slot)} % ${parenthesise(this.product([...inner, this.elementSize(member, id, this.scope())]))} === 0`
    const present = this.present(slot)
    return [
      {
        name: '$whole',
        returnType: 'boolean',
        statements: `return ${present === undefined ? whole : `!(${present}) || ${whole}`}`,
        ...docs(`True when the bytes of \`${id}\` are whole elements.`),
      },
    ]
  }

  protected elementAccessor() {
    const { head } = this.struct
    if (head === undefined) return []
    const by = fieldCode(this.needs, this.struct.members, 'this', head.by)
    const bytesAt = this.imports.runtime('bytesAt')
    const lines = this.elements().flatMap(({ name, class: type, is }) => [
      `if (${by} === ${this.constantCode(is.name, is.value)}) {`,
      `  const element = new ${type}()`,
      `  if (this.$length >= element.$minimum) return { arm: ${quote(name)}, ${name}: element.at(this.$view, this.$offset, this.$length).$get() }`,
      `}`,
    ])
    return [
      {
        name: '$element',
        returnType: `${this.name}Element`,
        statements: [...lines, `return { arm: undefined, bytes: ${bytesAt}(this, this.$offset, this.$length).slice() }`].join('\n'),
        ...docs('The whole element that this head begins, as a plain value.'),
      },
    ]
  }

  protected elementMethods() {
    if (this.struct.head === undefined) return []
    return [
      {
        name: 'encodeElement',
        isStatic: true,
        parameters: [{ name: 'element', type: `${this.name}Element` }],
        returnType: 'Uint8Array',
        statements: [
          ...this.elements().map(
            ({ name, class: type }) => `if (element.arm === ${quote(name)}) return this.$padded(${type}.encode(element.${name}))`,
          ),
          'return element.bytes',
        ].join('\n'),
        ...docs('Writes an element of a list, padded with zeros to the size its head says.'),
      },
      {
        name: '$padded',
        isStatic: true,
        scope: Scope.Private,
        parameters: [{ name: 'bytes', type: 'Uint8Array' }],
        returnType: 'Uint8Array',
        statements: `return ${this.imports.runtime('padTo')}(bytes, new ${this.name}().at(${this.imports.runtime('viewOf')}(bytes)).$size)`,
      },
    ]
  }
}

interface ConfigNode {
  [name: string]: ConfigNode
}

function configTree(paths: readonly string[]): ConfigNode {
  const root: ConfigNode = {}
  for (const path of paths) {
    let node = root
    for (const step of path.split('.')) node = node[identifier(step)] ??= {}
  }
  return root
}

function configType(paths: readonly string[]): string {
  const print = (node: ConfigNode): string => {
    const names = Object.keys(node)
    return names.length === 0 ? 'number' : `{ ${names.map((name) => `readonly ${name}: ${print(node[name] as ConfigNode)}`).join('; ')} }`
  }
  return print(configTree(paths))
}

function configCopy(paths: readonly string[]): string {
  const print = (node: ConfigNode, from: string): string => {
    const names = Object.keys(node)
    return names.length === 0 ? from : `{ ${names.map((name) => `${name}: ${print(node[name] as ConfigNode, `${from}.${name}`)}`).join(', ')} }`
  }
  return print(configTree(paths), 'context.config')
}

function compactStart(lines: string[]): string[] {
  const start = lines.indexOf('let size = 0')
  const match = /^size \+= (\d+)$/.exec(lines[start + 1] ?? '')
  if (match === null) return lines
  return [...lines.slice(0, start), `let size = ${match[1]}`, ...lines.slice(start + 2)]
}
