/**
 * The far end of a thread: where a worker begins. Opens the same directory as the process that started it, with writes that block
 * this thread alone, and runs the module it was told.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { nodePlatform } from './node.js';
import type { ThreadStart } from './node-thread.js';
import type { ServeThread } from './platform.js';

const { root, module } = workerData as ThreadStart;
const { serve } = (await import(new URL(`../${module}.js`, import.meta.url).href)) as { readonly serve: ServeThread };
serve(nodePlatform(root, { blocking: true }), {
  post: (message, moved = []) => parentPort?.postMessage(message, moved),
  listen: (receive) => parentPort?.on('message', receive),
});
