/**
 * Threads of the engine on the real machine: `node:worker_threads`, one module each (see node-thread-entry.ts).
 *
 * A worker loads compiled files. Where this very file is still TypeScript (tests, tsx) there is none to be had.
 * It does not keep the process alive unless held, and a failure to start shows as its end.
 */
import type { Thread, ThreadEvents, ThreadModule } from './platform.js';

const COMPILED = import.meta.url.endsWith('.js');

/** What the entry is told. */
export interface ThreadStart {
  readonly root: string;
  readonly module: ThreadModule;
}

export function startNodeThread(root: string, module: ThreadModule, events: ThreadEvents): Thread | undefined {
  if (!COMPILED) return undefined;
  const start: ThreadStart = { root, module };
  // Loaded by who needs it: most processes end before they do.
  const { Worker } = process.getBuiltinModule('node:worker_threads');
  // Flags of the process (a debugger's port, code given on the command line) are not for its threads.
  const worker = new Worker(new URL('./node-thread-entry.js', import.meta.url), { workerData: start, execArgv: [] });
  worker.unref();
  let reason = 'it ended';
  let stopping = false;
  worker.on('message', events.message);
  worker.on('messageerror', (error) => {
    reason = error.message;
    worker.terminate();
  });
  worker.on('error', (error) => {
    reason = error instanceof Error ? error.message : String(error);
  });
  // Comes after the thread is gone, whatever ended it.
  worker.on('exit', () => {
    if (!stopping) events.ended(reason);
  });
  return {
    post: (message, moved = []) => worker.postMessage(message, moved),
    hold: (held) => (held ? worker.ref() : worker.unref()),
    stop: async () => {
      stopping = true;
      await worker.terminate();
    },
  };
}
