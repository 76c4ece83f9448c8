import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Processes, not threads: tests load native modules, send signals and start servers.
    pool: 'forks',
    // Generous, for a busy machine; nothing waits for these on purpose.
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
