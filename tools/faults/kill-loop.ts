/**
 * Kills a real server under load, again and again, and checks after every restart that nothing
 * acknowledged is lost, nothing is there twice, and what was not acknowledged is absent or whole.
 *
 *   npx tsx tools/faults/kill-loop.ts --cycles 1000 [--seed 1] [--shards 2] [--clients 6] [--dir DIR]
 *
 * A kill keeps the page cache, so this cannot catch a missing sync; the simulated disk of test/crash can.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { type Attempt, GROUPED, send, WrongAnswer, writeUntilKilled } from './kill-clients.js';
import { ServerProcess } from './server-process.js';

export interface KillLoopOptions {
  readonly cycles: number;
  readonly seed: number;
  readonly shards: number;
  readonly clients: number;
  /** Cycles on one data directory before a fresh one is taken. */
  readonly cyclesPerDirectory: number;
  readonly directory?: string;
  progress?(done: number, totals: KillTotals): void;
}

export interface KillTotals {
  acknowledged: number;
  /** Sent, never answered, and there after the restart. */
  survived: number;
  /** Sent, never answered, and gone. */
  gone: number;
  retried: number;
}

export async function runKillLoop(options: KillLoopOptions): Promise<KillTotals> {
  const totals: KillTotals = { acknowledged: 0, survived: 0, gone: 0, retried: 0 };
  const random = randomFrom(options.seed);
  const parent = mkdtempSync(path.join(options.directory ?? tmpdir(), 'varve-kill-'));
  let data = '';
  let server: ServerProcess | undefined;
  try {
    for (let cycle = 0; cycle < options.cycles; cycle++) {
      if (cycle % options.cyclesPerDirectory === 0) {
        await server?.kill();
        if (data !== '') rmSync(data, { recursive: true });
        data = path.join(parent, `data-${cycle}`);
        server = await startReady(data, options.shards);
        await createGroup(server.url);
      }
      if (server === undefined) throw new Error('no server');
      const ledger: Attempt[] = [];
      const load = { url: server.url, name: `c${cycle}`, clients: options.clients, random };
      const writing = writeUntilKilled(load, ledger);
      await Promise.race([pause(random() ** 2 * 400), writing]);
      if (!server.alive) throw new WrongAnswer(`the server ended by itself:\n${server.output}`);
      await server.kill();
      await writing;
      // Now and then it dies again while it is starting.
      while (random() < 0.25) {
        const starting = await ServerProcess.start(data, options.shards);
        await pause(random() * 400);
        await starting.kill();
      }
      server = await startReady(data, options.shards);
      await checkCycle(server.url, `c${cycle}`, ledger, totals);
      options.progress?.(cycle + 1, totals);
    }
    await server?.kill();
    rmSync(parent, { recursive: true });
    return totals;
  } catch (error) {
    await server?.kill();
    throw new Error(`kill loop failed; seed ${options.seed}, data kept in ${data}: ${String(error)}\n${server?.output ?? ''}`, {
      cause: error,
    });
  }
}

async function startReady(data: string, shards: number): Promise<ServerProcess> {
  const server = await ServerProcess.start(data, shards);
  await server.ready();
  return server;
}

async function createGroup(url: string): Promise<void> {
  const body = JSON.stringify({ placement: 'group:orders' });
  const answer = await fetch(`${url}/v1/collections/${GROUPED}`, { method: 'PUT', headers: { 'content-type': 'application/json' }, body });
  if (!answer.ok) throw new WrongAnswer(`PUT placement: ${answer.status} ${await answer.text()}`);
}

interface Version {
  readonly id: string;
  readonly collection: string;
  readonly key: string;
  readonly time: string;
  readonly deleted: boolean;
  readonly supersedes: string | null;
  readonly body: { token: string } | undefined;
}

