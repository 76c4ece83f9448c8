/**
 * Gathers a tree's entries by entity, for planning: columns that are used again for the next entity, so that a walk over millions of
 * versions makes no object for any of them. Leaves are read where they lie, in one loop: a process plans once, mostly, and few functions
 * are soon compiled.
 *
 * Reads only; the tree under it never changes. After a throw (CORRUPT) it is of no use.
 */
import { getU16, getU64 } from '../format/bytes.js';
import { KIND_AT, TIME_AT } from '../format/leaf-value.js';
import { LeafCollection } from '../tree/leaf-walk.js';
import type { Node } from '../tree/node.js';
import { SEQ_BYTES } from '../tree/types.js';
import { sameEntitiesAcross, seqAt } from '../tree/version-key.js';
import { MAX_SEQ } from '../types.js';
import type { PlanEntity } from './plan.js';

const FIRST_CAPACITY = 64;
const U32 = 2 ** 32;

/** In key order; each is good until the next but one is asked for. */
export interface Leaves {
  next(): Node | undefined;
}

class Columns implements PlanEntity {
  collection = '';
  count = 0;
  seqs = new Float64Array(FIRST_CAPACITY);
  times = new Float64Array(FIRST_CAPACITY);
  kinds = new Uint8Array(FIRST_CAPACITY);

  grow(): void {
    const [seqs, times, kinds] = [this.seqs, this.times, this.kinds];
    const capacity = this.count * 2;
    this.seqs = new Float64Array(capacity);
    this.times = new Float64Array(capacity);
    this.kinds = new Uint8Array(capacity);
    this.seqs.set(seqs);
    this.times.set(times);
    this.kinds.set(kinds);
  }
}

/** Each entity is good until the next one is asked for. */
class TreeEntities implements IterableIterator<PlanEntity> {
  readonly #leaves: Leaves;
  readonly #collection = new LeafCollection();
  readonly #entity = new Columns();
  readonly #result = { done: false as const, value: this.#entity };
  /** Where the next entity begins. */
  #leaf: Node | undefined;
  #index = 0;
  #hasBegun = false;

  constructor(leaves: Leaves) {
    this.#leaves = leaves;
  }

  [Symbol.iterator](): this {
    return this;
  }

  next(): IteratorResult<PlanEntity, undefined> {
    if (!this.#hasBegun) {
      this.#hasBegun = true;
      this.#leaf = this.#leaves.next();
    }
    if (this.#leaf === undefined) return { done: true, value: undefined };
    this.#take(this.#leaf, this.#index);
    return this.#result;
  }

  /** All versions of the entity whose newest is entry `i` of `leaf`. */
  #take(first: Node, from: number): void {
    const entity = this.#entity;
    entity.collection = this.#collection.of(first, from);
    let leaf = first;
    let i = from;
    let count = 0;
    let bytes: Uint8Array = leaf.bytes;
    let start = i === 0 ? 0 : getU16(bytes, leaf.endsAt + 2 * i - 2);
    let end = getU16(bytes, leaf.endsAt + 2 * i);
    for (;;) {
      if (count === entity.seqs.length) {
        entity.count = count;
        entity.grow();
      }
      if (end - start < SEQ_BYTES) entity.seqs[count] = seqAt(leaf, i);
      else {
        const at = leaf.restsAt + end - SEQ_BYTES;
        const low = ((bytes[at + 2]! << 24) | (bytes[at + 3]! << 16) | (bytes[at + 4]! << 8) | bytes[at + 5]!) >>> 0;
        entity.seqs[count] = MAX_SEQ - (((bytes[at]! << 8) | bytes[at + 1]!) * U32 + low);
      }
      const value = leaf.valuesAt + i * leaf.valueBytes;
      entity.times[count] = getU64(bytes, value + TIME_AT);
      entity.kinds[count++] = bytes[value + KIND_AT]!;
      if (++i === leaf.count) {
        const next = this.#leaves.next();
        const isSame = next !== undefined && sameEntitiesAcross(leaf, i - 1, next, 0);
        this.#leaf = next;
        i = 0;
        if (!isSame) break;
        leaf = next;
        bytes = leaf.bytes;
        start = 0;
        end = getU16(bytes, leaf.endsAt);
        continue;
      }
      const nextEnd = getU16(bytes, leaf.endsAt + 2 * i);
      const length = end - start - SEQ_BYTES;
      if (nextEnd - end !== end - start) break;
      // A rest that is shorter than a seq holds nothing of an entity: the leaf is one entity's alone.
      let a = leaf.restsAt + start;
      const stop = a + length;
      for (let b = leaf.restsAt + end; a < stop && bytes[a] === bytes[b]; b++) a++;
      if (a < stop) break;
      start = end;
      end = nextEnd;
    }
    entity.count = count;
    this.#index = i;
  }
}

export function entitiesOf(leaves: Leaves): IterableIterator<PlanEntity> {
  return new TreeEntities(leaves);
}
