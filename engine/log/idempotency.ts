/**
 * Which idempotency keys a segment's batches carried: a map while the segment is written, a sorted table in its footer after.
 *
 *   entry (52 bytes): BLAKE3 of the key, first 16 | content hash 16 | first seq u48 | last seq u48 | time u64
 *
 * Derived from the batch heads (law 2). Only keys of the segment's last day go into the footer.
 */
import { getU48, getU64, putU48, putU64, view } from '../format/bytes.js';
import { IDEMPOTENCY_ENTRY_BYTES } from '../format/footer.js';
import { blake3 } from '../format/hash.js';

const KEY_HASH_BYTES = 16;
const DAY_MICROS = 24 * 3600 * 1e6;

/** The first answer a key got. */
export interface IdempotentAnswer {
  readonly contentHash: Uint8Array;
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly time: number;
}

export class IdempotencyMap {
  readonly #answers = new Map<string, IdempotentAnswer>();

  add(key: string, answer: IdempotentAnswer): void {
    this.#answers.set(key, { ...answer, contentHash: Uint8Array.from(answer.contentHash) });
  }

  find(key: string): IdempotentAnswer | undefined {
    return this.#answers.get(key);
  }

  /** The footer's table: what is newer than a day before `newest`, or older than the segment: a client's own time, no matter when it came. */
  encode(newest: number, created: number): Uint8Array {
    const kept = [...this.#answers].filter(([, { time }]) => time > newest - DAY_MICROS || time < created);
    const hashed = kept.map(([key, answer]) => ({ hash: hashOfKey(key), answer })).sort((a, b) => Buffer.compare(a.hash, b.hash));
    const bytes = new Uint8Array(hashed.length * IDEMPOTENCY_ENTRY_BYTES);
    for (const [i, { hash, answer }] of hashed.entries()) {
      const at = i * IDEMPOTENCY_ENTRY_BYTES;
      bytes.set(hash, at);
      bytes.set(answer.contentHash, at + 16);
      putU48(bytes, at + 32, answer.firstSeq);
      putU48(bytes, at + 38, answer.lastSeq);
      putU64(bytes, at + 44, answer.time);
    }
    return bytes;
  }
}

/** Searches a footer's table. */
export class IdempotencyTable {
  readonly #bytes: Uint8Array;

  constructor(raw: Uint8Array) {
    this.#bytes = raw;
  }

  find(key: string): IdempotentAnswer | undefined {
    const wanted = hashOfKey(key);
    let low = 0;
    let high = this.#bytes.length / IDEMPOTENCY_ENTRY_BYTES;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const at = middle * IDEMPOTENCY_ENTRY_BYTES;
      const order = Buffer.compare(view(this.#bytes, at, at + KEY_HASH_BYTES), wanted);
      if (order === 0) {
        const contentHash = view(this.#bytes, at + 16, at + 32);
        return {
          contentHash,
          firstSeq: getU48(this.#bytes, at + 32),
          lastSeq: getU48(this.#bytes, at + 38),
          time: getU64(this.#bytes, at + 44),
        };
      }
      if (order < 0) low = middle + 1;
      else high = middle;
    }
    return undefined;
  }
}

function hashOfKey(key: string): Uint8Array {
  return blake3(Buffer.from(key, 'latin1')).subarray(0, KEY_HASH_BYTES);
}