/** Everything this cycle wrote, by token, and its tombstones by id; checks each history's chain on the way. */
async function readCycle(url: string, ledger: readonly Attempt[]): Promise<{ byToken: Map<string, Version>; byId: Map<string, Version> }> {
  const byToken = new Map<string, Version>();
  const byId = new Map<string, Version>();
  const entities = new Set(ledger.flatMap((attempt) => attempt.items.map((item) => `${item.collection} ${item.key}`)));
  for (const entity of entities) {
    const [collection, key] = entity.split(' ') as [string, string];
    let cursor: string | null = null;
    let newer: Version | undefined;
    do {
      const query: string = cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`;
      const answer = await fetch(`${url}/v1/collections/${collection}/entities/${encodeURIComponent(key)}/history?limit=1000${query}`);
      if (answer.status === 404) break;
      if (!answer.ok) throw new WrongAnswer(`history of ${entity}: ${answer.status} ${await answer.text()}`);
      const page = (await answer.json()) as { records: Version[]; next: string | null };
      for (const version of page.records) {
        if (newer !== undefined && newer.supersedes !== version.id)
          throw new WrongAnswer(`${newer.id} supersedes ${newer.supersedes}, found ${version.id}`);
        newer = version;
        byId.set(version.id, version);
        if (version.body === undefined || version.deleted) continue;
        if (byToken.has(version.body.token)) throw new WrongAnswer(`${version.body.token} is there twice`);
        byToken.set(version.body.token, version);
      }
      cursor = page.next;
    } while (cursor !== null);
    if (newer !== undefined && newer.supersedes !== null)
      throw new WrongAnswer(`the first version of ${entity} supersedes ${newer.supersedes}`);
  }
  return { byToken, byId };
}

async function checkCycle(url: string, name: string, ledger: readonly Attempt[], totals: KillTotals): Promise<void> {
  const before = await readCycle(url, ledger);
  for (const attempt of ledger) checkAttempt(attempt, before, totals);
  // What was not answered and has an idempotency key is sent again: it must then be there once.
  const retried = ledger.filter((attempt) => attempt.ids === undefined && attempt.idempotencyKey !== undefined);
  for (const attempt of retried) {
    await send(url, attempt);
    if (attempt.ids === undefined) throw new WrongAnswer(`retry of ${attempt.idempotencyKey} was not taken`);
    totals.retried++;
  }
  const after = await readCycle(url, ledger);
  for (const attempt of retried) checkAttempt(attempt, after, undefined);
  for (const [token, version] of before.byToken) {
    if (after.byToken.get(token)?.id !== version.id) throw new WrongAnswer(`${token} moved from ${version.id} in ${name}`);
  }
}

function checkAttempt(
  attempt: Attempt,
  found: { byToken: Map<string, Version>; byId: Map<string, Version> },
  totals: KillTotals | undefined,
): void {
  const versions = attempt.items.map((item, i) =>
    item.token === undefined ? found.byId.get(attempt.ids?.[i] ?? '') : found.byToken.get(item.token),
  );
  if (attempt.ids !== undefined) {
    attempt.items.forEach((item, i) => {
      const version = versions[i];
      const id = attempt.ids?.[i];
      if (version === undefined) throw new WrongAnswer(`acknowledged ${id} (${item.token ?? 'delete'} of ${item.key}) is lost`);
      if (version.id !== id) throw new WrongAnswer(`${item.token} was acknowledged as ${id} and is ${version.id}`);
      if (version.key !== item.key || version.collection !== item.collection || version.deleted !== (item.token === undefined)) {
        throw new WrongAnswer(`${id} is not what was acknowledged`);
      }
      checkBody(attempt, i, version);
    });
    if (totals) totals.acknowledged++;
    return;
  }
  const there = versions.filter((version) => version !== undefined);
  if (attempt.refused && there.length > 0) throw new WrongAnswer('a refused write is there');
  if (there.length !== 0 && there.length !== attempt.items.length) {
    throw new WrongAnswer(`half a batch: ${there.length} of ${attempt.items.length} of ${attempt.items[0]?.token}`);
  }
  there.forEach((version, i) => {
    checkBody(attempt, i, version);
  });
  if (new Set(there.map((version) => version.time)).size > 1) throw new WrongAnswer('a batch with two times');
  if (totals && attempt.items[0]?.token !== undefined) totals[there.length > 0 ? 'survived' : 'gone']++;
}

function checkBody(attempt: Attempt, index: number, version: Version): void {
  if (attempt.items[index]?.token === undefined) return;
  const sent = JSON.parse(attempt.request.body ?? 'null') as { records?: { body: unknown }[]; body?: unknown };
  const want = attempt.request.method === 'PUT' ? sent : sent.records === undefined ? sent.body : sent.records[index]?.body;
  if (JSON.stringify(version.body) !== JSON.stringify(want)) throw new WrongAnswer(`${version.id} has other bytes than were acknowledged`);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      cycles: { type: 'string', default: '100' },
      seed: { type: 'string' },
      shards: { type: 'string', default: '2' },
      clients: { type: 'string', default: '6' },
      dir: { type: 'string' },
    },
  });
  const seed = Number(values.seed ?? Date.now() % 2 ** 31);
  process.stdout.write(`seed ${seed}\n`);
  const totals = await runKillLoop({
    cycles: Number(values.cycles),
    seed,
    shards: Number(values.shards),
    clients: Number(values.clients),
    cyclesPerDirectory: 50,
    ...(values.dir === undefined ? {} : { directory: values.dir }),
    progress: (done, sums) => {
      if (done % 10 === 0) process.stdout.write(`${done} cycles: ${JSON.stringify(sums)}\n`);
    },
  });
  process.stdout.write(`done, 0 lost: ${JSON.stringify(totals)}\n`);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await main();
