#!/usr/bin/env node
/** The `varve` command: gives the program this process's streams and environment, and ends with its exit code. */
import { run } from './program.js';

// A reader that stops (`varve list … | head`) is no failure of ours.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

process.exitCode = await run(process.argv.slice(2), process);
