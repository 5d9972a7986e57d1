/** A class of accessors alone, without plain values: what a device needs of its requests. */
import type { Statement, StructureKind } from '../code.ts'
import type { Slot } from './slots.ts'
import { StructEmitter } from './struct.ts'

/** What only values need: a struct whose accessors themselves need it has no bare class. */
const ofValues = /\.(?:\$get|\$set|\$element|decode|encode|encodeElement|sizeOf)\b/
const statics = new Set(['layout'])

export class BareStructEmitter extends StructEmitter {
  override statements(): Statement[] {
    this.imports.runtime('Struct')
    for (const slot of this.slots) this.slot(slot)
    return [...this.layoutInterface(), ...this.givenInterface(), this.class()]
  }

  protected override class(): Statement {
    const whole = super.class() as Extract<Statement, { kind: StructureKind.Class }>
    return {
      ...whole,
      properties: (whole.properties ?? []).filter(({ isStatic }) => !isStatic),
      getAccessors: (whole.getAccessors ?? []).filter(({ name }) => name !== '$element'),
      methods: (whole.methods ?? []).filter(({ name, isStatic }) => (isStatic ? statics.has(name) : name !== '$get' && name !== '$set')),
    }
  }

  /** A device has its whole configuration space, and need not ask at each member whether it is there. */
  protected override isChecked(slot: Slot): boolean {
    return this.struct.role !== 'config' && super.isChecked(slot)
  }

  protected override minimum(): string {
    return this.struct.role === 'config' ? this.contentSize() : super.minimum()
  }

  protected override elements(): never[] {
    return []
  }
}

export function needsValues(text: string): boolean {
  return ofValues.test(text)
}
