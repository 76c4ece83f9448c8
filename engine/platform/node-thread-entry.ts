/** Where a worker begins: it runs the module it was told. In a bundle that is tools/build/thread.mjs, which does the same. */
import { workerData } from 'node:worker_threads';
import type { ThreadStart } from './node-thread.js';
import { beginThread } from './node-thread-port.js';
import type { ServeThread } from './platform.js';

const start = workerData as ThreadStart;
const { serve } = (await import(new URL(`../${start.module}.js`, import.meta.url).href)) as { readonly serve: ServeThread };
beginThread(start, serve);
