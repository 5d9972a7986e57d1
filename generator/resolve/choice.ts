/** Choices: the arms of a union and the requests of a message. Constants and conditions must tell them apart. */
import type { ConstantValue, Expression, Member } from '../model.ts'
import type { Path } from '../source.ts'
import { areExclusive } from './conditions.ts'
import type { Layouts } from './layouts.ts'
import type { MemberContext } from './members.ts'

/** Something that is chosen. */
export interface Choice {
  name: string
  /** Constants of each deciding field; alternatives. */
  is: readonly (readonly ConstantValue[])[]
  when: Expression | undefined
  /** The choice is also made by what is there: requests differ in their parts. */
  parts?: string
}

/** Calls `report` for each choice that an earlier one leaves no room for, with the constants that both have. */
export function findIndistinct(
  choices: readonly Choice[],
  report: (index: number, earlier: Choice, shared: readonly ConstantValue[] | undefined) => void,
): void {
  choices.forEach((choice, index) => {
    for (const earlier of choices.slice(0, index)) {
      const shared = choice.is.find((constants) => earlier.is.some((others) => isSame(constants, others)))
      const bothOpen = choice.is.length === 0 && earlier.is.length === 0 && choice.parts === earlier.parts
      if ((shared !== undefined || bothOpen) && !areExclusive(choice.when, earlier.when)) {
        report(index, earlier, shared)
        return
      }
    }
  })
}

function isSame(first: readonly ConstantValue[], second: readonly ConstantValue[]): boolean {
  return first.length === second.length && first.every(({ value }, index) => BigInt(value) === BigInt((second[index] as ConstantValue).value))
}

/** Names of constants, for messages. */
export function constantNames(constants: readonly ConstantValue[]): string {
  return constants.map(({ name }) => name).join(', ')
}

/** The arms of a union that a field decides. */
export function checkArms(arms: readonly Member[], { chapter }: MemberContext, layouts: Layouts): void {
  const pathOf = (arm: Member): Path => layouts.pathOf(arm) ?? []
  // One arm may serve for every constant that no other names.
  const [fallback, ...others] = arms.filter((arm) => arm.is === undefined && arm.when === undefined)
  for (const arm of others)
    chapter.report(
      'duplicate-arm',
      pathOf(arm),
      `no constant selects "${arm.name}", nor "${fallback?.name}"`,
      'give `is`, or `when`; one arm may be for all other constants',
      'key',
    )
  const choices = arms.map((arm): Choice => ({ name: arm.name, is: (arm.is ?? []).map((constant) => [constant]), when: arm.when }))
  findIndistinct(choices, (index, earlier, shared) => {
    if (shared === undefined) return
    const path = [...pathOf(arms[index] as Member), 'is']
    chapter.report(
      'duplicate-arm',
      path,
      `${constantNames(shared)} already selects "${earlier.name}"`,
      'conditions that exclude each other would tell them apart',
      'key',
    )
  })
}
