import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type BatchLimits, type PreparedBatch, prepareBatch, prepareEach } from '../../engine/batch.js';
import { SALT_BYTES } from '../../engine/format/limits.js';
import { canonicalJson, InsertImages, type InsertItem, type JsonValue, openWith } from '../../engine/index.js';
import { MemoryPlatform } from '../../engine/platform/memory.js';

const LIMITS: BatchLimits = { maxBodyBytes: 5000, maxBatchBytes: 20_000 };
const items = fc.array(
  fc.record({
    collection: fc.constantFrom('a', 'b_1', 'c'.repeat(64)),
    key: fc.oneof(fc.string({ minLength: 1, unit: fc.constantFrom('a', '/', ' ', 'é', '\u{1f600}') }), fc.constant('k'.repeat(512))),
    body: fc.jsonValue({ maxDepth: 2 }) as fc.Arbitrary<JsonValue>,
    isBodyFirst: fc.boolean(),
    isGivenUp: fc.boolean(),
  }),
  { minLength: 1, maxLength: 6 },
);

function put(images: InsertImages, collection: string, key: string, body: JsonValue, isBodyFirst = false, maxBytes = 5000): boolean {
  const text = Buffer.from(` ${JSON.stringify(body)} `);
  const name = Buffer.from(`"${key}"`);
  const bits = name.reduce((all, byte) => all | byte, 0);
  const names = () => images.name(collection, name, 1, name.length - 1, bits);
  const bodies = () => images.body(text, 0, text.length, maxBytes) > 0;
  images.begin();
  return isBodyFirst ? bodies() && names() : names() && bodies();
}

/** What a batch says, its images but for what is stamped later. */
function said({ items: prepared, arena, isEach }: PreparedBatch): unknown {
  return prepared.map(({ collection, key, collectionBytes, kind, deleted, refs, expect: expected, at, keyAt, saltAt, end }) => ({
    ...{ collection, key, collectionBytes: [...collectionBytes], kind, deleted, refs, expected, at, keyAt, saltAt, end, isEach },
    image: Buffer.concat([arena.bytes.subarray(at, saltAt), arena.bytes.subarray(saltAt + SALT_BYTES, end)]).toString('hex'),
  }));
}

describe('images of inserts', () => {
  it('are those of the same items, in whatever order names and body came', () => {
    fc.assert(
      fc.property(items, fc.boolean(), (wanted, isEach) => {
        const images = new InsertImages(isEach);
        for (const { collection, key, body, isBodyFirst, isGivenUp } of wanted) {
          if (isGivenUp) put(images, 'given-up', 'x', body, isBodyFirst);
          expect(put(images, collection, key, body, isBodyFirst)).toBe(true);
          images.end();
        }
        const asItems: InsertItem[] = wanted.map(({ collection, key, body }) => ({ collection, key, body }));
        expect(images.asItems().map((item) => ({ ...item, bodyBytes: Buffer.from(item.bodyBytes!).toString() }))).toEqual(
          wanted.map(({ collection, key, body }) => ({ collection, key, bodyBytes: canonicalJson(body).toString() })),
        );
        const [made, expected] = [images.prepared(LIMITS)!, isEach ? prepareEach(asItems, LIMITS)! : prepareBatch(asItems, LIMITS, false)];
        expect(made.arena.end).toBe(expected.arena.end);
        expect(said(made)).toEqual(said(expected));
        images.release();
        for (const batch of [made, expected]) batch.arena.giveBack();
      }),
    );
  });

  it('refuse what is no name, and what is over a limit', () => {
    const images = new InsertImages(false);
    for (const name of ['', '_a', 'a b', '1', 'a'.repeat(65)]) expect(put(images, name, 'k', 1), name).toBe(false);
    for (const key of ['', '.', '..', 'a\x7f', 'a\u0085', 'k'.repeat(513), 'é'.repeat(257)])
      expect(put(images, 'a', key, 1), key).toBe(false);
    expect(put(images, 'a', '...', 'x'.repeat(98), false, 100)).toBe(true);
    images.end();
    expect(put(images, 'a', 'k', 'x'.repeat(99), false, 100)).toBe(false);
    images.begin();
    expect(images.items.map(({ key }) => key)).toEqual(['...']);
    expect(images.prepared({ maxBodyBytes: 99, maxBatchBytes: 1000 })).toBeUndefined();
    expect(images.prepared({ maxBodyBytes: 100, maxBatchBytes: 103 })).toBeUndefined();
    expect(images.prepared({ maxBodyBytes: 100, maxBatchBytes: 104 })).toBeDefined();
    expect(() => images.prepared(LIMITS)).toThrow('inserted once');
    expect(() => images.asItems()).toThrow('inserted once');
  });

  it('are inserted as items are, together or each by itself, into one shard or several', async () => {
    for (const shards of [1, 3]) {
      const db = await openWith(new MemoryPlatform({ seed: 7 }), { shards });
      const each = new InsertImages(true);
      for (let i = 0; i < 40; i++) {
        expect(put(each, 'c', `k${i % 30}`, { i })).toBe(true);
        each.end();
      }
      const parts = db.insertEach(each)!;
      each.release();
      for (const { positions, inserted } of parts) {
        const { records } = await inserted;
        expect(records.map(({ key }) => key)).toEqual((positions ?? records.map((_, i) => i)).map((i) => `k${i % 30}`));
      }
      const batch = new InsertImages(false);
      expect(put(batch, 'c', 'é', { i: 40 })).toBe(true);
      batch.end();
      const inserted = db.insert(batch);
      batch.release();
      const { records } = await inserted;
      expect(records.map(({ key, supersedes }) => [key, supersedes])).toEqual([['é', null]]);
      const now = db.now();
      expect(now.get('c', 'é')?.body).toEqual({ i: 40 });
      for (let i = 0; i < 30; i++) expect(now.get('c', `k${i}`)?.body).toEqual({ i: i < 10 ? i + 30 : i });
      await db.close();
    }
  });
});
