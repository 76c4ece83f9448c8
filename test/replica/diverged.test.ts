/** A copy whose tree is not its owner's answers nothing until they agree again; disks that fail cost it nothing it acknowledged. */
import { describe, expect, it } from 'vitest';
import { Engine } from '../../engine/engine.js';
import { segmentPlace } from '../../engine/format/segment.js';
import { GroupBuilder } from '../../engine/log/index.js';
import { randomChooser } from '../../engine/platform/chooser.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { isMutation } from '../../engine/platform/memory-faults.js';
import type { LogSlice, RootCheck } from '../../engine/replica.js';
import { agree, catchUp, copyOf, openCopy, ownerNamed, SMALL, sent } from './support.js';

const HELD = { ...SMALL, replication: { hold: true } };
const SEED = 31;

async function fill(db: Engine, count: number, from = 0): Promise<void> {
  for (let i = from; i < from + count; i++) await db.put('c', `k${i % 7}`, { i, pad: 'x'.repeat(40) });
}

/** What the owner would say had it another root. */
function checkpoint(db: Engine, seq: number, throughSeq: number): LogSlice {
  const { recordSeed } = segmentPlace(Buffer.from(db.databaseId, 'hex'), 1, 1, 0);
  const builder = new GroupBuilder(recordSeed);
  const event = { type: 'checkpoint' as const, throughSeq, root: Buffer.alloc(32, 9), entries: 1, previous: Buffer.alloc(32) };
  builder.addEvent({ seq, time: 1, event });
  const { frame, head } = builder.finish(segmentPlace(new Uint8Array(16), 1, 1, 0), 0, 1, 0);
  const batches = Uint8Array.from(frame.subarray(48, 48 + head.payloadBytes));
  return { epoch: 1, firstSeq: seq, lastSeq: seq, compactedThrough: 0, batches };
}

describe('another root than the owner says', () => {
  it('ends answers before it is told, and they begin again where a tree built anew has it', async () => {
    const machine = new MemoryPlatform({ seed: 1 });
    const db = await Engine.open(machine, SMALL);
    await fill(db, 20);
    const { db: copy } = await openCopy(machine, 2);
    await catchUp(db, copy);
    const told = new Promise<RootCheck>((resolve) => copy.replica(1).onRootCheck(resolve));
    await copy.replica(1).apply(checkpoint(db, 21, 20));
    const check = await told;
    expect(check).toMatchObject({ seq: 20, expected: '09'.repeat(32) });
    expect(() => copy.now().list('c')).toThrow(expect.objectContaining({ code: 'DIVERGED', details: { shard: 1, seq: 20 } }));
    expect(copy.replica(1).unreadable).toContain('another root');
    const again = await copy.replica(1).rebuildTree();
    expect(again).toEqual({ ...check, found: check.found });
    expect(() => copy.now().get('c', 'k1')).toThrow(expect.objectContaining({ code: 'DIVERGED' }));
    expect(await copy.replica(1).rootAt(21)).toMatchObject({ root: check.found });
    await db.close();
    await copy.close();
  });

  it('is mended by a tree built anew where the tree was wrong', async () => {
    const machine = new MemoryPlatform({ seed: 1 });
    const db = await Engine.open(machine, SMALL);
    await fill(db, 20);
    await db.checkpoint();
    await fill(db, 3);
    const { db: copy } = await openCopy(machine, 2);
    const checks: RootCheck[] = [];
    copy.replica(1).onRootCheck((check) => checks.push(check));
    await catchUp(db, copy);
    const rebuilt = await copy.replica(1).rebuildTree();
    expect(rebuilt).toMatchObject({ seq: 20, found: rebuilt!.expected });
    expect(checks.length).toBe(2);
    expect(copy.replica(1).unreadable).toBeUndefined();
    expect(await agree(db, copy)).toBe(true);
    await expect(copy.replica(1).rootAt(20)).rejects.toMatchObject({ code: 'PASSED' });
    await db.close();
    await copy.close();
  });
});

