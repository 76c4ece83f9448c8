/** What an owner decides over the data is in force on its followers: retention, snapshots, placements, trims, erasures; each cleans its own files. */
import { describe, expect, it } from 'vitest';
import { checkDatabase } from '../../engine/check.js';
import { Engine } from '../../engine/engine.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import type { Platform } from '../../engine/platform/platform.js';
import { batchesOfSegment } from '../../engine/segment-records.js';
import { agree, catchUp, openCopy, ownerNamed, SMALL, sent } from './support.js';

const HELD = { ...SMALL, replication: { hold: true } };

async function pair(): Promise<{ db: Engine; machine: MemoryPlatform; copy: Engine; other: Platform }> {
  const machine = new MemoryPlatform({ seed: 1 });
  const db = await Engine.open(machine, SMALL);
  const { db: copy, machine: other } = await openCopy(machine, 2);
  return { db, machine, copy, other };
}

async function fill(db: Engine, count: number, from = 0): Promise<void> {
  for (let i = from; i < from + count; i++) await db.put('c', `k${i % 7}`, { i, pad: 'x'.repeat(100) });
}

async function done(db: Engine): Promise<void> {
  for (const { id } of db.jobs()) await db.jobEnded(id);
  expect(db.jobs().map(({ state, error }) => [state, error])).toEqual(db.jobs().map(() => ['done', null]));
}

/** An owner that dropped most of what it had, and cleaned its files; its follower has not heard of it yet. */
async function trimmed(): ReturnType<typeof pair> {
  const made = await pair();
  const { db, copy } = made;
  await fill(db, 60);
  await db.setRetention('c', { keep: 'last', versions: 2 });
  await catchUp(db, copy);
  db.compact({ force: true });
  await done(db);
  return made;
}

/** Everything that was begun by what came has been read. */
async function settled(db: Engine): Promise<void> {
  for (let i = 0; i < 50; i++) await db.yield();
}

async function again(machine: Platform, owner: Engine): Promise<Engine> {
  const db = await Engine.open(machine, HELD);
  await db.replica(1).follow(ownerNamed(owner));
  db.replica(1).setQuorumSeq(db.replica(1).durableSeq);
  await settled(db);
  return db;
}

