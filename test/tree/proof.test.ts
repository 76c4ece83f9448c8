import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { proveEntry, verifyProof } from '../../engine/tree/proof.js';
import { bodyOf, bytesOf, fold, openStore, run, versionKey } from './support.js';

const keys = Array.from({ length: 300 }, (_, i) => versionKey(i % 3 === 0 ? 'hot' : `k${i}`, i + 1));

async function tree() {
  const store = await openStore({ targetBytes: 128 });
  return { store, root: await fold(store, undefined, run(keys.map((key, i) => [key, i]))) };
}

describe('a proof', () => {
  it('convinces whoever has the root hash, for every entry and no other value', async () => {
    const { store, root } = await tree();
    expect(root.height).toBeGreaterThan(1);
    for (const [i, key] of keys.entries()) {
      const proof = proveEntry(store, root, bytesOf(key))!;
      expect(verifyProof(root.hash, bytesOf(key), bodyOf(i), proof)).toBe(true);
      expect(verifyProof(root.hash, bytesOf(key), bodyOf(i + 1), proof)).toBe(false);
      expect(verifyProof(root.hash, bytesOf(keys[(i + 1) % keys.length]!), bodyOf(i), proof)).toBe(false);
      expect(verifyProof(new Uint8Array(32), bytesOf(key), bodyOf(i), proof)).toBe(false);
    }
  });

  it('is not to be had for what the tree does not hold', async () => {
    const { store, root } = await tree();
    expect(proveEntry(store, root, bytesOf(versionKey('absent', 1)))).toBeUndefined();
    expect(proveEntry(store, root, bytesOf('~'))).toBeUndefined();
    expect(proveEntry(store, await fold(store, undefined, []), bytesOf(keys[0]!))).toBeUndefined();
  });

  it('convinces nobody once any bit is flipped or any byte is missing or added', async () => {
    const { store, root } = await tree();
    const key = bytesOf(keys[7]!);
    const proof = proveEntry(store, root, key)!;
    for (let bit = 0; bit < proof.length * 8; bit++) {
      const flipped = Buffer.from(proof);
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      if (verifyProof(root.hash, key, bodyOf(7), flipped)) expect.fail(`bit ${bit}`);
    }
    for (let length = 0; length < proof.length; length++)
      expect(verifyProof(root.hash, key, bodyOf(7), proof.subarray(0, length))).toBe(false);
    expect(verifyProof(root.hash, key, bodyOf(7), Buffer.concat([proof, Buffer.alloc(1)]))).toBe(false);
  });

  it('may be any bytes', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 200 }),
        fc.uint8Array({ maxLength: 9 }),
        (proof, key) => verifyProof(new Uint8Array(32), key, bodyOf(1), proof) === false,
      ),
    );
  });
});
