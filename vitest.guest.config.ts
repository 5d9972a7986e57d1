import { defineConfig, mergeConfig } from 'vitest/config'
import shared from './vitest.config.ts'

// Tests that boot a guest: one at a time, as each takes a core.
const { include: _, ...test } = shared.test ?? {}
export default mergeConfig(
  { ...shared, test },
  defineConfig({
    test: {
      include: ['test/guest/**/*.guest.ts'],
      globalSetup: 'test/guest/peers.ts',
      fileParallelism: false,
      testTimeout: 120_000,
      hookTimeout: 200_000,
    },
  }),
)
