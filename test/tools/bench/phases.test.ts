/** No figure is taken of a store that errs: phases over a store in memory, honest and not. */
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { Adapter, KeyedVersion, Store } from '../../../tools/bench/adapter.js';
import { type BenchRecord, dataSet } from '../../../tools/bench/data/index.js';
import { groupCommit } from '../../../tools/bench/group-commit.js';
import { differingKeys, type MergeEntry } from '../../../tools/bench/merge.js';
import { Packages } from '../../../tools/bench/packages.js';
import type { Context } from '../../../tools/bench/phases/context.js';
import { load } from '../../../tools/bench/phases/load.js';
import { reads } from '../../../tools/bench/phases/reads.js';
import { insert, mixed } from '../../../tools/bench/phases/writes.js';
import { temporaryDirectory } from '../cli.js';

const root = temporaryDirectory();
afterAll(() => root.remove());

/** Everything in a list. */
class MemoryStore implements Store {
  records: BenchRecord[] = [];

  putBatch(records: readonly BenchRecord[]): void {
    this.records.push(...records);
  }
  put(record: BenchRecord): void {
    this.records.push(record);
  }
  putConcurrent(record: BenchRecord): Promise<void> {
    this.records.push(record);
    return Promise.resolve();
  }
  newest(key: string): KeyedVersion | undefined {
    return this.history(key).at(-1);
  }
  asOf(key: string, seq: number): KeyedVersion | undefined {
    return this.history(key).findLast((version) => version.seq <= seq);
  }
  history(key: string): KeyedVersion[] {
    return this.records.filter((record) => record.key === key);
  }
  historyBytes(key: string): { seq: number; bytes: Uint8Array }[] {
    return this.history(key).map(({ seq, body }) => ({ seq, bytes: Buffer.from(JSON.stringify(body)) }));
  }
  scan(fromKey: string, count: number, seq = Number.MAX_SAFE_INTEGER): KeyedVersion[] {
    const keys = [...new Set(this.records.map(({ key }) => key))].filter((key) => key >= fromKey).sort();
    const found = keys.flatMap((key) => this.asOf(key, seq) ?? []);
    return found.slice(0, count);
  }
  diff(): string[] {
    return [];
  }
  close(): void {}
}

function contextOf(store: MemoryStore, name: string): Context {
  const adapter: Adapter = {
    meta: { title: 'Memory', packages: [], design: 'a list', durable: false, sync: true, diffHow: 'none' },
    open: async () => store,
  };
  const directory = path.join(root.path, name);
  mkdirSync(directory, { recursive: true });
  const data = { data: 'synthetic', entities: 40, versionsPer: 3, seed: 1 } as const;
  return {
    job: { phase: 'reads', peer: 'memory', directory, peersDirectory: undefined, data, capMs: 5, spawnedAt: 0 },
    adapter,
    packages: new Packages(undefined),
    set: dataSet(data),
    directory,
    open: async () => store,
  };
}

describe('phases', () => {
  it('load every version, then ask and time the store', async () => {
    const store = new MemoryStore();
    const context = contextOf(store, 'honest');
    const loaded = await load(context);
    expect(store.records).toEqual(Array.from({ length: 120 }, (_, version) => context.set.record(version)));
    expect(loaded['load']).toMatchObject({ versions: 120 });
    const text = store.records.map(({ key, body }) => key + JSON.stringify(body)).join('');
    expect(loaded['disk']?.['userBytes']).toBe(Buffer.byteLength(text));
    const asked = await reads(context);
    const timed = ['newest', 'asOf', 'history', 'historyBytes', 'scan', 'scanAsOf'];
    for (const workload of timed) expect(asked[workload]?.['ops']).toBeGreaterThan(0);
    const written = await insert(context);
    expect(written['insert']?.['ops']).toBeGreaterThan(0);
    expect((await mixed(context))['mixed']?.['perSecond']).toBeGreaterThan(0);
    const seqs = store.records.map(({ seq }) => seq);
    expect([...seqs].sort((a, b) => a - b)).toEqual(seqs);
    expect(new Set(seqs).size).toBe(seqs.length);
  });

  const lies: [string, (store: MemoryStore) => void][] = [
    ['an old version for the newest', (store) => (store.newest = (key) => store.history(key)[0])],
    [
      'another body',
      (store) => {
        const honest = store.newest.bind(store);
        store.newest = (key) => ({ ...honest(key)!, body: { id: -1 } });
      },
    ],
    ['the newest as of any point', (store) => (store.asOf = (key) => store.history(key).at(-1))],
    ['a history without its end', (store) => (store.history = (key) => store.records.filter((r) => r.key === key).slice(0, 1))],
    ['a listing that is short', (store) => (store.scan = () => [])],
    [
      'bytes of the newest alone',
      (store) => {
        const honest = store.historyBytes.bind(store);
        store.historyBytes = (key) => honest(key).slice(-1);
      },
    ],
  ];
  it.each(lies)('take no figure of a store that gives %s', async (name, lie) => {
    const store = new MemoryStore();
    const context = contextOf(store, name);
    await load(context);
    lie(store);
    await expect(reads(context)).rejects.toThrow('wrong answer');
  });
});

describe('what adapters share', () => {
  it('finds keys that differ between two ordered streams', async () => {
    const entry = (key: string, seq: number, value: unknown = 'same'): MergeEntry => ({ key, seq, value });
    const source = (...blocks: MergeEntry[][]) => ({ next: () => blocks.shift() });
    const a = source([entry('a', 1), entry('b', 1), entry('b', 2)], [entry('d', 1, 'ours'), entry('e', 1)]);
    const b = source([entry('a', 1)], [entry('b', 1), entry('c', 1), entry('d', 1, 'theirs'), entry('e', 1), entry('f', 9)]);
    expect([...(await differingKeys(a, b, (x, y) => x === y))]).toEqual(['b', 'c', 'd', 'f']);
    const down = () => [entry('k', 3), entry('k', 2), entry('k', 1)];
    expect([...(await differingKeys(source(down()), source(down().slice(1)), (x, y) => x === y, true))]).toEqual(['k']);
    expect([...(await differingKeys(source(down()), source(down()), (x, y) => x === y, true))]).toEqual([]);
  });

  it('commits writes of one turn together, and tells each of a failure', async () => {
    const groups: number[] = [];
    const put = groupCommit(async (records) => {
      groups.push(records.length);
      if (records.some(({ key }) => key === 'bad')) throw new Error('disk');
    });
    const write = (key: string) => put({ key, seq: 1, body: 1 });
    await Promise.all([write('a'), write('b'), write('c')]);
    const answers = await Promise.allSettled([write('bad'), write('d')]);
    expect(answers.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    await write('e');
    expect(groups).toEqual([3, 2, 1]);
  });
});
