/**
 * Runs the bundles once over a scratch directory and keeps the bytecode of what ran: `node warm.mjs dist/bundle`.
 *
 * What is kept is what an opening, a first write and first reads need, and what a server needs to start and answer; the rest is
 * compiled when it first runs, as ever; and what threads need to fold and to compact. Each bundle is warmed in a process of its own, so that the engine's holds no more than its users need.
 */
import { spawnSync } from 'node:child_process';
import { EventEmitter } from 'node:events';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { setFlagsFromString } from 'node:v8';

const [out, name] = process.argv.slice(2);
const WARM = { engine: warmEngine, program: warmProgram, threads: warmThreads };
/** Enough that rewriting has a thread of its own, and one beside it. */
const THREADED_BATCHES = 40;
const THREADED_RECORDS = 1000;

if (name === undefined) {
  for (const each of Object.keys(WARM)) {
    const { status } = spawnSync(process.execPath, [fileURLToPath(import.meta.url), out, each], { stdio: ['ignore', 2, 2] });
    if (status !== 0) process.exit(1);
  }
} else {
  const { engine, keep, program, thread } = await import(pathToFileURL(join(out, 'load.mjs')).href);
  const scratch = mkdtempSync(join(tmpdir(), 'varve-warm-'));
  // What got hot here V8 would mark, and compile to machine code at its first call in every process to come, where it runs once.
  setFlagsFromString('--no-sparkplug');
  try {
    await WARM[name]({ engine, program, thread, data: join(scratch, 'data') });
    setFlagsFromString('--sparkplug'); // bytecode is for one set of flags
    const file = join(out, `${name}.cache`);
    writeFileSync(`${file}.tmp`, keep(name));
    renameSync(`${file}.tmp`, file);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  process.exit(0);
}

/** Opens, writes and reads as many programs do first: anew, and what is there. */
async function warmEngine({ engine, data }) {
  const { open } = engine('engine/index.js');
  for (const time of [1, 2, 3]) {
    const db = await open(data);
    const before = db.now().get('warm', 'alice')?.body;
    await db.put('warm', 'alice', { before: before ?? null, time });
    await db.insert(Array.from({ length: 300 }, (_, i) => ({ collection: 'warm', key: `k${i}`, body: { i, time } })));
    const view = db.now();
    for (const record of view.history('warm', 'alice', {}).records) void record.body;
    for (const record of view.list('warm', { limit: 10 })) void record.body;
    await db.close();
  }
  const db = await open(data);
  void db.now().get('warm', 'alice').body;
  await db.close();
}

/** A server's start, writes and reads over HTTP, and its end. */
async function warmProgram({ program, data }) {
  const { run } = program();
  const listen = `127.0.0.1:${await freePort()}`;
  const io = { stdin: process.stdin, stdout: nowhere(), stderr: process.stderr, env: { VARVE_URL: `http://${listen}` } };
  const serving = run(['serve', '--listen', listen, '--data', data, '--log-level', 'silent'], io);
  for (let tries = 0; (await statusOf(`${io.env.VARVE_URL}/readyz`)) !== 200; tries++) {
    if (tries === 4000) throw new Error('the server did not get ready');
    await delay(25);
  }
  for (const verb of [
    ['put', 'warm', 'alice', '{"a":1}'],
    ['get', 'warm', 'alice'],
    ['history', 'warm', 'alice'],
    ['list', 'warm'],
    ['--help'],
  ]) {
    const code = await run(verb, io);
    if (code !== 0) throw new Error(`${verb.join(' ')} ended with ${code}`);
  }
  process.emit('SIGTERM');
  await serving;
}

/** What folds and compacts in threads does so here, so that it is one context whose bytecode is kept. */
async function warmThreads({ engine, thread, data }) {
  process.getBuiltinModule('node:worker_threads').Worker = class extends EventEmitter {
    #receive = () => {};
    #isOver = false;

    constructor(_url, { workerData: { root, module } }) {
      super();
      const { nodePlatform } = thread('platform/node');
      thread(module).serve(nodePlatform(root, { blocking: true }), {
        post: (message, moved) => this.#later(structuredClone(message, { transfer: moved }), (sent) => this.emit('message', sent)),
        listen: (receive) => {
          this.#receive = receive;
        },
      });
    }

    postMessage(message, moved) {
      this.#later(structuredClone(message, { transfer: moved }), (sent) => this.#receive(sent));
    }

    #later(message, take) {
      setImmediate(() => this.#isOver || take(message));
    }

    async terminate() {
      this.#isOver = true;
    }

    ref() {}

    unref() {}
  };
  const { open } = engine('engine/index.js');
  const db = await open(data);
  for (let batch = 0; batch < THREADED_BATCHES; batch++) {
    const records = Array.from({ length: THREADED_RECORDS }, (_, i) => {
      const n = batch * THREADED_RECORDS + i;
      return {
        collection: 'warm',
        key: `k${(n * 7919) % 9973}`,
        body: { n, name: `warm ${n % 100}`, text: 'a body of some length '.repeat(8) },
      };
    });
    await db.insert(records);
  }
  await db.checkpoint();
  await db.setRetention('warm', { keep: 'last', versions: 1 });
  const job = await db.jobEnded(db.compact({ force: true }).id);
  if (job?.state !== 'done') throw new Error(`the compaction ended as ${job?.state}: ${job?.error}`);
  await db.close();
}

async function statusOf(url) {
  try {
    return (await fetch(url)).status;
  } catch {
    return 0;
  }
}

function freePort() {
  const server = createServer();
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

function nowhere() {
  return new Writable({ write: (_chunk, _encoding, done) => done() });
}
