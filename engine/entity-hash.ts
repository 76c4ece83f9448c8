/**
 * 128 bits of an entity, under a key of this process: where tables of entities put it, and what they know it by.
 *
 * HalfSipHash's rounds (two a word, four to finish) over all of a 128-bit key and state, four words out instead of one, each after four more
 * rounds, as SipHash makes its second half. Nobody who does not know the key, which leaves this process nowhere, can choose entities that
 * meet in a slot. Never written: another process has other hashes. In memory only.
 */
import { EntityBytes } from './entity-bytes.js';

export class EntityHash {
  /** The hash of the entity that was given last: four words, signed. */
  a = 0;
  b = 0;
  c = 0;
  d = 0;
  #k0 = 0;
  #k1 = 0;
  #k2 = 0;
  #k3 = 0;
  #makeKey: (() => Uint8Array) | undefined;
  #last: string | undefined;
  readonly #text = new EntityBytes();
  #lastBytes: EntityBytes | undefined;
  #lastTurn = 0;

  /** `key`: 16 random bytes, or who gives them when the first hash is asked for: the first randomness of a process takes a while. */
  constructor(key: Uint8Array | (() => Uint8Array)) {
    if (typeof key === 'function') this.#makeKey = key;
    else this.#take(key);
  }

  #take(key: Uint8Array): void {
    this.#makeKey = undefined;
    const words = new DataView(key.buffer, key.byteOffset, key.byteLength);
    this.#k0 = words.getInt32(0, true);
    this.#k1 = words.getInt32(4, true);
    this.#k2 = words.getInt32(8, true) ^ 0x6c796765;
    this.#k3 = words.getInt32(12, true) ^ 0x74656462;
  }

  /** One char a byte. Who adds a version has just asked for the one before it: the same entity costs nothing. */
  of(entity: string): this {
    if (entity === this.#last) return this;
    this.ofBytes(this.#text.takeText(entity));
    this.#last = entity;
    return this;
  }

  /** As `of`. */
  ofBytes(entity: EntityBytes): this {
    if (entity === this.#lastBytes && entity.turn === this.#lastTurn) return this;
    if (this.#makeKey !== undefined) this.#take(this.#makeKey());
    this.#last = undefined;
    this.#lastBytes = entity;
    this.#lastTurn = entity.turn;
    const { words, length } = entity;
    const last = length >>> 2;
    let v0 = this.#k0;
    let v1 = this.#k1;
    let v2 = this.#k2;
    let v3 = this.#k3;
    // A word a turn, the last one with the rest and the length, then four words to tell.
    for (let word = 0; word <= last + 4; word++) {
      let m = 0;
      let rounds = 4;
      if (word <= last) {
        m = words[word]!;
        if (word === last) m |= length << 24;
        rounds = 2;
        v3 ^= m;
      } else v2 ^= word === last + 1 ? 0xff : 0xdd;
      for (; rounds > 0; rounds--) {
        v0 = (v0 + v1) | 0;
        v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
        v0 = (v0 << 16) | (v0 >>> 16);
        v2 = (v2 + v3) | 0;
        v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
        v0 = (v0 + v3) | 0;
        v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
        v2 = (v2 + v1) | 0;
        v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
        v2 = (v2 << 16) | (v2 >>> 16);
      }
      if (word <= last) v0 ^= m;
      else if (word === last + 1) this.a = v1 ^ v3;
      else if (word === last + 2) this.b = v1 ^ v3;
      else if (word === last + 3) this.c = v1 ^ v3;
      else this.d = v1 ^ v3;
    }
    return this;
  }
}
