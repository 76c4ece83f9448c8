/** Many batches of one record in one call: what comes of them is what single inserts would give. */
import { describe, expect, it } from 'vitest';
import type { InsertItem } from '../../engine/index.js';
import { afterKill, failure, type Machine, machine, reopen } from './support.js';

const item = (key: string, body: InsertItem['body'] = 1): InsertItem => ({ collection: 'c', key, body: body ?? null });

/** Enough for several slices of hashing, with entities that come more than once and bodies of all sizes. */
const ITEMS = Array.from({ length: 700 }, (_, i) => item(`k${(i * 7) % 250}`, i % 97 === 0 ? 'x'.repeat(i * 10) : { i }));

async function insertAll({ db }: Machine, items: readonly InsertItem[]) {
  const parts = db.insertEach(items);
  if (parts === undefined) throw new Error('was not taken');
  const records = new Array<{ id: string; shard: number; seq: number; time: string; hash: string; supersedes: string | null }>(
    items.length,
  );
  for (const { positions, inserted } of parts) {
    const result = await inserted;
    expect(result.replayed).toBe(false);
    result.records.forEach(({ id, shard, seq, time, hash, supersedes }, i) => {
      records[positions === undefined ? i : positions[i]!] = { id, shard, seq, time, hash, supersedes };
    });
  }
  return records;
}

describe('inserting each as a batch of its own', () => {
  it('gives consecutive seqs, times that increase, and the versions single inserts would', async () => {
    const each = await machine();
    const single = await machine();
    const records = await insertAll(each, ITEMS);
    for (const one of ITEMS) await single.db.insert([one]);
    expect(records.map(({ seq }) => seq - records[0]!.seq)).toEqual(ITEMS.map((_, i) => i));
    for (let i = 1; i < records.length; i++) expect(records[i]!.time > records[i - 1]!.time).toBe(true);
    for (const { db } of [each, single]) expect((await db.collection('c'))?.versions).toBe(ITEMS.length);
    for (let k = 0; k < 250; k++) {
      const [ours, theirs] = [each, single].map(({ db }) =>
        db
          .now()
          .history('c', `k${k}`)
          .records.map(({ seq, supersedes, body, deleted }) => ({ seq, supersedes, body, deleted })),
      );
      expect(ours).toEqual(theirs);
    }
  });

  it('answers for what is read, before and after a restart, a kill and a fold', async () => {
    let current = await machine();
    await current.db.put('c', 'k0', 'before');
    const records = await insertAll(current, ITEMS);
    await current.db.put('c', 'k0', 'behind');
    const look = async () => {
      for (const { id, time, hash, supersedes } of records) {
        const record = current.db.record(id)!;
        expect([record.time, record.hash, record.supersedes]).toEqual([time, hash, supersedes]);
      }
      // Each is a batch of its own: as of its id, and as of its time, nothing of the next is there.
      for (const i of [0, 1, 249, 250, 699]) {
        const { key } = ITEMS[i]!;
        for (const point of [records[i]!.id, records[i]!.time])
          expect((await current.db.asOf(point)).get('c', key)?.id).toBe(records[i]!.id);
      }
      return (await current.db.root(1))?.root;
    };
    const root = await look();
    current = await afterKill(current);
    expect(await look()).toBe(root);
    await current.db.checkpoint();
    expect(await look()).toBe(root);
    current = await reopen(current);
    expect(await look()).toBe(root);
    await current.db.close();
  });

  it('finds the shard of every one', async () => {
    const { db } = await machine({ shards: 4 });
    const parts = db.insertEach(ITEMS)!;
    expect(parts.length).toBe(4);
    expect(parts.flatMap(({ positions }) => positions!).sort((a, b) => a - b)).toEqual(ITEMS.map((_, i) => i));
    for (const { positions, inserted } of parts) {
      const { records } = await inserted;
      records.forEach(({ shard, key }, i) => {
        expect(shard).toBe(db.shardOf('c', ITEMS[positions![i]!]!.key));
        expect(key).toBe(ITEMS[positions![i]!]!.key);
      });
    }
  });

  it('leaves alone, as a whole, what holds anything but plain puts', async () => {
    const { db } = await machine({ shards: 2 });
    const { id } = await db.put('c', 'a', 1);
    for (const odd of [
      { collection: 'c', key: 'a', deleted: true as const },
      { ...item('a'), refs: [id] },
      { ...item('a'), expect: null },
      { ...item('a'), expect: id },
      item(''),
      item('..'),
      { ...item('a'), collection: '_collections' },
      { ...item('a'), collection: 'no name' },
      { ...item('a'), body: Number.NaN },
      { collection: 'c', key: 'a' },
    ]) {
      expect(db.insertEach([item('x'), odd, item('y')])).toBeUndefined();
    }
    expect(db.insertEach([])).toBeUndefined();
    expect(db.now().get('c', 'x')).toBeUndefined();
    expect((await db.collection('c'))?.versions).toBe(1);
    await db.close();
    expect(db.insertEach([item('x')])).toBeUndefined();
  });

  it('goes between those before and those behind, in the order of the calls', async () => {
    const { db } = await machine();
    const before = db.put('c', 'a', 'before');
    const [part] = db.insertEach([item('a', 1), item('b', 2), item('a', 3)])!;
    const behind = db.put('c', 'a', 'behind');
    await Promise.all([before, part!.inserted, behind]);
    const { records } = db.now().history('c', 'a');
    expect(records.map(({ body }) => body)).toEqual(['behind', 3, 1, 'before']);
  });

  it('fails as a whole where its write fails, and leaves nothing of it', async () => {
    const current = await machine();
    await current.db.put('c', 'a', 1);
    current.platform.failOn('write', { kind: 'short', bytes: 10 }, { path: '/log/' });
    const [part] = current.db.insertEach([item('a', 2), item('b', 2)])!;
    const { code } = await failure(part!.inserted);
    expect(['NOT_WRITTEN', 'OUTCOME_UNKNOWN']).toContain(code);
    expect(current.db.now().get('c', 'a')?.body).toBe(1);
    expect(current.db.now().get('c', 'b')).toBeUndefined();
  });
});
