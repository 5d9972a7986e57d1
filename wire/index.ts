/**
 * `virtgen/codegen/v1/wire`: what generated wire code stands on. The contract is versioned; an incompatible one becomes `/v2` beside it.
 * No imports from outside this folder, no dependency, nothing that needs Node.
 */
export {
  attached,
  available,
  bytesAt,
  checkArm,
  checkIndex,
  elementCount,
  elementsOf,
  entriesOf,
  padArray,
  padTo,
  putArray,
  putBytes,
  quotient,
  readArray,
  readRows,
} from './arrays.ts'
export { bigintBits, numberBits, putBigintBits, putNumberBits } from './bits.ts'
export {
  type FeatureInfo,
  type FeatureProblem,
  FeatureSet,
  featureNames,
  featuresFromBitString,
  featuresFromHex,
  featuresFromWords,
} from './features.ts'
export {
  absent,
  checkConstant,
  checkInteger,
  get8,
  get16,
  get32,
  get64,
  getBig64,
  getNumber64,
  room,
  set8,
  set16,
  set32,
  set64,
  setBig64,
} from './integers.ts'
export { type MessageSize, noMembers, type ProtocolContext, type ProtocolRequest } from './protocol.ts'
export type { RegisterInfo, RegisterMap } from './registers.ts'
export { Struct, viewOf } from './struct.ts'
