/**
 * When files are rewritten shows in no root (law 3): engines that are fed the same operations and rewrite at other times, segments and
 * tree, have equal roots at equal seqs; and so has a copy that is compacted at any moment, against the one that is not.
 */
import { describe, expect, it } from 'vitest';
import { checkDatabase } from '../../engine/check.js';
import { CompactHost } from '../../engine/compaction/compact-host.js';
import { Pace } from '../../engine/compaction/pace.js';
import type { Engine } from '../../engine/engine.js';
import { VarveError } from '../../engine/errors.js';
import { type Database, openWith } from '../../engine/index.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';
import { SeededRandom } from '../../engine/platform/seeded-random.js';
import { freshRoot } from '../support/root.js';

const SEED = Number(process.env['SEED'] ?? 2024);
/** No checkpoint by itself: its event would take a seq at another place. */
const OPTIONS = { segmentBytes: 6000, checkpointRecords: 1_000_000, upkeep: { automatic: false, deadShare: 1 } };
const EVERYTHING = { deadShare: 0, deadBytes: 0, force: true };

type Step = (db: Database) => Promise<unknown>;

/** Puts and deletes, and now and then what retention, snapshots, trims and erasures do. `times` of snapshots are told as they were. */
function steps(seed: number, count: number): Step[] {
  const random = new SeededRandom(seed);
  return Array.from({ length: count }, (): Step => {
    const [dice, key, extra] = [random.below(100), `k${random.below(12)}`, random.below(1000)];
    const collection = extra % 2 === 0 ? 'a' : 'b';
    if (dice < 80) return (db) => db.put(collection, key, { extra, pad: 'x'.repeat(extra % 200) });
    if (dice < 86) return (db) => db.delete(collection, key).catch(refused);
    if (dice < 89) return (db) => db.createSnapshot(`s${extra % 4}`, db.newestTime()!).catch(refused);
    if (dice < 91) return (db) => db.deleteSnapshot(`s${extra % 4}`);
    if (dice < 94) return (db) => db.setRetention(collection, { keep: 'last', versions: 1 + (extra % 3) });
    if (dice < 96) return async (db) => ended(db, (await db.erase({ collection, key, reason: 'r' }).catch(refused))?.id);
    return (db) => ended(db, db.compact({ force: true }).id);
  });
}

/** The same in every engine. */
function refused(error: unknown): undefined {
  if (!(error instanceof VarveError)) throw error;
  return undefined;
}

async function ended(db: Database, id: string | undefined): Promise<void> {
  if (id !== undefined) expect(await db.jobEnded(id)).toMatchObject({ state: 'done' });
}

/** Segments and tree, and nothing but them: no trim is looked for, no job made. */
async function rewrite(db: Database, machine: MemoryPlatform): Promise<boolean> {
  const [shard] = (db as unknown as Engine).shardList;
  const pace = new Pace(machine.clock);
  const { groups, tree } = await shard!.upkeep.compact(new CompactHost(machine, true), pace, EVERYTHING, () => {});
  return groups.length > 0 || tree !== undefined;
}

describe('when files are rewritten', () => {
  it('shows in no root: same operations, other times (seed in SEED)', { timeout: 120_000 }, async () => {
    let rewritten = 0;
    for (let seed = SEED; seed < SEED + 2; seed++) {
      const machines = [0, 1, 2].map(() => new MemoryPlatform({ seed }));
      const engines: Database[] = [];
      for (const machine of machines) engines.push(await openWith(machine, OPTIONS));
      const when = new SeededRandom(seed * 7);
      for (const [at, step] of steps(seed, 200).entries()) {
        for (const [which, db] of engines.entries()) {
          const machine = machines[which]!;
          machine.advance(1000);
          await step(db);
          // The first never but when told to, the second now and then, the third seldom.
          if (which > 0 && when.below(10 * which) === 0 && (await rewrite(db, machine))) rewritten++;
        }
        if (at % 10 !== 9) continue;
        const [root, ...others] = await Promise.all(engines.map((db) => db.root(1)));
        for (const other of others) expect(other, `SEED=${seed}, step ${at}`).toEqual(root);
      }
      const { seq, root } = (await engines[0]!.root(1))!;
      for (const db of engines) expect((await freshRoot(db, 1, seq)).root, `SEED=${seed}`).toBe(root);
      for (const db of engines) await db.close();
      for (const machine of machines)
        expect((await checkDatabase(machine, new MemoryPlatform())).findings.filter(({ severity }) => severity === 'damage')).toEqual([]);
    }
    expect(rewritten).toBeGreaterThan(10);
  });

  it('shows in no root of a copy that is compacted at any moment, nor in one that goes on from there', { timeout: 120_000 }, async () => {
    for (let seed = SEED + 100; seed < SEED + 102; seed++) {
      const machine = new MemoryPlatform({ seed });
      let db = await openWith(machine, OPTIONS);
      for (const [at, step] of steps(seed, 200).entries()) {
        machine.advance(1000);
        await step(db);
        if (at % 40 !== 39) continue;
        const where = `SEED=${seed}, step ${at}`;
        await db.close();
        const [one, other] = [machine.clone(), machine.clone()];
        const [compacted, left] = [await openWith(one, OPTIONS), await openWith(other, OPTIONS)];
        const before = (await left.root(1))!;
        expect(await compacted.root(1), where).toEqual(before);
        await rewrite(compacted, one);
        expect((await freshRoot(compacted, 1, before.seq)).root, where).toBe(before.root);
        expect((await freshRoot(left, 1, before.seq)).root, where).toBe(before.root);
        const now = (await compacted.root(1))!;
        // What compaction has noted of itself comes behind.
        if (now.seq === before.seq) expect(now, where).toEqual(before);
        else expect((await freshRoot(compacted, 1, now.seq)).root, where).toBe(now.root);
        await left.close();
        await compacted.close();
        const reopened = await openWith(one, OPTIONS);
        expect((await freshRoot(reopened, 1, before.seq)).root, where).toBe(before.root);
        await reopened.close();
        db = await openWith(machine, OPTIONS);
      }
      await db.close();
    }
  });
});
