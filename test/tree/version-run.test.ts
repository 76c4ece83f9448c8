/** A memtable's way into the tree: columns, sorted as bytes, the same entries whatever the order they came in. */
import { describe, expect, it } from 'vitest';
import { entityKey, treeKey } from '../../engine/format/keys.js';
import { writeLeafValue } from '../../engine/format/leaf-value.js';
import { Memtable } from '../../engine/memtable.js';
import { SeededRandom } from '../../engine/platform/seeded-random.js';
import { sortRanges } from '../../engine/tree/range-sort.js';
import type { ChangeSource } from '../../engine/tree/types.js';
import { SortedVersions } from '../../engine/tree/version-run.js';

const SEED = Number(process.env['SEED'] ?? 20_261_121);

function read(source: ChangeSource): [string, string][] {
  const entries: [string, string][] = [];
  while (source.advance()) {
    const key = Buffer.from(source.key.subarray(0, source.length)).toString('latin1');
    entries.push([key, Buffer.from(source.value ?? []).toString('hex')]);
  }
  return entries;
}

describe('byte strings', () => {
  it('are sorted in byte order, prefixes, repeats and empty ones too (seed in SEED)', () => {
    const random = new SeededRandom(SEED);
    for (let round = 0; round < 60; round++) {
      const alphabet = random.pick(['\0a', 'abc', '\0\xff\x80']);
      const texts = Array.from(
        { length: random.below(800) },
        () =>
          (random.below(3) === 0 ? 'a shared prefix ' : '') +
          Array.from({ length: random.below(12) }, () => alphabet[random.below(alphabet.length)]).join(''),
      );
      const bytes = Buffer.from(texts.join(''), 'latin1');
      const starts = new Uint32Array(texts.length + 1);
      texts.forEach((text, i) => {
        starts[i + 1] = starts[i]! + text.length;
      });
      const sorted = [...sortRanges(bytes, starts)].map((i) => texts[i]!);
      expect(sorted).toEqual([...texts].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0)));
    }
  });

  it('are sorted in byte order where they are many, whatever they share and wherever they end', () => {
    const random = new SeededRandom(SEED);
    const letters = (alphabet: string, most: number) =>
      Array.from({ length: random.below(most) }, () => alphabet[random.below(alphabet.length)]).join('');
    const makers = [
      () => `bench\0entity-${random.below(10_000_000).toString(36).padStart(5, '0')}`,
      () => letters('\0a', 20),
      () =>
        `${random.pick(['of one collection\0', 'of another\0'])}${random.pick(['', 'the same eight and more '])}${letters('ab\0\xff', 12)}`,
      () => letters('\xff\xfe', 5),
      () => 'all the same',
    ];
    for (const make of makers) {
      const texts = Array.from({ length: 9000 }, make);
      const starts = new Uint32Array(texts.length + 1);
      texts.forEach((text, i) => {
        starts[i + 1] = starts[i]! + text.length;
      });
      const sorted = [...sortRanges(Buffer.from(texts.join(''), 'latin1'), starts)];
      expect(new Set(sorted).size).toBe(texts.length);
      expect(
        sorted.map((i) => texts[i]!),
        `SEED=${SEED}`,
      ).toEqual([...texts].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0)));
    }
  });
});

describe('a run of a memtable', () => {
  it('holds every version once, in the order of tree keys', () => {
    const random = new SeededRandom(SEED);
    const table = new Memtable();
    const expected: [string, string][] = [];
    let seq = 2 ** 32 - 3000; // over the edge of 32 bits
    for (let i = 0; i < 9000; i++) {
      seq += 1 + random.below(3);
      const entity = entityKey(random.pick(['c', 'cc', 'é']), `k${random.below(400)}ÿ${'long '.repeat(random.below(3))}`);
      const fields = { time: 1.7e15 + i, kind: random.below(2), supersedes: seq - 1, hash: Buffer.alloc(32, random.below(256)) };
      table.add(entity, seq, fields.time, fields.kind, fields.supersedes, fields.hash);
      expected.push([Buffer.from(treeKey(entity, seq)).toString('latin1'), Buffer.from(writeLeafValue(fields)).toString('hex')]);
    }
    expected.sort(([a], [b]) => (a < b ? -1 : 1));
    expect(read(new SortedVersions(table.run()))).toEqual(expected);
  });

  it('of a table that took versions back holds what is left', () => {
    const table = new Memtable();
    for (let seq = 1; seq <= 10; seq++) table.add(entityKey('c', `k${seq % 4}`), seq, seq, 1, 0, new Uint8Array(32));
    table.rollBack(6);
    expect(table.run().count).toBe(6);
    expect(read(new SortedVersions(table.run())).length).toBe(6);
    expect(read(new SortedVersions(new Memtable().run()))).toEqual([]);
  });

  it('that names a version twice is our bug', () => {
    const table = new Memtable();
    for (let i = 0; i < 2; i++) table.add(entityKey('c', 'k'), 1, 1, 1, 0, new Uint8Array(32));
    expect(() => read(new SortedVersions(table.run()))).toThrow('assertion failed');
  });
});
