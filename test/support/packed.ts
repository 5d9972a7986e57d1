/** The package as its users get it: packed, and installed into a project of its own. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

/** The rules of a project that leaves nothing to chance. */
export const strictest = {
  target: 'es2022',
  module: 'nodenext',
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  noUnusedLocals: true,
  noUnusedParameters: true,
  noImplicitOverride: true,
  noImplicitReturns: true,
  noFallthroughCasesInSwitch: true,
  erasableSyntaxOnly: true,
  isolatedModules: true,
  verbatimModuleSyntax: true,
  skipLibCheck: true,
} as const

/** Makes a project that has virtgen, TypeScript and Vitest installed, without asking the registry. */
export function installPacked(project: string): void {
  const modules = join(project, 'node_modules')
  mkdirSync(join(modules, '.bin'), { recursive: true })
  const { dependencies } = JSON.parse(readFileSync('package.json', 'utf8')) as { dependencies: Record<string, string> }
  const packed = execFileSync('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', project], {
    encoding: 'utf8',
    shell: process.platform === 'win32',
  })
  const [{ filename }] = JSON.parse(packed) as [{ filename: string }]
  execFileSync('tar', ['-xzf', filename], { cwd: project })
  execFileSync('mv', ['package', join(modules, 'virtgen')], { cwd: project })
  for (const name of [...Object.keys(dependencies), '@types', 'typescript', 'vitest'])
    symlinkSync(resolve('node_modules', name), join(modules, name), 'dir')
  const programs = { virtgen: 'virtgen/bin/virtgen.js', tsc: 'typescript/bin/tsc', vitest: 'vitest/vitest.mjs' }
  for (const [name, file] of Object.entries(programs)) symlinkSync(join('..', file), join(modules, '.bin', name))
  writeFileSync(join(project, 'package.json'), JSON.stringify({ name: 'my-project', private: true, type: 'module' }))
}
