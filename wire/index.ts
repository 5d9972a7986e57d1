/**
 * `virtgen/codegen/v1/wire`: what generated wire code stands on. The contract is versioned; an incompatible one becomes `/v2` beside it.
 * No imports from outside this folder, no dependency, nothing that needs Node.
 */
export { available, bytesAt, elementCount, elementsOf, entriesOf, padArray, padTo, putArray, putBytes, readArray, readRows } from './arrays.ts'
export { bigintBits, numberBits, putBigintBits, putNumberBits } from './bits.ts'
export { type FeatureInfo, type FeatureProblem, FeatureSet } from './features.ts'
export * from './integers.ts'
export type { RegisterInfo, RegisterMap } from './registers.ts'
export { Struct, viewOf } from './struct.ts'
