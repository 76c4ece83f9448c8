/** A follower takes what its owner's log holds, and becomes the same. */
import { describe, expect, it } from 'vitest';
import { Engine } from '../../engine/engine.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import type { LogSlice, RootCheck } from '../../engine/replica.js';
import { agree, catchUp, openCopy, SMALL, sent } from './support.js';

async function owner(seed = 1): Promise<{ db: Engine; machine: MemoryPlatform }> {
  const machine = new MemoryPlatform({ seed });
  return { db: await Engine.open(machine, SMALL), machine };
}

async function fill(db: Engine, from: number, count: number): Promise<void> {
  for (let i = from; i < from + count; i++) await db.put('c', `k${i % 7}`, { i, pad: 'x'.repeat(40) });
}

describe('a follower', () => {
  it('has the same records, ids, times and root as its owner', async () => {
    const { db, machine } = await owner();
    await fill(db, 0, 60);
    await db.delete('c', 'k3');
    await db.insert([{ collection: 'd', key: 'once', body: 1 }], { idempotencyKey: 'one' });
    const { db: copy } = await openCopy(machine, 2);
    await catchUp(db, copy);
    expect(copy.replica(1).durableSeq).toBe(db.replica(1).durableSeq);
    expect(copy.now().list('c')).toEqual(db.now().list('c'));
    expect(copy.now().history('c', 'k3')).toEqual(db.now().history('c', 'k3'));
    expect(await copy.collections()).toEqual(await db.collections());
    expect(await agree(db, copy)).toBe(true);
    await db.close();
    await copy.close();
  });

  it('goes on after a restart from where it was', async () => {
    const { db, machine } = await owner();
    await fill(db, 0, 30);
    const { db: copy, machine: other } = await openCopy(machine, 2);
    await catchUp(db, copy);
    await copy.close();
    await db.checkpoint();
    await fill(db, 30, 30);
    const again = await Engine.open(other, { ...SMALL, replication: { hold: true } });
    await again.replica(1).follow();
    expect(again.replica(1).durableSeq).toBe(30);
    await catchUp(db, again);
    expect(await agree(db, again)).toBe(true);
    expect(again.now().list('c')).toEqual(db.now().list('c'));
    await again.close();
  });

  it('compares its root at every checkpoint, and logs nothing of its own', async () => {
    const { db, machine } = await owner();
    const { db: copy } = await openCopy(machine, 2);
    const checks: RootCheck[] = [];
    copy.replica(1).onRootCheck((check) => checks.push(check));
    for (let round = 0; round < 3; round++) {
      await fill(db, round * 20, 20);
      await db.checkpoint();
      await fill(db, round * 20, 5);
      await catchUp(db, copy);
      await copy.checkpoint();
    }
    expect(checks.length).toBe(3);
    for (const { expected, found } of checks) expect(found).toBe(expected);
    expect(copy.replica(1).durableSeq).toBe(db.replica(1).durableSeq);
    expect(await copy.root(1, checks[1]!.seq)).toMatchObject({ root: checks[1]!.expected });
    await copy.close();
    await db.close();
  });

  it('refuses writes, naming the owner', async () => {
    const { db, machine } = await owner();
    const { db: copy } = await openCopy(machine, 2);
    await expect(copy.put('c', 'k', 1)).rejects.toMatchObject({ code: 'NOT_OWNER', details: { shard: 1, url: expect.any(String) } });
    await copy.close();
    await db.close();
  });

  it('takes groups as the owner makes them durable, and tells them on itself', async () => {
    const { db, machine } = await owner();
    const { db: copy } = await openCopy(machine, 2);
    const { db: third } = await openCopy(machine, 3);
    const applied: Promise<void>[] = [];
    const told: LogSlice[] = [];
    const end = db.replica(1).watchGroups((slice) => applied.push(copy.replica(1).apply(sent(slice))));
    copy.replica(1).watchGroups((slice) => {
      told.push(sent(slice));
      applied.push(third.replica(1).apply(sent(slice)));
    });
    await Promise.all(Array.from({ length: 100 }, (_, i) => db.put('c', `k${i}`, i)));
    await Promise.all(applied);
    await Promise.all(applied);
    expect(await agree(db, copy)).toBe(true);
    expect(await agree(db, third)).toBe(true);
    end();
    const before = told.length;
    await db.put('c', 'later', 1);
    expect(told.length).toBe(before);
    for (const each of [db, copy, third]) await each.close();
  });

  it('gets a large group in several slices, whole batches each', async () => {
    const { db, machine } = await owner();
    const batch = (n: number) => Array.from({ length: 20 }, (_, i) => ({ collection: 'c', key: `k${n}-${i}`, body: 'x'.repeat(5000) }));
    await Promise.all(Array.from({ length: 8 }, (_, n) => db.insert(batch(n))));
    const slices = [...db.replica(1).slices(1)];
    expect(slices.length).toBeGreaterThan(2);
    for (const { batches } of slices) expect(batches.length).toBeLessThanOrEqual(256 * 1024);
    expect(slices.map(({ firstSeq }) => firstSeq)).toEqual([1, ...slices.slice(0, -1).map(({ lastSeq }) => lastSeq + 1)]);
    const { db: copy } = await openCopy(machine, 2);
    await catchUp(db, copy);
    expect(await agree(db, copy)).toBe(true);
    const rest = [...db.replica(1).slices(41, 60)];
    expect([rest[0]!.firstSeq, rest.at(-1)!.lastSeq]).toEqual([41, 60]);
    await copy.close();
    await db.close();
  });
});
