/** Ownership changes hands: promises, epochs, and the seqs that they leave out. */
import { describe, expect, it } from 'vitest';
import { checkDatabase } from '../../engine/check.js';
import { Engine } from '../../engine/engine.js';
import { randomChooser } from '../../engine/platform/chooser.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { agree, catchUp, openCopy, ownerNamed, SMALL } from './support.js';

const EPOCH = 2 ** 32;
const SEED = 17;
const HELD = { ...SMALL, replication: { hold: true } };

async function owner(seed = 1): Promise<{ db: Engine; machine: MemoryPlatform }> {
  const machine = new MemoryPlatform({ seed });
  return { db: await Engine.open(machine, SMALL), machine };
}

async function fill(db: Engine, count: number, from = 0): Promise<void> {
  for (let i = from; i < from + count; i++) await db.put('c', `k${i % 7}`, { i, pad: 'x'.repeat(40) });
}

describe('a shard that waits to be told', () => {
  it('takes no writes until it leads', async () => {
    const machine = new MemoryPlatform({ seed: 1 });
    const db = await Engine.open(machine, HELD);
    await expect(db.put('c', 'k', 1)).rejects.toMatchObject({ code: 'NOT_OWNER' });
    expect(db.replica(1).role).toBe('fenced');
    await db.replica(1).lead();
    await db.put('c', 'k', 1);
    expect(db.shards()[0]).toMatchObject({ lastSeq: 1 });
    await db.close();
  });
});

describe('a promise', () => {
  it('fences the owner, survives a restart, and goes to one candidate an epoch', async () => {
    const { db, machine } = await owner();
    await fill(db, 5);
    const replica = db.replica(1);
    expect(await replica.promise(1, 'b')).toBe(false);
    expect(await replica.promise(3, 'b')).toBe(true);
    expect(await replica.promise(3, 'b')).toBe(true);
    expect(await replica.promise(3, 'c')).toBe(false);
    expect(await replica.promise(2, 'b')).toBe(false);
    await expect(db.put('c', 'k', 1)).rejects.toMatchObject({ code: 'NOT_OWNER' });
    await expect(replica.lead()).rejects.toMatchObject({ code: 'NOT_OWNER' });
    await db.close();
    const again = await Engine.open(machine, SMALL);
    expect(again.replica(1).promised).toEqual({ epoch: 3, candidate: 'b', caughtUp: true });
    expect(again.replica(1).role).toBe('fenced');
    await expect(again.put('c', 'k', 1)).rejects.toMatchObject({ code: 'NOT_OWNER' });
    await again.close();
  });

  it('is not given by a copy that was never whole', async () => {
    const { db, machine } = await owner();
    const { db: copy } = await openCopy(machine, 2);
    expect(await copy.replica(1).promise(2, 'b')).toBe(false);
    await copy.replica(1).noteCaughtUp();
    expect(await copy.replica(1).promise(2, 'b')).toBe(true);
    await db.close();
    await copy.close();
  });

  it('ends what is taken of older epochs', async () => {
    const { db, machine } = await owner();
    await fill(db, 5);
    const { db: copy } = await openCopy(machine, 2);
    await copy.replica(1).noteCaughtUp();
    await copy.replica(1).promise(2, 'b');
    await expect(catchUp(db, copy)).rejects.toMatchObject({ code: 'UNSOUND' });
    expect(copy.replica(1).durableSeq).toBe(0);
    await db.close();
    await copy.close();
  });

  it('that is damaged is told, not guessed', async () => {
    const { db, machine } = await owner();
    await db.replica(1).promise(2, 'b');
    await db.close();
    const path = 'shards/0001/promise.json';
    const bytes = machine.files.readFile(path);
    bytes[10]! ^= 1;
    const file = machine.files.open(path, 'update');
    await file.write(bytes, 0, bytes.length, 0);
    await file.sync();
    file.close();
    await expect(Engine.open(machine, SMALL)).rejects.toMatchObject({ code: 'CORRUPT' });
  });
});

