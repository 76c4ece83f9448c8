import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BoundaryRule } from '../../engine/tree/boundary.js';
import { EMPTY_ROOT_HASH, type Node, parseNode } from '../../engine/tree/node.js';
import { INNER_ITEM_BYTES, NodeBuilder } from '../../engine/tree/node-builder.js';
import { seqAt } from '../../engine/tree/version-key.js';
import { bodyOf, bytesOf, DATABASE_ID, sortedKeys, versionKey, versionKeys } from './support.js';

const rule = new BoundaryRule(DATABASE_ID);

function encode(keys: readonly string[], level = 0, number = (i: number) => i): Buffer {
  const builder = new NodeBuilder(rule, level);
  for (const [i, key] of keys.entries()) builder.add(bytesOf(key), level === 0 ? bodyOf(number(i)) : Buffer.alloc(INNER_ITEM_BYTES, i));
  return encoded(builder);
}

function encoded(builder: NodeBuilder): Buffer {
  const bytes = Buffer.alloc(builder.hashedBytes() + builder.addressBytes());
  builder.encode(bytes, 0);
  return bytes;
}

function leafOf(keys: readonly string[], number?: (i: number) => number): Node {
  const bytes = encode(keys, 0, number);
  const node = parseNode(bytes, 0, bytes.length, false);
  if (typeof node === 'string') throw new Error(node);
  return node;
}

const keySets = fc
  .oneof(
    fc.uniqueArray(versionKeys, { minLength: 1, maxLength: 30 }),
    fc.uniqueArray(fc.string({ unit: fc.constantFrom('\0', 'a', 'b', 'ÿ'), maxLength: 6 }), { minLength: 1, maxLength: 30 }),
  )
  .map(sortedKeys);

