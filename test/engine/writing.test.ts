/** What a batch may say, and what it is refused for: idempotency keys, refs, expectations, all or nothing. */
import { describe, expect, it } from 'vitest';
import { recordId } from '../../engine/types.js';
import { afterKill, codeOf, DAY, failure, machine, reopen } from './support.js';

const item = (key: string, body: number | string = 1) => ({ collection: 'c', key, body });

describe('an idempotency key', () => {
  it('gives the first answer again, from memory, from the log, after a restart and after a kill', async () => {
    let current = await machine();
    const insert = () => current.db.insert([item('a'), { ...item('b'), refs: ['#0'] }], { idempotencyKey: 'order-1' });
    const first = await insert();
    expect(first.replayed).toBe(false);
    const plain = JSON.stringify(first.records.map(({ id, time, hash, refs, supersedes }) => ({ id, time, hash, refs, supersedes })));
    await current.db.put('c', 'a', 'newer');
    for (let round = 0; round < 4; round++) {
      const again = await insert();
      expect(again.replayed).toBe(true);
      expect(JSON.stringify(again.records.map(({ id, time, hash, refs, supersedes }) => ({ id, time, hash, refs, supersedes })))).toBe(
        plain,
      );
      if (round === 1) await current.db.checkpoint();
      current = round % 2 === 0 ? await reopen(current) : await afterKill(current);
    }
    expect(current.db.now().history('c', 'a').records).toHaveLength(2);
  });

  it('is forgotten after a day, and not before', async () => {
    const { db, platform } = await machine();
    const insert = () => db.insert([item('a')], { idempotencyKey: 'k' });
    await insert();
    await platform.advanceAndSettle(DAY - 1000);
    expect((await insert()).replayed).toBe(true);
    await platform.advanceAndSettle(2000);
    expect((await insert()).replayed).toBe(false);
    expect((await insert()).replayed).toBe(true);
    expect(db.now().history('c', 'a').records).toHaveLength(2);
  });

  it('is held to its content: bodies, keys, refs, expectations, tombstones and time', async () => {
    const { db } = await machine();
    const { id } = await db.put('c', 'base', 0);
    await db.insert([item('a')], { idempotencyKey: 'k' });
    const others = [
      db.insert([item('a', 2)], { idempotencyKey: 'k' }),
      db.insert([item('b')], { idempotencyKey: 'k' }),
      db.insert([item('a'), item('b')], { idempotencyKey: 'k' }),
      db.insert([{ ...item('a'), refs: [id] }], { idempotencyKey: 'k' }),
      db.insert([{ ...item('a'), expect: null }], { idempotencyKey: 'k' }),
      db.insert([{ collection: 'c', key: 'a', deleted: true }], { idempotencyKey: 'k' }),
      db.insert([item('a')], { idempotencyKey: 'k', time: '2001-01-01T00:00:00Z' }),
    ];
    expect(await Promise.all(others.map(codeOf))).toEqual(others.map(() => 'IDEMPOTENCY_MISMATCH'));
    expect(db.now().history('c', 'a').records).toHaveLength(1);
  });

  it('that races with itself inserts once', async () => {
    const { db } = await machine();
    const racing = Array.from({ length: 5 }, () => db.insert([item('a')], { idempotencyKey: 'k' }));
    const other = codeOf(db.insert([item('a', 2)], { idempotencyKey: 'k' }));
    const results = await Promise.all(racing);
    expect(results.map(({ replayed }) => replayed)).toEqual([false, true, true, true, true]);
    expect(new Set(results.map(({ records }) => records[0]?.id)).size).toBe(1);
    expect(await other).toBe('IDEMPOTENCY_MISMATCH');
    expect(db.now().history('c', 'a').records).toHaveLength(1);
  });

  it('remembers successes only, also for those that race with a refusal', async () => {
    const { db } = await machine();
    const refused = codeOf(db.insert([{ ...item('a'), expect: '*' }], { idempotencyKey: 'k' }));
    const racing = db.insert([item('b')], { idempotencyKey: 'k' });
    const behind = db.insert([item('b')], { idempotencyKey: 'k' });
    expect(await refused).toBe('CONFLICT');
    expect((await racing).replayed).toBe(false);
    expect(await behind).toMatchObject({ replayed: true, records: [{ id: (await racing).records[0]?.id }] });
    expect(await codeOf(db.insert([item('a')], { idempotencyKey: 'k' }))).toBe('IDEMPOTENCY_MISMATCH');
  });

  it('must be visible ASCII of 1 to 255 characters', async () => {
    const { db } = await machine();
    for (const idempotencyKey of ['', 'a b', 'é', '\n', 'x'.repeat(256)]) {
      expect(await codeOf(db.insert([item('a')], { idempotencyKey }))).toBe('INVALID');
    }
    await db.insert([item('a')], { idempotencyKey: '~!'.repeat(127) });
  });
});

