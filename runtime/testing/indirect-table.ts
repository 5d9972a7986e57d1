/** What a fake device finds in an indirect table. */
import { RuleBroken } from './fake-driver.ts'
import type { TestMemory } from './memory.ts'
import { descriptorSize, type Words } from './placed-chain.ts'

/**
 * The number of descriptors of a table.
 *
 * @throws RuleBroken for a table that cannot be one
 */
export function tableLength(memory: TestMemory, { address, length }: Words, indirect: boolean | undefined): number {
  if (!indirect) throw new RuleBroken('the driver uses an indirect table, which was not negotiated')
  if (length === 0 || length % descriptorSize !== 0) throw new RuleBroken(`an indirect table has ${length} bytes`)
  if (!memory.holds(Number(address), length))
    throw new RuleBroken(`an indirect table of ${length} bytes lies at 0x${address.toString(16)}, which is no memory`)
  return length / descriptorSize
}
