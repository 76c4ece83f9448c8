/** What records refer to stays, whether their segment says that it has refs, says that it has none, or was written before segments said so. */
import { describe, expect, it } from 'vitest';
import type { Engine } from '../../engine/engine.js';
import { isVarveError } from '../../engine/errors.js';
import { REFS_NONE, REFS_SOME, REFS_UNTOLD } from '../../engine/format/footer.js';
import { openWith } from '../../engine/index.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';

const options = { segmentBytes: 6000, upkeep: { automatic: false } };

function refsTold(db: Engine): number[] {
  const { log } = db.shardList[0]!;
  for (const segment of log.segmentSet.all) log.loadFooter(segment);
  return log.segmentSet.all.map(({ refs }) => refs);
}

describe('refs of sealed segments', () => {
  it('are told by their footers, through rewriting too, and pin what they name', async () => {
    const machine = new MemoryPlatform({ seed: 5 });
    let db = (await openWith(machine, options)) as Engine;
    const first = await db.put('c', 'pinned', { n: 0 });
    await db.put('c', 'pinned', { n: 1 });
    for (let i = 0; i < 60; i++) await db.put('c', `k${i % 5}`, { i, pad: 'x'.repeat(200) });
    await db.put('keeper', 'k', { why: 'refers' }, { refs: [first.id] });
    for (let i = 0; i < 60; i++) await db.put('c', `k${i % 5}`, { i, pad: 'x'.repeat(200) });
    await db.close();

    db = (await openWith(machine, options)) as Engine;
    const told = refsTold(db);
    expect(told.filter((refs) => refs === REFS_SOME)).toHaveLength(1);
    expect(told.filter((refs) => refs === REFS_NONE).length).toBeGreaterThan(3);
    expect(told).not.toContain(REFS_UNTOLD);
    await db.setRetention('c', { keep: 'last', versions: 1 });
    expect((await db.jobEnded(db.compact({ force: true }).id))?.state).toBe('done');
    expect(db.now().history('c', 'pinned').records).toHaveLength(2);
    expect(db.now().history('c', 'k1').records).toHaveLength(1);
    await db.close();

    db = (await openWith(machine, options)) as Engine;
    expect(refsTold(db).filter((refs) => refs === REFS_SOME)).toHaveLength(1);
    await db.close();
  });
});

describe('refs that are taken while a trim is logged', () => {
  it('name what stays, whichever moment they come at', async () => {
    let taken = 0;
    let refused = 0;
    for (let turns = 0; turns < 30; turns++) {
      const machine = new MemoryPlatform({ seed: 100 + turns });
      const db = (await openWith(machine, options)) as Engine;
      const old = await db.put('c', 'k', { n: 0 });
      for (let i = 1; i < 5; i++) await db.put('c', 'k', { n: i });
      await db.setRetention('c', { keep: 'last', versions: 1 });
      const { id } = db.compact({ force: true });
      for (let i = 0; i < turns; i++) await machine.clock.yield();
      const referring = await db.put('keeper', 'k', { turns }, { refs: [old.id] }).then(
        () => true,
        (error: unknown) => {
          expect(isVarveError(error, 'BAD_REF')).toBe(true);
          return false;
        },
      );
      expect((await db.jobEnded(id))?.state).toBe('done');
      const isThere = db
        .now()
        .history('c', 'k')
        .records.some((record) => record.id === old.id);
      expect({ turns, isThere }).toEqual({ turns, isThere: referring });
      if (referring) taken++;
      else refused++;
      await db.close();
    }
    expect(taken).toBeGreaterThan(0);
    expect(refused).toBeGreaterThan(0);
  });
});
