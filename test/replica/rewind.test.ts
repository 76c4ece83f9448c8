/** What only this copy has is set aside, whole, and the log ends where its epoch did: at once, or after any crash. */
import { describe, expect, it } from 'vitest';
import { checkDatabase } from '../../engine/check.js';
import { Engine } from '../../engine/engine.js';
import { inspectSegment } from '../../engine/inspect-segment.js';
import { randomChooser } from '../../engine/platform/chooser.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { isMutation } from '../../engine/platform/memory-faults.js';
import { agree, catchUp, openCopy, ownerNamed, SMALL } from './support.js';

const HELD = { ...SMALL, replication: { hold: true } };
const SEED = 4711;

async function fill(db: Engine, count: number, from = 0): Promise<void> {
  for (let i = from; i < from + count; i++) await db.put('c', `k${i % 7}`, { i, pad: 'x'.repeat(40) });
}

/** An old owner with 12 records that nobody else has, a new one whose epoch began at 20, and a follower of the old one. */
async function parted(trace = false): Promise<{ old: Engine; machine: MemoryPlatform; next: Engine }> {
  const machine = new MemoryPlatform({ seed: 1, trace });
  const old = await Engine.open(machine, SMALL);
  await fill(old, 20);
  const { db: next } = await openCopy(machine, 2);
  await catchUp(old, next);
  await fill(old, 12, 100);
  await next.replica(1).beginEpoch(2, ownerNamed(next), 'a test');
  await fill(next, 10, 200);
  await old.replica(1).fence('a newer owner');
  return { old, machine, next };
}

/** Ids and bodies of the records in a file. */
function recordsIn(machine: MemoryPlatform, file: string): number[] {
  const items = [...inspectSegment(machine, file, { bodies: true })];
  expect(items.filter(({ bad }) => bad !== undefined)).toEqual([]);
  return items.filter(({ what }) => what.startsWith('record')).map((_, i) => i);
}

describe('a rewind', () => {
  it.each([false, true])(
    'sets aside what nobody else has, and the log goes on as the new owner tells it (checkpoint beyond it: %s)',
    async (checkpoint) => {
      const { old, machine, next } = await parted();
      await old.replica(1).lead();
      if (checkpoint) await old.checkpoint();
      const lost = old.now().list('c').length;
      expect(lost).toBe(7);
      await old.replica(1).follow(ownerNamed(next));
      const last = old.replica(1).durableSeq;
      const aside = await old.replica(1).rewind(20);
      expect(aside).toMatchObject({ firstSeq: 21, lastSeq: last, records: 12 });
      expect(recordsIn(machine, aside!.file).length).toBe(12);
      expect(old.replica(1).durableSeq).toBe(20);
      expect(old.record('0001000000000015')).toBeUndefined();
      await catchUp(next, old);
      expect(await agree(next, old)).toBe(true);
      expect(old.now().list('c')).toEqual(next.now().list('c'));
      expect(await old.collections()).toEqual(await next.collections());
      await old.close();
      const { findings } = await checkDatabase(machine, new MemoryPlatform({ seed: 9 }));
      expect(findings).toEqual([]);
      const again = await Engine.open(machine, SMALL);
      expect(again.replica(1).owner).toEqual(ownerNamed(next));
      expect(await agree(next, again)).toBe(true);
      await again.close();
      await next.close();
    },
  );

  it('does nothing where there is nothing beyond it, and is refused to an owner', async () => {
    const { old, next } = await parted();
    await old.replica(1).follow(ownerNamed(next));
    expect(await old.replica(1).rewind(old.replica(1).durableSeq)).toBeUndefined();
    await expect(next.replica(1).rewind(1)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await old.close();
    await next.close();
  });

  it('and an epoch of its own keep out of each other: the event is never what is set aside', async () => {
    const { old, next } = await parted();
    const replica = old.replica(1);
    await replica.follow(ownerNamed(next));
    const rewinding = replica.rewind(20);
    await expect(replica.beginEpoch(3, ownerNamed(old), 'a test')).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await rewinding;
    const beginning = replica.beginEpoch(3, ownerNamed(old), 'a test');
    await expect(replica.rewind(10)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await expect(replica.beginEpoch(4, ownerNamed(old), 'a test')).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await beginning;
    expect(replica).toMatchObject({ role: 'owner', epoch: 3 });
    await Promise.all([old.close(), next.close()]);
  });

  it('to nothing leaves an empty log that takes everything anew', async () => {
    const { old, next } = await parted();
    await old.replica(1).follow(ownerNamed(next));
    expect(await old.replica(1).rewind(0)).toMatchObject({ firstSeq: 1, lastSeq: 32, records: 32 });
    expect(old.now().list('c')).toEqual([]);
    await catchUp(next, old);
    expect(await agree(next, old)).toBe(true);
    await old.close();
    await next.close();
  });

  it('twice to the same seq keeps both files', async () => {
    const { old, next } = await parted();
    const replica = old.replica(1);
    await replica.follow(ownerNamed(next));
    const first = await replica.rewind(20);
    await catchUp(next, old);
    const second = await replica.rewind(20);
    expect(second?.firstSeq).toBe(20 + 2 ** 32);
    expect(second?.file).not.toBe(first?.file);
    await old.close();
    await next.close();
  });

  it(`is done or not begun after a crash at any change to the disk (seed ${SEED})`, async () => {
    const { old, machine, next } = await parted(true);
    await old.replica(1).follow(ownerNamed(next));
    await old.replica(1).noteCaughtUp();
    const rest = machine.clone();
    await old.close();
    const whole = rest.clone({ trace: true });
    const open = async (run: MemoryPlatform): Promise<Engine> => {
      const db = await Engine.open(run, HELD);
      await db.replica(1).follow(ownerNamed(next));
      return db;
    };
    const undisturbed = await open(whole);
    const from = whole.ops;
    await undisturbed.replica(1).rewind(20);
    const moments = whole.trace.slice(from, whole.ops).flatMap((operation, i) => (isMutation(operation) ? [i] : []));
    await undisturbed.close();
    expect(moments.length).toBeGreaterThan(10);
    let [done, left] = [0, 0];
    for (const moment of moments) {
      for (let way = 0; way < 3; way++) {
        const run = rest.clone();
        const db = await open(run);
        run.crashAt(run.ops + moment);
        await db
          .replica(1)
          .rewind(20)
          .catch(() => undefined);
        const machineAfter = run.crash(randomChooser(SEED + moment * 3 + way));
        const again = await Engine.open(machineAfter, HELD);
        const replica = again.replica(1);
        expect(replica.gaps).toEqual([]);
        expect([20, 32]).toContain(replica.durableSeq);
        if (replica.durableSeq === 20) {
          done++;
          const asides = machineAfter.files.list('shards/0001/aside').filter((name) => name.endsWith('.seg'));
          expect(asides.length).toBe(1);
          expect(recordsIn(machineAfter, `shards/0001/aside/${asides[0]}`).length).toBe(12);
        } else left++;
        await replica.follow(ownerNamed(next));
        await replica.rewind(20);
        await catchUp(next, again);
        expect(await agree(next, again)).toBe(true);
        await again.close();
      }
    }
    expect(Math.min(done, left)).toBeGreaterThan(0);
    await next.close();
  }, 60_000);
});
