import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EntityBytes } from '../../engine/entity-bytes.js';
import { EntityHash } from '../../engine/entity-hash.js';
import { entityKey } from '../../engine/format/keys.js';
import { Memtable, NO_SLOT } from '../../engine/memtable.js';

const KEY = Uint8Array.from({ length: 16 }, (_, i) => 7 * i + 1);
const names = fc.tuple(
  fc.constantFrom('a', 'customers', 'c'.repeat(64)),
  fc.oneof(fc.string({ minLength: 1, unit: fc.constantFrom('a', 'b', 'é', '\u{1f600}') }), fc.constant('k'.repeat(512))),
);

function taken(entity: EntityBytes, collection: string, key: string): EntityBytes {
  const source = Buffer.from(`…${collection}${key}…`);
  return entity.takeNames(source, Buffer.byteLength('…'), collection.length, source.length - Buffer.byteLength('…'));
}

describe('entities as bytes', () => {
  it('are the entities as text, with the same hash, whatever was taken before', () => {
    const entity = new EntityBytes();
    const [ofBytes, ofText] = [new EntityHash(KEY), new EntityHash(KEY)];
    fc.assert(
      fc.property(names, ([collection, key]) => {
        taken(entity, collection, key);
        const text = entityKey(collection, key);
        expect(entity.text()).toBe(text);
        const { a, b, c, d } = ofBytes.ofBytes(entity);
        expect([a, b, c, d]).toEqual([ofText.of(text).a, ofText.b, ofText.c, ofText.d]);
      }),
    );
  });

  it('are found by a hash that others were asked for meanwhile', () => {
    const [one, other] = [new EntityBytes(), new EntityBytes()];
    const [hash, another] = [new EntityHash(KEY), new EntityHash(KEY)];
    const { a } = hash.ofBytes(taken(one, 'c', 'first'));
    another.ofBytes(taken(one, 'c', 'second'));
    expect(hash.ofBytes(one).a).toBe(another.a);
    hash.ofBytes(taken(other, 'c', 'first'));
    expect(hash.a).toBe(a);
  });

  it('added so are there for who asks by text, who had asked before', () => {
    const table = new Memtable();
    const entity = new EntityBytes();
    for (let seq = 1; seq <= 3000; seq++) {
      const key = `k${seq}`;
      expect(table.newest(entityKey('c', key))).toBe(NO_SLOT);
      table.addBytes(taken(entity, 'c', key), seq, seq, 1, 0, undefined);
      expect(table.newest(entityKey('c', key))).toBe(seq - 1);
      expect(table.entityAt(seq - 1)).toBe(entityKey('c', key));
    }
    table.addBytes(taken(entity, 'c', 'k1'), 3001, 3001, 1, 1, undefined);
    expect(table.previousOf(table.newest(entityKey('c', 'k1')))).toBe(0);
  });
});
