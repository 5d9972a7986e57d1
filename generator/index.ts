/** The generator: YAML in, model out, files from the model. It imports nothing of what it generates. */
export { type Diagnostic, type DiagnosticCode, diagnosticCodes, formatDiagnostic, type Paint, plain } from './diagnostic.ts'
export { type Facts, factsOf } from './facts.ts'
export { checkShapes, type Loaded, loadFolders, type SpecFolder } from './load.ts'
export type * from './model.ts'
export { type Resolved, resolve } from './resolve/index.ts'
export { jsonSchema } from './schema.ts'
export { SourceFile } from './source.ts'
