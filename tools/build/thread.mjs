/** Where a thread begins whose engine runs from a bundle: it runs from one, too (see bundle.mjs). Else that is engine/platform/node-thread-entry.ts. */
import { workerData } from 'node:worker_threads';
import { thread } from './load.mjs';

const { beginThread } = thread('platform/node-thread-port');
beginThread(workerData, thread(workerData.module).serve);