describe('a node', () => {
  it('gives back keys and values', () => {
    fc.assert(
      fc.property(keySets, (keys) => {
        const node = leafOf(keys);
        expect(node.count).toBe(keys.length);
        for (const [i, key] of keys.entries()) {
          expect(node.keyLatin1(i)).toBe(key);
          expect(node.key(i).toString('latin1')).toBe(key);
          expect(node.value(i).equals(bodyOf(i))).toBe(true);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('finds the first key at or above any key, the prefix compared too', () => {
    fc.assert(
      fc.property(
        keySets,
        fc.array(fc.oneof(versionKeys, fc.string({ unit: fc.constantFrom('\0', 'a', 'b', 'c', 'ÿ'), maxLength: 8 }))),
        fc.nat(30),
        (keys, more, from) => {
          const node = leafOf(keys);
          for (const key of [...more, ...keys, ...keys.map((k) => k.slice(0, -1)), ...keys.map((k) => `${k}\0`), '']) {
            const bytes = bytesOf(key);
            const at = keys.findIndex((k) => k >= key);
            expect(node.search(bytes, bytes.length)).toBe(at < 0 ? keys.length : at);
            if (from < keys.length && keys[from]! <= key) expect(node.search(bytes, bytes.length, from)).toBe(at < 0 ? keys.length : at);
            for (const [i, k] of keys.entries())
              expect(Math.sign(node.compareKey(i, bytes, bytes.length))).toBe(k < key ? -1 : k > key ? 1 : 0);
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  it('reads seqs whether the prefix reaches into them or not', () => {
    for (const seqs of [[5], [6, 5], [0x1_0000_0001, 0x1_0000_0000], [2 ** 48 - 1, 2 ** 40, 70_000, 255, 1]]) {
      const node = leafOf(seqs.map((seq) => versionKey('hot', seq)));
      expect(seqs.map((_, i) => seqAt(node, i))).toEqual(seqs);
      for (let i = 0; i < seqs.length; i++) expect(node.keyLatin1(i, 6)).toBe('c\0hot\0');
    }
    expect(leafOf([versionKey('hot', 6), versionKey('hot', 5)]).prefixBytes).toBeGreaterThan('c\0hot\0'.length);
  });

  it('is the same whether its entries come one by one or in runs of other nodes, whose prefixes are longer or shorter', () => {
    fc.assert(
      fc.property(
        keySets,
        fc.array(fc.record({ take: fc.nat(9), before: fc.nat(4), after: fc.nat(4), isRun: fc.boolean() }), { minLength: 1, maxLength: 12 }),
        (keys, pieces) => {
          const whole = new NodeBuilder(rule, 0);
          const mixed = new NodeBuilder(rule, 0);
          for (let at = 0, piece = 0; at < keys.length && !whole.full; piece = (piece + 1) % pieces.length) {
            const { take, before, after, isRun } = pieces[piece]!;
            const end = Math.min(keys.length, at + 1 + take);
            const first = Math.max(0, at - before);
            const begun = at;
            for (; at < end && !whole.full; at++) whole.add(bytesOf(keys[at]!), bodyOf(0));
            if (isRun) {
              const node = leafOf(keys.slice(first, end + after), () => 0);
              expect(mixed.addRun(node, begun - first, end - first)).toBe(at - first);
            } else for (let i = begun; i < at; i++) mixed.add(bytesOf(keys[i]!), bodyOf(0));
            expect(mixed.full).toBe(whole.full);
            expect(mixed.lastKeyLength).toBe(keys[at - 1]!.length);
          }
          expect([mixed.count, mixed.entries, mixed.hashedBytes()]).toEqual([whole.count, whole.entries, whole.hashedBytes()]);
          expect(encoded(mixed).equals(encoded(whole))).toBe(true);
          expect(encoded(mixed).equals(encode(keys.slice(0, mixed.count), 0, () => 0))).toBe(true);
        },
      ),
      { numRuns: 500 },
    );
  });

  it('takes prefixes longer than a byte can count', () => {
    const keys = [`${'k'.repeat(500)}a`, `${'k'.repeat(500)}b`];
    expect(leafOf(keys).prefixBytes).toBe(500);
    expect(leafOf(keys).keyLatin1(1)).toBe(keys[1]);
  });

  it('makes of any bytes a node that can be searched, or a sentence', () => {
    fc.assert(
      fc.property(
        keySets,
        fc.integer({ min: 0, max: 1 }),
        fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { maxLength: 4 }),
        fc.nat(3),
        (keys, level, changes, cut) => {
          const bytes = encode(keys, level);
          for (const [at, byte] of changes) bytes[at % bytes.length] = byte;
          const node = parseNode(bytes, 0, bytes.length - cut - (level === 0 ? 0 : keys.length * 12), level === 1);
          if (typeof node === 'string') return;
          for (const key of keys) node.search(bytesOf(key), key.length);
          for (let i = 0; i < node.count; i++) expect(node.key(i).length + node.value(i).length).toBe(node.keyLength(i) + node.valueBytes);
        },
      ),
      { numRuns: 500 },
    );
    fc.assert(fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => void parseNode(Buffer.from(bytes), 0, bytes.length, true)));
  });

  it('has the documented bytes', () => {
    expect(encode(['c\0a\0\xff\xff\xff\xff\xff\xfd', 'c\0b\0\xff\xff\xff\xff\xff\xfe']).subarray(0, 30).toString('hex')).toBe(
      `4c00020002002f00${'6300'}0800${'1000'}${'6100fffffffffffd'}${'6200fffffffffffe'}`,
    );
  });

  it('is hashed under the tag of its kind, the empty tree as a leaf without entries', () => {
    expect(Buffer.from(EMPTY_ROOT_HASH).toString('hex')).toMatchInlineSnapshot(
      `"42e21d97a5fb22179e6a3de07f342db4165ffe491ff91f3372ee2bca7d007f0d"`,
    );
    expect(leafOf(['a']).hash().toString('hex')).toMatchInlineSnapshot(
      `"7e78b50af9de6e7161235f653daace564a223ccf1be5841b89307d703d3fbd1f"`,
    );
  });
});
