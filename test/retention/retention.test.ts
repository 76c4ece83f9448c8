import { describe, expect, it } from 'vitest';
import { isVarveError } from '../../engine/errors.js';
import { type Database, openWith } from '../../engine/index.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';

const OPTIONS = { segmentBytes: 8000, upkeep: { automatic: false } };

async function opened(options = {}): Promise<{ machine: MemoryPlatform; db: Database }> {
  const machine = new MemoryPlatform({ seed: 7 });
  return { machine, db: await openWith(machine, { ...OPTIONS, ...options }) };
}

async function compacted(db: Database, request = {}): Promise<Record<string, number>> {
  const job = await db.jobEnded(db.compact(request).id);
  expect(job).toMatchObject({ state: 'done', error: null });
  return job!.result as Record<string, number>;
}

async function code(work: () => unknown): Promise<string> {
  try {
    await work();
    return 'none';
  } catch (error) {
    return isVarveError(error, 'TRIMMED') ? 'TRIMMED' : String(error);
  }
}

describe('retention', () => {
  it('leaves nobody alive whose ending compaction has taken, and not yet what it ended, where the tree is lost', async () => {
    const { machine, db } = await opened();
    const pad = 'x'.repeat(100);
    await db.put('mixed', 'gone', { pad });
    for (let i = 0; i < 60; i++) await db.put('kept', `k${i}`, { pad });
    for (let i = 0; i < 60; i++) {
      await db.put('mixed', 'busy', { i, pad });
      if (i === 30) await db.delete('mixed', 'gone');
    }
    await db.setRetention('mixed', { keep: 'for', duration: 'PT1H' });
    machine.advance(2 * 3600e6);
    // What is mostly dead is rewritten; the segment that 'gone' lived in stays.
    expect(await compacted(db)).toMatchObject({ versionsDropped: 61 });
    expect(db.shards()[0]!.deadBytes).toBeGreaterThan(0);
    await db.close();
    for (const name of machine.files.list('shards/0001/tree')) machine.files.remove(`shards/0001/tree/${name}`);
    machine.files.remove('catalog.sqlite');
    const again = await openWith(machine, OPTIONS);
    expect(again.now().get('mixed', 'gone')).toBeUndefined();
    expect(
      again
        .now()
        .list('mixed', { limit: 10 })
        .map(({ key }) => key),
    ).toEqual(['busy']);
    expect(await again.collection('mixed')).toMatchObject({ entities: 1, versions: 1 });
    await again.close();
  });

  it('gives back what is not kept, and every other answer stays', async () => {
    const { machine, db } = await opened();
    const ids: string[][] = [];
    for (let version = 0; version < 20; version++) {
      for (let i = 0; i < 30; i++) (ids[i] ??= []).push((await db.put('things', `k${i}`, { i, version, pad: 'x'.repeat(100) })).id);
    }
    await db.put('kept', 'one', 1);
    await db.setRetention('things', { keep: 'last', versions: 2 });
    const before = db.shards()[0]!.liveBytes;
    const result = await compacted(db, { force: true });
    expect(result).toMatchObject({ versionsDropped: 18 * 30, recordsDropped: 18 * 30 });
    const after = db.shards()[0]!;
    expect(after.liveBytes).toBeLessThan(before * 0.3);
    expect(after.deadBytes).toBe(0);
    const view = db.now();
    for (let i = 0; i < 30; i++) {
      expect(view.get('things', `k${i}`)?.body).toEqual({ i, version: 19, pad: 'x'.repeat(100) });
      const history = view.history('things', `k${i}`);
      expect(history.records.map(({ id }) => id)).toEqual([ids[i]![19], ids[i]![18]]);
      expect(history.complete).toBe(false);
      expect(await code(() => db.record(ids[i]![3]!))).toBe('TRIMMED');
      expect(db.record(ids[i]![18]!)?.body).toMatchObject({ version: 18 });
    }
    expect(view.history('kept', 'one').complete).toBe(true);
    expect(view.list('things', { limit: 100 })).toHaveLength(30);
    const root = await db.root(1);
    await db.close();
    // The tree is derived: without it, and from what compaction left, the same root.
    for (const name of machine.files.list('shards/0001/tree')) machine.files.remove(`shards/0001/tree/${name}`);
    const again = await openWith(machine, OPTIONS);
    expect((await again.root(1))?.root).toBeDefined();
    expect((await again.collections()).find(({ name }) => name === 'things')).toMatchObject({ entities: 30, versions: 60 });
    expect(again.now().get('things', 'k7')?.body).toMatchObject({ version: 19 });
    expect((await again.root(1))?.entries).toBeGreaterThanOrEqual(root!.entries);
    await again.close();
  });

  it('answers points before the horizon exactly or not at all', async () => {
    const { db } = await opened();
    const a1 = await db.put('c', 'a', 1);
    const b1 = await db.put('c', 'b', 1);
    const a2 = await db.put('c', 'a', 2);
    const a3 = await db.put('c', 'a', 3);
    await db.setRetention('c', { keep: 'last', versions: 2 });
    await compacted(db);
    const at = async (id: string) => db.asOf(id);
    // a1 is gone; it stopped being current with a2.
    expect(await code(async () => (await at(a1.id)).get('c', 'a'))).toBe('TRIMMED');
    expect(await code(async () => (await at(b1.id)).get('c', 'a'))).toBe('TRIMMED');
    expect((await at(b1.id)).get('c', 'b')?.body).toBe(1); // the newest there is
    expect(await code(async () => (await at(b1.id)).get('c', 'nobody'))).toBe('TRIMMED');
    expect(await code(async () => (await at(b1.id)).list('c'))).toBe('TRIMMED');
    expect((await at(a2.id)).get('c', 'a')?.body).toBe(2);
    expect((await at(a2.id)).list('c')).toHaveLength(2);
    expect((await at(a2.id)).get('c', 'nobody')).toBeUndefined();
    expect((await db.asOf(a3.time)).get('c', 'a')?.body).toBe(3);
    expect(await code(() => db.createSnapshot('late', b1.time))).toBe('TRIMMED');
    await db.close();
  });

  it('keeps what snapshots see until they are deleted, and frees it then', async () => {
    const { machine, db } = await opened({ shards: 2 });
    for (let i = 0; i < 10; i++) await db.put('c', `k${i}`, 'old');
    await db.delete('c', 'k9');
    const time = db.newestTime()!;
    const snapshot = await db.createSnapshot('audit', time);
    expect(await db.createSnapshot('audit', time)).toEqual(snapshot);
    for (let i = 0; i < 10; i++) await db.put('c', `k${i}`, 'middle');
    for (let i = 0; i < 10; i++) await db.put('c', `k${i}`, 'new');
    await expect(db.createSnapshot('audit', db.newestTime()!)).rejects.toMatchObject({ code: 'SNAPSHOT_EXISTS' });
    await db.setRetention('c', { keep: 'last', versions: 1 });
    expect((await compacted(db, { force: true }))['versionsDropped']).toBe(11);
    const check = async (db: Database) => {
      const then = await db.asOf(time);
      expect(then.list('c').map(({ body }) => body)).toEqual(Array.from({ length: 9 }, () => 'old'));
      expect(then.get('c', 'k9')?.deleted).toBe(true);
      expect(then.get('c', 'nobody')).toBeUndefined();
    };
    await check(db);
    await db.close();
    const again = await openWith(machine, OPTIONS);
    expect(again.snapshots().map(({ name }) => name)).toEqual(['audit']);
    expect(again.retention('c')).toEqual({ keep: 'last', versions: 1 });
    await check(again);
    expect(await again.deleteSnapshot('audit')).toBe(true);
    expect(await again.deleteSnapshot('audit')).toBe(false);
    expect((await compacted(again, { force: true }))['versionsDropped']).toBe(10);
    expect(await code(async () => (await again.asOf(time)).list('c'))).toBe('TRIMMED');
    await again.close();
  });

  it('keeps what live records refer to, and refuses refs to what was dropped', async () => {
    const { db } = await opened();
    const first = await db.put('c', 'a', 1);
    const second = await db.put('c', 'a', 2);
    await db.put('c', 'a', 3);
    await db.put('d', 'x', 'cites', { refs: [first.id] });
    await db.setRetention('c', { keep: 'last', versions: 1 });
    await compacted(db);
    expect(db.record(first.id)?.body).toBe(1);
    expect(await code(() => db.record(second.id))).toBe('TRIMMED');
    await expect(db.put('d', 'y', 'cites', { refs: [second.id] })).rejects.toMatchObject({
      code: 'BAD_REF',
      details: { reason: 'dropped' },
    });
    await db.close();
  });

  it('forgets entities that ended long ago, and never brings the dead back', async () => {
    const { machine, db } = await opened();
    await db.put('c', 'gone', 1);
    await db.delete('c', 'gone');
    await db.put('c', 'here', 1);
    await machine.advance(10 * 86_400e6);
    await db.setRetention('c', { keep: 'for', duration: 'P1D' });
    await compacted(db, { force: true });
    expect(db.now().get('c', 'gone')).toBeUndefined();
    expect(
      db
        .now()
        .list('c')
        .map(({ key }) => key),
    ).toEqual(['here']);
    const again = await db.put('c', 'gone', 2);
    expect(again.supersedes).toBeNull();
    await db.close();
  });

  it('erases bodies everywhere and keeps what proves the rest', async () => {
    const { machine, db } = await opened();
    const canary = 'canary-4711';
    const records = [];
    for (let i = 0; i < 40; i++) {
      await db.put('people', `p${i}`, { name: `n${i}`, pad: 'y'.repeat(300) });
      if (i % 10 === 0) records.push(await db.put('people', 'ann', { canary, i }));
    }
    const proof = await db.proof(records[1]!.id);
    const job = await db.erase({ collection: 'people', key: 'ann', reason: 'asked to' });
    expect(await db.jobEnded(job.id)).toMatchObject({ state: 'done', result: { versions: 4, outstanding: [] } });
    for (const name of machine.files.list('shards/0001/log')) {
      expect(machine.contents(`shards/0001/log/${name}`).toString('latin1')).not.toContain(canary);
    }
    const seen = db.record(records[1]!.id)!;
    expect(seen.erased).toBe(true);
    expect(seen.body).toBeUndefined();
    expect(seen.hash).toBe(records[1]!.hash);
    expect(proof?.salt).toBeDefined();
    const proved = await db.proof(records[1]!.id);
    expect(proved?.salt).toBeUndefined();
    expect(proved?.record.hash).toBe(proof?.record.hash);
    const next = await db.put('people', 'ann', { fresh: true });
    expect(db.record(next.id)?.body).toEqual({ fresh: true });
    await db.close();
    const again = await openWith(machine, OPTIONS);
    expect(again.record(records[0]!.id)?.erased).toBe(true);
    expect(again.now().get('people', 'ann')?.body).toEqual({ fresh: true });
    await again.close();
  });
});
