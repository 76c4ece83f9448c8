/**
 * Where a node ends: decided by the content alone, so that the same entries make the same nodes whatever their history (law 3).
 *
 * Entries are taken in order; `size` is an entry's weight (key bytes + value bytes + 2), `filled` the weight of the node with it.
 * The node ends after the entry
 *
 *   never                                           while filled < target / 4, or an inner node holds one entry
 *   always                                          once filled >= 3 × target
 *   if hash × unit < size × HAZARD × ⌊filled/unit⌋³ otherwise, with unit = target / 16
 *
 * where hash is HalfSipHash of the key under the identity of the database and the level: nobody who does not know that identity can
 * pick keys that grow nodes or the depth, and a key that ends a leaf is no likelier to end the node above. The chance grows with
 * the cube of the filling, which keeps sizes close (a standard deviation of 28 %): at the real target of 4096, for an entry
 * of 80 bytes, in percent
 *
 *   filled   1 K  2 K   3 K   4 K   5 K   6 K   8 K
 *   chance   0.1  0.7   2.2   5.3   10    18    42        so that a node holds 4 K on average
 *
 * Invariants: only integers below 2^53 take part, so every runtime agrees; the state is (filled, count) of the node begun, so
 * that a chunker that stands at the beginning of an old node goes on exactly as the one that made it. Nothing here touches disk.
 */
import { assert } from '../errors.js';
import { blake3, halfSipHash } from '../format/hash.js';

/** Part of the format: other values make other trees. */
export const TARGET_BYTES = 4096;
/** 2^32 × 4 / 17.65⁴: makes the mean of ⌊filled/unit⌋ sixteen. */
const HAZARD = 177026;
/** Entries of an inner node before it may end, so that levels always shrink. */
const MIN_INNER_ENTRIES = 2;
const KEY_TAG = Buffer.from('varve tree boundary 1\0', 'latin1');

export class BoundaryRule {
  readonly targetBytes: number;
  readonly minBytes: number;
  readonly capBytes: number;
  readonly #unit: number;
  readonly #shift: number;
  readonly #databaseId: Uint8Array;
  readonly #keys: Uint32Array[] = [];

  /** `targetBytes`: a power of two; other than the real one only in tests. */
  constructor(databaseId: Uint8Array, targetBytes = TARGET_BYTES) {
    assert(
      targetBytes >= 64 && targetBytes <= 8192 && (targetBytes & (targetBytes - 1)) === 0,
      'a node target is a power of two from 64 to 8192',
    );
    this.targetBytes = targetBytes;
    this.minBytes = targetBytes / 4;
    this.capBytes = targetBytes * 3;
    this.#unit = targetBytes / 16;
    this.#shift = Math.log2(this.#unit);
    this.#databaseId = databaseId;
  }

  /** Whether the node ends after its newest entry, whose key is `bytes[start, end)`. */
  ends(level: number, count: number, filled: number, size: number, bytes: Uint8Array, start: number, end: number): boolean {
    if (filled < this.minBytes || (level > 0 && count < MIN_INNER_ENTRIES)) return false;
    if (filled >= this.capBytes) return true;
    const step = filled >>> this.#shift;
    return halfSipHash(this.#key(level), bytes, start, end) * this.#unit < size * HAZARD * (step * step * step);
  }

  #key(level: number): Uint32Array {
    return this.#keys[level] ?? this.#makeKey(level);
  }

  #makeKey(level: number): Uint32Array {
    for (let next = this.#keys.length; next <= level; next++) {
      const digest = blake3(KEY_TAG, this.#databaseId, Uint8Array.of(next));
      this.#keys.push(Uint32Array.of(digest.readUInt32LE(0), digest.readUInt32LE(4)));
    }
    return this.#keys[level]!;
  }
}
