import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))

// The package's own specifiers lead to the sources, so that a test never runs on what was built before.
export default defineConfig({
  resolve: {
    alias: [
      { find: /^virtgen\/codegen\/v1\/wire$/, replacement: here('./wire/index.ts') },
      { find: /^virtgen\/codegen\/v1\/device$/, replacement: here('./runtime/codegen.ts') },
      { find: /^virtgen\/runtime$/, replacement: here('./runtime/index.ts') },
      { find: /^virtgen\/testing$/, replacement: here('./runtime/testing/index.ts') },
      { find: /^virtgen\/mmio$/, replacement: here('./runtime/mmio/index.ts') },
      { find: /^virtgen\/pci$/, replacement: here('./runtime/pci/index.ts') },
      { find: /^virtgen\/devices\/(.+)$/, replacement: here('./devices/$1/index.ts') },
      { find: /^virtgen\/(node|linux|v86)$/, replacement: here('./hosts/$1/index.ts') },
      { find: /^virtgen\/(wire|parts|protocol|messages|device|skeleton|driver)\/(.+)$/, replacement: here('./generated/$1/$2.ts') },
    ],
  },
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
})
