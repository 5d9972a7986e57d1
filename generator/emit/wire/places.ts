import type { Expression, Member, Part, Struct } from '../../model.ts'
import { identifier } from '../../names.ts'
import { all, condition, type ExpressionScope, lengthCode, numeric, parenthesise } from './expression.ts'
import { dependence, type Needs } from './needs.ts'
import { hasContextLength, type Slot } from './slots.ts'
import { Subject } from './subject.ts'

export class Places extends Subject {
  /** Where a slot starts, as code. */
  protected at(slot: Slot): string {
    switch (slot.start.kind) {
      case 'fixed':
        return slot.start.offset === 0 ? 'this.$offset' : `this.$offset + ${slot.start.offset}`
      case 'layout':
        return `this.$offset + this.$layout.${slot.key}`
      case 'content':
        this.private(`#${slot.key}_at`, `${this.from(slot.start.previous)} + ${this.presentSize(slot.start.previous)}`)
        return `this.#${slot.key}_at`
      case 'end': {
        const rest = this.slots.slice(this.slots.indexOf(slot))
        return `this.$offset + ${this.whole()} - ${this.sum(rest.map((other) => this.presentSize(other)))}`
      }
    }
  }

  /** Where a slot would start if it were there: an absent one has no offset of its own. */
  protected from(slot: Slot): string {
    return slot === this.firstVariable() ? 'this.$offset + this.$layout.$variable' : this.at(slot)
  }

  /** The first member whose length stands in the content, if it may be absent. */
  protected firstVariable(): Slot | undefined {
    const first = this.slots.find((slot) => slot.length === 'content')
    return first?.start.kind === 'layout' && first.whens.length > 0 ? first : undefined
  }

  protected private(name: string, code: string): void {
    if (!this.out.privates.some((other) => other.name === name)) this.out.privates.push({ name, code })
  }

  protected sum(terms: readonly string[]): string {
    const numbers = terms.filter((term) => /^\d+$/.test(term)).reduce((total, term) => total + Number(term), 0)
    const others = terms.filter((term) => !/^\d+$/.test(term))
    const all = [...others, ...(numbers > 0 || others.length === 0 ? [String(numbers)] : [])]
    return all.length === 1 ? (all[0] as string) : `(${all.join(' + ')})`
  }

  protected product(terms: readonly string[]): string {
    const numbers = terms.filter((term) => /^\d+$/.test(term)).reduce((product, term) => product * Number(term), 1)
    const others = terms.filter((term) => !/^\d+$/.test(term))
    const all = [...others, ...(numbers !== 1 || others.length === 0 ? [String(numbers)] : [])]
    return all.join(' * ')
  }

  /** True when what is there depends on the content, or on the device (config): reads check for the end. */
  protected isChecked(slot: Slot): boolean {
    const fixedStart = slot.start.kind === 'fixed' || slot.start.kind === 'layout'
    return !fixedStart || slot.length === 'content' || slot.length === 'open' || this.struct.role === 'config'
  }

  /** The condition under which the slot is there; undefined: always. */
  protected present(slot: Slot): string | undefined {
    if (slot.whens.length === 0) return undefined
    if (slot.start.kind === 'layout' && dependence(slot.whens) === 'context') return `this.$layout.${slot.key} >= 0`
    return slot.whens.map((when) => parenthesise(condition(when, this.scope()))).join(' && ')
  }

  protected presentSize(slot: Slot): string {
    const size = this.size(slot)
    const present = this.present(slot)
    return present === undefined ? size : `(${present} ? ${size} : 0)`
  }

  /** Length of a slot in bytes, presence not considered; open slots take what is left. */
  protected size(slot: Slot, scope: ExpressionScope = this.scope()): string {
    return slot.length === 'open' ? this.left(slot) : this.memberSize(slot.member, slot.id, scope)
  }

  /** What is left for a slot: all up to the end but what follows it. */
  protected left(slot: Slot): string {
    const rest = this.slots.slice(this.slots.indexOf(slot) + 1)
    const behind = rest.length === 0 ? [] : [this.sum(rest.map((other) => this.presentSize(other)))]
    const at = this.at(slot)
    if (!at.startsWith('this.$offset')) return `Math.max(0, ${[`this.$offset + ${this.whole()}`, at, ...behind].join(' - ')})`
    const before = at === 'this.$offset' ? [] : [at.replace(/^this\.\$offset \+ /, '')]
    return `Math.max(0, ${[this.whole(), ...before, ...behind].join(' - ')})`
  }

  /** The length that open members are measured by: the struct's own where it has one, but never more than there is. */
  protected whole(): string {
    if (this.struct.length === undefined) return 'this.$length'
    this.private('#whole', `Math.min(this.$length, ${numeric(this.struct.length, this.scope())})`)
    return 'this.#whole'
  }

  protected memberSize(member: Member, id: string, scope: ExpressionScope): string {
    const natural = (): string =>
      this.product([...member.dims.map((dim, index) => this.dim(member, index, dim.length, scope)), this.elementSize(member, id, scope)])
    if (this.needs.isList(member) && member.area === undefined)
      return `this.${id}${member.when ? '?' : ''}.reduce((sum, element) => sum + element.$length, 0)${member.when ? ' ?? 0' : ''}`
    if (member.area === undefined) return natural()
    const { tree } = member.area
    if (tree.op === 'if' && !tree.otherwise) {
      return `(${condition({ text: '', tree: tree.condition }, scope)} ? ${numeric({ text: '', tree: tree.value }, scope)} : ${natural()})`
    }
    return constantOr(member.area, lengthCode(member.area, scope))
  }