describe('a ref', () => {
  it('names a version, or an earlier item of the batch, for good', async () => {
    const { db } = await machine();
    const first = await db.put('c', 'a', 1);
    const { records } = await db.insert([item('b'), { ...item('d'), refs: ['#0', first.id] }, { ...item('e'), refs: ['#1'] }]);
    await db.put('c', 'a', 2);
    await db.checkpoint();
    const [b, d, e] = records.map(({ key }) => db.now().get('c', key));
    expect(d?.refs).toEqual([b?.id, first.id]);
    expect(e?.refs).toEqual([d?.id]);
    expect(db.record(d?.refs[1] as string)?.body).toBe(1);
    const tombstone = await db.delete('c', 'b', { refs: [first.id] });
    expect(tombstone.refs).toEqual([first.id]);
  });

  it('is refused where it names nothing earlier in the shard', async () => {
    const { db } = await machine({ shards: 2 });
    await db.setPlacement('c', 'group:x');
    const shard = db.shardOf('c', 'k');
    const { seq } = await db.put('c', 'k', 1);
    await db.checkpoint();
    const event = recordId(shard, db.shards()[shard - 1]?.lastSeq as number);
    const cases = [
      { ref: '#0', reason: 'later' },
      { ref: '#7', reason: 'later' },
      { ref: recordId(shard, seq + 100), reason: 'unknown' },
      { ref: recordId(shard, 2 ** 48 - 1), reason: 'unknown' },
      { ref: event, reason: 'unknown' },
      { ref: recordId(3 - shard, 1), reason: 'other-shard' },
      { ref: recordId(99, 1), reason: 'other-shard' },
    ];
    for (const { ref, reason } of cases) {
      expect(await failure(db.insert([{ ...item('a'), refs: [ref] }]))).toMatchObject({ code: 'BAD_REF', details: { ref, reason } });
    }
    for (const ref of ['', '#', '#-1', '#00', 'k', '0001', '0000000000000001', `000${shard}000000000000`]) {
      expect(await codeOf(db.insert([{ ...item('a'), refs: [ref] }]))).toBe('INVALID');
    }
    expect(db.now().get('c', 'a')).toBeUndefined();
  });

  it('to a record that is only queued is a guess, and refused', async () => {
    const { db } = await machine();
    const { id } = await db.put('c', 'a', 1);
    const queued = db.put('c', 'b', 1);
    const guess = failure(db.put('c', 'd', 1, { refs: [recordId(1, 2)] }));
    expect((await queued).id).toBe(recordId(1, 2));
    expect(await guess).toMatchObject({ code: 'BAD_REF', details: { reason: 'unknown' } });
    await db.put('c', 'd', 1, { refs: [id, recordId(1, 2)] });
  });
});

describe('an expectation', () => {
  it('of null holds where the entity is not alive: never was, or was deleted', async () => {
    const { db } = await machine();
    const first = await db.put('c', 'k', 1, { expect: null });
    expect(await failure(db.put('c', 'k', 2, { expect: null }))).toMatchObject({ code: 'CONFLICT', details: { current: first.id } });
    const tombstone = await db.delete('c', 'k');
    const second = await db.put('c', 'k', 2, { expect: null });
    expect(second.supersedes).toBe(tombstone.id);
  });

  it('of * holds where it is alive', async () => {
    const { db } = await machine();
    expect(await failure(db.put('c', 'k', 1, { expect: '*' }))).toMatchObject({ code: 'CONFLICT', details: { current: null } });
    await db.put('c', 'k', 1);
    await db.put('c', 'k', 2, { expect: '*' });
    const tombstone = await db.delete('c', 'k', { expect: '*' });
    expect(await failure(db.put('c', 'k', 3, { expect: '*' }))).toMatchObject({ code: 'CONFLICT', details: { current: tombstone.id } });
  });

  it('of ids holds where one of them is the newest version, a tombstone too', async () => {
    const { db } = await machine();
    const first = await db.put('c', 'k', 1);
    const second = await db.put('c', 'k', 2, { expect: first.id });
    expect(await failure(db.put('c', 'k', 3, { expect: first.id }))).toMatchObject({ code: 'CONFLICT', details: { current: second.id } });
    const tombstone = await db.delete('c', 'k', { expect: [first.id, second.id] });
    expect(await codeOf(db.delete('c', 'k', { expect: tombstone.id }))).toBe('NOTHING_TO_DELETE');
    const third = await db.put('c', 'k', 3, { expect: [tombstone.id] });
    expect(await codeOf(db.put('c', 'k', 4, { expect: [] }))).toBe('CONFLICT');
    expect(await failure(db.put('c', 'none', 4, { expect: third.id }))).toMatchObject({ code: 'CONFLICT', details: { current: null } });
  });

  it('lets one of many racing writers win', async () => {
    const { db } = await machine();
    const { id } = await db.put('c', 'k', 0);
    const results = await Promise.allSettled(Array.from({ length: 10 }, (_, i) => db.put('c', 'k', i, { expect: id })));
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', ...Array.from({ length: 9 }, () => 'rejected')]);
    expect(db.now().history('c', 'k').records).toHaveLength(2);
  });
});

