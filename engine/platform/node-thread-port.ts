/**
 * The far end of a thread, once its module is loaded: opens the same directory as the process that started it, with writes that block
 * this thread alone, and lets the module serve.
 */
import { parentPort } from 'node:worker_threads';
import { nodePlatform } from './node.js';
import type { ServeThread } from './platform.js';

export function beginThread(root: string, serve: ServeThread): void {
  serve(nodePlatform(root, { blocking: true }), {
    post: (message, moved = []) => parentPort?.postMessage(message, moved),
    listen: (receive) => parentPort?.on('message', receive),
  });
}
