import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))

// The package's own specifiers lead to the sources, so that a test never runs on what was built before.
export default defineConfig({
  resolve: {
    alias: [
      { find: /^virtgen\/codegen\/v1\/wire$/, replacement: here('./wire/index.ts') },
      { find: /^virtgen\/wire\/(.+)$/, replacement: here('./generated/wire/$1.ts') },
    ],
  },
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
})
