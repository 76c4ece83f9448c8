/** What a memtable finds, gives back and lists, whatever it grows to. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Memtable, NO_SLOT } from '../../engine/memtable.js';

const hash = (n: number) => new Uint8Array(32).fill(n);

describe('Memtable', () => {
  it('finds the newest version at or below a seq, through any number of growths', () => {
    const table = new Memtable();
    for (let seq = 1; seq <= 10_000; seq++) table.add(`c\0k${seq % 100}\0`, seq, seq * 10, 1, Math.max(0, seq - 100), hash(seq % 251));
    expect(table.count).toBe(10_000);
    const slot = table.find('c\0k7\0', 5_000);
    expect(table.seqAt(slot)).toBe(4_907);
    expect(table.timeAt(slot)).toBe(49_070);
    expect(table.supersedesAt(slot)).toBe(4_807);
    expect(table.hashAt(slot)).toEqual(hash(4_907 % 251));
    expect(table.seqAt(table.previousOf(slot))).toBe(4_807);
    expect(table.find('c\0k7\0', 6)).toBe(NO_SLOT);
    expect(table.find('c\0nobody\0', 10_000)).toBe(NO_SLOT);
  });
});

function entityOf(number: number): string {
  return `c\0${String((number * 7919) % 100_000).padStart(6, '0')}\0`;
}

function drain(iterator: Iterator<string, undefined>): string[] {
  const out: string[] = [];
  for (let next = iterator.next(); next.done !== true; next = iterator.next()) out.push(next.value);
  return out;
}

function tableOf(entities: Iterable<string>): Memtable {
  const table = new Memtable();
  let seq = 0;
  for (const entity of entities) table.add(entity, ++seq, seq, 1, 0, hash(1));
  return table;
}

describe('a memtable', () => {
  it('finds each of many entities, and what they had, while it grows by small steps', () => {
    const table = new Memtable();
    for (let i = 0; i < 40_000; i++) {
      table.add(entityOf(i), 2 ** 32 - 20_000 + i, 2 ** 50 + i, 1 + (i % 2), i, hash(i % 256));
      for (const known of [i, i >>> 1, i - (i % 997)]) if (table.newest(entityOf(known)) !== known) expect(known).toBe('found');
      if (table.newest(entityOf(i + 1)) !== NO_SLOT) expect(i + 1).toBe('absent');
    }
    for (let i = 0; i < 40_000; i += 1999) {
      expect(table.entityAt(i)).toBe(entityOf(i));
      expect([table.seqAt(i), table.timeAt(i), table.kindAt(i), table.supersedesAt(i)]).toEqual([
        2 ** 32 - 20_000 + i,
        2 ** 50 + i,
        1 + (i % 2),
        i,
      ]);
      expect(Buffer.from(table.hashAt(i))).toEqual(Buffer.alloc(32, i % 256));
    }
  });

  it('holds entities of any length, also where its chunks end', () => {
    const entities = Array.from({ length: 3000 }, (_, i) => `c\0${'\xff'.repeat(1 + ((i * 31) % 500))}${i}\0`);
    const table = tableOf(entities);
    expect(entities.every((entity, i) => table.newest(entity) === i && table.entityAt(i) === entity)).toBe(true);
    expect(drain(table.entitiesFrom(''))).toEqual([...entities].sort());
  });

  it('takes back what failed, and moves what is queued to another', () => {
    const table = new Memtable();
    for (let seq = 1; seq <= 9000; seq++) table.add(entityOf(seq % 50), seq, seq, 1, 0, hash(1));
    const rest = table.splitAbove(8990);
    expect([table.count, rest.count]).toEqual([8990, 10]);
    expect(rest.seqAt(rest.newest(entityOf(0)))).toBe(9000);
    expect(table.seqAt(table.newest(entityOf(0)))).toBe(8950);
    table.rollBack(40);
    expect(table.seqAt(table.newest(entityOf(1)))).toBe(1);
    expect(table.newest(entityOf(45))).toBe(NO_SLOT);
  });
});

describe('entities in order', () => {
  it('are all at or after the start, whatever order they came in', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.string({ maxLength: 4 }), { maxLength: 200 }), fc.string({ maxLength: 4 }), (texts, start) => {
        const entities = texts.map((text) => Buffer.from(text).toString('latin1'));
        const from = Buffer.from(start).toString('latin1');
        expect(drain(tableOf(entities).entitiesFrom(from))).toEqual(entities.filter((entity) => entity >= from).sort());
      }),
    );
  });

  it('stay so over many runs, merged by listings or not', () => {
    const entities = Array.from({ length: 50_000 }, (_, i) => entityOf(i));
    const expected = entities.filter((entity) => entity >= entityOf(20_000)).sort();
    const table = tableOf(entities);
    expect(drain(table.entitiesFrom(entityOf(20_000)))).toEqual(expected);
    const listed = new Memtable();
    entities.forEach((entity, i) => {
      listed.add(entity, i + 1, 1, 1, 0, hash(1));
      if (i % 500 === 0) listed.entitiesFrom(entity).next();
    });
    expect(drain(listed.entitiesFrom(entityOf(20_000)))).toEqual(expected);
  });

  it('are not disturbed by later additions', () => {
    const table = tableOf(Array.from({ length: 4000 }, (_, i) => entityOf(i)));
    const iterator = table.entitiesFrom('');
    const first = iterator.next().value;
    for (let i = 4000; i < 30_000; i++) table.add(entityOf(i), i + 1, 1, 1, 0, hash(1));
    table.entitiesFrom('').next();
    expect([first, ...drain(iterator)]).toHaveLength(4000);
  });
});
