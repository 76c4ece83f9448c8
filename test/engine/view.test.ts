/** Listings and histories over what lies in the memtable, in one being folded, and in the tree. */
import { describe, expect, it } from 'vitest';
import type { Database } from '../../engine/database.js';
import { compareUtf8 } from '../support/model.js';
import { codeOf, machine, reopen } from './support.js';

/** UTF-16 order would put the astral ones before U+FFxx and U+E000. */
const AWKWARD = [
  '~',
  'é',
  'e\u0301',
  'z',
  'Z',
  '\u{10000}',
  '\u{1d11e}',
  '\u{1d11e}a',
  '\uffee',
  '\uff5e',
  '\ue000',
  '\ud7ff',
  'a',
  'ab',
  'a b',
  'a/b',
  'a!',
  '0',
  '\u{10ffff}',
];

const keysOf = (db: Database, options = {}) =>
  db
    .now()
    .list('c', options)
    .map(({ key }) => key);

describe('a listing', () => {
  it('is in the order of the keys’ UTF-8 bytes, over one shard or many, memory or tree', async () => {
    for (const shards of [1, 4]) {
      let current = await machine({ shards });
      const expected = [...AWKWARD].sort(compareUtf8);
      expect(expected).not.toEqual([...AWKWARD].sort());
      for (const [i, key] of AWKWARD.entries()) {
        await current.db.put('c', key, i);
        await current.db.put('ca', key, i);
        if (i === 9) await current.db.checkpoint();
      }
      expect(keysOf(current.db)).toEqual(expected);
      current = await reopen(current);
      expect(keysOf(current.db)).toEqual(expected);
      for (let limit = 1; limit < 6; limit++) {
        const seen: string[] = [];
        for (let page = keysOf(current.db, { limit }); page.length > 0; page = keysOf(current.db, { limit, after: page.at(-1) }))
          seen.push(...page);
        expect(seen).toEqual(expected);
      }
      const all: string[] = [];
      for await (const { key } of current.db.now().entities('c')) all.push(key);
      expect(all).toEqual(expected);
    }
  });

  it('keeps to a prefix, of whole characters or not, and begins after a key that need not exist', async () => {
    const { db } = await machine({ shards: 2 });
    for (const key of AWKWARD) await db.put('c', key, key);
    const sorted = [...AWKWARD].sort(compareUtf8);
    for (const prefix of ['', 'a', 'a ', 'e', '\u{1d11e}', '\uff5e', 'none', '\u{10ffff}']) {
      for (const after of [undefined, '', ...AWKWARD, 'aa', '\u{1d11e}\u0301', '\uffff', 'zz'].filter((key) => key !== '')) {
        const expected = sorted.filter((key) => key.startsWith(prefix) && (after === undefined || compareUtf8(key, after) > 0));
        expect(keysOf(db, { prefix, ...(after === undefined ? {} : { after }) })).toEqual(expected);
        expect(keysOf(db, { prefix, limit: 2, ...(after === undefined ? {} : { after }) })).toEqual(expected.slice(0, 2));
      }
    }
    expect(keysOf(db, { limit: 0 })).toEqual([]);
  });

  it('shows who is alive at its point: not the deleted, not the later', async () => {
    const { db } = await machine();
    const first = await db.put('c', 'a', 1);
    await db.put('c', 'b', 1);
    const deleted = await db.delete('c', 'a');
    const again = await db.put('c', 'a', 2);
    await db.put('c', 'd', 1);
    for (let round = 0; round < 2; round++) {
      const at = async (id: string) => (await db.asOf(id)).list('c').map(({ key, body }) => `${key}=${JSON.stringify(body)}`);
      expect(await at(first.id)).toEqual(['a=1']);
      expect(await at(deleted.id)).toEqual(['b=1']);
      expect(await at(again.id)).toEqual(['a=2', 'b=1']);
      await db.checkpoint();
    }
    expect((await db.asOf(deleted.id)).get('c', 'a')).toMatchObject({ deleted: true, body: undefined });
    expect(await codeOf(() => db.now().list(''))).toBe('INVALID');
  });

  it('of a view that was taken stays what it was, whatever is written and folded', async () => {
    const { db } = await machine({ checkpointRecords: 50 });
    for (let i = 0; i < 300; i++) await db.put('c', `k${String(i % 70).padStart(2, '0')}`, i);
    const view = db.now();
    const before = view.list('c', { limit: 500 }).map(({ id }) => id);
    const seen: string[] = [];
    let written = 0;
    for await (const { id } of view.entities('c')) {
      seen.push(id);
      await db.put('c', `k${String(written++ % 90).padStart(2, '0')}`, 'later');
    }
    expect(seen).toEqual(before);
    expect(view.list('c', { limit: 500 }).map(({ id }) => id)).toEqual(before);
  });
});

describe('a history', () => {
  it('pages in both orders over tree, frozen and active memory without a gap or a double', async () => {
    const { db, platform } = await machine({ checkpointRecords: 1_000_000 });
    const seqs: number[] = [];
    const write = async (n: number) => {
      for (let i = 0; i < n; i++) {
        seqs.push((i % 5 === 4 ? await db.delete('c', 'k') : await db.put('c', 'k', seqs.length)).seq);
        await db.put('c', i % 2 === 0 ? 'j' : 'l', i);
      }
    };
    const read = (order: 'asc' | 'desc', limit: number, fromSeq: number, toSeq: number): number[] => {
      const found: number[] = [];
      let [from, to] = [fromSeq, toSeq];
      for (;;) {
        const { records, nextSeq, complete } = db.now().history('c', 'k', { order, limit, fromSeq: from, toSeq: to });
        expect(complete).toBe(true);
        expect(records.length).toBeLessThanOrEqual(limit);
        found.push(...records.map(({ seq }) => seq));
        if (nextSeq === undefined) return found;
        if (order === 'asc') from = nextSeq;
        else to = nextSeq;
      }
    };
    const checkAll = () => {
      const last = seqs.at(-1) as number;
      for (const [from, to] of [
        [1, last + 5],
        [seqs[3], seqs[12]],
        [2, 2],
        [last, last],
        [last + 1, last + 9],
      ] as [number, number][]) {
        const expected = seqs.filter((seq) => seq >= from && seq <= to);
        for (const limit of [1, 3, 7, 1000]) {
          expect(read('asc', limit, from, to)).toEqual(expected);
          expect(read('desc', limit, from, to)).toEqual([...expected].reverse());
        }
      }
    };
    await write(15);
    checkAll();
    await db.checkpoint();
    await write(15);
    checkAll();
    // A fold that fails leaves its memtable frozen: tree, frozen and active memory at once.
    platform.failOn('write', { kind: 'error', code: 'EIO' }, { path: '/tree/' });
    await expect(db.checkpoint()).rejects.toThrow();
    await write(9);
    checkAll();
    await db.checkpoint();
    await write(3);
    checkAll();
  });
});