  protected dim(member: Member, index: number, length: Expression | undefined, scope: ExpressionScope): string {
    const { count } = member.dims[index] as Member['dims'][number]
    if (count !== null) return String(count)
    if (length === undefined) return member.framed ? `${scope.context}.caller.${identifier(member.name)}_length` : '0'
    return parenthesise(lengthCode(length, scope))
  }

  /** Bytes of one element. */
  protected elementSize(member: Member, id: string, scope: ExpressionScope): string {
    if (member.stride) return parenthesise(numeric(member.stride, scope))
    const { type } = member
    switch (type.kind) {
      case 'integer':
        return String(type.bytes)
      case 'bits':
        return String(type.container.bytes)
      case 'bytes':
      case 'body':
        return '1'
      case 'struct': {
        const struct = this.needs.struct(type)
        const part = this.needs.partOf(type, member.part)
        if (this.needs.isVariable(struct, part))
          return scope.context === 'context' ? '0' : member.dims.length > 0 ? '1' : `${optionalSize(member, id)}`
        if (hasContextLength(this.needs, struct, part)) return `${nestedLayout[scope.context]}$layout_${id}.$size`
        return String(partSize(this.needs, struct, part))
      }
      case 'union': {
        const sizes = type.arms.map((arm) => this.armSize(arm, id, scope))
        // An arm whose length stands in its content has one only while it is the chosen one.
        if (type.by && (type.group || type.arms.some((arm) => this.needs.isVariableMember(arm)))) {
          const chosen = this.choice(type.by)
          const slot = this.slots.find((candidate) => candidate.member === member)
          const choices = type.arms.map((arm, position) => {
            const when = arm.when && condition(arm.when, this.scope())
            return `${all(when, chosen(arm)) ?? 'true'} ? ${sizes[position]} : `
          })
          return `(${choices.join('')}${slot ? this.left(slot) : '0'})`
        }
        if (sizes.every((size) => /^\d+$/.test(size))) return String(Math.max(0, ...sizes.map(Number)))
        return `Math.max(${sizes.join(', ')})`
      }
      case 'group':
        return this.sum(type.members.map((inner) => this.memberSize(inner, identifier(inner.name), scope)))
    }
  }

  protected armSize(arm: Member, id: string, scope: ExpressionScope): string {
    const armId = id === '' ? identifier(arm.name) : `${id}_${identifier(arm.name)}`
    if (this.needs.isOpenMember(arm)) return '0'
    const size = this.memberSize(arm, armId, scope)
    return arm.when && dependence([arm.when]) === 'context' ? `(${condition(arm.when, scope)} ? ${size} : 0)` : size
  }

  /**
   * Slots that are there whatever the content says: those up to the first member whose length stands in the content, and those behind a member that takes
   * all that is left. Behind a length that lies there may be nothing.
   */
  protected certainSlots(): ReadonlySet<Slot> {
    const certain = new Set<Slot>()
    let counts = true
    for (const slot of this.slots) {
      if (slot.length === 'open' || this.needs.mayBeOpen(slot.member)) counts = true
      else if (slot.length === 'content') counts = false
      else if (counts) certain.add(slot)
    }
    return certain
  }

  /** Length of a struct that does not vary with its content. */
  protected fixedSize(): string {
    return this.struct.role === 'config' ? String(this.struct.size ?? 0) : this.minimum()
  }

  /** Bytes that the first member of a variable length, and one that takes all that is left, need at least. */
  protected leastOfVariable(): number {
    const first = this.slots.find((slot) => slot.length === 'content' || slot.length === 'open')
    const open = this.slots.find((slot) => slot.length === 'open')
    return [...new Set([first, open])].reduce((sum, slot) => sum + (slot && slot.whens.length === 0 ? this.needs.least(slot.member) : 0), 0)
  }

  protected minimum(): string {
    if (this.hasLayout) return `this.$layout.${this.variable ? '$minimum' : '$size'}`
    // A device may have less of its configuration space than the newest specification: what is missing reads as zero.
    if (this.struct.role === 'config') return '0'
    return String(this.certainSize() + this.leastOfVariable())
  }

  /** Bytes of the slots that are there whatever the content says, where no negotiation changes them. */
  protected certainSize(): number {
    return [...this.certainSlots()].reduce((sum, slot) => sum + Number(this.memberSize(slot.member, slot.id, this.scope())), 0)
  }
}

function partSize(needs: Needs, struct: Struct, part: Part | undefined): number | null {
  return part === undefined
    ? struct.size
    : needs.members(struct, part).reduce<number | null>((sum, { size }) => (sum === null || size === null ? null : sum + size), 0)
}

function optionalSize(member: Member, id: string): string {
  return member.when ? `(this.${id}?.$size ?? 0)` : `this.${id}.$size`
}

function constantOr(expression: Expression, code: string): string {
  return expression.tree.op === 'number' || expression.tree.op === 'constant' || expression.tree.op === 'sizeof'
    ? String(Number(expression.tree.value))
    : parenthesise(code)
}

/** Where the layout of a nested struct is, by the place of the context: while the layout is computed it is a constant beside. */
const nestedLayout: Record<string, string> = { context: '', 'this.$layout.$context': 'this.$layout.', 'layout.$context': 'layout.' }
