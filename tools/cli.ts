#!/usr/bin/env node
/**
 * The `varve` command: gives the program this process's streams and environment, and ends with its exit code. What takes the engine,
 * and the help, which takes every verb, run from the bundle where the build made one (tools/build/bundle.mjs): it starts in half the time.
 * The other verbs need few modules.
 */
import { existsSync } from 'node:fs';

// A reader that stops (`varve list … | head`) is no failure of ours.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

const TAKE_ENGINE = new Set(['serve', 'check', 'inspect', 'backup', 'restore']);
const HELP = new Set(['help', '-h', '--help']);

/** No verb: the help. */
const first = process.argv[2] ?? '--help';
const bundled = new URL('../bundle/program.mjs', import.meta.url);
const isBundled = (TAKE_ENGINE.has(first) || HELP.has(first)) && existsSync(bundled);
const { run } = isBundled ? ((await import(bundled.href)) as typeof import('./program.js')) : await import('./program.js');
process.exitCode = await run(process.argv.slice(2), process);
