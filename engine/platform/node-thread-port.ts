/**
 * The far end of a thread, once its module is loaded: opens the same directory as the process that started it, with writes that block
 * this thread alone, and lets the module serve. Where processors are scarce, who compacts comes after who answers and folds.
 */
import { readlinkSync } from 'node:fs';
import { constants, setPriority } from 'node:os';
import { basename } from 'node:path';
import { parentPort } from 'node:worker_threads';
import { nodePlatform } from './node.js';
import type { ThreadStart } from './node-thread.js';
import type { ServeThread } from './platform.js';

export function beginThread({ root, module }: ThreadStart, serve: ServeThread): void {
  if (module.startsWith('compaction/')) stepBack();
  serve(nodePlatform(root, { blocking: true }), {
    post: (message, moved = []) => parentPort?.postMessage(message, moved),
    listen: (receive) => parentPort?.on('message', receive),
  });
}

/** Linux gives each thread a niceness of its own, and says which one asks; elsewhere nothing is done. */
function stepBack(): void {
  try {
    setPriority(Number(basename(readlinkSync('/proc/thread-self'))), constants.priority.PRIORITY_BELOW_NORMAL);
  } catch {
    // as quick as all others
  }
}
