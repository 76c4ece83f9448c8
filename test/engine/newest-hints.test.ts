/** Hints of where newest versions are: never of an older one, whatever happens to the entity. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { openWith } from '../../engine/index.js';
import { NewestHints } from '../../engine/newest-hints.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';

describe('hints', () => {
  it('are the last that were set, or none', () => {
    const step = fc.tuple(
      fc.constantFrom('set', 'remove', 'clear'),
      fc.integer({ min: 0, max: 4000 }),
      fc.integer({ min: 1, max: 2 ** 48 - 1 }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        const hints = new NewestHints();
        const model = new Map<string, number>();
        for (const [what, key, seq] of steps) {
          const entity = `c\0k${key}\0`;
          if (what === 'set') {
            hints.set(entity, seq, 1000);
            model.set(entity, seq);
          } else if (what === 'remove') {
            hints.remove(entity);
            model.delete(entity);
          } else if (key < 20) {
            hints.clear();
            model.clear();
          }
          const hint = hints.get(entity);
          if (what === 'set') expect(hint).toBe(seq);
          else expect([0, ...model.values()]).toContain(hint);
        }
        // Another entity with the same 16 bits may be meant: its seq, then, but never an older one of this entity.
        for (const [entity] of model) expect([0, ...model.values()]).toContain(hints.get(entity));
      }),
    );
  });

  it('grow with what they hold, as far as more may come', () => {
    const held = (expected: number) => {
      const hints = new NewestHints();
      for (let round = 0; round < 3; round++) for (let i = 0; i < 5000; i++) hints.set(`c\0k${i}\0`, i + 1, expected);
      return Array.from({ length: 5000 }, (_, i) => hints.get(`c\0k${i}\0`)).filter((hint, i) => hint === i + 1).length;
    };
    expect(held(100)).toBeLessThan(1100);
    expect(held(5000)).toBeGreaterThan(4000);
  });
});

describe('a read of the newest version', () => {
  it('is not misled by what it found before: updates, folds, deletes, reopening', async () => {
    const platform = new MemoryPlatform({ seed: 3 });
    let db = await openWith(platform, { checkpointRecords: 1_000_000 });
    const keys = Array.from({ length: 40 }, (_, i) => `k${i}`);
    const model = new Map<string, number | undefined>();
    const check = () => {
      for (let round = 0; round < 2; round++)
        for (const key of keys) {
          const record = db.now().get('c', key);
          expect(record?.deleted === true ? undefined : record?.body).toBe(model.get(key));
          expect(record?.hash).toBe(db.now().history('c', key).records[0]?.hash);
        }
    };
    for (let step = 0; step < 120; step++) {
      const key = keys[(step * 7) % keys.length]!;
      if (step % 11 === 10 && model.get(key) !== undefined) {
        await db.delete('c', key);
        model.set(key, undefined);
      } else {
        await db.put('c', key, step);
        model.set(key, step);
      }
      if (step % 9 === 0) check();
      if (step % 20 === 19) await db.checkpoint();
      if (step % 50 === 49) {
        await db.close();
        db = await openWith(platform, {});
      }
      check();
    }
    await db.close();
  });
});