describe('a batch', () => {
  it('goes in whole or leaves no trace, wherever it is refused', async () => {
    const { db } = await machine();
    const { id } = await db.put('c', 'k', 'before');
    const root = (await db.root(1))?.root;
    const bad = [
      { ...item('z'), expect: '*' },
      { ...item('z'), refs: ['0001000000000099'] },
      { collection: 'c', key: 'z', deleted: true as const },
      { collection: 'c', key: '', body: 1 },
      { collection: '_x', key: 'z', body: 1 },
      { collection: 'c', key: 'z' },
    ];
    for (const last of bad) {
      const queued = db.put('c', 'neighbour', 'queued');
      await failure(db.insert([item('k'), item('new'), { collection: 'c', key: 'k', deleted: true }, last]));
      await queued;
      expect(db.now().get('c', 'k')).toMatchObject({ id, body: 'before' });
      expect(db.now().get('c', 'new')).toBeUndefined();
      await db.delete('c', 'neighbour');
    }
    expect(await db.collection('c')).toMatchObject({ entities: 1, versions: 1 + 2 * bad.length });
    expect((await db.root(1))?.root).not.toBe(root);
    expect((await db.root(1))?.entries).toBe(1 + 2 * bad.length);
  });

  it('that is refused late takes nothing of others with it', async () => {
    const { db } = await machine();
    const first = db.put('c', 'k', 1);
    const refused = codeOf(db.insert([item('new'), { ...item('k', 2), expect: null }]));
    const next = Array.from({ length: 20 }, (_, i) => db.put('c', 'k', 10 + i));
    await first;
    expect(await refused).toBe('CONFLICT');
    await Promise.all(next);
    const bodies = db
      .now()
      .history('c', 'k')
      .records.map((record) => record.body);
    expect(bodies).toEqual([...Array.from({ length: 20 }, (_, i) => 29 - i), 1]);
    expect(db.now().get('c', 'new')).toBeUndefined();
    expect((await db.root(1))?.entries).toBe(21);
  });

  it('may hold one entity several times, each version superseding the one before', async () => {
    const { db } = await machine();
    const { records } = await db.insert([
      item('k', 1),
      item('k', 2),
      { collection: 'c', key: 'k', deleted: true },
      { ...item('k', 3), expect: null },
    ]);
    expect(records.map(({ supersedes }) => supersedes)).toEqual([null, records[0]?.id, records[1]?.id, records[2]?.id]);
    expect(new Set(records.map(({ time }) => time)).size).toBe(1);
    const view = await db.asOf(records[0]?.id as string);
    expect(view.get('c', 'k')?.body).toBe(3);
  });

  it('needs a record, and no more than its limits', async () => {
    const { db } = await machine({ maxBodyBytes: 100, maxBatchBytes: 250 });
    expect(await codeOf(db.insert([]))).toBe('INVALID');
    expect(await codeOf(db.put('c', 'k', 'x'.repeat(99)))).toBe('TOO_LARGE');
    await db.put('c', 'k', 'x'.repeat(98));
    const two = [item('a', 'x'.repeat(90)), item('b', 'x'.repeat(90))];
    await db.insert(two);
    expect(await codeOf(db.insert([...two, item('d', 'x'.repeat(90))]))).toBe('TOO_LARGE');
  });

  it('stays in one shard', async () => {
    const { db } = await machine({ shards: 4 });
    const keys = Array.from({ length: 40 }, (_, i) => `k${i}`);
    const shards = new Set(keys.map((key) => db.shardOf('c', key)));
    expect(shards.size).toBe(4);
    expect(await failure(db.insert(keys.map((key) => item(key))))).toMatchObject({
      code: 'CROSS_SHARD',
      details: { shards: [1, 2, 3, 4] },
    });
    expect(db.now().list('c')).toEqual([]);
  });
});