describe('a follower', () => {
  it('has the retention, snapshots and placements of its owner, and their end', async () => {
    const { db, copy } = await pair();
    await db.setPlacement('grouped', 'group:g');
    await fill(db, 10);
    await db.setRetention('c', { keep: 'last', versions: 2 });
    await db.createSnapshot('s', db.newestTime()!);
    await catchUp(db, copy);
    await settled(copy);
    expect(copy.retention('c')).toEqual(db.retention('c'));
    expect(copy.snapshots()).toEqual(db.snapshots());
    expect((await copy.collection('grouped'))?.placement).toBe('group:g');
    await db.deleteSnapshot('s');
    await catchUp(db, copy);
    await settled(copy);
    expect(copy.snapshots()).toEqual([]);
    await db.close();
    await copy.close();
  });

  it('drops what its owner trims, tells so at once, and cleans its own files after the quorum has it, restarted or not', async () => {
    const { db, copy, other } = await trimmed();
    await catchUp(db, copy);
    await settled(copy);
    expect(() => copy.record('0001000000000001')).toThrow(expect.objectContaining({ code: 'TRIMMED' }));
    expect(await agree(db, copy)).toBe(true);
    const whole = copy.shards()[0]!.liveBytes + copy.shards()[0]!.deadBytes;
    expect(copy.shards()[0]!.deadBytes).toBeGreaterThan(0);
    copy.compact({ force: true });
    await done(copy);
    const bytes = (each: Engine) => each.shards()[0]!.liveBytes + each.shards()[0]!.deadBytes;
    expect(copy.shards()[0]!.deadBytes, 'not before the quorum has it').toBeGreaterThan(0);
    await copy.close();
    // The owner has forgotten the trim by now; the catalog knows it, and where that is gone the log does.
    other.files.remove('catalog.sqlite');
    const follower = await again(other, db);
    expect(follower.shards()[0]!.deadBytes).toBeGreaterThan(0);
    follower.compact({ force: true });
    await done(follower);
    expect(follower.shards()[0]!.deadBytes).toBe(0);
    expect(bytes(follower)).toBeLessThan(whole / 2);
    expect(await agree(db, follower)).toBe(true);
    await fill(db, 5);
    await catchUp(db, follower);
    expect(await agree(db, follower)).toBe(true);
    await follower.close();
    expect((await checkDatabase(other, new MemoryPlatform({ seed: 9 }))).findings).toEqual([]);
    const once = await again(other, db);
    expect(once.shards()[0]!.deadBytes).toBe(0);
    await once.close();
    await db.close();
  });

  it('knows drops after a restart from its catalog alone', async () => {
    const { db, copy, other } = await trimmed();
    await db.checkpoint();
    await catchUp(db, copy);
    await copy.close();
    const follower = await again(other, db);
    expect(follower.shards()[0]!.deadBytes).toBeGreaterThan(0);
    await follower.close();
    await db.close();
  });

  it('does not hold a tree built anew to a root from before what its files have let go', async () => {
    const { db, copy } = await pair();
    await fill(db, 60);
    await db.checkpoint();
    await catchUp(db, copy);
    await settled(copy);
    expect(await copy.replica(1).rebuildTree()).toMatchObject({ seq: 60 });
    await db.setRetention('c', { keep: 'last', versions: 2 });
    await catchUp(db, copy);
    db.compact({ force: true });
    await done(db);
    await catchUp(db, copy);
    await settled(copy);
    copy.replica(1).setQuorumSeq(copy.replica(1).durableSeq);
    copy.compact({ force: true });
    await done(copy);
    expect(copy.shards()[0]!.deadBytes).toBe(0);
    expect(copy.replica(1).compactedThrough).toBeGreaterThan(60);
    await copy.replica(1).rebuildTree();
    expect(copy.replica(1).unreadable).toBeUndefined();
    expect(await agree(db, copy)).toBe(true);
    await db.close();
    await copy.close();
  });

  it('answers nothing while the records of a compacted source leave gaps that no trim explains yet', async () => {
    const { db, machine, copy } = await pair();
    await fill(db, 60);
    await db.checkpoint();
    await db.setRetention('c', { keep: 'last', versions: 2 });
    db.compact({ force: true });
    await done(db);
    await fill(db, 10);
    await db.checkpoint();
    const { db: late } = await openCopy(machine, 3);
    const slices = [...db.replica(1).slices(1)].map((slice) => ({ ...slice, batches: Uint8Array.from(slice.batches) }));
    let refused = 0;
    const through = Math.max(...slices.map(({ compactedThrough }) => compactedThrough));
    expect(through).toBeGreaterThan(60);
    const checks: number[] = [];
    late.replica(1).onRootCheck(({ seq, expected, found }) => checks.push(found === expected ? seq : -seq));
    for (const slice of slices) {
      await late.replica(1).apply(slice);
      if (late.replica(1).unreadable === undefined) continue;
      refused++;
      expect(() => late.now().list('c')).toThrow(expect.objectContaining({ code: 'BEHIND', details: { shard: 1, seq: through } }));
      expect(() => late.record('0001000000000001')).toThrow(expect.objectContaining({ code: 'BEHIND' }));
    }
    expect(refused).toBeGreaterThan(0);
    // The trim has come; what it lists goes before anything is answered.
    await settled(late);
    expect(late.replica(1).unreadable).toBeUndefined();
    expect(late.now().list('c')).toEqual(db.now().list('c'));
    expect(await agree(db, late)).toBe(true);
    expect(checks.every((seq) => seq >= through)).toBe(true);
    expect(checks.length).toBe(1);
    for (const each of [db, copy, late]) await each.close();
  });

  it('refuses the bodies that its owner erased, and takes them out of its own files once the quorum has the erasure', async () => {
    const { db, copy, other } = await pair();
    await db.put('people', 'alice', { name: 'canary-4711' });
    await fill(db, 20);
    await catchUp(db, copy);
    expect(copy.now().get('people', 'alice')?.body).toEqual({ name: 'canary-4711' });
    await db.erase({ collection: 'people', key: 'alice', reason: 'asked to' });
    await done(db);
    await catchUp(db, copy);
    expect(copy.now().get('people', 'alice')?.erased).toBe(true);
    await settled(copy);
    const holds = () =>
      other.files.list('shards/0001/log').some((name) => other.files.readFile(`shards/0001/log/${name}`).includes('canary-4711'));
    expect(holds()).toBe(true);
    expect(copy.replica(1).erasedThrough).toBeLessThan(copy.replica(1).durableSeq);
    await copy.close();
    const follower = await again(other, db);
    await done(follower);
    expect(holds()).toBe(false);
    expect(follower.replica(1).erasedThrough).toBe(follower.replica(1).visibleSeq);
    expect(await agree(db, follower)).toBe(true);
    await follower.close();
    await db.close();
  });

  it('has no body that was erased in what it set aside either', async () => {
    const { db, copy, machine } = await pair();
    await fill(db, 5);
    await catchUp(db, copy);
    await db.put('people', 'alice', { name: 'canary-4711' });
    await db.put('people', 'bob', { name: 'nobody-asked' });
    await copy.replica(1).beginEpoch(2, ownerNamed(copy), 'a test');
    copy.replica(1).setQuorumSeq(Number.MAX_SAFE_INTEGER);
    await db.replica(1).follow(ownerNamed(copy));
    const aside = await db.replica(1).rewind(5);
    expect(aside).toMatchObject({ records: 2 });
    await copy.put('people', 'alice', { name: 'canary-4711' });
    await copy.erase({ collection: 'people', key: 'alice', reason: 'asked to' });
    await done(copy);
    await catchUp(copy, db);
    await settled(db);
    await done(db);
    const files = ['aside', 'log'].flatMap((name) =>
      machine.files.list(`shards/0001/${name}`).map((each) => `shards/0001/${name}/${each}`),
    );
    const holding = (text: string) => files.filter((file) => machine.files.readFile(file).includes(text));
    expect(holding('canary-4711')).toEqual([]);
    expect(holding('nobody-asked').length).toBe(1);
    const kept = [...batchesOfSegment(machine, holding('nobody-asked')[0]!)].flatMap(({ batch }) => batch.records);
    expect(kept.map(({ keyText, bodyHash }) => [keyText, bodyHash !== undefined])).toEqual([
      ['alice', true],
      ['bob', false],
    ]);
    await db.close();
    await copy.close();
  });

  it('opens, and answers nothing, where a record that decides over answers cannot be read', async () => {
    const { db, copy, other } = await pair();
    await fill(db, 3);
    await db.setRetention('c', { keep: 'last', versions: 2 });
    await fill(db, 60);
    await catchUp(db, copy);
    await copy.close();
    const machine = other as MemoryPlatform;
    const [file] = machine.files.list('shards/0001/log').sort();
    const at = machine.files.readFile(`shards/0001/log/${file}`).indexOf('"versions":2');
    expect(at).toBeGreaterThan(0);
    machine.flipBit(`shards/0001/log/${file}`, at * 8);
    const hurt = await again(machine, db);
    expect(() => hurt.now().get('c', 'k1')).toThrow(expect.objectContaining({ code: 'DAMAGED' }));
    expect(hurt.shards()[0]).toMatchObject({ state: 'damaged' });
    const slices = [...db.replica(1).slices(1, 64)].map(sent);
    await hurt.replica(1).mend(1, 64, slices, () => Promise.resolve(false));
    await settled(hurt);
    expect(hurt.retention('c')).toEqual(db.retention('c'));
    expect(await agree(db, hurt)).toBe(true);
    await hurt.close();
    await db.close();
  });
});