describe('an epoch', () => {
  it('begins 2^32 seqs later, three times over, and everything before stays readable', async () => {
    let { db, machine: home } = await owner();
    const machine = home;
    await fill(db, 20);
    const seqs = [20];
    for (let epoch = 2; epoch <= 4; epoch++) {
      const ended = db.replica(1).durableSeq;
      await db.replica(1).beginEpoch(epoch, ownerNamed(db), 'a test');
      expect(db.replica(1).durableSeq).toBe(ended + EPOCH);
      expect(db.replica(1).epoch).toBe(epoch);
      await fill(db, 20, epoch * 100);
      if (epoch === 3) await db.checkpoint();
      seqs.push(db.replica(1).durableSeq);
      if (epoch % 2 === 0) continue;
      await db.close();
      db = await Engine.open(machine, SMALL);
      expect(db.replica(1).role).toBe('owner');
      expect(db.replica(1).owner).toEqual(ownerNamed(db));
    }
    expect(
      db
        .replica(1)
        .epochs()
        .map(({ epoch, lastSeq }) => [epoch, lastSeq]),
    ).toEqual(seqs.map((seq, i) => [i + 1, seq]));
    expect(db.now().history('c', 'k1', { limit: 1000 }).records.length).toBe(12);
    const all = db.changes({ until: [db.replica(1).durableSeq] });
    let told = 0;
    for (let part = all.next(1000); part.length > 0; part = all.next(1000)) told += part.length;
    expect(told).toBe(80);
    const first = db.record('0001000000000001')!;
    const then = await db.asOf(first.time);
    expect(then.positions).toEqual([1]);
    const root = await db.root(1);
    expect(db.compact({ force: true })).toBeDefined();
    for (const job of db.jobs()) await db.jobEnded(job.id);
    expect(db.jobs().map(({ state }) => state)).toEqual(['done']);
    expect((await db.root(1))?.root).toBe(root?.root);
    await db.replica(1).rebuildTree();
    expect((await db.root(1))?.root).toBe(root?.root);
    expect(
      db
        .replica(1)
        .epochs()
        .map(({ epoch, lastSeq }) => [epoch, lastSeq]),
    ).toEqual([...seqs.slice(0, -1), db.replica(1).durableSeq].map((seq, i) => [i + 1, seq]));
    expect(db.replica(1).gaps).toEqual([]);
    await db.close();
    const checked = await checkDatabase(machine, new MemoryPlatform({ seed: 9 }));
    expect(checked.findings).toEqual([]);
    home = machine.clone();
    const last = await Engine.open(home, SMALL);
    expect(last.shards()[0]).toMatchObject({ state: 'open', epoch: 4 });
    await last.close();
  });

  it('reaches followers, who follow the new owner', async () => {
    const { db, machine } = await owner();
    await fill(db, 10);
    const { db: b, machine: atB } = await openCopy(machine, 2);
    const { db: c } = await openCopy(machine, 3);
    await catchUp(db, b);
    await catchUp(db, c);
    await b.replica(1).noteCaughtUp();
    await b.replica(1).promise(2, b.nodeId);
    await b.replica(1).beginEpoch(2, ownerNamed(b), 'the owner is gone');
    await fill(b, 10);
    await catchUp(b, c);
    expect(c.replica(1).owner).toEqual(ownerNamed(b));
    expect(c.replica(1).epoch).toBe(2);
    expect(await agree(b, c)).toBe(true);
    await catchUp(b, db).catch((error: unknown) => expect(error).toMatchObject({ code: 'UNAVAILABLE' }));
    await db.replica(1).follow(ownerNamed(b));
    await catchUp(b, db);
    expect(await agree(b, db)).toBe(true);
    await expect(db.replica(1).lead()).rejects.toMatchObject({ code: 'NOT_OWNER' });
    await db.close();
    const again = await Engine.open(machine, SMALL);
    expect(again.replica(1)).toMatchObject({ role: 'follower', owner: ownerNamed(b) });
    await again.close();
    await b.close();
    const other = await Engine.open(atB, SMALL);
    expect(other.replica(1).role).toBe('owner');
    await other.put('c', 'more', 1);
    await other.close();
    await c.close();
  });

  it('crashed right after its event is durable, before anything was sealed, it is whole', async () => {
    const { db, machine } = await owner();
    await fill(db, 3);
    await db.replica(1).beginEpoch(2, ownerNamed(db), 'a test');
    const crashed = machine.clone();
    await db.close();
    const again = await Engine.open(crashed, SMALL);
    expect(again.replica(1).gaps).toEqual([]);
    expect(again.replica(1).epoch).toBe(2);
    expect(again.now().list('c').length).toBe(3);
    await again.put('c', 'k', 1);
    await again.close();
  });

  it(`is there or not after a crash at any change to the disk, and nothing else is missing (seed ${SEED})`, async () => {
    const { db, machine } = await owner();
    await fill(db, 3);
    const rest = machine.clone();
    await db.close();
    const run = async (on: MemoryPlatform): Promise<number> => {
      const opened = await Engine.open(on, SMALL);
      const from = on.ops;
      await opened.put('c', 'more', 1);
      await opened.replica(1).beginEpoch(2, ownerNamed(opened), 'a test');
      await opened.put('c', 'most', 1);
      return from;
    };
    const whole = rest.clone({ trace: true });
    const from = await run(whole);
    const moments = whole.trace.flatMap(({ kind }, i) =>
      i >= from && ['write', 'sync', 'rename', 'syncDirectory'].includes(kind) ? [i] : [],
    );
    const epochs = new Set<number>();
    for (const moment of moments) {
      for (let way = 0; way < 3; way++) {
        const cut = rest.clone();
        cut.crashAt(moment);
        await run(cut).catch(() => undefined);
        const again = await Engine.open(cut.crash(randomChooser(SEED + moment * 3 + way)), SMALL);
        expect(again.replica(1).gaps).toEqual([]);
        expect(again.now().list('c').length).toBeGreaterThanOrEqual(3);
        epochs.add(again.replica(1).epoch);
        await again.close();
      }
    }
    expect([...epochs].sort()).toEqual([1, 2]);
  }, 60_000);
});
