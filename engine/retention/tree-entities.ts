/**
 * Gathers a tree's entries by entity, for planning: columns that are used again for the next entity, so that a walk over millions of
 * versions makes no object for any of them.
 */
import type { LeafWalk } from '../tree/leaf-walk.js';
import type { PlanEntity } from './plan.js';

const FIRST_CAPACITY = 64;

class Columns implements PlanEntity {
  collection = '';
  count = 0;
  seqs = new Float64Array(FIRST_CAPACITY);
  times = new Float64Array(FIRST_CAPACITY);
  kinds = new Uint8Array(FIRST_CAPACITY);

  add(seq: number, time: number, kind: number): void {
    if (this.count === this.seqs.length) this.#grow();
    this.seqs[this.count] = seq;
    this.times[this.count] = time;
    this.kinds[this.count++] = kind;
  }

  #grow(): void {
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

/** Each is good until the next one is asked for. */
export function* entitiesOf(walk: LeafWalk): Generator<PlanEntity, void, undefined> {
  const entity = new Columns();
  while (walk.next()) {
    if (walk.isNewEntity) {
      if (entity.count > 0) yield entity;
      entity.collection = walk.collection;
      entity.count = 0;
    }
    entity.add(walk.seq, walk.time, walk.kind);
  }
  if (entity.count > 0) yield entity;
}