describe('a follower whose disk fails', () => {
  it(`keeps what it acknowledged, and takes the rest again (seed ${SEED})`, async () => {
    const machine = new MemoryPlatform({ seed: 1 });
    const db = await Engine.open(machine, SMALL);
    await fill(db, 40);
    await db.replica(1).beginEpoch(2, ownerNamed(db), 'a test');
    await fill(db, 20);
    const slices = [...db.replica(1).slices(1)].map(sent);
    const start = async (run: MemoryPlatform): Promise<Engine> => {
      const copy = await Engine.open(run, HELD);
      await copy.replica(1).follow(ownerNamed(db));
      return copy;
    };
    const empty = new MemoryPlatform({ seed: 2 });
    await copyOf(machine, 2, empty);
    const whole = empty.clone({ trace: true });
    const undisturbed = await start(whole);
    const from = whole.ops;
    for (const slice of slices) await undisturbed.replica(1).apply(slice);
    const moments = whole.trace.slice(from, whole.ops).flatMap((operation, i) => (isMutation(operation) ? [i] : []));
    await undisturbed.close();
    for (const moment of moments.filter((_, i) => i % 4 === 0)) {
      const run = empty.clone();
      const copy = await start(run);
      run.crashAt(run.ops + moment);
      let acknowledged = 0;
      for (const slice of slices) {
        try {
          await copy.replica(1).apply(slice);
          acknowledged = slice.lastSeq;
        } catch {
          break;
        }
      }
      const after = run.crash(randomChooser(SEED + moment));
      const again = await start(after);
      expect(again.replica(1).gaps).toEqual([]);
      expect(again.replica(1).durableSeq).toBeGreaterThanOrEqual(acknowledged);
      await catchUp(db, again);
      expect(await agree(db, again)).toBe(true);
      await again.close();
    }
    await db.close();
  }, 60_000);

  it('goes on after a write, or a sync, that failed while it runs', async () => {
    const machine = new MemoryPlatform({ seed: 1 });
    const db = await Engine.open(machine, SMALL);
    await fill(db, 40);
    const slices = [...db.replica(1).slices(1)].map(sent);
    for (const kind of ['write', 'sync', 'rename'] as const) {
      const empty = new MemoryPlatform({ seed: 2 });
      await copyOf(machine, 2, empty);
      const copy = await Engine.open(empty, HELD);
      await copy.replica(1).follow(ownerNamed(db));
      for (const slice of slices.slice(0, 5)) await copy.replica(1).apply(slice);
      empty.failOn(kind, { kind: 'error', code: 'EIO' }, { path: '/log/' });
      let refused = 0;
      for (const slice of slices.slice(5))
        await copy
          .replica(1)
          .apply(slice)
          .catch(() => refused++);
      expect(refused, kind).toBeGreaterThan(0);
      empty.clearFaults();
      await empty.advanceAndSettle(10_000_000);
      await catchUp(db, copy);
      expect(await agree(db, copy), kind).toBe(true);
      await copy.close();
    }
    await db.close();
  });

  it('finishes a rewind that the disk cut short, when it is asked again', async () => {
    const machine = new MemoryPlatform({ seed: 1 });
    const db = await Engine.open(machine, SMALL);
    await fill(db, 40);
    const slices = [...db.replica(1).slices(1)].map(sent);
    const start = async (run: MemoryPlatform): Promise<Engine> => {
      const copy = await Engine.open(run, HELD);
      await copy.replica(1).follow(ownerNamed(db));
      return copy;
    };
    const full = new MemoryPlatform({ seed: 2 });
    await copyOf(machine, 2, full);
    const filled = await start(full);
    for (const slice of slices) await filled.replica(1).apply(slice);
    await filled.close();
    const whole = full.clone({ trace: true });
    const undisturbed = await start(whole);
    const from = whole.ops;
    await undisturbed.replica(1).rewind(20);
    const moments = whole.trace.slice(from, whole.ops).flatMap((operation, i) => (isMutation(operation) ? [i] : []));
    await undisturbed.close();
    let cutShort = 0;
    for (const moment of moments) {
      const run = full.clone();
      const copy = await start(run);
      run.failAt(run.ops + moment, { kind: 'error', code: 'EIO' });
      const failed = await copy
        .replica(1)
        .rewind(20)
        .then(
          () => false,
          () => true,
        );
      run.clearFaults();
      if (failed) cutShort++;
      await run.advanceAndSettle(10_000_000);
      if (failed) await copy.replica(1).rewind(20);
      expect(copy.replica(1).durableSeq).toBe(20);
      await catchUp(db, copy);
      expect(await agree(db, copy)).toBe(true);
      await copy.close();
    }
    expect(cutShort).toBeGreaterThan(5);
    await db.close();
  }, 60_000);
});
