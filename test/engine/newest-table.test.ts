/** The table of newest versions: what it says is the newest, whatever happens to the entity. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EntityHash } from '../../engine/entity-hash.js';
import { openWith } from '../../engine/index.js';
import { ABSENT, DOUBT, NewestTable } from '../../engine/newest-table.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';

const HASH = new EntityHash(Uint8Array.from({ length: 16 }, (_, i) => 7 * i + 1));
const MIB = 2 ** 20;

function entityOf(number: number): string {
  return `c\0k${number}\0`;
}

function tableOf(entities: number, limitBytes = 64 * MIB): NewestTable {
  const table = new NewestTable(limitBytes);
  table.clear(true);
  for (let i = 0; i < entities; i++) table.set(HASH.of(entityOf(i)), i + 1, 1);
  return table;
}

describe('the hash of an entity', () => {
  it('depends on every byte of it, on its length, and on the key', () => {
    const seen = new Set<string>();
    const words = (hash: EntityHash) => `${hash.a} ${hash.b} ${hash.c} ${hash.d}`;
    const entities = ['', '\0', '\0\0', 'abcd', 'abcd\0', 'abcde', 'bacd', 'abcdefgh', 'efghabcd', 'abcdefg', '\xff', '\xff\xff\xff\xff'];
    for (let key = 0; key < 17; key++) {
      const hash = new EntityHash(Uint8Array.from({ length: 16 }, (_, i) => (i === key ? 1 : 0)));
      for (const entity of entities) seen.add(words(hash.of(entity)));
    }
    expect(seen.size).toBe(17 * entities.length);
    for (const part of ['a', 'b', 'c', 'd'] as const)
      expect(new Set(Array.from({ length: 2000 }, (_, i) => HASH.of(entityOf(i))[part])).size).toBeGreaterThan(1990);
  });
});

describe('the table of newest versions', () => {
  it('answers what was set last, and knows what was never set', () => {
    const step = fc.tuple(
      fc.constantFrom('set', 'set', 'doubt', 'clear'),
      fc.integer({ min: 0, max: 4000 }),
      fc.integer({ min: 1, max: 2 ** 48 - 1 }),
      fc.constantFrom(1, 2),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        const table = tableOf(0);
        const model = new Map<string, number | undefined>();
        for (const [what, number, seq, kind] of steps) {
          const entity = entityOf(number);
          if (what === 'set') {
            table.set(HASH.of(entity), seq, kind);
            model.set(entity, seq * 4 + kind);
          } else if (what === 'doubt') {
            table.doubt(HASH.of(entity));
            if (model.has(entity)) model.set(entity, DOUBT);
          } else if (number < 20) {
            table.clear(true);
            model.clear();
          }
          for (const asked of [entity, entityOf(number + 1)]) {
            const found = table.get(HASH.of(asked));
            expect(found > 0 ? found * 4 + table.kind : found).toBe(model.get(asked) ?? ABSENT);
          }
        }
        expect(table.entities).toBe(model.size);
        expect(table.isComplete).toBe(true);
      }),
    );
  });

  it('keeps each of very many, in little more than their slots', () => {
    const table = tableOf(300_000);
    for (let i = 0; i < 300_000; i++) if (table.get(HASH.of(entityOf(i))) !== i + 1) expect(i).toBe('found');
    for (let i = 300_000; i < 400_000; i++) if (table.get(HASH.of(entityOf(i))) !== ABSENT) expect(i).toBe('absent');
    expect(table.isComplete).toBe(true);
    expect(table.bytes / 300_000).toBeLessThan(32);
  });

  it('forgets beyond its limit, says so, and never tells of another version', () => {
    const table = tableOf(100_000, MIB);
    expect(table.bytes).toBeLessThanOrEqual(MIB);
    expect(table.isComplete).toBe(false);
    // However often: a search must still come to an end.
    const small = tableOf(20_000, 40 * 1024);
    expect(small.get(HASH.of(entityOf(20_001)))).toBe(ABSENT);
    let known = 0;
    for (let i = 0; i < 100_000; i++) {
      const found = table.get(HASH.of(entityOf(i)));
      if (found === i + 1) known++;
      else if (found !== ABSENT) expect(found).toBe(ABSENT);
    }
    expect(known).toBeGreaterThan(20_000);
    for (let i = 0; i < 100_000; i += 3) {
      table.set(HASH.of(entityOf(i)), i + 1_000_000, 2);
      const found = table.get(HASH.of(entityOf(i)));
      if (found !== ABSENT && found !== i + 1_000_000) expect(found).toBe(i + 1_000_000);
    }
  });

  it('doubts those that go, and only those', () => {
    const table = tableOf(5000);
    for (const _ of table.doubtThose({ has: (seq) => seq % 3 === 0 }));
    for (let i = 0; i < 5000; i++) expect(table.get(HASH.of(entityOf(i)))).toBe((i + 1) % 3 === 0 ? DOUBT : i + 1);
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

  it('supersedes what is there: after refusals, failed fellows of a batch, drops and reopening', async () => {
    const platform = new MemoryPlatform({ seed: 4 });
    let db = await openWith(platform, { checkpointRecords: 1_000_000 });
    const model = new Map<string, string | null>();
    for (let step = 0; step < 200; step++) {
      const key = `k${(step * 5) % 17}`;
      if (step % 7 === 6) {
        // The first of the two goes with the second, whose expectation is wrong: nothing may remember it.
        const wrong = [
          { collection: 'c', key, body: step },
          { collection: 'c', key: `other${step % 3}`, body: 1, expect: '*' as const },
        ];
        await expect(db.insert(wrong)).rejects.toMatchObject({ code: 'CONFLICT' });
      }
      const [record] = (await db.insert([{ collection: 'c', key, body: step }])).records;
      expect(record?.supersedes ?? null).toBe(model.get(key) ?? null);
      model.set(key, record!.id);
      if (step % 23 === 22) await db.checkpoint();
      if (step % 60 === 59) {
        await db.close();
        db = await openWith(platform, {});
      }
    }
    await db.close();
  });
});
